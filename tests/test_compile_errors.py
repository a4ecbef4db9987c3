"""What a compiled function refuses: changes that no guard sees, and programs that cannot be captured."""

import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import arr, close, new
from tinyseq import nn
from tinyseq.core.dispatch import STATE
from tinyseq.errors import CaptureError

F = nn.functional
HERE = Path(__file__).name


# Re-checks


def test_rechecks_are_few_and_change_nothing():
    w = new(3, requires_grad=True)
    mean = ts.zeros(3)
    ticks = iter(range(1000))  # no guard sees the state of an iterator

    @ts.compile
    def step(x):
        next(ticks)
        w.grad = None
        with ts.no_grad():
            mean.add_(x)
        (w * x).sum().backward()

    for i in range(1, 41):
        step(ts.ones(3))
        close(mean, np.full(3, i, np.float32))
        close(w.grad, np.ones(3, np.float32))
    assert next(ticks) == 7  # the capture, and calls 2, 3, 4, 8, 16, 32


@pytest.mark.parametrize("what", ["constant", "branch", "longer", "shorter", "result", "array", "operand", "tensor"])
def test_a_change_that_no_guard_sees_is_an_error(what):
    ticks = iter([0, 0, 1, 1, 1, 1])  # an iterator's state is hidden

    def function(x):
        n = next(ticks)
        y = x + 1.0
        if what == "constant":
            y = y * float(n + 1)
        if what == "branch":
            y = y * 2.0 if n else y + 2.0
        if what == "longer" and n:
            y = y * 2.0
        if what == "shorter" and not n:
            y = y * 2.0
        if what == "array":
            y = y * ts.tensor([float(n)])
        if what == "operand":  # an array of NumPy
            y = y * np.array([n], np.float32)
        if what == "tensor":
            y = y * (other if n else one)
        return (y, n) if what == "result" else y

    one, other = ts.ones(1), ts.zeros(1)
    compiled = ts.compile(function)
    x = new(3)
    compiled(x)
    compiled(x)
    with pytest.raises(CaptureError, match="now") as caught:
        compiled(x)
    assert "argument" in str(caught.value)
    if what in ("constant", "branch", "operand"):
        assert HERE in str(caught.value)
    assert compiled(x) is not None  # captured anew


def test_rechecks_can_be_switched_off():
    ticks = iter(range(100))
    compiled = ts.compile(lambda x: x * float(next(ticks) + 1), recheck=False)
    for _ in range(9):
        close(compiled(ts.ones(2)), np.ones(2, np.float32))


# Errors


def test_an_error_names_the_users_line():
    def function(x):
        y = x * 2.0
        return 1.0 if float(y.sum()) > 0 else 2.0  # this line

    with pytest.raises(CaptureError, match="not known") as caught:
        ts.compile(function)(new(3))
    line = function.__code__.co_firstlineno + 2
    assert f"{HERE}:{line}, in function" in str(caught.value)


def test_an_error_inside_tinyseq_names_the_users_line():
    def function(x):
        return F.one_hot(x)  # this line

    with pytest.raises(CaptureError) as caught:
        ts.compile(function)(ts.tensor([1, 2]))
    assert f"{HERE}:{function.__code__.co_firstlineno + 1}, in function" in str(caught.value)


def test_an_error_that_the_function_catches_is_raised_all_the_same():
    def function(x):
        try:
            scale = float(x.sum())  # this line
        except RuntimeError:
            scale = 0.0
        return x * scale

    with pytest.raises(CaptureError, match="not known") as caught:
        ts.compile(function)(new(3))
    assert f"{HERE}:{function.__code__.co_firstlineno + 2}, in function" in str(caught.value)


class Mine(Exception):
    pass


def test_an_exception_leaves_everything_usable():
    w = new(3, requires_grad=True)
    w.grad = held = ts.ones(3)
    mean = ts.zeros(3)
    wrong = [True]

    def step(x):
        w.grad = None
        with ts.no_grad():
            mean.add_(x)
            w.sub_(x)
        (w * x).sum().backward()
        if wrong[0]:
            raise Mine("my own")
        return w.grad

    compiled = ts.compile(step)
    before = w.detach().numpy().copy()
    state = STATE.get()
    with pytest.raises(Mine, match=r"^my own$"):
        compiled(ts.ones(3))
    assert STATE.get() is state
    assert w.grad is held
    close(w, before)
    close(mean, np.zeros(3, np.float32))
    close(w * 2.0, before * np.float32(2))
    wrong[0] = False
    close(compiled(ts.ones(3)), np.ones(3, np.float32))
    close(mean, np.ones(3, np.float32))


def test_an_error_during_replay_changes_nothing():
    table, total = new(4, 2), ts.zeros(2)

    @ts.compile
    def lookup(i):
        total.add_(1.0)
        return table[i]

    lookup(ts.tensor([1, 2]))
    lookup(ts.tensor([1, 2]))
    with pytest.raises(IndexError):
        lookup(ts.tensor([1, 9]))
    close(total, np.full(2, 2.0, np.float32))
    close(lookup(ts.tensor([3, 0])), table[ts.tensor([3, 0])])


def test_leaked_tensors_are_refused():
    kept = []

    @ts.compile
    def function(x):
        y = x * 2.0
        kept.append(y)
        return y

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(new(3))
    with pytest.raises(CaptureError, match="after its capture ended"):
        kept[0] + 1.0
    with pytest.raises(CaptureError, match="captur"):
        kept[0].numpy()
    with pytest.raises(CaptureError, match="another captured function"):
        ts.compile(lambda: kept[0] * 2.0)()


def test_numpy_arguments_are_refused():
    with pytest.raises(CaptureError, match="argument 0 is a NumPy array"):
        ts.compile(lambda x: ts.tensor(x))(arr(3))


def test_changed_containers_among_the_arguments_are_refused():
    def function(x, found):
        found.append(x * 2.0)

    found = []
    with pytest.raises(CaptureError, match="changes a list"):
        ts.compile(function)(new(3), found)
    assert found == []


def test_histories_from_outside_must_be_arguments():
    h = new(3, requires_grad=True) * 2.0
    with pytest.raises(CaptureError, match="argument"):
        ts.compile(lambda x: (x * h).sum())(new(3))
    close(ts.compile(lambda x: (x * h.detach()).sum())(new(3)), (new(3) * h).sum())


def test_writes_with_history_are_refused():
    buffer = ts.zeros(3)
    w = new(3, requires_grad=True)
    with pytest.raises(CaptureError, match="need gradients"):
        ts.compile(lambda x: buffer.add_(x * w))(new(3))
    assert not buffer.requires_grad
    close(buffer, np.zeros(3, np.float32))


def test_a_view_is_not_read_after_a_write_to_what_it_looks_at():
    def function(x):
        y = x * 1.0
        view = y[:2]
        y.add_(1.0)
        return view * 2.0

    with pytest.raises(CaptureError, match="looks at was modified"):
        ts.compile(function)(new(3))
