"""The driver of recurrent cells: the loop over time.

Everything is done with ordinary operations, so the loop can be differentiated, captured and drawn like any other
computation. A step that a mask leaves out keeps the state, reads zeros and gives zeros, so that neither values nor
gradients of padding reach anything.
"""

from typing import Any

import numpy as np

from tinyseq import ops
from tinyseq.autograd import Tensor
from tinyseq.autograd.creation import arange, as_tensor
from tinyseq.core import dtypes
from tinyseq.core.dispatch import STATE, describe
from tinyseq.core.tape import Node
from tinyseq.errors import ArgumentError, CaptureError, DeviceError, DTypeError, ShapeError
from tinyseq.nn.cell import RECORDER, Cell
from tinyseq.nn.state import conform, describe_state, map_state, named_leaves


class Recorder:
    """Collects the states and the tapped values of every step."""

    def __init__(self, cell: Cell) -> None:
        self.root = cell._path()
        self.steps: dict[str, dict[int, Any]] = {}
        self.now = 0

    def tapped(self, cell: Cell, named: dict[str, Any]) -> None:
        """Take the values that `cell` names at the present step."""
        below = cell._path().removeprefix(self.root).split(".")
        prefix = "".join(f"{label}." for label in below if label not in ("", "cell"))  # wrappers call theirs "cell"
        for name, value in named.items():
            self.add(prefix + name, value)

    def states(self, state: Any) -> None:
        """Take the state after the present step."""
        for name, value in named_leaves(state):
            self.add(name, value)

    def add(self, name: str, value: Any) -> None:
        """Take one value; a later one of the same name and step replaces it."""
        self.steps.setdefault(name, {})[self.now] = value.detach()

    def stacked(self, valid: Any, steps: int) -> dict[str, Any]:
        """Return every value for all steps, (T, B, ...), with zeros where `valid` is false."""
        found = {}
        for name, values in self.steps.items():
            if len(values) != steps:
                raise ArgumentError(f"record: {name!r} was tapped at {len(values)} of {steps} steps; tap it at each")
            whole = ops.stack([values[t] for t in range(steps)])
            found[name] = whole if valid is None else hide(whole, valid)
        return found


