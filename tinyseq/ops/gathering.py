"""Gathering and scattering along a dimension, and the rows of a table."""

import math
from typing import Any

import numpy as np

from tinyseq.backend import Array, Namespace, device_of
from tinyseq.core.define import op
from tinyseq.core.op import Value
from tinyseq.core.sample import Ints, Sample
from tinyseq.core.shapes import Shape, called, dim_of
from tinyseq.errors import ArgumentError, DimError, DTypeError, ShapeError
from tinyseq.ops.creation import filled, full_
from tinyseq.ops.elementwise import maximum, mul
from tinyseq.ops.indexing import Span, add_at, index_back
from tinyseq.ops.shaping import narrow_, reshape_


def _check_index(name: str, x: Shape, index: Shape, dim: int) -> None:
    if len(x) != len(index) or any(n > m for i, (n, m) in enumerate(zip(index, x, strict=True)) if i != dim):
        raise ShapeError(f"{name}: index of shape {list(index)} does not fit {list(x)} but for dim {dim}")


def _gathered(x: Shape, index: Shape, *, dim: int) -> Shape:
    _check_index("gather", x, index, dim)
    return index


def along(index: Array, dim: int, xp: Namespace) -> tuple[Any, ...]:
    """Return open index arrays that pick `index` along `dim` and count along every other dimension."""
    key = [xp.arange(n).reshape([-1 if i == d else 1 for i in range(index.ndim)]) for d, n in enumerate(index.shape)]
    key[dim] = index
    return tuple(key)


def _in_range(xp: Namespace, index: Array, size: int) -> Array:
    if index.dtype.kind not in "iu":
        raise DTypeError(f"{called()}got indices of dtype {index.dtype}; wanted integers, as index.to('int64')")
    if index.size and xp is np and (index.min() < 0 or index.max() >= size):
        raise DimError(f"{called()}indices run from {index.min()} to {index.max()}, wanted 0 to {size - 1}")
    return index


@op(
    shape=_gathered,
    samples=(
        Sample(((3, 4), Ints((2, 5), 4)), params={"dim": 1}),
        Sample(((3, 4), Ints((5, 4), 3)), params={"dim": 0}),
    ),
)
def gather_(xp: Namespace, x: Array, index: Array, *, dim: int) -> Array:
    """Return the elements of `x` that `index` names along `dim`."""
    return x[along(_in_range(xp, index, x.shape[dim]), dim, xp)]


@op(
    shape=lambda x, index, src, *, dim: x,
    label="scatter+",
    samples=(
        Sample(((3, 4), Ints((2, 5), 4), (3, 5)), params={"dim": 1}),
        Sample(((3, 4), Ints((5, 2), 3), (5, 4)), params={"dim": 0}),
    ),
)
def scatter_add_(xp: Namespace, x: Array, index: Array, src: Array, *, dim: int) -> Array:
    """Return `x` with the elements of `src` added where `index` says along `dim`."""
    out = x.copy()
    key = along(_in_range(xp, index, x.shape[dim]), dim, xp)
    add_at(xp, out, key, src[tuple(slice(n) for n in index.shape)])
    return out


@op(
    shape=lambda g, index, *, shape, dim: shape,
    samples=(Sample(((2, 5), Ints((2, 5), 4)), params={"shape": (3, 4), "dim": 1}),),
)
def gather_back(xp: Namespace, g: Array, index: Array, *, shape: Shape, dim: int) -> Array:
    """Return zeros of `shape` to which `g` is added where `index` says along `dim`: the transpose of `gather`."""
    out = xp.zeros(shape, g.dtype)
    add_at(xp, out, along(index, dim, xp), g)
    return out


gather_.defvjp(x=lambda g, x_shape, index, dim: gather_back(g, index, shape=x_shape, dim=dim))
gather_back.defvjp(g=lambda g, index, dim: gather_(g, index, dim=dim))


def _scattered_src(g: Value, index: Value, src_shape: Shape, dim: int) -> Value:
    picked = gather_(g, index, dim=dim)
    return (
        picked
        if picked.shape == src_shape
        else index_back(picked, shape=src_shape, key=tuple(Span(0, n) for n in picked.shape))
    )


scatter_add_.defvjp(x=lambda g: g, src=_scattered_src)


def gather(x: Value, dim: int, index: Value) -> Value:
    """Return the elements of `x` that the integer tensor `index` names along `dim`."""
    if not math.prod(index.shape):
        flat = reshape_(x, shape=(math.prod(x.shape),))
        return reshape_(narrow_(flat, dim=0, start=0, stop=0), shape=tuple(index.shape))
    if not x.shape:
        return reshape_(gather_(reshape_(x, shape=(1,)), index.reshape(-1), dim=0), shape=tuple(index.shape))
    along_dim = dim_of(dim, len(x.shape))
    _check_index("gather", x.shape, index.shape, along_dim)
    return gather_(x, index, dim=along_dim)


def scatter_add(x: Value, dim: int, index: Value, src: Value) -> Value:
    """Return `x` with the elements of `src` added where the integer tensor `index` says along `dim`."""
    if not x.shape:
        lines = (reshape_(x, shape=(1,)), index.reshape(-1), src.reshape(-1))
        return reshape_(scatter_add_(*lines, dim=0), shape=())
    return scatter_add_(x, index, src, dim=dim_of(dim, len(x.shape)))


