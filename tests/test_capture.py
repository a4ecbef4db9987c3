"""Capture: what is recorded of a function equals what it computes, and what cannot be recorded is refused."""

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import every_sample, inputs_of
from tinyseq.core.dispatch import override
from tinyseq.errors import CaptureError
from tinyseq.graph import Capture
from tinyseq.graph.replay import Replay


def forward_and_backward(op, sample, inputs):
    """Return the result of `op`, and what backward leaves in the inputs."""
    out = op(*inputs, **sample.params)
    out = out if isinstance(out, ts.Tensor) else ts.Tensor(out)
    if out.requires_grad:
        (out * out).sum().backward()
    return [out, *[x.grad for x in inputs]]


def captured(function):
    capture = Capture()
    with override(bottom=capture):
        results = function()
        payloads = [None if r is None else capture.read(r) for r in results]
    return capture, payloads


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@every_sample
def test_replay_equals_eager(op, sample, dtype):
    inputs = inputs_of(op, sample, dtype)
    capture, payloads = captured(lambda: forward_and_backward(op, sample, inputs))
    graph = capture.graph([p for p in payloads if p is not None])
    graph.check()
    ts.manual_seed(5)
    replayed = Replay(graph)([a for a, _ in capture.inputs.values()])
    ts.manual_seed(5)
    results = forward_and_backward(op, sample, inputs_of(op, sample, dtype))
    assert [r is None for r in results] == [p is None for p in payloads]
    for mine, wanted in zip(replayed, [r for r in results if r is not None], strict=True):
        assert mine.dtype == wanted.dtype
        np.testing.assert_array_equal(mine, wanted.detach().numpy())


@every_sample
def test_two_captures_have_one_signature(op, sample):
    def signature():
        inputs = inputs_of(op, sample, np.float64)
        capture, payloads = captured(lambda: forward_and_backward(op, sample, inputs))
        return capture.graph([p for p in payloads if p is not None]).signature()

    assert signature() == signature()


def run(function, *wanted):
    """Capture, replay with the arrays that were read, and compare."""
    capture, payloads = captured(function)
    for mine, value in zip(
        Replay(capture.graph(payloads))([a for a, _ in capture.inputs.values()]), wanted, strict=True
    ):
        np.testing.assert_array_equal(mine, value)
    return capture


def test_a_write_is_seen_by_all_that_share_the_memory():
    x = ts.tensor([1.0, 2.0])

    def program():
        y = x.detach()
        with ts.no_grad():
            x.add_(1.0)
        return y * 10.0, x

    capture = run(program, [20.0, 30.0], [2.0, 3.0])
    assert len(capture.inputs) == 1
    assert len(capture.written()) == 1
    np.testing.assert_array_equal(x.numpy(), [1.0, 2.0])  # nothing was computed


def test_gradients_that_are_equal_are_not_one():
    a, b = (ts.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))

    def program():
        (a + b).sum().backward()
        a.grad.mul_(3.0)
        return a.grad, b.grad

    run(program, [3.0, 3.0], [1.0, 1.0])


def test_gradients_are_noted_and_can_be_put_back():
    a = ts.tensor([1.0], requires_grad=True)
    before = a.grad = ts.tensor([5.0])
    capture, _ = captured(lambda: [(a * 2.0).sum().backward()])
    (slot,) = capture.slots.values()
    assert slot.before is before
    assert slot.peeked
    assert list(capture.written()) == [id(before.payload)]
    np.testing.assert_array_equal(before.numpy(), [5.0])


def test_a_gradient_that_is_replaced_first_is_not_looked_at():
    a = ts.tensor([1.0], requires_grad=True)

    def program():
        a.grad = None
        (a * 2.0).sum().backward()
        return [a.grad]

    capture, _ = captured(program)
    assert [s.peeked for s in capture.slots.values()] == [False]


@pytest.mark.parametrize(
    "look",
    [
        float,
        bool,
        int,
        lambda x: x.item(),
        lambda x: x.numpy(),
        lambda x: x.tolist(),
        np.asarray,
        lambda x: range(x),
        lambda x: ts.ones(1)[x > 0],
        lambda x: 1.0 in x,
        lambda x: ts.tensor([x, x]),
        lambda x: "a" if x > 0 else "b",
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_values_are_not_known(look, inside):
    outside = ts.tensor([2])

    def program():
        look(outside * 1 if inside else outside)
        return []

    with pytest.raises(CaptureError, match="not known"):
        captured(program)


def test_constants_that_the_function_makes_are_known():
    def program():
        sizes = ts.tensor([1, 2])
        return [ts.ones(int(sizes.detach().numpy().sum())) * sizes.numpy()[1]]

    run(program, [2.0, 2.0, 2.0])


def test_views_of_what_is_written_are_refused():
    x = ts.zeros(2, 3)

    def late():
        row = x[0]
        x.add_(1.0)
        return [row + 1.0]

    with pytest.raises(CaptureError, match="used after the memory"):
        captured(late)

    def through():
        x[0].add_(1.0)
        return [x]

    with pytest.raises(CaptureError, match="modified in place"):
        captured(through)


def test_a_view_before_a_write_that_is_not_read_again_is_fine():
    x = ts.ones(2, 3)

    def program():
        y = x[0] * 2.0
        x.add_(1.0)
        return y, x

    run(program, np.full(3, 2.0), np.full((2, 3), 2.0))


def test_data_cannot_be_replaced():
    x = ts.ones(2)

    def program():
        x.data = x * 2.0
        return []

    with pytest.raises(CaptureError, match="data"):
        captured(program)
    np.testing.assert_array_equal(x.numpy(), [1.0, 1.0])


def test_symbols_that_leak_are_refused():
    kept = []
    x = ts.ones(2, requires_grad=True)
    captured(lambda: [kept.append(x * 2.0)])
    for use in (
        lambda t: t + 1.0,
        lambda t: ts.stack([t, t]),
        lambda t: t.sum().backward(),
        lambda t: t.numpy(),
        lambda t: x.add_(t),
        lambda t: captured(lambda: [t * 2.0]),
    ):
        with ts.no_grad(), pytest.raises(CaptureError, match="captur"):
            use(kept[0].detach())
    with pytest.raises(CaptureError, match="captur"):
        kept[0].sum().backward()
    assert x.grad is None


def test_an_error_names_the_operation_and_the_shapes():
    x = ts.ones(2, 3)
    with pytest.raises(ts.errors.ShapeError, match=r"matmul: .*\[2, 3\]"):
        captured(lambda: [x @ x])
    assert isinstance((x + 1.0).payload, np.ndarray)
