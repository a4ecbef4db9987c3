"""Guards on tensors: which ones, their shapes, dtypes and memory; each test is a stale answer that must not come."""

import pytest

import tinyseq as ts
from tests.helpers import always_right, close, new, nothing
from tinyseq import nn
from tinyseq.errors import CaptureError


@pytest.mark.parametrize("use", [lambda p, x: p * x, lambda p, x: p.detach() * x, lambda p, x: p.data * x])
def test_guard_data_of_a_parameter_replaced(use):
    p = nn.Parameter(new(3))

    def replace():
        p.data = new(3, seed=9)

    x = new(3)
    always_right(lambda x: use(p, x), (nothing, [x]), (replace, [x]), (nothing, [x]), captures=2)


def test_guard_a_parameter_replaced():
    model = nn.Linear(3, 3)
    compiled = ts.compile(model)
    x = new(2, 3)
    compiled(x)
    model.weight = nn.Parameter(new(3, 3, seed=4))
    close(compiled(x), model(x))
    model.load_state_dict(nn.Linear(3, 3).state_dict())
    close(compiled(x), model(x))


def test_guard_a_tensor_in_a_list_replaced():
    weights = [new(3), new(3)]
    x = new(3)
    always_right(
        lambda x: x * weights[0] + weights[1],
        (nothing, [x]),
        (lambda: weights.__setitem__(0, new(3, seed=3)), [x]),
        (lambda: weights.append(new(3)), [x]),
    )


def test_guard_freezing_a_parameter():
    w, v = (new(3, seed=i, requires_grad=True) for i in range(2))

    def step(x):
        w.grad = v.grad = None
        (w * v * x).sum().backward()

    compiled = ts.compile(step)
    x = new(3)
    compiled(x)
    compiled(x)
    w.requires_grad_(False)
    w.grad = None
    compiled(x)
    assert w.grad is None
    close(v.grad, w * x)


def test_guard_shapes_dtypes_and_requires_grad():
    compiled = always_right(
        lambda x: (x * 2.0).sum(0),
        *[(nothing, [ts.ones(n, 2, dtype=d)]) for n in (1, 2, 3) for d in ("float32", "float64")],
        captures=6,
    )
    assert compiled(new(2, 2, requires_grad=True)).requires_grad


def test_guard_default_dtype():
    compiled = ts.compile(lambda x: ts.zeros(2) + x)
    x = ts.tensor([1, 2])
    close(compiled(x), ts.zeros(2) + x)
    ts.set_default_dtype("float64")
    close(compiled(x), ts.zeros(2) + x)


def test_guard_aliasing_of_arguments():
    def function(a, b):
        a.add_(1.0)
        return a * b

    compiled = ts.compile(function)
    for same in (False, True, False, True):
        pairs = []
        for _ in range(2):
            a = new(3)
            pairs.append((a, a if same else new(3, seed=1)))
        close(compiled(*pairs[0]), function(*pairs[1]))
        close(pairs[0][0], pairs[1][0])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_guard_aliasing_with_the_state(order):
    buffer, twin = new(3), new(3)

    def function(x, buffer):
        buffer.mul_(2.0)
        return x + buffer

    compiled = ts.compile(lambda x: function(x, buffer))
    for aliased in (*order, *order):
        args = (buffer, twin) if aliased else (new(3, seed=1), new(3, seed=1))
        close(compiled(args[0]), function(args[1], twin))
        close(buffer, twin)


def test_guard_overlapping_memory():
    memory = new(4)
    head, whole = memory[:2], memory

    def function(a, b):
        a.mul_(2.0)
        return b * 1.0

    compiled = ts.compile(function)
    compiled(new(2), new(4))
    with pytest.raises(CaptureError, match="same memory"):
        compiled(head, whole)


def test_guard_a_written_argument_that_looks_at_the_state():
    state = new(4)

    def function(x):
        x.add_(1.0)
        return state * 2.0

    compiled = ts.compile(function)
    close(compiled(new(2)), state * 2.0)
    with pytest.raises(CaptureError, match="same memory"):
        compiled(state[:2])


def test_guard_an_argument_that_looks_at_a_written_state():
    state = new(4)

    def function(x):
        state.mul_(2.0)
        return x * 1.0

    compiled = ts.compile(function)
    x = new(2)
    close(compiled(x), x)
    with pytest.raises(CaptureError, match="same memory"):
        compiled(state[:2])


def test_guard_a_parameter_that_is_also_an_argument():
    w = new(3, requires_grad=True)
    compiled = ts.compile(lambda x: (x * w).sum())
    for x in (new(3, seed=2, requires_grad=True), w, new(3, seed=3, requires_grad=True)):
        w.grad = x.grad = None
        compiled(x).backward()
        mine = w.grad, x.grad
        w.grad = x.grad = None
        (x * w).sum().backward()
        close(mine[0], w.grad)
        close(mine[1], x.grad)


def test_guard_the_same_argument_twice():
    def function(a, b, c):
        return a * 2.0 + b * 3.0 + c

    compiled = ts.compile(function)
    for _ in range(3):
        x, y = new(3), new(3, seed=1)
        for args in ((x, x, y), (x, y, x), (y, x, x), (x, y, new(3, seed=2)), (x, x, x)):
            close(compiled(*args), function(*args))
