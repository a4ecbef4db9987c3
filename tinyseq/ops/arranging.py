"""Rearranging made of views, joins and splits."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from tinyseq.core import shapes
from tinyseq.core.op import Value
from tinyseq.core.shapes import Shape, called, dim_of
from tinyseq.errors import ArgumentError, DimError, ShapeError
from tinyseq.ops.creation import filled
from tinyseq.ops.shaping import (
    broadcast_to,
    cat,
    cat_,
    flip_,
    narrow_,
    permute_,
    reshape,
    reshape_,
    select_,
    split,
    stack,
    sum_to,
    transpose,
    unsqueeze,
)


def _several(values: tuple[Any, ...]) -> list[Any]:
    """Return the tensors that a function was given, one by one or as one sequence."""
    return list(values[0]) if len(values) == 1 and not hasattr(values[0], "shape") else list(values)


# Dimensions


def movedim(input: Value, source: Any, destination: Any) -> Value:
    """Return `input` with the dimensions `source` moved to `destination`."""
    n = len(input.shape)
    sources = (source,) if hasattr(source, "__index__") else tuple(source)
    destinations = (destination,) if hasattr(destination, "__index__") else tuple(destination)
    moved = {dim_of(b, n): dim_of(a, n) for a, b in zip(sources, destinations, strict=True)}
    if len(moved) != len(sources) or len(set(moved.values())) != len(sources):
        raise ShapeError(f"movedim: source {source} or destination {destination} names a dimension twice")
    if not n:
        return input
    rest = iter(d for d in range(n) if d not in moved.values())
    return permute_(input, dims=tuple(moved[d] if d in moved else next(rest) for d in range(n)))


def ravel(input: Value) -> Value:
    """Return the elements of `input` in one dimension."""
    return reshape(input, -1) if math.prod(input.shape) else reshape_(input, shape=(0,))


def expand_as(input: Value, other: Value) -> Value:
    """Repeat `input` to the shape of `other`, as broadcasting does."""
    return broadcast_to(input, shape=tuple(other.shape))


def reshape_as(input: Value, other: Value) -> Value:
    """Return `input` in the shape of `other`."""
    return reshape(input, tuple(other.shape))


def sum_to_size(input: Value, *size: Any) -> Value:
    """Return `input` summed to the shape `size`, from which it might have been broadcast."""
    return sum_to(input, shape=shapes.resolve(size))


def broadcasted(input: Value, size: Sequence[int]) -> Value:
    """Repeat `input` to the shape `size`, as broadcasting does."""
    return broadcast_to(input, shape=tuple(size))


def broadcast_tensors(*tensors: Value) -> list[Value]:
    """Return the tensors repeated to their common shape."""
    values = _several(tensors)
    shape = shapes.elementwise(*(tuple(v.shape) for v in values))
    return [broadcast_to(v, shape=shape) for v in values]


def atleast_1d(*tensors: Any) -> Any:
    """Return the tensors, those without dimensions with one."""
    return _each(lambda x: x if x.shape else reshape_(x, shape=(1,)), tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Return the tensors with two dimensions or more: a vector becomes a row."""
    return _each(_rowed, tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Return the tensors with three dimensions or more: a vector (N,) becomes (1, N, 1)."""
    return _each(lambda x: x if len(x.shape) > 2 else unsqueeze(_rowed(x), 2), tensors)


def _rowed(x: Value) -> Value:
    return x if len(x.shape) > 1 else reshape_(x, shape=(1, math.prod(x.shape)))


def _each(change: Any, tensors: tuple[Any, ...]) -> Any:
    if len(tensors) == 1 and hasattr(tensors[0], "shape"):
        return change(tensors[0])
    return tuple(change(t) for t in _several(tensors))


# Joins


def hstack(tensors: Sequence[Value]) -> Value:
    """Join tensors from left to right: along the second dimension, vectors along their only one."""
    values = [atleast_1d(t) for t in tensors]
    return cat(values, 0 if values and len(values[0].shape) == 1 else 1)


def vstack(tensors: Sequence[Value]) -> Value:
    """Join tensors from top to bottom: along the first dimension, vectors as rows."""
    return cat([_rowed(t) for t in tensors], 0)


def dstack(tensors: Sequence[Value]) -> Value:
    """Join tensors along the third dimension."""
    return cat([atleast_3d(t) for t in tensors], 2)


def column_stack(tensors: Sequence[Value]) -> Value:
    """Join tensors from left to right, vectors as columns."""
    return cat([t if len(t.shape) > 1 else reshape_(t, shape=(math.prod(t.shape), 1)) for t in tensors], 1)


def meshgrid(*tensors: Any, indexing: str = "ij") -> list[Value]:
    """Return the coordinates of a grid: each vector repeated along the dimensions of the others.

    Raises
    ------
    ArgumentError
        If `indexing` is neither "ij" (first vector along the rows) nor "xy" (along the columns).
    """
    if indexing not in ("ij", "xy"):
        raise ArgumentError(f"meshgrid: got indexing {indexing!r}, wanted 'ij' or 'xy'")
    values = _several(tensors)
    swap = indexing == "xy" and len(values) > 1
    if swap:
        values[:2] = values[1::-1]
    shape = tuple(math.prod(v.shape) for v in values)
    grids = [
        broadcast_to(reshape_(v, shape=tuple(n if j == i else 1 for j, n in enumerate(shape))), shape=shape)
        for i, v in enumerate(values)
    ]
    if swap:
        grids[:2] = grids[1::-1]
        return [transpose(g, 0, 1) for g in grids]
    return grids


def cartesian_prod(*tensors: Value) -> Value:
    """Return all combinations of one element of each vector, as rows."""
    grids = [reshape(g, -1) for g in meshgrid(*tensors)]
    return stack(grids, 1) if len(grids) > 1 else grids[0]


def block_diag(*tensors: Value) -> Value:
    """Return a matrix with the matrices `tensors` along its diagonal and zeros elsewhere."""
    blocks = [_rowed(t) for t in tensors]
    width = sum(b.shape[1] for b in blocks)
    rows, start = [], 0
    for b in blocks:
        n, m = b.shape
        left, right = (filled(b, (n, w)) for w in (start, width - start - m))
        rows.append(cat_(left, b, right, dim=1))
        start += m
    return cat(rows, 0)


# Order


def roll(input: Value, shifts: Any, dims: Any = None) -> Value:
    """Return `input` with its elements moved on by `shifts` along `dims`; what leaves comes back at the start."""
    if dims is None or dims == ():
        return reshape_(roll(ravel(input), shifts, 0), shape=tuple(input.shape))
    steps = (shifts,) if hasattr(shifts, "__index__") else tuple(shifts)
    wanted = (dims,) if hasattr(dims, "__index__") else tuple(dims)
    for step, dim in zip(steps, wanted, strict=True):
        d = dim_of(dim, len(input.shape))
        size = input.shape[d] if input.shape else 0
        cut = size - step % size if size else 0
        if cut not in (0, size):
            tail, head = narrow_(input, dim=d, start=cut, stop=size), narrow_(input, dim=d, start=0, stop=cut)
            input = cat_(tail, head, dim=d)
    return input


def rot90(input: Value, k: int = 1, dims: Sequence[int] = (0, 1)) -> Value:
    """Return `input` turned by `k` right angles, from the first of `dims` towards the second."""
    a, b = (dim_of(d, len(input.shape)) for d in dims)
    if k % 4 == 0:
        return input
    if k % 4 == 2:
        return flip_(input, dim=(a, b))
    return transpose(flip_(input, dim=(b,)), a, b) if k % 4 == 1 else flip_(transpose(input, a, b), dim=(b,))


def fliplr(input: Value) -> Value:
    """Return `input` in reverse order along its second dimension."""
    return flip_(input, dim=(dim_of(1, len(input.shape)),))


def flipud(input: Value) -> Value:
    """Return `input` in reverse order along its first dimension."""
    return flip_(input, dim=(0,))


def repeat_interleave(input: Value, repeats: Any, dim: int | None = None, *, output_size: Any = None) -> Value:
    """Return `input` with each slice along `dim` repeated: a number of times, or one number for each slice."""
    x = ravel(input) if dim is None else input
    d = 0 if dim is None else dim_of(dim, len(x.shape))
    x = x if x.shape else reshape_(x, shape=(1,))
    size = x.shape[d]
    counts = (
        [int(r) for r in (repeats.tolist() if hasattr(repeats, "tolist") else repeats)] if _is_listed(repeats) else []
    )
    if len(counts) > 1:
        if len(counts) != size:
            raise ShapeError(f"repeat_interleave: got {len(counts)} counts for size {size}")
        parts = [broadcast_to(p, shape=_sized(p.shape, d, n)) for p, n in zip(split(x, 1, d), counts, strict=True)]
        return cat(parts, d)
    times = counts[0] if counts else int(repeats)
    wide = broadcast_to(unsqueeze(x, d + 1), shape=(*x.shape[: d + 1], times, *x.shape[d + 1 :]))
    return reshape_(wide, shape=_sized(x.shape, d, size * times))


def _is_listed(repeats: Any) -> bool:
    return bool(repeats.shape) if hasattr(repeats, "shape") else not hasattr(repeats, "__index__")


def _sized(shape: Shape, dim: int, size: int) -> Shape:
    return (*shape[:dim], size, *shape[dim + 1 :])


# Parts


def select(input: Value, dim: int, index: int) -> Value:
    """Return the slice `index` of `input` along `dim`, which is dropped."""
    d = dim_of(dim, len(input.shape))
    size = input.shape[d]
    if not -size <= index < size:
        raise DimError(f"select: index {index} is out of range for size {size} of dim {dim}")
    return select_(input, dim=d, index=index % size)


def tensor_split(input: Value, indices_or_sections: Any, dim: int = 0) -> list[Value]:
    """Cut `input` along `dim` into a number of nearly equal parts, or before each of several indices."""
    d = dim_of(dim, len(input.shape))
    size = input.shape[d]
    how = indices_or_sections
    how = how.tolist() if hasattr(how, "tolist") else how
    if hasattr(how, "__index__"):
        if how < 1:
            raise ArgumentError(f"tensor_split: got {how} sections, wanted at least 1")
        cuts = list(itertools.accumulate(size // how + (i < size % how) for i in range(how)))[:-1]
    else:
        cuts = [slice(0, int(c)).indices(size)[1] for c in how]
    edges = [0, *cuts, size]
    return [narrow_(input, dim=d, start=a, stop=b if b > a else a) for a, b in itertools.pairwise(edges)]


def hsplit(input: Value, indices_or_sections: Any) -> list[Value]:
    """Cut `input` from left to right: along its second dimension, a vector along its only one."""
    return _cut("hsplit", input, indices_or_sections, 0 if len(input.shape) == 1 else 1)


def vsplit(input: Value, indices_or_sections: Any) -> list[Value]:
    """Cut `input` from top to bottom: along its first dimension."""
    return _cut("vsplit", input, indices_or_sections, 0)


def dsplit(input: Value, indices_or_sections: Any) -> list[Value]:
    """Cut `input` along its third dimension."""
    return _cut("dsplit", input, indices_or_sections, 2)


def _cut(name: str, input: Value, how: Any, dim: int) -> list[Value]:
    if hasattr(how, "__index__") and input.shape[dim_of(dim, len(input.shape))] % how:
        raise ShapeError(f"{name}: shape {list(input.shape)} cannot be cut into {how} equal parts along dim {dim}")
    return tensor_split(input, how, dim)


def unfold(input: Value, dimension: int, size: int, step: int) -> Value:
    """Return the windows of `size` along `dimension`, `step` apart; what they hold is a new last dimension."""
    if not input.shape:
        return (
            reshape_(input, shape=(1,))
            if size
            else reshape_(narrow_(reshape_(input, shape=(1,)), dim=0, start=0, stop=0), shape=(0,))
        )
    d = dim_of(dimension, len(input.shape))
    length = input.shape[d]
    if not 0 <= size <= length or step < 1:
        raise ArgumentError(f"unfold: size {size} and step {step} do not fit size {length} of dim {dimension}")
    starts = range(0, length - size + 1, step)
    windows = [movedim(narrow_(input, dim=d, start=a, stop=a + size), d, -1) for a in starts]
    return stack(windows, d)


def trapezoid(y: Value, x: Value | None = None, *, dx: Any = 1, dim: int = -1) -> Value:
    """Return the integral of `y` along `dim` by the trapezoidal rule, at points `x` or `dx` apart."""
    areas, d = _areas(y, x, dx, dim)
    return areas.sum(d)


def cumulative_trapezoid(y: Value, x: Value | None = None, *, dx: Any = 1, dim: int = -1) -> Value:
    """Return the running integral of `y` along `dim` by the trapezoidal rule, at points `x` or `dx` apart."""
    areas, d = _areas(y, x, dx, dim)
    return areas.cumsum(d)


def _areas(y: Value, x: Value | None, dx: Any, dim: int) -> tuple[Value, int]:
    def steps(v: Value, d: int) -> tuple[Value, Value]:
        size = v.shape[d]
        return narrow_(v, dim=d, start=min(1, size), stop=size), narrow_(v, dim=d, start=0, stop=max(size - 1, 0))

    d = dim_of(dim, len(y.shape))
    high, low = steps(y, d)
    if x is None:
        return (high + low) * (dx * 0.5), d
    if len(x.shape) == 1 and len(y.shape) > 1:
        x = reshape_(x, shape=tuple(x.shape[0] if i == d else 1 for i in range(len(y.shape))))
    right, left = steps(x, d - len(y.shape) + len(x.shape))
    return (high + low) * (right - left) * 0.5, d


def constant_pad(input: Value, pad: Sequence[int], value: float = 0.0) -> Value:
    """Return `input` with `value` around it: `pad` names (before, after), from the last dimension on; negative cuts."""
    if len(pad) % 2 or len(pad) > 2 * len(input.shape):
        raise ArgumentError(f"{called()}pad {list(pad)} does not fit {len(input.shape)} dimensions")
    for i in range(len(pad) // 2):
        d = len(input.shape) - 1 - i
        before, after = pad[2 * i], pad[2 * i + 1]
        size = input.shape[d]
        first, last = max(0, -before), size - max(0, -after)
        if last < first or size + before + after < 0:
            raise ShapeError(f"{called()}pad {list(pad)} cuts more than shape {list(input.shape)} has")
        input = narrow_(input, dim=d, start=first, stop=last) if (first, last) != (0, size) else input
        ends = [filled(input, _sized(input.shape, d, n), value) if n > 0 else None for n in (before, after)]
        parts = [p for p in (ends[0], input, ends[1]) if p is not None]
        input = cat_(*parts, dim=d) if len(parts) > 1 else input
    return input


__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_tensors", "broadcasted", "cartesian_prod",
    "column_stack", "constant_pad", "cumulative_trapezoid", "dsplit", "dstack", "expand_as", "fliplr", "flipud",
    "hsplit", "hstack", "meshgrid", "movedim", "ravel", "repeat_interleave", "reshape_as", "roll", "rot90", "select",
    "sum_to_size", "tensor_split", "trapezoid", "unfold", "vsplit", "vstack",
]  # fmt: skip
