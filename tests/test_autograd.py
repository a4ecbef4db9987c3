"""What gradients mean: as in PyTorch, which is the oracle where it is installed."""

import asyncio
import gc
import threading

import numpy as np
import pytest

import tinyseq as ts
from tinyseq.autograd import Function, detect_anomaly, grad, gradcheck, gradgradcheck, set_detect_anomaly
from tinyseq.errors import GradientError, ShapeError, TinyseqError
from tinyseq.nn import functional


def leaf(values, dtype="float64"):
    return ts.tensor(np.asarray(values, dtype), requires_grad=True)


def values(t):
    return t.detach().numpy()


# Leaves, and what backward leaves behind


def test_gradients_are_added_up_over_calls():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (x * x).sum().backward()
    np.testing.assert_array_equal(values(x.grad), [4.0, 8.0])


def test_a_leaf_owns_its_gradient():
    x, y = leaf([1.0]), leaf([2.0])
    g = ts.tensor(np.array([1.0]))
    (x + y).backward(g)
    x.grad.add_(1.0)
    assert values(y.grad) == [1.0]
    assert values(g) == [1.0]


def test_only_leaves_collect():
    x = leaf([1.0])
    y = x * 2
    (y * 3).sum().backward()
    assert y.grad is None
    assert y.grad_fn is not None
    assert not y.is_leaf
    assert x.is_leaf
    assert x.grad_fn is None


def test_retain_grad():
    x = leaf([1.0, 2.0])
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    np.testing.assert_array_equal(values(y.grad), [4.0, 8.0])


def test_backward_takes_a_gradient_for_what_is_no_scalar():
    x = leaf([1.0, 2.0])
    (x * x).backward(ts.tensor(np.array([1.0, 10.0])))
    np.testing.assert_array_equal(values(x.grad), [2.0, 40.0])


def test_backward_of_one_element_of_any_rank():
    x = leaf([[3.0]])
    (x * x).backward()
    assert x.grad.shape == (1, 1)
    assert x.grad.item() == 6.0


def test_backward_of_several_roots():
    x = leaf([1.0, 2.0])
    ts.autograd.backward([(x * 2).sum(), x * x], [None, ts.tensor(np.ones(2))])
    np.testing.assert_array_equal(values(x.grad), [4.0, 6.0])


def test_backward_for_some_inputs_only():
    x, y = leaf(1.0), leaf(2.0)
    (x * y).backward(inputs=[x])
    assert x.grad.item() == 2.0
    assert y.grad is None


def test_a_leaf_can_be_the_root():
    x = leaf(3.0)
    x.backward()
    assert x.grad.item() == 1.0
    assert grad(x, x)[0].item() == 1.0


def test_a_second_backward_raises_and_retain_graph_allows_it():
    x = leaf(2.0)
    y = x.exp()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == pytest.approx(2 * np.exp(2))
    with pytest.raises(GradientError, match=r"exp: backward through this graph a second time.*retain_graph=True"):
        y.backward()


def test_the_node_says_that_it_was_released():
    y = leaf(2.0).exp()
    assert not y.grad_fn.released
    y.backward()
    assert y.grad_fn.released


def test_integers_have_no_gradients():
    with pytest.raises(TinyseqError, match="int64"):
        ts.tensor([1, 2]).requires_grad_()
    x = leaf([1.0, 2.0])
    assert not (x > 0).requires_grad
    assert not x.argmax().requires_grad


def test_gradients_have_the_dtype_and_shape_of_their_leaf():
    x = leaf([[1.0], [2.0]], "float32")
    y = leaf([1.0, 2.0, 3.0], "float64")
    (x.to(ts.float64) * y).sum().backward()
    assert (x.grad.dtype, x.grad.shape) == (np.float32, (2, 1))
    assert (y.grad.dtype, y.grad.shape) == (np.float64, (3,))


# grad()


def test_grad_leaves_nothing_behind():
    x, y = leaf(2.0), leaf(3.0)
    gx, gy = grad(x * x * y, [x, y])
    assert (gx.item(), gy.item()) == (12.0, 4.0)
    assert x.grad is None
    assert y.grad is None


