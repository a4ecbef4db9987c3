"""What gradients mean: as in PyTorch, which is the oracle where it is installed."""

import copy

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import leaf, values
from tinyseq.autograd import grad, gradcheck
from tinyseq.errors import GradientError, ShapeError, TinyseqError

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


def test_the_parts_of_a_split_follow_the_grad_mode():
    x = ts.ones(2, 8).requires_grad_()
    assert all(part.requires_grad for part in x.chunk(4, -1))
    with ts.no_grad():
        assert not any(part.requires_grad for part in x.chunk(4, -1))


def test_a_hook_added_after_another_was_removed_joins_the_rest():
    y = leaf(2.0) * 3
    seen = []
    first, *_ = (y.register_hook(lambda g, n=n: seen.append(n)) for n in range(3))
    first.remove()
    y.register_hook(lambda g: seen.append(3))
    y.backward()
    assert seen == [1, 2, 3]


def test_a_copy_of_a_leaf_has_a_gradient_of_its_own():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    twin = copy.deepcopy(x)
    twin.grad.add_(1.0)
    twin.detach().add_(1.0)
    np.testing.assert_array_equal(values(x.grad), [2.0, 4.0])
    np.testing.assert_array_equal(values(x), [1.0, 2.0])
    np.testing.assert_array_equal(values(twin.grad), [3.0, 5.0])
    assert twin.requires_grad
