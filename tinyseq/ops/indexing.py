"""Indexing with integers, slices, tensors and masks; gathering and scattering."""

import functools
from typing import Any, NamedTuple

import numpy as np

from tinyseq.backend import CPU, Array, Namespace, device_of, is_array
from tinyseq.core import dtypes, shapes
from tinyseq.core.define import op
from tinyseq.core.dispatch import STATE
from tinyseq.core.op import Value
from tinyseq.core.sample import Ints, Sample
from tinyseq.core.shapes import Shape
from tinyseq.errors import ArgumentError, CaptureError, DimError, DTypeError
from tinyseq.ops.creation import filled, to_device
from tinyseq.ops.shaping import narrow_, select_, sum_to, unsqueeze


class Span(NamedTuple):
    """A slice, in a form that can be compared and printed."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None


# A key as operations store it: integers, Spans, None for a new dimension, Ellipsis, and ARRAY for each index array
ARRAY = "array"


def _real(key: tuple[Any, ...], indices: tuple[Array, ...]) -> tuple[Any, ...]:
    arrays = iter(indices)
    return tuple(slice(*k) if isinstance(k, Span) else next(arrays) if k is ARRAY or k == ARRAY else k for k in key)


def _indexed(x: Shape, *indices: Shape, key: tuple[Any, ...]) -> Shape:
    stand_in = np.broadcast_to(np.zeros((), bool), x)
    return stand_in[_real(key, tuple(np.zeros(s, np.intp) for s in indices))].shape


def add_at(xp: Namespace, out: Array, key: tuple[Any, ...], values: Array) -> None:
    """Add `values` to `out` at `key`, also where the key names a place several times.

    NumPy's `add.at` is quick for one index array over one dimension and slow for the rest. So a key of open index
    arrays for every dimension becomes one array of flat places (measured for 8192 of (8192, 50): 0.04 ms against
    0.12), and whole rows are sorted by their index and summed by segments (8192 rows of 64 into 50: 1.2 ms against
    4.5).
    """
    all_arrays = all(hasattr(k, "dtype") for k in key)
    if xp is not np or not all_arrays or out.ndim == 1 or values.size < 128 or len(key) not in (1, out.ndim):
        xp.add.at(out, key, values)
        return
    counted = [np.where(k < 0, k + n, k).astype(np.intp, copy=False) for k, n in zip(key, out.shape, strict=False)]
    if len(key) == out.ndim:
        flat = functools.reduce(lambda total, kn: total * kn[1] + kn[0], zip(counted, out.shape, strict=True), 0)
        np.add.at(out.reshape(-1), np.broadcast_to(flat, values.shape).reshape(-1), values.reshape(-1))
    else:
        places = counted[0].reshape(-1)
        order = places.argsort(kind="stable")
        sorted_places = places[order]
        starts = np.flatnonzero(np.diff(sorted_places, prepend=-1))
        rows = values.reshape(-1, *out.shape[1:])
        out[sorted_places[starts]] += np.add.reduceat(rows[order], starts, axis=0)


STRIDED = {"key": (Span(0, 3, 2), Span())}
FANCY = {"key": (ARRAY, Span(), ARRAY)}


@op(
    shape=_indexed,
    view=True,
    label="[·]",
    samples=(
        Sample(((3, 4),), params=STRIDED),
        Sample(((4, 2, 3), Ints((2, 1), 4), Ints((5,), 3)), params=FANCY),
    ),
)
def index(xp: Namespace, x: Array, *indices: Array, key: tuple[Any, ...]) -> Array:
    """Return the elements of `x` at `key`, whose index arrays are `indices`."""
    return x[_real(key, indices)]


@op(
    shape=lambda g, *indices, shape, key: shape,
    samples=(
        Sample(((2, 4),), params={"shape": (3, 4), **STRIDED}),
        Sample(((2, 5, 2), Ints((2, 1), 4), Ints((5,), 3)), params={"shape": (4, 2, 3), **FANCY}),
    ),
)
def index_back(xp: Namespace, g: Array, *indices: Array, shape: Shape, key: tuple[Any, ...]) -> Array:
    """Return zeros of `shape` to which `g` is added at `key`: the transpose of `index`."""
    out = xp.zeros(shape, g.dtype)
    if indices:
        add_at(xp, out, _real(key, indices), g)
    else:
        out[_real(key, ())] = g
    return out


index.defvjp(x=lambda g, x_shape, indices, key: index_back(g, *indices, shape=x_shape, key=key))
index_back.defvjp(g=lambda g, indices, key: index(g, *indices, key=key))


def _put_shape(x: Shape, value: Shape, *indices: Shape, key: tuple[Any, ...]) -> Shape:
    shapes.elementwise(_indexed(x, *indices, key=key), value)
    return x


@op(
    shape=_put_shape,
    label="[·]=",
    samples=(
        Sample(((3, 4), (4,)), params={"key": (1,)}),
        Sample(((4, 2, 3), (2,), [[0], [2]], [0, 1]), params=FANCY),
    ),
)
def put_(xp: Namespace, x: Array, value: Array, *indices: Array, key: tuple[Any, ...]) -> Array:
    """Return a copy of `x` that holds `value`, broadcast, at `key`."""
    out = x.copy()
    out[_real(key, indices)] = value
    return out


def _put_value(g: Value, value_shape: Shape, indices: tuple[Value, ...], key: tuple[Any, ...]) -> Value:
    return sum_to(index(g, *indices, key=key), shape=value_shape)


put_.defvjp(x=lambda g, indices, key: put_(g, 0.0, *indices, key=key), value=_put_value)


def _arrays_and_key(x: Value, key: Any) -> tuple[list[Any], tuple[Any, ...]]:
    """Sort a Python index into index arrays and a key that operations can store."""
    arrays: list[Any] = []
    stored: list[Any] = []
    parts = key if isinstance(key, tuple) else (key,)
    for position, k in enumerate(parts):
        if k is None or k is Ellipsis:
            stored.append(k)
        elif isinstance(k, slice):
            stored.append(Span(*(None if v is None else v.__index__() for v in (k.start, k.stop, k.step))))
        elif isinstance(k, bool | np.bool_):
            raise DTypeError("index: a single bool is no index; use a mask of the tensor's shape")
        elif hasattr(k, "__index__") and not hasattr(k, "shape"):
            stored.append(k.__index__())
        else:
            for a in _index_arrays(x, k, parts, position):
                arrays.append(a)
                stored.append(ARRAY)
    return arrays, tuple(stored)


def _index_arrays(x: Value, k: Any, parts: tuple[Any, ...], position: int) -> list[Any]:
    value = k
    if isinstance(k, list | range | tuple):
        value = to_device(np.asarray(k), device=device_of(x), source=CPU)
    if not hasattr(value, "dtype"):
        raise DTypeError(f"index: got {type(k).__name__}; wanted integers, slices, tensors, lists, None or ...")
    if value.dtype == dtypes.bool_:
        after = any(p is Ellipsis for p in parts[:position])
        dim = len(x.shape) - sum(map(_taken, parts[position:])) if after else sum(map(_taken, parts[:position]))
        covered = x.shape[dim : dim + len(value.shape)]
        if tuple(value.shape) != tuple(covered):
            raise DimError(f"index: a mask of shape {list(value.shape)} does not fit {list(covered)} at dim {dim}")
        return list(nonzero_of(value))
    if value.dtype.kind not in "iu":
        raise DimError(f"index: got a tensor of dtype {value.dtype}; wanted integers or booleans")
    return [value]


def _taken(part: Any) -> int:
    """Return how many dimensions a part of an index takes."""
    if part is None or part is Ellipsis:
        return 0
    if isinstance(part, list | range) or hasattr(part, "dtype"):
        value = part if hasattr(part, "dtype") else np.asarray(part)
        return len(value.shape) if value.dtype == dtypes.bool_ else 1
    return 1


def nonzero_of(mask: Value) -> tuple[Array, ...]:
    """Return the indices at which `mask` is true, as arrays: needs its values, so it cannot be captured."""
    array = mask
    if hasattr(mask, "payload"):
        STATE.get().bottom.know(mask, "index")
        array = mask.payload
    if not is_array(array):
        raise CaptureError(
            "index: how many elements a mask selects is not known while a function is being captured; "
            "use where(mask, x, other) or masked_fill instead"
        )
    found: tuple[Array, ...] = array.nonzero()
    return found


def getitem(x: Value, key: Any) -> Value:
    """Return `x[key]`: integers, slices, None, `...`, integer tensors and masks, as in PyTorch."""
    if type(key) is int and x.shape:
        size = x.shape[0]
        if not -size <= key < size:
            raise DimError(f"index {key} is out of range for size {size} of dim 0")
        return select_(x, dim=0, index=key + size if key < 0 else key)
    arrays, stored = _arrays_and_key(x, key)
    if arrays:
        return index(x, *arrays, key=stored)
    return _basic(x, stored)


def _basic(x: Value, key: tuple[Any, ...]) -> Value:
    """Index with integers, spans, None and Ellipsis only: one operation for each dimension that changes."""
    taken = sum(k is not None and k is not Ellipsis for k in key)
    if taken > len(x.shape):
        raise DimError(f"index: {taken} indices for a tensor of {len(x.shape)} dimensions, shape {list(x.shape)}")
    if Ellipsis not in key:
        key = (*key, Ellipsis)
    dim = 0
    for k in key:
        if k is Ellipsis:
            dim = len(x.shape) - sum(v is not None for v in key[key.index(Ellipsis) + 1 :])
        elif k is None:
            x = unsqueeze(x, dim)
            dim += 1
        elif isinstance(k, Span):
            x = _spanned(x, dim, k)
            dim += 1
        else:
            size = x.shape[dim]
            if not -size <= k < size:
                raise DimError(f"index {k} is out of range for size {size} of dim {dim}")
            x = select_(x, dim=dim, index=k % size)
    return x


def _spanned(x: Value, dim: int, span: Span) -> Value:
    size = x.shape[dim]
    start, stop, step = slice(*span).indices(size)
    if step < 0:
        raise ArgumentError(f"index: got a step of {step}, wanted a positive one; use flip")
    if step != 1:
        return index(x, key=(*[Span()] * dim, Span(start, max(stop, start), step)))
    if start == 0 and stop == size:
        return x
    return narrow_(x, dim=dim, start=start, stop=max(stop, start))


def put(x: Value, key: Any, value: Value) -> Value:
    """Return a copy of `x` that holds `value` at `key`: what `x[key] = value` assigns."""
    if isinstance(value, bool | int | float):
        value = filled(x, (), value)
    elif not hasattr(value, "dtype"):
        value = to_device(np.asarray(value, x.dtype), device=device_of(x), source=CPU)
    arrays, stored = _arrays_and_key(x, key)
    return put_(x, value, *arrays, key=stored)


__all__ = ["Span", "getitem", "index", "index_back", "nonzero_of", "put", "put_"]