def test_grad_for_a_value_on_the_way():
    x = leaf(2.0)
    y = x * x
    z = y.exp() + x
    gy, gx = grad(z, [y, x])
    assert gy.item() == pytest.approx(np.exp(4))
    assert gx.item() == pytest.approx(4 * np.exp(4) + 1)


def test_grad_of_what_is_not_used():
    x, y = leaf(1.0), leaf(1.0)
    with pytest.raises(GradientError, match="allow_unused"):
        grad(x * 2, [x, y])
    assert grad(x * 2, [x, y], allow_unused=True)[1] is None


def test_grad_of_grad_takes_the_path_through_saved_values():
    x, w = leaf(0.5), leaf(1.5)
    (g,) = grad((x * w).tanh(), x, create_graph=True)
    (h,) = grad(g, w)
    t = np.tanh(0.75)
    assert h.item() == pytest.approx((1 - t * t) - 1.5 * 0.5 * 2 * t * (1 - t * t))


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "exp", "log", "sqrt", "sin"])
def test_any_order(name):
    """Derivatives of order 1 to 5 against Taylor coefficients by the Cauchy integral."""
    f = {"sigmoid": lambda z: 1 / (1 + np.exp(-z))}.get(name) or getattr(np, name)
    at, radius, n = 0.9, 0.4, 256
    circle = np.exp(2j * np.pi * np.arange(n) / n)
    taylor = np.fft.fft(f(at + radius * circle)) / n
    x = leaf(at)
    y = getattr(ts, name)(x)
    factorial = 1.0
    for order in range(1, 6):
        (y,) = grad(y, x, create_graph=True)
        factorial *= order
        wanted = taylor[order].real / radius**order * factorial
        assert y.item() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_backward_with_create_graph_makes_a_gradient_that_can_be_differentiated():
    x = leaf(3.0)
    (x * x * x).backward(create_graph=True)
    assert x.grad.item() == 27.0
    (h,) = grad(x.grad, x)
    assert h.item() == 18.0


def test_a_gradient_penalty_reaches_the_weights():
    rng = np.random.default_rng(0)
    w = leaf(rng.normal(size=(3, 2)))
    x = leaf(rng.normal(size=(4, 3)))

    def penalty(w, x):
        (g,) = grad((x @ w).tanh().sum(), x, create_graph=True)
        return (g * g).sum()

    assert gradcheck(penalty, [w, x])


# Grad modes


def test_no_grad_records_nothing():
    x = leaf(1.0)
    with ts.no_grad():
        y = x * 2
        assert not ts.is_grad_enabled()
        with ts.enable_grad():
            assert (x * 2).requires_grad
    assert not y.requires_grad
    assert (x * 2).requires_grad


def test_modes_are_restored_after_an_exception():
    with pytest.raises(ValueError, match="out"), ts.no_grad():
        raise ValueError("out")
    assert ts.is_grad_enabled()


def test_inference_mode():
    x = leaf(1.0)
    with ts.inference_mode():
        assert ts.is_inference_mode_enabled()
        assert not (x * 2).requires_grad
        with ts.inference_mode(False):
            assert (x * 2).requires_grad
    assert not ts.is_inference_mode_enabled()


@pytest.mark.parametrize("decorate", [ts.no_grad(), ts.no_grad, ts.inference_mode()], ids=["()", "bare", "inference"])
def test_modes_decorate(decorate):
    @decorate
    def double(x):
        """Twice."""
        return x * 2

    assert double.__name__ == "double"
    assert not double(leaf(1.0)).requires_grad
    assert ts.is_grad_enabled()


def test_modes_decorate_generators():
    @ts.no_grad()
    def steps(x):
        given = yield x * 2
        try:
            yield given * 2
        except KeyError:
            yield x * 3
        return "end"

    x = leaf(1.0)
    source = steps(x)
    first = next(source)
    assert ts.is_grad_enabled()
    second = source.send(x)
    third = source.throw(KeyError("k"))
    assert not any(t.requires_grad for t in (first, second, third))
    assert ts.is_grad_enabled()
    with pytest.raises(StopIteration, match="end"):
        next(source)


