"""Gradients written by users, checks of gradients against differences, and where a NaN comes from."""

import gc
import weakref

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import leaf, values
from tinyseq.autograd import Function, detect_anomaly, grad, gradcheck, gradgradcheck, set_detect_anomaly
from tinyseq.errors import GradientError, ShapeError

# autograd.Function


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        assert not ts.is_grad_enabled()
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class SinCos(Function):
    """Several results, one of them saved, and an argument that is no tensor."""

    @staticmethod
    def forward(ctx, x, scale):
        sine, cosine, whole = (x * scale).sin(), (x * scale).cos(), (x * scale).floor()
        ctx.save_for_backward(sine, cosine)
        ctx.scale = scale
        ctx.mark_non_differentiable(whole)
        return sine, cosine, whole

    @staticmethod
    def backward(ctx, g_sine, g_cosine, g_whole):
        sine, cosine = ctx.saved_tensors
        assert not np.any(values(g_whole))
        return (g_sine * cosine - g_cosine * sine) * ctx.scale, None


class SetUp(Function):
    @staticmethod
    def forward(x, y):
        return x * y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.needed = ctx.needs_input_grad

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return (g * y if ctx.needed[0] else None), (g * x if ctx.needed[1] else None)


def test_function_of_every_order():
    x = leaf([0.5, -2.0])
    assert gradcheck(Cube.apply, x)
    assert gradgradcheck(Cube.apply, x)
    assert Cube.apply(x).grad_fn.label == "Cube"
    (g,) = grad(Cube.apply(x).sum(), x, create_graph=True)
    (h,) = grad(g.sum(), x, create_graph=True)
    np.testing.assert_allclose(values(grad(h.sum(), x)[0]), [6.0, 6.0])


def test_function_with_several_results():
    x = leaf([0.3, 1.2])
    sine, cosine, whole = SinCos.apply(x, 2.0)
    assert not whole.requires_grad
    assert gradcheck(lambda x: SinCos.apply(x, 2.0), x)
    assert gradgradcheck(lambda x: SinCos.apply(x, 2.0), x)
    (g,) = grad(cosine.sum(), x, retain_graph=True)
    np.testing.assert_allclose(values(g), -2 * np.sin([0.6, 2.4]))
    (sine * cosine).sum().backward()
    np.testing.assert_allclose(values(x.grad), 2 * np.cos([1.2, 4.8]))


def test_function_with_setup_context():
    x, y = leaf(2.0), ts.tensor(np.array(5.0))
    SetUp.apply(x, y).backward()
    assert x.grad.item() == 5.0
    assert gradgradcheck(SetUp.apply, [leaf(2.0), leaf(3.0)])


def test_function_without_gradients_records_nothing():
    assert not Cube.apply(ts.tensor(2.0)).requires_grad
    with ts.no_grad():
        assert not Cube.apply(leaf(2.0)).requires_grad


def test_function_broadcast_is_undone_and_other_shapes_are_refused():
    class Wide(Function):
        @staticmethod
        def forward(ctx, x):
            return x + ts.zeros(3, dtype=ts.float64)

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf([1.0])
    Wide.apply(x).sum().backward()
    assert values(x.grad) == [3.0]

    class Wrong(Wide):
        @staticmethod
        def backward(ctx, g):
            return g[:2]

    with pytest.raises(ShapeError, match=r"Wrong.backward: returned shape \[2\] for an input of shape \[3\]"):
        Wrong.apply(leaf([1.0, 2.0, 3.0])).sum().backward()


def test_function_that_returns_too_few_gradients():
    class Few(SetUp):
        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(GradientError, match=r"Few\.backward: returned 1 gradients, wanted 2"):
        Few.apply(leaf(1.0), leaf(2.0)).backward()


def test_function_without_forward_or_backward():
    class Nothing(Function):
        pass

    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

    with pytest.raises(NotImplementedError, match="forward"):
        Nothing.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="backward"):
        Half.apply(leaf(1.0)).backward()


def test_function_saved_tensors_are_watched_and_released():
    x = leaf([1.0, 2.0])
    a = x * 1
    y = Cube.apply(a)
    with ts.no_grad():
        a.add_(1.0)
    with pytest.raises(GradientError, match="Cube: its saved tensor 0"):
        y.sum().backward()
    y = Cube.apply(x)
    y.backward(ts.ones(2, dtype=ts.float64))
    with pytest.raises(GradientError, match="Cube: backward through this graph a second time"):
        y.backward(ts.ones(2, dtype=ts.float64))


def test_function_makes_no_cycle():
    gc.collect()
    gc.disable()
    try:
        x = leaf([0.3, 1.2])
        sine, cosine, _ = SinCos.apply(x, 2.0)
        nodes = [weakref.ref(n) for n in (sine.grad_fn, cosine.grad_fn, sine.grad_fn.edges[0])]
        grad((sine + cosine).sum(), x, create_graph=True)
        del sine, cosine, _
        assert [n() for n in nodes] == [None, None, None]
    finally:
        gc.enable()


