"""Gradients and compiled functions: a node on the eager tape, and backward inside."""

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import close, new
from tinyseq.autograd import grad
from tinyseq.errors import CaptureError, GradientError

# A compiled function is one node


def test_several_outputs_some_of_them_used():
    w = new(3, 3, requires_grad=True)

    def function(x):
        h = (x @ w).tanh()
        return h, h.sum(), (h * 2.0).detach(), w.sum()

    compiled = ts.compile(function)
    for used in ([0], [1], [0, 1], [3], [0, 1, 3]):

        def loss(outs, used=used):
            return sum((o * o).sum() for i, o in enumerate(outs) if i in used)

        x, y = new(2, 3, requires_grad=True), new(2, 3, requires_grad=True)
        w.grad = None
        outs = compiled(x)
        assert [o.requires_grad for o in outs] == [True, True, False, True]
        loss(outs).backward()
        mine, w.grad = w.grad, None
        loss(function(y)).backward()
        close(mine, w.grad)
        if used != [3]:
            close(x.grad, y.grad)


def test_arguments_with_a_history():
    w = new(3, requires_grad=True)
    compiled = ts.compile(lambda x: (x * x).sum())
    for _ in range(3):
        w.grad = None
        compiled(w.exp()).backward()
        close(w.grad, 2.0 * (2.0 * w.detach()).exp())


def test_create_graph_through_a_compiled_function_is_refused():
    x = new(3, requires_grad=True)
    y = ts.compile(lambda x: (x * x).sum())(x)
    with pytest.raises(CaptureError, match="create_graph"):
        grad(y, x, create_graph=True)


def test_the_graph_of_a_compiled_function_is_released():
    x = new(3, requires_grad=True)
    function = ts.compile(lambda x: (x * x).sum())
    y = function(x)
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(GradientError, match="second time"):
        y.backward()
    close(x.grad, 4.0 * x)


def test_saved_values_that_are_modified_are_noticed():
    x = new(3, requires_grad=True)
    y = ts.compile(lambda x: (x * x).sum())(x)
    with ts.no_grad():
        x.add_(1.0)
    with pytest.raises(GradientError, match="modified in place"):
        y.backward()


def test_a_write_by_a_compiled_function_is_noticed_by_what_was_saved():
    x, scale = new(3, requires_grad=True), new(3, seed=1)
    compiled = ts.compile(lambda: scale.mul_(2.0), recheck=False)
    compiled()
    out = (x * scale).sum()
    compiled()
    with pytest.raises(ts.errors.GradientError, match="in place"):
        out.backward()


def test_hooks_run_once():
    w = new(3, requires_grad=True)
    w.register_hook(lambda g: g * 10.0)
    function = ts.compile(lambda x: (w * x).sum())
    x = new(3)
    function(x).backward()
    close(w.grad, 10.0 * x)

    @ts.compile
    def step(x):
        w.grad = None
        (w * x).sum().backward()

    for _ in range(3):
        step(x)
        close(w.grad, 10.0 * x)


def test_inference_and_modes():
    w = new(3, requires_grad=True)
    function = ts.compile(lambda x: x * w)
    x = new(3)
    assert function(x).requires_grad
    with ts.no_grad():
        assert not function(x).requires_grad
    with ts.inference_mode():
        assert not function(x).requires_grad
    assert function(x).requires_grad
    w.requires_grad_(False)
    assert not function(x).requires_grad


# Backward inside


def test_backward_inside_reaches_arguments():
    @ts.compile
    def step(x, y):
        loss = (x * y).sum()
        loss.backward()
        return loss

    for _ in range(3):
        x, w = new(3, requires_grad=True), new(3, seed=2, requires_grad=True)
        step(x, w.exp())
        close(x.grad, w.exp())
        close(w.grad, x * w.exp())


def test_gradients_accumulate():
    def run(compiled):
        w = new(3, requires_grad=True)
        seen = []

        def step(x):
            ((w * x) ** 2).sum().backward()

        step = ts.compile(step) if compiled else step
        for i in range(9):
            step(new(3, seed=i))
            seen.append(w.grad.numpy().copy())
            if i % 3 == 2:
                w.grad = None
        return np.array(seen), step

    (mine, step), (wanted, _) = run(True), run(False)
    np.testing.assert_allclose(mine, wanted, rtol=1e-5)
    assert step._captures == 2


def test_gradients_of_an_argument_accumulate():
    step = ts.compile(lambda x: (x * x).sum().backward())
    x = new(3, requires_grad=True)
    for n in range(1, 6):
        step(x)
        close(x.grad, 2.0 * n * x.detach())
    y = new(3, requires_grad=True)
    step(y)
    close(y.grad, 2.0 * y.detach())


def test_a_gradient_object_stays_the_same_while_it_accumulates():
    w = new(3, requires_grad=True)
    step = ts.compile(lambda: (w * 2.0).sum().backward())
    step()
    held = w.grad
    step()
    assert w.grad is held
    close(held, np.full(3, 4.0, np.float32))


def test_second_gradients_inside_a_step():
    w = new(3, requires_grad=True)

    def step(x):
        w.grad = None
        loss = (w * x).exp().sum()
        (g,) = grad(loss, w, create_graph=True)
        (loss + (g * g).sum()).backward()
        return w.grad

    x = new(3, seed=1)
    wanted = step(x)
    compiled = ts.compile(step)
    for _ in range(3):
        close(compiled(x), wanted)
    assert compiled(x) is w.grad


def test_results_whose_graph_was_walked_are_plain():
    w = new(3, requires_grad=True)

    def step(x):
        loss = (w * x).sum()
        loss.backward()
        return loss, (w * 2.0).sum()

    loss, other = ts.compile(step)(new(3))
    assert not loss.requires_grad
    assert other.requires_grad


def test_arguments_whose_requires_grad_changes_are_refused():
    with pytest.raises(CaptureError, match="requires_grad"):
        ts.compile(lambda x: x.requires_grad_())(new(3))
    x = new(3)

    def attack(x):
        y = x.detach().requires_grad_()
        (y * y).sum().backward()
        return y.grad

    close(ts.compile(attack)(x), 2.0 * x)


@pytest.mark.parametrize("without", [(), ("native",)], ids=["best", "numpy"])
def test_what_is_saved_for_backward_is_not_overwritten_by_a_later_write(without):
    scale = new(3)

    def function(x):
        y = x * scale.reshape(1, 3)[0]
        with ts.no_grad():
            scale.add_(1.0)
        return y

    compiled = ts.compile(function, without=without)
    for _ in range(4):
        before, x = scale.clone(), new(3, seed=2, requires_grad=True)
        compiled(x).sum().backward()
        close(x.grad, before)