def test_set_grad_enabled():
    x = leaf(1.0)
    with ts.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    ts.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    ts.set_grad_enabled(True)
    assert (x * 2).requires_grad

    @ts.set_grad_enabled(False)
    def double(x):
        return x * 2

    assert ts.is_grad_enabled()
    assert not double(x).requires_grad


def test_detach_shares_memory_and_has_no_history():
    x = leaf([1.0, 2.0])
    y = (x * 2).detach()
    assert not y.requires_grad
    assert x.detach().requires_grad_().grad_fn is None
    with ts.no_grad():
        x.detach().mul_(10.0)
    np.testing.assert_array_equal(values(x), [10.0, 20.0])


def test_threads_with_overlapping_no_grad():
    inside, leave, left = threading.Event(), threading.Event(), threading.Event()
    seen = {}

    def one():
        with ts.no_grad():
            inside.set()
            leave.wait(10)
        left.set()
        seen["one"] = ts.is_grad_enabled()

    def two():
        inside.wait(10)
        seen["fresh thread"] = ts.is_grad_enabled()
        with ts.no_grad():
            leave.set()
            left.wait(10)
            seen["inside two"] = ts.is_grad_enabled()
        seen["two"] = ts.is_grad_enabled()

    threads = [threading.Thread(target=f) for f in (one, two)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(10)
    assert seen == {"one": True, "fresh thread": True, "inside two": False, "two": True}
    assert ts.is_grad_enabled()


def test_tasks_with_overlapping_no_grad():
    async def off(ready, go):
        with ts.no_grad():
            ready.set()
            await go.wait()
            assert not ts.is_grad_enabled()

    async def on(ready, go):
        await ready.wait()
        assert ts.is_grad_enabled()
        with ts.no_grad():
            go.set()
            await asyncio.sleep(0)
        return ts.is_grad_enabled()

    async def main():
        ready, go = asyncio.Event(), asyncio.Event()
        return (await asyncio.gather(off(ready, go), on(ready, go)))[1]

    assert asyncio.run(main())
    assert ts.is_grad_enabled()


def test_backward_in_several_threads_at_once():
    w = np.random.default_rng(0).normal(size=(8, 8))
    found = {}

    def run(k):
        x = leaf(w * k)
        for _ in range(20):
            x.grad = None
            (x @ x).tanh().sum().backward()
        found[k] = values(x.grad)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    for k in range(1, 5):
        x = leaf(w * k)
        (x @ x).tanh().sum().backward()
        np.testing.assert_array_equal(found[k], values(x.grad))


# Hooks


def test_hooks_see_and_replace_gradients():
    x = leaf(2.0)
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    handle = y.register_hook(lambda g: g * 10)
    (y * 5).backward()
    assert seen == [5.0]
    assert x.grad.item() == 150.0
    handle.remove()
    x.grad = None
    (x * 3 * 5).backward()
    assert x.grad.item() == 15.0


def test_hooks_of_leaves_run_once_on_the_whole_gradient():
    x = leaf(2.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 3 + x * 4).backward()
    assert seen == [7.0]


def test_hooks_under_create_graph_are_differentiated():
    x = leaf(2.0)
    y = x * x
    y.register_hook(lambda g: g * x)
    (g,) = grad(y, x, create_graph=True)  # x * 2x
    assert g.item() == 8.0
    assert grad(g, x)[0].item() == 8.0


def test_a_hook_must_keep_the_shape():
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ShapeError, match=r"hook .*\[\].*wanted \[2\]"):
        (x * 2).sum().backward()