def unroll(
    cell: Cell,
    x: Tensor,
    state: Any,
    context: Any = None,
    valid: Any = None,
    reverse: bool = False,
    return_sequences: bool = True,
    recorder: Recorder | None = None,
) -> tuple[Any, Any]:
    """Run `cell` over time.

    Parameters
    ----------
    x
        (T, B, ...), with zeros where `valid` is false.
    state
        The state to start from, of the structure that the cell wants.
    valid
        Booleans (T, B): which steps count; None for all.
    reverse
        Walk from the last step to the first. Outputs stay at the place of their inputs.
    return_sequences
        Return the outputs of all steps (T, B, ...), or the one at the end of each sequence's walk (B, ...).

    Raises
    ------
    ShapeError, DTypeError
        If `step` returns something else than an output and a state of the right structure and shapes.
    """
    steps, batch = x.shape[:2]
    masks = None if valid is None else ops.unsqueeze(valid, -1)
    outputs: list[Any] = [None] * steps
    takes_context, step, select, last, mask = cell._takes_context, cell.step, ops.select_, None, None
    kind, names, start = type(state), state._fields, state
    scopes = cell.timeline(steps)
    entered = STATE.set(cell._entered(STATE.get()))
    recording = RECORDER.set(recorder)
    t = 0
    try:
        context = cell.prepare(context, batch)
        xs = _checked(cell, cell.inputs(x, context), steps)
        for t in range(steps - 1, -1, -1) if reverse else range(steps):
            STATE.set(scopes[t])
            x_t = select(xs, dim=0, index=t) if type(xs) is not tuple else _at(xs, t)
            if recorder is not None:
                recorder.now = t
            result = step(x_t, state, context) if takes_context else step(x_t, state)
            if type(result) is not tuple or len(result) != 2:
                raise DTypeError(f"{_name(cell)}: returned {_what(result)}, wanted a pair (output, state)")
            output, new = result
            # Shapes that fit after the first step fit after all; masks would hide what does not
            if type(new) is not kind or ((last is None or mask is not None) and not _fits(new, state)):
                new = conform(new, state, f"{_name(cell)} at time step {t}, returned state")
            if last is None and not isinstance(output, Tensor):
                raise DTypeError(
                    f"{_name(cell)}: returned an output {_what(output)}, wanted a tensor ({batch}, ...); the order is "
                    "(output, state)"
                )
            if last is None and output.shape[:1] != (batch,):
                raise ShapeError(
                    f"{_name(cell)}: returned an output {_what(output)}, wanted ({batch}, ...) for a batch of {batch}; "
                    "does the cell mix up time and batch?"
                )
            if masks is not None:
                mask = select(masks, dim=0, index=t)
                new = map_state(lambda after, before: _keep(mask, after, before), new, state)  # noqa: B023
            state = new
            for name, part in zip(names, state):  # noqa: B905 -- strict=True takes longer
                node = part.node if type(part) is Tensor else _node_of(part)
                if type(node) is Node:
                    node.name = name  # type: ignore[attr-defined]  # a slot
            if recorder is not None:
                recorder.states(state)
            if return_sequences or mask is None or last is None:
                last = output if mask is None or return_sequences else _keep(mask, output, 0.0)
            else:
                last = _keep(mask, output, last)
            outputs[t] = last
        if not _fits(state, start):
            raise ShapeError(
                f"{_name(cell)} at some time step up to {t}, returned state: got a state {describe_state(state)}, "
                f"wanted {describe_state(start)}"
            )
    except Exception as error:
        error.add_note(
            f"at time step {t} of {type(cell).__name__}; x: {list(x.shape[1:])}, state: {describe_state(state)}"
        )
        raise
    finally:
        RECORDER.reset(recording)
        STATE.reset(entered)
    if not return_sequences:
        return last, state
    whole = ops.stack(outputs)
    return whole if valid is None else hide(whole, valid), state


def _node_of(state: Any) -> Any:
    """Return the node of a tensor; name those in a nested state by their fields instead."""
    if isinstance(state, Tensor):
        return state.node
    for name, part in zip(getattr(state, "_fields", ()), state, strict=False):
        node = _node_of(part)
        if type(node) is Node:
            node.name = name  # type: ignore[attr-defined]  # a slot
    return None


def _checked(cell: Cell, xs: Any, steps: int) -> Any:
    """Return what a cell made of its inputs, if it is still something for each time step."""
    for _, leaf in named_leaves(xs):
        if not isinstance(leaf, Tensor) or leaf.shape[:1] != (steps,):
            raise ShapeError(
                f"{type(cell).__name__}.project: returned {describe_state(leaf)} for {steps} time steps, "
                f"wanted a tensor ({steps}, B, ...)"
            )
    return xs


def _at(xs: Any, t: int) -> Any:
    return tuple(_at(x, t) for x in xs) if isinstance(xs, tuple) else ops.select_(xs, dim=0, index=t)


def _fits(new: Any, old: Any) -> bool:
    """Tell whether a new state has the shapes of the old one, both of one type."""
    for a, b in zip(new, old, strict=True):
        if isinstance(b, tuple):
            if type(a) is not type(b) or not _fits(a, b):
                return False
        elif not isinstance(a, Tensor) or a.shape != b.shape:
            return False
    return True


def _keep(mask: Any, after: Any, before: Any) -> Any:
    """Return `after` for the sequences in `mask` (B, 1), `before` for the others."""
    dims = len(after.shape)
    if dims != 2:
        mask = ops.reshape(mask, (-1, *[1] * (dims - 1)))
    return ops.where(mask, after, before)


