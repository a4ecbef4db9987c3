"""Taking and putting elements by index, by mask, and where conditions hold."""

import math
from typing import Any

import numpy as np

from tinyseq.backend import Array, Namespace, device_of
from tinyseq.core import dtypes, shapes
from tinyseq.core.define import op
from tinyseq.core.op import Value
from tinyseq.core.sample import Bools, Sample
from tinyseq.core.shapes import dim_of
from tinyseq.errors import DTypeError, ShapeError
from tinyseq.ops import elementwise
from tinyseq.ops.arranging import broadcast_tensors, ravel
from tinyseq.ops.creation import filled, full_
from tinyseq.ops.elementwise import abs, add, cast, eq, le, logical_and, logical_or, mul, ne, sub
from tinyseq.ops.gathering import gather_
from tinyseq.ops.indexing import (
    ARRAY,
    Span,
    index,
    index_back,
    nonzero_of,
    put,
    put_,
)
from tinyseq.ops.reduction import all, cumsum_
from tinyseq.ops.shaping import broadcast_to, narrow_, reshape_, stack, unsqueeze

_picked = index  # for functions that have a parameter of that name


def _along(x: Value, dim: int, indices: Value, what: str) -> tuple[int, tuple[Any, ...], Value]:
    """Return `dim` counted from the front, and the key that picks `indices` along it."""
    d = dim_of(dim, len(x.shape))
    if indices.dtype.kind not in "iu" or len(indices.shape) > 1:
        raise ShapeError(f"{what}: got indices {indices.dtype}{list(indices.shape)}, wanted integers in one dimension")
    return d, (*[Span()] * d, ARRAY), reshape_(indices, shape=(math.prod(indices.shape),))


def index_select(input: Value, dim: int, index: Value) -> Value:
    """Return the slices of `input` along `dim` that the integer tensor `index` (N,) names."""
    if not input.shape:
        return index_select(reshape_(input, shape=(1,)), dim, index).reshape(())
    _, key, indices = _along(input, dim, index, "index_select")
    return _picked(input, indices, key=key)


def index_add(input: Value, dim: int, index: Value, source: Value, *, alpha: float = 1) -> Value:
    """Return `input` with `alpha * source` added at the slices along `dim` that `index` (N,) names."""
    if not input.shape:
        return index_add(reshape_(input, shape=(1,)), dim, index, reshape_(source, shape=(1,)), alpha=alpha).reshape(())
    _, key, indices = _along(input, dim, index, "index_add")
    scaled = source if alpha == 1 else mul(source, alpha)
    return add(input, index_back(scaled, indices, shape=tuple(input.shape), key=key))


def index_copy(input: Value, dim: int, index: Value, source: Value) -> Value:
    """Return `input` with the slices along `dim` that `index` (N,) names replaced by those of `source`."""
    if not input.shape:
        return index_copy(reshape_(input, shape=(1,)), dim, index, reshape_(source, shape=(1,))).reshape(())
    _, key, indices = _along(input, dim, index, "index_copy")
    return put_(input, source, indices, key=key)


def index_fill(input: Value, dim: int, index: Value, value: Any) -> Value:
    """Return `input` with the slices along `dim` that `index` (N,) names filled with one value."""
    if not input.shape:
        return index_fill(reshape_(input, shape=(1,)), dim, index, value).reshape(())
    d, _, indices = _along(input, dim, index, "index_fill")
    nowhere = full_(shape=(input.shape[d],), value=False, dtype=dtypes.bool_, device=device_of(input))
    named = put_(nowhere, filled(nowhere, (), True), indices, key=(ARRAY,))
    mask = reshape_(named, shape=tuple(n if i == d else 1 for i, n in enumerate(input.shape)))
    return masked_fill(input, mask, value)


def index_put(input: Value, indices: Any, values: Value, accumulate: bool = False) -> Value:
    """Return `input` with `values` at `indices`, a tuple of tensors; added to what is there if `accumulate`."""
    if not accumulate:
        return put(input, tuple(indices), values)
    arrays = [a for i in indices for a in (nonzero_of(i) if i.dtype == dtypes.bool_ else (i,))]
    key = (ARRAY,) * len(arrays)
    there = index(input, *arrays, key=key)
    return add(input, index_back(broadcast_to(values, shape=tuple(there.shape)), *arrays, shape=input.shape, key=key))


def take(input: Value, index: Value) -> Value:
    """Return the elements that `index` names in the flattened `input`."""
    return _picked(ravel(input), index, key=(ARRAY,))


def put_flat(input: Value, index: Value, source: Value, accumulate: bool = False) -> Value:
    """Return `input` with `source` at the places `index` of the flattened tensor; added if `accumulate`."""
    shape, flat = tuple(input.shape), ravel(input)
    values, indices = ravel(source), ravel(index)
    if accumulate:
        changed = add(flat, index_back(values, indices, shape=tuple(flat.shape), key=(ARRAY,)))
    else:
        changed = put_(flat, values, indices, key=(ARRAY,))
    return reshape_(changed, shape=shape)