# Broadcasting, and weights that are used many times


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)), ((4, 1, 3), (2, 1)), ((0, 3), (3,))]
)
@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "pow", "maximum"])
def test_broadcast_gradients_equal_torch(op, a, b):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.5, 2, a), rng.uniform(0.5, 2, b)
    mine, theirs = [leaf(x), leaf(y)], [torch.tensor(v, requires_grad=True) for v in (x, y)]
    out = getattr(ts, op)(*mine)
    cotangent = rng.normal(size=out.shape)
    out.backward(ts.tensor(cotangent))
    getattr(torch, op)(*theirs).backward(torch.tensor(cotangent))
    for m, t in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(values(m.grad), t.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("op", ["maximum", "minimum", "abs", "relu", "pow"])
def test_at_ties_and_kinks_as_torch(op):
    torch = pytest.importorskip("torch")
    x, y = np.array([0.0, 1.0, 2.0, 0.0]), np.array([0.0, 1.0, 1.0, 2.0])
    count = 1 if op in ("abs", "relu") else 2
    mine, theirs = [leaf(v) for v in (x, y)][:count], [torch.tensor(v, requires_grad=True) for v in (x, y)][:count]
    getattr(ts, op)(*mine).sum().backward()
    getattr(torch, op)(*theirs).sum().backward()
    for m, t in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(values(m.grad), t.grad.numpy())


def linear(lib):
    return functional.linear if lib is ts else lib.nn.functional.linear


def use(lib, f, w, x1, x2, x3):
    """Use one weight in every way that the engine adds up late, and mix in dense contributions."""
    out = f(x1 @ w) + f(x2 @ w).sum(0) + f(x3 @ w).sum(0).sum(0)
    out = out + f(linear(lib)(x2, w.T)).sum(0) + (w * w).sum(0) + w[0] + w[1:3].sum(0) + w[-1]
    a, _, c = w.split([2, 3, 1], 0)
    out = out + (a * 2).sum(0) + f(c).sum(0)  # the middle is not used
    p, q = w.chunk(2, 1)
    rows = w.unbind(0)
    return out.sum() + (p * q).sum() + (rows[1] * rows[4]).sum() + f(x1 @ w.T[:, :].T).sum() + (rows[0] @ w.T).sum()


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("repeats", [1, 12])
def test_a_weight_used_in_every_way(create_graph, repeats):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((6, 4), (6,), (5, 6), (2, 3, 6))]
    mine, theirs = [leaf(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]

    def total(lib, w, x1, x2, x3):
        return sum(use(lib, lib.tanh, w, x1, x2, x3) * (k + 1) for k in range(repeats))

    if not create_graph:
        total(ts, *mine).backward()
        total(torch, *theirs).backward()
        found, wanted = [m.grad for m in mine], [t.grad for t in theirs]
    else:

        def second(lib, library_grad, tensors):
            first = library_grad(total(lib, *tensors), tensors, create_graph=True)
            return library_grad(sum((g * g).sum() for g in first), tensors)

        found, wanted = second(ts, grad, mine), second(torch, torch.autograd.grad, theirs)
    for m, t in zip(found, wanted, strict=True):
        np.testing.assert_allclose(values(m), t.numpy(), rtol=1e-10, atol=1e-10)


def test_products_beyond_what_is_stacked_at_once(monkeypatch):
    from tinyseq.autograd import engine  # noqa: PLC0415 -- only this test reaches inside

    rng = np.random.default_rng(0)
    w0, xs = rng.normal(size=(3, 2)), rng.normal(size=(40, 5, 3))

    def run():
        w = leaf(w0)
        out = sum((ts.tensor(x) @ w).tanh().sum() for x in xs)
        out.backward()
        return values(w.grad)

    whole = run()
    monkeypatch.setattr(engine, "MOST_ROWS", 17)
    np.testing.assert_allclose(run(), whole, rtol=1e-12)
    t = np.tanh(xs @ w0)
    np.testing.assert_allclose(whole, np.einsum("tbi,tbo->io", xs, 1 - t * t), rtol=1e-12)


def test_a_recurrent_loop_against_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((7, 2, 3), (3, 20), (5, 20), (20,))]

    def run(lib, x, w, u, b):
        h = c = lib.zeros(2, 5, dtype=lib.float64)
        for x_t in x:
            i, f, g, o = (x_t @ w + h @ u + b).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return (h * h).sum()

    mine, theirs = [leaf(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    run(ts, *mine).backward()
    run(torch, *theirs).backward()
    for m, t in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(values(m.grad), t.grad.numpy(), rtol=1e-10, atol=1e-12)


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
        import weakref  # noqa: PLC0415

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
        with pytest.raises(GradientError, match=r"Nan: its gradient is NaN(.|\n)*test_autograd"):
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
