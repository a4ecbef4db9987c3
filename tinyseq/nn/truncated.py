"""Truncated backpropagation through time: training on sequences that are too long to go back through whole."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tinyseq import ops
from tinyseq.autograd import Tensor, is_grad_enabled, no_grad
from tinyseq.core.dispatch import describe
from tinyseq.errors import ArgumentError, DTypeError, GradientError, ShapeError
from tinyseq.nn.cell import Cell
from tinyseq.nn.recurrent import Bidirectional, Recurrent
from tinyseq.nn.rnn import RNNBase
from tinyseq.nn.state import describe_state, detach_state
from tinyseq.nn.unroll import valid_steps


class Piece(NamedTuple):
    """One piece of a long sequence, run with what gradients may flow back through.

    Attributes
    ----------
    steps
        Its time steps: `y[steps]` are the targets that belong to `output` (`y[:, steps]` where the batch is first).
    output
        The outputs of these steps.
    state
        The state after the last of them, without its history.
    """

    steps: slice
    output: Any
    state: Any


def truncated_bptt(
    run: Callable[..., Any],
    x: Any,
    *,
    k1: int,
    k2: int | None = None,
    state: Any = None,
    lengths: Any = None,
    mask: Any = None,
    batch_first: bool | None = None,
    **options: Any,
) -> Iterator[Piece]:
    """Run over a long sequence in pieces of `k1` steps, each with a gradient that reaches back `k2` steps.

    Each piece is for one step of the optimizer. It is BPTT(h; h') with h = k2 and h' = k1 of R. J. Williams, J. Peng,
    "An efficient gradient-based algorithm for on-line training of recurrent network trajectories", Neural Computation
    2 (1990): the losses of the last k1 steps, differentiated through the last k2 steps; what lies before is constant.

    - `k2 == k1`: the sequence is cut between the pieces (`nn.detach_state`).
    - `k2 > k1`: a piece goes through the k2 - k1 steps before it as well. They are run again from the state in which
      they began, with the parameters of now: so gradients are those of one function, although the optimizer has
      changed the parameters since, and the forward work is k2 / k1 times that of a single pass.
    - `k2 < k1`: the first k1 - k2 steps of a piece only carry the state on. Their outputs have no history, so their
      losses train what stands behind `run`, but not `run`. (To cut every k2 steps and count every loss in full, take
      pieces of k2 steps, and let the optimizer step after several.)

    Without gradients (`no_grad`) nothing is run twice.

    Parameters
    ----------
    run
        What runs over time: called as `run(x, state)` with some steps of `x` and None or a state, nested or not, it
        returns their outputs and the state after them. An `nn.Recurrent` around any cell, `nn.RNN`, `nn.LSTM`,
        `nn.GRU`, a model with them inside, a function with a loop over a cell; or one of these compiled: it sees
        pieces of the same shapes again and again.
    x
        (T, B, ...), or (B, T, ...) with `batch_first`: data. Layers before the recurrent one belong into `run`.
    k1
        The number of time steps in a piece; the last piece has those that are left.
    k2
        The number of time steps that gradients reach back from the end of a piece; `k1` if left out.
    state
        The state before the first step. Gradients reach its history from the first piece alone.
    lengths, mask
        Which steps count, as for `nn.Recurrent`; `run` is given its part of the mask as `mask=`. Losses must leave out
        the other steps themselves.
    batch_first
        Whether sequences are (B, T, ...); as `run` says, if left out.
    options
        Handed to every call of `run`, as `context=`.

    Raises
    ------
    ArgumentError
        If `k1` or `k2` is not a positive integer, or `run` walks backward in time, is stateful, or is a bare cell.
    ShapeError, DTypeError
        If `x`, `lengths` or `mask` do not fit, or `run` returns something else than it should.
    GradientError
        If `x` has a history.

    >>> import tinyseq
    >>> from tinyseq import nn, optim
    >>> rnn, head = nn.Recurrent(nn.GRUCell(3, 4)), nn.Linear(4, 1)
    >>> optimizer = optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.1)
    >>> x, y = tinyseq.randn(10, 2, 3), tinyseq.randn(10, 2, 1)
    >>> for steps, output, _ in nn.truncated_bptt(rnn, x, k1=4, k2=6):
    ...     optimizer.zero_grad()
    ...     nn.functional.mse_loss(head(output), y[steps]).backward()
    ...     optimizer.step()
    ...     print(steps.start, steps.stop)
    0 4
    4 8
    8 10
    """
    k2 = k1 if k2 is None else k2
    for name, value in {"k1": k1, "k2": k2}.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ArgumentError(
                f"truncated_bptt: got {name}={value!r}, wanted a positive integer: a number of time steps"
            )
    model = _model(run)
    _check_run(run, model)
    if batch_first is None:
        batch_first = bool(getattr(model, "batch_first", False))
    if not isinstance(x, Tensor):
        raise DTypeError(f"truncated_bptt: got {type(x).__name__}, wanted a tensor")
    dim = 1 if batch_first else 0
    if x.ndim <= dim or x.shape[dim] == 0:
        order = "(B, T, ...)" if batch_first else "(T, B, ...)"
        raise ShapeError(f"truncated_bptt: got shape {list(x.shape)}, wanted {order} with at least one time step")
    if x.requires_grad and not x.is_leaf:
        raise GradientError(
            "truncated_bptt: got an x with a history, which the first backward would use up; call the layers that made "
            "it in `run`, or pass x.detach()"
        )
    if lengths is not None or mask is not None:
        if x.ndim < 2:
            raise ShapeError(f"truncated_bptt: got shape {list(x.shape)} with lengths or a mask, wanted a batch")
        valid = valid_steps("truncated_bptt", x.shape[dim], x.shape[1 - dim], lengths, mask, batch_first, x.device)
        options["mask"] = ops.transpose(valid, 0, 1) if batch_first else valid
    return _pieces(run, x, dim, k1, k2, state, options)


def _pieces(
    run: Callable[..., Any], x: Any, dim: int, k1: int, k2: int, state: Any, options: dict[str, Any]
) -> Iterator[Piece]:
    """Yield the pieces; `held` is the state at the step `at`, from which the next piece will be run."""
    steps, held, at = x.shape[dim], state, 0
    for first in range(0, steps, k1):
        stop = min(first + k1, steps)
        before = max(0, k2 - k1) if is_grad_enabled() else 0
        start = max(at, first - before, stop - k2)  # where gradients end
        outputs = []
        if at < start:
            with no_grad():
                output, held = _run(run, x, dim, at, start, held, options)
            outputs.append(output)
        state, at = held, max(0, first + k1 - before)
        held = None if held is None else detach_state(held)  # the next piece may begin where this one does
        # Parts of k1 steps, so that a compiled `run` meets few shapes
        cuts = {start, *range(start, first, k1), max(start, first), stop} | ({at} if start < at < stop else set())
        for a, b in itertools.pairwise(sorted(cuts)):
            output, state = _run(run, x, dim, a, b, state, options)
            if a >= first:
                outputs.append(output)
            if b == at:
                held = detach_state(state)
        piece = Piece(
            slice(first, stop), outputs[0] if len(outputs) == 1 else ops.cat(outputs, dim), detach_state(state)
        )
        del outputs, output, state  # the graph must go with the piece
        yield piece
        del piece


def _run(
    run: Callable[..., Any], x: Any, dim: int, a: int, b: int, state: Any, options: dict[str, Any]
) -> tuple[Any, Any]:
    """Run over the time steps `a` to `b`."""
    part = (slice(None),) * dim + (slice(a, b),)
    if "mask" in options:
        options = {**options, "mask": options["mask"][part]}
    result = run(x[part], state, **options)
    if type(result) is not tuple or len(result) != 2:
        what = describe_state(result) if isinstance(result, tuple) else describe(result)
        raise DTypeError(f"truncated_bptt: run returned {what}, wanted a pair (output, state)")
    output = result[0]
    if not isinstance(output, Tensor) or output.shape[dim : dim + 1] != (b - a,):
        wanted = f"(B, {b - a}, ...)" if dim else f"({b - a}, B, ...)"
        raise ShapeError(
            f"truncated_bptt: run returned an output {describe(output)} for {b - a} time steps, wanted {wanted}: "
            "that of every step"
        )
    return result


def _model(run: Any) -> Any:
    """Return the module that `run` is, or that was compiled; None if there is none."""
    modules = getattr(run, "modules", None)
    return next(iter(modules())) if callable(modules) else None


def _check_run(run: Any, model: Any) -> None:
    """Raise if pieces of a sequence, run one after the other and again, do not make up the sequence."""
    if not callable(run):
        raise DTypeError(f"truncated_bptt: got {type(run).__name__} to run, wanted a driver, a model or a function")
    name = type(model).__name__
    if isinstance(model, Cell):
        raise ArgumentError(f"truncated_bptt: got the cell {name}, wanted what runs over time: nn.Recurrent(cell)")
    backward = (isinstance(model, Recurrent) and model.reverse) or (isinstance(model, RNNBase) and model.bidirectional)
    if backward or isinstance(model, Bidirectional):
        raise ArgumentError(
            f"truncated_bptt: {name} walks backward in time, from the end of the sequence; wanted a forward one"
        )
    for module in model.modules() if model is not None else ():
        if isinstance(module, Recurrent) and module.stateful:
            raise ArgumentError(
                f"truncated_bptt: {name} has a Recurrent with stateful=True, whose state would go on where a piece is "
                "run again; leave it out, the state is carried on here"
            )
