"""Orders: sorting, the k largest, extrema with their indices, medians."""

from typing import Any, NamedTuple

from tinyseq.backend import Array, Namespace
from tinyseq.core import dtypes, shapes
from tinyseq.core.define import op
from tinyseq.core.op import Value
from tinyseq.core.sample import Sample
from tinyseq.core.shapes import dim_of
from tinyseq.errors import ArgumentError
from tinyseq.ops import elementwise, reduction
from tinyseq.ops.gathering import gather_
from tinyseq.ops.reduction import amax, amin, argmax, argmin
from tinyseq.ops.shaping import flatten, flip_, narrow_, reshape_, select_, unsqueeze

LINES = (
    Sample(((3, 4),), params={"dim": 1, "descending": False}, apart=True),
    Sample(((3, 4),), params={"dim": 0, "descending": True}, apart=True),
)


class Found(NamedTuple):
    """Values, and the indices at which they stand along the dimension."""

    values: Value
    indices: Value


@op(shape=shapes.same, dtype=dtypes.int64, samples=LINES, differentiable=False)
def argsort_(xp: Namespace, x: Array, *, dim: int, descending: bool) -> Array:
    """Return the indices that sort `x` along `dim`; equal elements keep their order."""
    if not x.ndim:
        return xp.zeros((), dtypes.int64)
    if not descending:
        return xp.argsort(x, axis=dim, kind="stable").astype(dtypes.int64, copy=False)
    backwards = xp.argsort(xp.flip(x, dim), axis=dim, kind="stable")
    return (x.shape[dim] - 1 - xp.flip(backwards, dim)).astype(dtypes.int64, copy=False)


