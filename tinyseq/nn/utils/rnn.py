"""Sequences of different lengths: padded, and packed without the padding."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyseq import ops
from tinyseq.autograd import Tensor
from tinyseq.autograd.creation import as_tensor, full, tensor
from tinyseq.errors import ArgumentError, ShapeError


class PackedSequence(NamedTuple):
    """Sequences in one tensor, time step by time step, the longest sequence first; made by `pack_padded_sequence`.

    Attributes
    ----------
    data
        (sum of lengths, ...)
    batch_sizes
        How many sequences reach each time step: int64 (T).
    sorted_indices, unsorted_indices
        The order from longest to shortest, and the way back; None if they came in that order.
    """

    data: Any
    batch_sizes: Any
    sorted_indices: Any = None
    unsorted_indices: Any = None


def pad_sequence(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Return sequences (T_i, ...) as one tensor (T, B, ...), filled up with `padding_value` to the longest.

    Raises
    ------
    ArgumentError, ShapeError
        If there are none, or if they differ in more than their length.
    """
    if len(sequences) == 0 or padding_side not in ("left", "right"):
        raise ArgumentError(
            f"pad_sequence: got {len(sequences)} sequences, side {padding_side!r}; wanted some, 'left' or 'right'"
        )
    first = sequences[0]
    steps = max(s.shape[0] for s in sequences)
    padded = []
    for s in sequences:
        if s.shape[1:] != first.shape[1:]:
            raise ShapeError(
                f"pad_sequence: shapes {list(first.shape)} and {list(s.shape)} differ in more than their length"
            )
        if s.shape[0] < steps:
            rest = full((steps - s.shape[0], *s.shape[1:]), padding_value, dtype=s.dtype, device=s.device)
            s = ops.cat([s, rest] if padding_side == "right" else [rest, s], 0)
        padded.append(s)
    out: Tensor = ops.stack(padded, 0 if batch_first else 1)
    return out


def _lengths(lengths: Any, steps: int, batch: int) -> np.ndarray[Any, Any]:
    values = np.asarray(lengths.detach().cpu().numpy() if isinstance(lengths, Tensor) else lengths)
    if values.shape != (batch,) or values.dtype.kind not in "iu":
        raise ShapeError(
            f"pack_padded_sequence: got lengths {values.dtype}{list(values.shape)}, wanted {batch} integers"
        )
    if values.size and (values.min() < 1 or values.max() > steps):
        raise ArgumentError(
            f"pack_padded_sequence: got lengths from {values.min()} to {values.max()}, wanted 1 to {steps} (time steps)"
        )
    return values


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack padded sequences (T, B, ...) of the given lengths.

    Parameters
    ----------
    lengths
        B integers from 1 to T. Their values are needed, so they are no part of a captured program.
    enforce_sorted
        Raise unless the sequences come longest first; with False they are sorted.
    """
    x = ops.transpose(input, 0, 1) if batch_first else input
    steps, batch = x.shape[:2]
    ends = _lengths(lengths, steps, batch)
    order = np.argsort(-ends, kind="stable")
    if enforce_sorted and (np.diff(ends) > 0).any():
        raise ArgumentError("pack_padded_sequence: sequences must come longest first, or pass enforce_sorted=False")
    inside = np.arange(ends.max())[:, None] < ends[order]
    rows = (np.arange(ends.max())[:, None] * batch + order)[inside]
    data = ops.embedding_(ops.reshape(x, steps * batch, *x.shape[2:]), tensor(rows, device=x.device))
    sizes = tensor(inside.sum(1).astype(np.int64))
    if enforce_sorted:
        return PackedSequence(data, sizes)
    return PackedSequence(data, sizes, tensor(order, device=x.device), tensor(np.argsort(order), device=x.device))


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (T_i, ...)."""
    return pack_padded_sequence(pad_sequence(sequences), [s.shape[0] for s in sequences], enforce_sorted=enforce_sorted)


def _layout(packed: PackedSequence) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the row of `data` for each place (T, B) in the original order, -1 for padding, and the lengths."""
    sizes = as_tensor(packed.batch_sizes).detach().cpu().numpy()
    inside = np.arange(sizes.max())[None, :] < sizes[:, None]
    rows = np.where(inside, np.cumsum(inside.reshape(-1)).reshape(inside.shape) - 1, -1)
    lengths = inside.sum(0)
    if packed.unsorted_indices is not None:
        back = as_tensor(packed.unsorted_indices).detach().cpu().numpy()
        rows, lengths = rows[:, back], lengths[back]
    return rows, lengths


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the sequences as one tensor (T, B, ...) and their lengths (B), in the order in which they were packed.

    Parameters
    ----------
    total_length
        Pad to this many time steps instead of to the longest sequence.
    """
    rows, lengths = _layout(sequence)
    steps = len(rows)
    if total_length is not None:
        if total_length < steps:
            raise ArgumentError(f"pad_packed_sequence: got total_length {total_length}, wanted at least {steps}")
        rows = np.pad(rows, ((0, total_length - steps), (0, 0)), constant_values=-1)
    data = sequence.data
    blank = full((1, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    where = tensor(np.where(rows < 0, data.shape[0], rows), device=data.device)
    out = ops.embedding_(ops.cat([data, blank], 0), where)
    return (ops.transpose(out, 0, 1) if batch_first else out), tensor(lengths)


def unpacked(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """Return packed sequences as a padded tensor (T, B, ...) and their lengths."""
    return pad_packed_sequence(packed)


def pack_padded_like(output: Any, packed: PackedSequence) -> PackedSequence:
    """Pack `output` (T, B, ...), made from `packed`, as that was."""
    rows, _ = _layout(packed)
    places = np.argsort(rows.reshape(-1), kind="stable")[(rows < 0).sum() :]
    flat = ops.reshape(output, rows.size, *output.shape[2:])
    return packed._replace(data=ops.embedding_(flat, tensor(places, device=output.device)))