def hide(values: Any, valid: Any) -> Any:
    """Return `values` (T, B, ...) with zeros where `valid` (T, B) is false."""
    shape = (*valid.shape, *[1] * (len(values.shape) - 2))
    return ops.masked_fill(values, ops.logical_not(ops.reshape(valid, shape)), 0)


def _name(cell: Cell) -> str:
    return f"{type(cell).__name__}.step"


def _what(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple {describe_state(value)}"
    return type(value).__name__ if value is None or isinstance(value, dict | list | set) else describe(value)


def time_first(name: str, x: Any, lengths: Any, mask: Any, batch_first: bool) -> tuple[Any, Any]:
    """Return the sequences (T, B, ...), with zeros where a step does not count, and which steps do: see `valid_steps`.

    Raises
    ------
    ShapeError, ArgumentError, DTypeError
        If `x` is no batch of sequences, or `lengths` or `mask` do not fit it.
    """
    order = "(B, T, ...)" if batch_first else "(T, B, ...)"
    if not isinstance(x, Tensor):
        raise DTypeError(
            f"{name}: got {type(x).__name__}, wanted a tensor {order}; sequences of several lengths are padded, with "
            "lengths="
        )
    if x.ndim < 2:
        raise ShapeError(f"{name}: got shape {list(x.shape)}, wanted {order}")
    if x.shape[1 if batch_first else 0] == 0:
        raise ShapeError(f"{name}: got shape {list(x.shape)}, wanted {order} with at least one time step")
    x = ops.transpose(x, 0, 1) if batch_first else x
    valid = valid_steps(name, x.shape[0], x.shape[1], lengths, mask, batch_first, x.device)
    return (x if valid is None else hide(x, valid)), valid


def valid_steps(
    name: str, steps: int, batch: int, lengths: Any, mask: Any, batch_first: bool, device: Any
) -> Tensor | None:
    """Return which steps count, as booleans (T, B); None if all do.

    Parameters
    ----------
    lengths
        The number of steps of each sequence: B integers from 0 to T.
    mask
        Booleans (T, B), or (B, T) with `batch_first`: true where a step counts.

    Raises
    ------
    ShapeError, ArgumentError, DTypeError
        If they do not fit T and B.
    """
    valid = None
    if mask is not None:
        valid = as_tensor(mask, device=device)
        wanted = (batch, steps) if batch_first else (steps, batch)
        if valid.dtype != dtypes.bool_:
            raise DTypeError(f"{name}: got a mask of dtype {valid.dtype}, wanted bool, as x != padding")
        if valid.shape != wanted:
            raise ShapeError(f"{name}: got a mask of shape {list(valid.shape)}, wanted {list(wanted)}")
        valid = ops.transpose(valid, 0, 1) if batch_first else valid
    if lengths is not None:
        _check_lengths(name, steps, lengths)
        ends = as_tensor(lengths, device=device)
        if ends.dtype.kind not in "iu":
            raise DTypeError(f"{name}: got lengths of dtype {ends.dtype}, wanted integers")
        if ends.shape != (batch,):
            raise ShapeError(
                f"{name}: got lengths of shape {list(ends.shape)}, wanted [{batch}]: one for each sequence"
            )
        inside = ops.lt(ops.unsqueeze(arange(steps, device=device), 1), ends)
        valid = inside if valid is None else ops.logical_and(valid, inside)
    return valid


def _check_lengths(name: str, steps: int, lengths: Any) -> None:
    """Raise if a length is out of range, where the values are at hand."""
    try:
        values = np.asarray(lengths.detach().numpy() if isinstance(lengths, Tensor) else lengths)
    except (CaptureError, DeviceError):
        return
    if values.size and values.dtype.kind in "iu" and (values.min() < 0 or values.max() > steps):
        raise ArgumentError(
            f"{name}: got lengths from {values.min()} to {values.max()}, wanted 0 to {steps} (time steps)"
        )