def argsort(input: Value, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Value:
    """Return the indices that sort `input` along `dim`; equal elements always keep their order."""
    return argsort_(input, dim=dim_of(dim, len(input.shape)), descending=bool(descending))


def taken(x: Value, dim: int, indices: Value) -> Value:
    """Return the elements at `indices` along `dim`, also of a 0-d value."""
    return gather_(x, indices, dim=dim) if x.shape else x


def sort(input: Value, dim: int = -1, descending: bool = False, *, stable: bool = True) -> Found:
    """Return `input` sorted along `dim`, and the indices that sort it."""
    d = dim_of(dim, len(input.shape))
    order = argsort_(input, dim=d, descending=bool(descending))
    return Found(taken(input, d, order), order)


def topk(input: Value, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Found:
    """Return the `k` largest (or smallest) elements along `dim`, in order, and their indices.

    Raises
    ------
    ArgumentError
        If there are fewer than `k`.
    """
    d = dim_of(dim, len(input.shape))
    size = input.shape[d] if input.shape else 1
    if not 0 <= k <= size:
        raise ArgumentError(f"topk: got k={k} for size {size} of dim {dim}")
    order = argsort_(input, dim=d, descending=bool(largest))
    order = narrow_(order, dim=d, start=0, stop=k) if input.shape else order
    return Found(taken(input, d, order), order)


def _at(input: Value, indices: Value, dim: int, keepdim: bool) -> Found:
    """Return the elements at `indices`, which has size 1 along `dim`."""
    values = taken(input, dim, indices)
    if keepdim or not input.shape:
        return Found(values, indices)
    return Found(select_(values, dim=dim, index=0), select_(indices, dim=dim, index=0))


def max(input: Value, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the largest element; along `dim`, values and indices; or the larger of `input` and a second tensor."""
    if dim is None:
        return amax(input)
    if hasattr(dim, "shape"):
        return elementwise.maximum(input, dim)
    d = dim_of(dim, len(input.shape))
    return _at(input, argmax(input, d, True), d, keepdim)


def min(input: Value, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest element; along `dim`, values and indices; or the smaller of `input` and a second tensor."""
    if dim is None:
        return amin(input)
    if hasattr(dim, "shape"):
        return elementwise.minimum(input, dim)
    d = dim_of(dim, len(input.shape))
    return _at(input, argmin(input, d, True), d, keepdim)


def kthvalue(input: Value, k: int, dim: int = -1, keepdim: bool = False) -> Found:
    """Return the `k`-th smallest element along `dim`, counted from 1, and its index."""
    d = dim_of(dim, len(input.shape))
    size = input.shape[d] if input.shape else 1
    if not 1 <= k <= size:
        raise ArgumentError(f"kthvalue: got k={k} for size {size} of dim {dim}")
    order = argsort_(input, dim=d, descending=False)
    picked = narrow_(order, dim=d, start=k - 1, stop=k) if input.shape else order
    return _at(input, picked, d, keepdim)


def median(input: Value, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the median, the lower one of two; along `dim`, values and indices. NaN if there is any."""
    if dim is None:
        return reshape_(median(flatten(input), 0, True).values, shape=())
    d = dim_of(dim, len(input.shape))
    size = input.shape[d] if input.shape else 1
    found = kthvalue(input, (size + 1) // 2, d, True)
    worst = kthvalue(input, size, d, True)  # NaN sorts last
    broken = elementwise.ne(worst.values, worst.values)
    return _at(input, elementwise.where(broken, worst.indices, found.indices), d, keepdim)


def msort(input: Value) -> Value:
    """Return `input` sorted along its first dimension."""
    return sort(input, 0).values


RUNNING = (
    Sample(((3, 4),), params={"dim": 1, "largest": True}, apart=True),
    Sample(((3, 4),), params={"dim": 0, "largest": False}, apart=True),
)


@op(shape=shapes.same, dtype=dtypes.int64, samples=RUNNING, differentiable=False)
def cumargmax_(xp: Namespace, x: Array, *, dim: int, largest: bool) -> Array:
    """Return for each place along `dim` the index of the extremum up to there, the last one of several."""
    if not x.ndim or not x.size:
        return xp.zeros(x.shape, dtypes.int64)
    extremum = _running(xp.maximum if largest else xp.minimum, x, dim)
    hit = (x == extremum) | (x != x)
    places = xp.arange(x.shape[dim]).reshape([-1 if i == dim else 1 for i in range(x.ndim)])
    return _running(xp.maximum, xp.where(hit, places, 0), dim)


def _running(join: Any, x: Array, dim: int) -> Array:
    """Return the running results of `join` along `dim`, in log2(n) steps (CuPy has no `accumulate` for it)."""
    out = x.copy()
    lines = out.swapaxes(0, dim)
    step = 1
    while step < len(lines):
        lines[step:] = join(lines[step:], lines[:-step])
        step *= 2
    return out


def cummax(input: Value, dim: int) -> Found:
    """Return the largest element up to each place along `dim`, and its index."""
    d = dim_of(dim, len(input.shape))
    indices = cumargmax_(input, dim=d, largest=True)
    return Found(taken(input, d, indices), indices)


def cummin(input: Value, dim: int) -> Found:
    """Return the smallest element up to each place along `dim`, and its index."""
    d = dim_of(dim, len(input.shape))
    indices = cumargmax_(input, dim=d, largest=False)
    return Found(taken(input, d, indices), indices)


def nanmedian(input: Value, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the median of what is not NaN, the lower one of two; along `dim`, values and indices."""
    if dim is None:
        return reshape_(nanmedian(flatten(input), 0, True).values, shape=())
    d = dim_of(dim, len(input.shape))
    if not input.shape:
        return Found(input, argsort_(input, dim=0, descending=False))
    counted = reduction.sum(elementwise.eq(input, input), d, True)
    place = elementwise.maximum(elementwise.floor_divide(elementwise.sub(counted, 1), 2), 0)
    order = argsort_(input, dim=d, descending=False)
    return _at(input, gather_(order, place, dim=d), d, keepdim)


def mode(input: Value, dim: int = -1, keepdim: bool = False) -> Found:
    """Return the most frequent element along `dim` (the smallest of several), and the last index where it stands."""
    d = dim_of(dim, len(input.shape))
    if not input.shape:
        return Found(input, argsort_(input, dim=0, descending=False))
    ordered = sort(input, d)
    same = elementwise.eq(unsqueeze(ordered.values, d), unsqueeze(ordered.values, d + 1))
    first = argmax(reduction.sum(same, d + 1), d, True)
    value = gather_(ordered.values, first, dim=d)
    size = input.shape[d]
    backwards = argmax(elementwise.cast(flip_(elementwise.eq(input, value), dim=(d,)), dtype=dtypes.int64), d, True)
    return _at(input, size - 1 - backwards, d, keepdim)


SEARCHED = Sample(([0.0, 0.5, 0.5, 1.0], (2, 3)), params={"right": False})


@op(shape=lambda sorted, values, *, right: values, dtype=dtypes.int64, samples=(SEARCHED,), differentiable=False)
def searchsorted_(xp: Namespace, sorted: Array, values: Array, *, right: bool) -> Array:
    """Return where in the ascending numbers `sorted` (N,) each of `values` belongs."""
    return xp.searchsorted(sorted, values, "right" if right else "left").astype(dtypes.int64, copy=False)


def searchsorted(
    sorted_sequence: Value,
    values: Value,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Value | None = None,
) -> Value:
    """Return where in ascending numbers (..., N) each of `values` (..., M) belongs; after equal ones if `right`.

    `sorter` holds the indices that sort `sorted_sequence`, if it is not sorted.
    """
    line = sorted_sequence if sorter is None else gather_(sorted_sequence, sorter, dim=len(sorter.shape) - 1)
    after = bool(right) or side == "right"
    if len(line.shape) == 1:
        found = searchsorted_(line, values, right=after)
    else:
        below = (elementwise.le if after else elementwise.lt)(unsqueeze(line, -2), unsqueeze(values, -1))
        found = reduction.sum(below, -1)
    return elementwise.cast(found, dtype=dtypes.int32) if out_int32 else found


def bucketize(input: Value, boundaries: Value, *, out_int32: bool = False, right: bool = False) -> Value:
    """Return the number of the interval between ascending `boundaries` (N,) in which each element lies."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


__all__ = [
    "Found", "argsort", "argsort_", "bucketize", "cumargmax_", "cummax", "cummin", "kthvalue", "max", "median", "min",
    "mode", "msort", "nanmedian", "searchsorted", "searchsorted_", "sort", "taken", "topk",
]  # fmt: skip