def take_along_dim(input: Value, indices: Value, dim: int | None = None) -> Value:
    """Return the elements that `indices` names along `dim`, broadcast elsewhere; in the flattened tensor without."""
    if dim is None:
        return _picked(ravel(input), ravel(indices), key=(ARRAY,))
    n = len(input.shape)
    d = dim_of(dim, n)
    if len(indices.shape) != n:
        raise ShapeError(f"take_along_dim: indices {list(indices.shape)} and input {list(input.shape)} differ in rank")
    common = shapes.elementwise(*(tuple(1 if i == d else k for i, k in enumerate(v.shape)) for v in (input, indices)))

    def wide(v: Value) -> Value:
        return broadcast_to(v, shape=(*common[:d], v.shape[d], *common[d + 1 :]))

    places = wide(indices)
    behind = elementwise.lt(places, 0)  # counted from the end
    return gather_(wide(input), elementwise.where(behind, add(places, input.shape[d]), places), dim=d)


# Masks


@op(
    shape=shapes.elementwise,
    dtype=lambda x, mask, **params: x,
    samples=(
        Sample(((3, 2), Bools((3, 2))), params={"value": 2.0}),
        Sample(((3, 2), Bools((2,))), params={"value": 0.0}),
    ),
    elementwise=True,
)
def masked_fill_(xp: Namespace, x: Array, mask: Array, *, value: float) -> Array:
    """Return `x` with `value` where `mask` is true."""
    return xp.where(mask, xp.asarray(value, x.dtype), x)


masked_fill_.defvjp(x=lambda g, mask: masked_fill_(g, mask, value=0.0))


def masked_fill(x: Value, mask: Value, value: Any) -> Value:
    """Return `x` with the number or 0-d tensor `value` where the boolean `mask` is true."""
    if mask.dtype != dtypes.bool_:
        raise DTypeError(f"masked_fill: got a mask of dtype {mask.dtype}; wanted bool")
    if hasattr(value, "shape"):
        return elementwise.where(mask, value if value.dtype == x.dtype else cast(value, dtype=x.dtype), x)
    return masked_fill_(x, mask, value=float(value) if x.dtype.kind == "f" else int(value))


def masked_select(input: Value, mask: Value) -> Value:
    """Return the elements of `input` where `mask` is true, in one dimension; not while a function is captured."""
    x, where_ = broadcast_tensors(input, mask)
    return index(x, *nonzero_of(where_), key=(ARRAY,) * max(len(x.shape), 1)) if x.shape else _whether(x, where_)


def _whether(x: Value, mask: Value) -> Value:
    return index(reshape_(x, shape=(1,)), *nonzero_of(reshape_(mask, shape=(1,))), key=(ARRAY,))


def masked_scatter(input: Value, mask: Value, source: Value) -> Value:
    """Return `input` with the elements of `source`, in order, where `mask` is true."""
    x, where_ = broadcast_tensors(input, mask)
    order = reshape_(cumsum_(cast(ravel(where_), dtype=dtypes.int64), dim=0), shape=tuple(x.shape))
    last = math.prod(source.shape) - 1
    place = elementwise.maximum(elementwise.minimum(sub(order, 1), last), 0)
    return elementwise.where(where_, take(source, place), x)


def nonzero(input: Value, *, as_tuple: bool = False) -> Any:
    """Return the indices (N, dims) of the elements that are not 0; not while a function is captured."""
    found = [cast(i, dtype=dtypes.int64) for i in nonzero_of(input if input.shape else reshape_(input, shape=(1,)))]
    kind = getattr(type(input), "plain", None)
    columns = [kind(i) if kind else i for i in found]
    if as_tuple:
        return tuple(columns)
    rows = stack(columns, 1)
    return rows if input.shape else narrow_(rows, dim=1, start=0, stop=0)


# Replacing slices


def select_scatter(input: Value, src: Value, dim: int, index: int) -> Value:
    """Return `input` with `src` in place of its slice `index` along `dim`."""
    return put(input, (*[slice(None)] * dim_of(dim, len(input.shape)), index), src)


def slice_scatter(input: Value, src: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Value:
    """Return `input` with `src` in place of the slices `start:end:step` along `dim`."""
    return put(input, (*[slice(None)] * dim_of(dim, len(input.shape)), slice(start, end, step)), src)


# Comparing


def isclose(input: Value, other: Value, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Value:
    """Return whether `|input - other| <= atol + rtol |other|`, elementwise; equal infinities are close."""
    near = logical_and(le(abs(sub(input, other)), add(mul(abs(other), rtol), atol)), eq(sub(other, other), 0))
    near = logical_or(near, eq(input, other))
    return logical_or(near, logical_and(ne(input, input), ne(other, other))) if equal_nan else near


def allclose(input: Value, other: Value, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Tell whether all elements are close, in the sense of `isclose`."""
    return bool(all(isclose(input, other, rtol, atol, equal_nan)))


def equal(input: Value, other: Value) -> bool:
    """Tell whether two tensors have the same shape and elements."""
    return tuple(input.shape) == tuple(other.shape) and bool(all(eq(input, other)))


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Value:
    """Return whether each of `elements` is among `test_elements`; the opposite with `invert`."""
    among = ravel(test_elements) if hasattr(test_elements, "shape") else np.array([test_elements])
    x = elements if hasattr(elements, "shape") else np.array(elements)
    found = elementwise.gt(cast(eq(unsqueeze(x, -1), among), dtype=dtypes.int64).sum(-1), 0)
    return elementwise.logical_not(found) if invert else found


__all__ = [
    "allclose", "equal", "index_add", "index_copy", "index_fill", "index_put", "index_select", "isclose", "isin",
    "masked_fill", "masked_fill_", "masked_scatter", "masked_select", "nonzero", "put_flat", "select_scatter",
    "slice_scatter", "take", "take_along_dim",
]  # fmt: skip