def test_function_materializes_gradients_unless_told_not_to():
    class Two(Function):
        @staticmethod
        def forward(ctx, x, materialize):
            ctx.set_materialize_grads(materialize)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, g, h):
            seen.append(h)
            return g * 2, None

    seen = []
    for materialize in (True, False):
        Two.apply(leaf([1.0, 2.0]), materialize)[0].sum().backward()
    np.testing.assert_array_equal(values(seen[0]), [0.0, 0.0])
    assert seen[1] is None


# Checks of gradients, and of NaNs


def test_gradcheck_finds_a_wrong_backward():
    class Wrong(Cube):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3.01 * x * x

    with pytest.raises(GradientError, match=r"derivative of output 0 .* for input 0 .* central difference"):
        gradcheck(Wrong.apply, leaf([1.0, 2.0]))
    assert not gradcheck(Wrong.apply, leaf([1.0, 2.0]), raise_exception=False)


def test_gradgradcheck_finds_a_backward_that_forgets_a_path():
    class Forgetful(Cube):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x * x.detach()

    assert gradcheck(Forgetful.apply, leaf([1.0, 2.0]))
    with pytest.raises(GradientError, match="gradcheck"):
        gradgradcheck(Forgetful.apply, leaf([1.0, 2.0]))


def test_gradcheck_warns_of_coarse_inputs_and_refuses_none():
    with pytest.warns(UserWarning, match="float64"):
        gradcheck(lambda x: x * 2, leaf([1.0], "float32"), atol=1, rtol=1)
    with pytest.raises(GradientError, match="requires gradients"):
        gradcheck(lambda x: x * 2, ts.tensor([1.0]))


def test_gradcheck_with_several_inputs_and_outputs():
    def function(x, k, y):
        return x @ y * k, (x.sum(), "not a tensor")[0]

    assert gradcheck(function, [leaf([[1.0, 2.0]]), 3, leaf([[1.0], [0.5]])])
    assert gradgradcheck(function, [leaf([[1.0, 2.0]]), 3, leaf([[1.0], [0.5]])])


def make_nan(x):
    return (x.sqrt() * 0.0).sum()  # the line that anomaly detection must name


@pytest.mark.parametrize("create_graph", [False, True])
def test_anomaly_names_the_operation_and_the_line(create_graph):
    x = leaf([0.0, 1.0])
    with detect_anomaly():
        y = make_nan(x)
        with pytest.raises(GradientError, match=r"sqrt: its gradient is NaN") as caught:
            y.backward(create_graph=create_graph)
    assert "return (x.sqrt() * 0.0).sum()  # the line that anomaly detection must name" in str(caught.value)
    assert "in make_nan" in str(caught.value)
    assert __file__.rpartition("/")[2] in str(caught.value)


def test_anomaly_in_backward_only_says_what_to_do():
    y = make_nan(leaf([0.0]))
    with pytest.raises(GradientError, match=r"sqrt: .*forward pass inside detect_anomaly"), detect_anomaly():
        y.backward()


def test_anomaly_is_off_by_default_and_can_be_switched():
    x = leaf([0.0])
    make_nan(x).backward()
    assert np.isnan(values(x.grad))
    set_detect_anomaly(True)
    with pytest.raises(GradientError, match="sqrt"):
        make_nan(x).backward()
    set_detect_anomaly(False)
    make_nan(x).backward()


def test_anomaly_looks_into_products_and_functions():
    class Nan(Cube):
        @staticmethod
        def backward(ctx, g):
            return g * float("nan")

    with detect_anomaly():
        with pytest.raises(GradientError, match=r"Nan: its gradient is NaN(.|\n)*test_function"):
            Nan.apply(leaf([1.0])).sum().backward()
        w, x = leaf(np.ones((2, 1))), ts.tensor(np.ones((2, 2)))
        with pytest.raises(GradientError, match="matmul: its gradient is NaN"):
            (x @ w).backward(ts.tensor(np.array([[np.inf], [-np.inf]])))


def test_anomaly_changes_no_result():
    def run():
        x = leaf([[0.5, -1.0], [2.0, 0.1]])
        a = x.tanh()
        with ts.no_grad():
            b = x.detach().clone().mul_(2.0)
        (a @ x + b * a).sum().backward()
        return values(x.grad)

    plain = run()
    with detect_anomaly():
        np.testing.assert_array_equal(run(), plain)


class TwoPowers(Function):
    """Saves a result of its own, one of several."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y, y * y

    @staticmethod
    def backward(ctx, g, h):
        (y,) = ctx.saved_tensors
        return g * y + h * y * y * 2.0


def test_a_saved_result_of_several_receives_gradients_beside_the_result_itself():
    x = leaf([0.3, 1.2])
    y, _ = TwoPowers.apply(x)
    (g,) = grad(y.sum(), x, create_graph=True)
    (h,) = grad((g + 3.0 * y).sum(), x)
    np.testing.assert_allclose(values(h), 4.0 * np.exp([0.3, 1.2]))
    assert gradgradcheck(TwoPowers.apply, x)