def scatter(input: Value, dim: int, index: Value, src: Any = None, *, value: Any = None, reduce: Any = None) -> Value:
    """Return `input` with the elements of `src` (or one number) where `index` says along `dim`.

    Raises
    ------
    ArgumentError
        If `reduce` is neither None, "add" nor "multiply".
    """
    source = value if src is None else src
    if not input.shape:
        one = source if not hasattr(source, "shape") else source.reshape(1)
        return scatter(input.reshape(1), dim, index.reshape(-1), one, reduce=reduce).reshape(())
    if not math.prod(index.shape):
        return input
    d = dim_of(dim, len(input.shape))
    if not hasattr(source, "shape"):
        source = full_(shape=tuple(index.shape), value=source, dtype=input.dtype, device=device_of(input))
    for i, n in enumerate(index.shape):
        source = source if source.shape[i] == n else narrow_(source, dim=i, start=0, stop=n)
    if reduce == "add":
        return scatter_add_(input, index, source, dim=d)
    if reduce == "multiply":
        return scatter_reduce(input, dim, index, source, "prod")
    if reduce is not None:
        raise ArgumentError(f"scatter: got reduce {reduce!r}, wanted None, 'add' or 'multiply'")
    return scatter_put_(input, index, source, dim=d)


@op(
    shape=lambda x, index, src, *, dim: x,
    label="scatter",
    samples=(
        Sample(((3, 4), [[0, 2, 1], [3, 1, 0]], (2, 3)), params={"dim": 1}),
        Sample(((3, 4), [[2, 1], [1, 0]], (2, 2)), params={"dim": 0}),
    ),
    operands=None,
)
def scatter_put_(xp: Namespace, x: Array, index: Array, src: Array, *, dim: int) -> Array:
    """Return `x` with the elements of `src` where `index`, of the same shape, says along `dim`."""
    out = x.copy()
    out[along(_in_range(xp, index, x.shape[dim]), dim, xp)] = src
    return out


def _unwritten(g: Value, index: Value, dim: int) -> Value:
    return scatter_put_(g, index, filled(g, tuple(index.shape)), dim=dim)


scatter_put_.defvjp(x=_unwritten, src=lambda g, index, dim: gather_(g, index, dim=dim))


def scatter_reduce(
    input: Value, dim: int, index: Value, src: Value, reduce: str, *, include_self: bool = True
) -> Value:
    """Return `input` with the elements of `src` joined where `index` says along `dim`, by "sum", "mean" or "prod".

    "prod" multiplies one slice of `src` along `dim` after the other.

    Raises
    ------
    ArgumentError
        If `reduce` is something else.
    """
    d = dim_of(dim, len(input.shape))
    if not include_self:
        start = 1.0 if reduce == "prod" else 0.0
        input = scatter(input, d, index, start)
    if reduce == "sum":
        return scatter_add_(input, index, src, dim=d)
    if reduce == "mean":
        base = filled(input, tuple(input.shape), 1.0 if include_self else 0.0)
        counts = scatter_add_(base, index, filled(src, tuple(src.shape), 1.0), dim=d)
        return scatter_add_(input, index, src, dim=d) / maximum(counts, 1.0)
    if reduce != "prod":
        raise ArgumentError(f"scatter_reduce: got reduce {reduce!r}, wanted 'sum', 'mean' or 'prod'")
    for i in range(index.shape[d]):
        at = narrow_(index, dim=d, start=i, stop=i + 1)
        factor = narrow_(src, dim=d, start=i, stop=i + 1)
        input = scatter_put_(input, at, mul(gather_(input, at, dim=d), factor), dim=d)
    return input


# Rows of a table


def _embedded(weight: Shape, indices: Shape) -> Shape:
    return (*indices, *weight[1:])


@op(shape=_embedded, samples=(Sample(((4, 3), Ints((2, 5), 4))), Sample(((4, 3), Ints((), 4)))))
def embedding_(xp: Namespace, weight: Array, indices: Array) -> Array:
    """Return the rows of `weight` (N, D) that `indices` name, of shape (*indices, D)."""
    return weight[_in_range(xp, indices, weight.shape[0])]


@op(
    shape=lambda g, indices, *, shape: shape,
    samples=(Sample(((2, 5, 3), Ints((2, 5), 4)), params={"shape": (4, 3)}),),
)
def embedding_back(xp: Namespace, g: Array, indices: Array, *, shape: Shape) -> Array:
    """Return zeros of `shape` (N, D) to whose rows `indices` the rows of `g` are added."""
    out = xp.zeros(shape, g.dtype)
    add_at(xp, out, (indices.reshape(-1),), g.reshape(-1, *shape[1:]))
    return out


embedding_.defvjp(weight=lambda g, weight_shape, indices: embedding_back(g, indices, shape=weight_shape))
embedding_back.defvjp(g=lambda g, indices: embedding_(g, indices))


__all__ = [
    "embedding_", "embedding_back", "gather", "gather_", "gather_back", "scatter", "scatter_add", "scatter_add_",
    "scatter_put_", "scatter_reduce",
]  # fmt: skip
