"""Sums, means, extrema and what is made of them."""

import math
from builtins import any as any_of, max as max_of
from collections.abc import Callable
from typing import Any, NamedTuple

from tinyseq.backend import Array, Namespace
from tinyseq.core import dtypes, shapes
from tinyseq.core.define import op
from tinyseq.core.op import Value
from tinyseq.core.sample import Sample
from tinyseq.core.shapes import Dims, Shape, dim_of, dims_of
from tinyseq.errors import ShapeError
from tinyseq.ops.elementwise import cast, div, eq, exp, gt, mul, ne, sqrt, where
from tinyseq.ops.shaping import broadcast_to, cat_, flip_, narrow_, reshape_
from tinyseq.ops.special import logaddexp

REDUCED = (
    Sample(((3, 2),), params={"dim": (0,), "keepdim": False}),
    Sample(((3, 2),), params={"dim": (0, 1), "keepdim": True}),
    Sample(((),), params={"dim": (), "keepdim": False}),
)


def kept(x: Shape, dim: Dims) -> Shape:
    """Return the shape of `x` with the dimensions `dim` reduced to size 1."""
    return tuple(1 if i in dim else n for i, n in enumerate(x))


def _sum_dtype(x: dtypes.DType, **params: Any) -> dtypes.DType:
    return x if x.kind == "f" else dtypes.int64


@op(shape=shapes.reduced, dtype=_sum_dtype, label="Σ", samples=(*REDUCED, Sample(((0, 2),), params=REDUCED[0].params)))
def sum_(xp: Namespace, x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the sum of `x` over the dimensions `dim`; integers and booleans are summed as int64."""
    return x.sum(axis=dim, keepdims=keepdim, dtype=None if x.dtype.kind in "fc" else dtypes.int64)


sum_.defvjp(x=lambda g, x_shape, dim: broadcast_to(reshape_(g, shape=kept(x_shape, dim)), shape=x_shape))


def sum(input: Value, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return the sum of `input` over `dim` (an integer, several, or None for all)."""
    x = input if dtype is None else cast(input, dtype=dtypes.as_dtype(dtype))
    return sum_(x, dim=dims_of(dim, len(x.shape)), keepdim=keepdim)


def _count(x: Value, dims: Dims) -> int:
    return math.prod(x.shape[d] for d in dims)


def mean(input: Value, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return the mean of `input` over `dim` (an integer, several, or None for all)."""
    dims = dims_of(dim, len(input.shape))
    return div(sum(input, dims or None, keepdim, dtype=dtype), _count(input, dims))


def var(
    input: Value, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
) -> Value:
    """Return the variance of `input` over `dim`, with the divisor `n - correction`.

    `correction` is 1 if left out; `unbiased=False` is an older way to say `correction=0`.
    """
    if isinstance(dim, bool):  # var(input, unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 0 if unbiased is False else 1
    dims = dims_of(dim, len(input.shape))
    centred = input - mean(input, dims or None, True)
    divisor = float(max_of(_count(input, dims) - correction, 0))
    return div(sum(mul(centred, centred), dims or None, keepdim), divisor)


def root(x: Value) -> Value:
    """Return the square root of `x`, with gradient 0 at 0 in place of infinity."""
    nothing = eq(x, 0)
    return where(nothing, 0.0, sqrt(where(nothing, 1.0, x)))


def std(
    input: Value, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
) -> Value:
    """Return the standard deviation of `input` over `dim`: the root of `var`, with gradient 0 at 0."""
    return root(var(input, dim, unbiased, keepdim, correction=correction))


def var_mean(
    input: Value, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Value, Value]:
    """Return variance and mean of `input` over `dim`."""
    over = None if isinstance(dim, bool) else dim
    return var(input, dim, unbiased, keepdim, correction=correction), mean(input, over, keepdim)


def std_mean(
    input: Value, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Value, Value]:
    """Return standard deviation and mean of `input` over `dim`."""
    over = None if isinstance(dim, bool) else dim
    return std(input, dim, unbiased, keepdim, correction=correction), mean(input, over, keepdim)


# Extrema

EXTREMA = (
    Sample(((3, 4),), params={"dim": (0,), "keepdim": False}, apart=True),
    Sample(((3, 4),), params={"dim": (0, 1), "keepdim": True}, apart=True),
    Sample(((),), params={"dim": (), "keepdim": False}),
)


def _not_empty(x: Shape, *, dim: Dims, keepdim: bool) -> Shape:
    if any_of(x[d] == 0 for d in dim):
        raise ShapeError(f"an extremum over no elements is not defined; dim {list(dim)} of shape {list(x)}")
    return shapes.reduced(x, dim=dim, keepdim=keepdim)


@op(shape=_not_empty, samples=EXTREMA, label="max")
def amax_(xp: Namespace, x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the largest element over the dimensions `dim`; ties share the gradient evenly."""
    return xp.amax(x, axis=dim, keepdims=keepdim)


@op(shape=_not_empty, samples=EXTREMA, label="min")
def amin_(xp: Namespace, x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the smallest element over the dimensions `dim`; ties share the gradient evenly."""
    return xp.amin(x, axis=dim, keepdims=keepdim)


def _shared(g: Value, x: Value, out: Value, dim: Dims) -> Value:
    full = kept(x.shape, dim)
    hit = cast(eq(x, reshape_(out, shape=full)), dtype=g.dtype)
    return hit * (reshape_(g, shape=full) / sum_(hit, dim=dim, keepdim=True))


amax_.defvjp(x=_shared)
amin_.defvjp(x=_shared)


def amax(input: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Return the largest element over `dim` (an integer, several, or None for all)."""
    return amax_(input, dim=dims_of(dim, len(input.shape)), keepdim=keepdim)


def amin(input: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Return the smallest element over `dim` (an integer, several, or None for all)."""
    return amin_(input, dim=dims_of(dim, len(input.shape)), keepdim=keepdim)


class MinMax(NamedTuple):
    """What `aminmax` returns."""

    min: Value
    max: Value


def aminmax(input: Value, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """Return the smallest and the largest element over `dim`."""
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


ARG = (
    Sample(((3, 4),), params={"dim": (1,), "keepdim": False}, apart=True),
    Sample(((3, 4),), params={"dim": (0, 1), "keepdim": True}, apart=True),
    Sample(((),), params={"dim": (), "keepdim": False}),
)


@op(shape=_not_empty, dtype=dtypes.int64, samples=ARG, differentiable=False)
def argmax_(xp: Namespace, x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the index of the largest element along one dimension, or in the flattened array if `dim` names all."""
    return _arg(xp.argmax, x, dim, keepdim)


@op(shape=_not_empty, dtype=dtypes.int64, samples=ARG, differentiable=False)
def argmin_(xp: Namespace, x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the index of the smallest element along one dimension, or in the flattened array if `dim` names all."""
    return _arg(xp.argmin, x, dim, keepdim)


def _arg(find: Any, x: Array, dim: Dims, keepdim: bool) -> Array:
    out = find(x, axis=dim[0] if len(dim) == 1 else None)
    return out.reshape(shapes.reduced(x.shape, dim=dim, keepdim=keepdim)).astype(dtypes.int64)


def _one_or_all(dim: int | None, input: Value) -> Dims:
    return dims_of(dim if dim is None else dim_of(dim, len(input.shape)), len(input.shape))


def argmax(input: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """Return the index of the largest element along `dim`, or in the flattened tensor."""
    return argmax_(input, dim=_one_or_all(dim, input), keepdim=keepdim)


def argmin(input: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """Return the index of the smallest element along `dim`, or in the flattened tensor."""
    return argmin_(input, dim=_one_or_all(dim, input), keepdim=keepdim)


# Logarithm of a sum of powers


@op(shape=shapes.reduced, dtype=dtypes.floating, samples=EXTREMA, floating=True, quiet=True)
def logsumexp_(xp: Namespace, x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the logarithm of the sum of `e ** x` over the dimensions `dim`, computed without overflow."""
    top: Any = 0
    if x.size:
        top = x.max(axis=dim, keepdims=True)
        top = xp.where(xp.isfinite(top), top, 0).astype(x.dtype, copy=False)
    out = xp.log(xp.exp(x - top).sum(axis=dim, keepdims=True)) + top
    return out.reshape(shapes.reduced(x.shape, dim=dim, keepdim=keepdim))


def _share(g: Value, x: Value, out: Value, dim: Dims) -> Value:
    full = kept(x.shape, dim)
    top = reshape_(out, shape=full)
    return reshape_(g, shape=full) * exp(x - where(eq(top, -math.inf), 0.0, top))


logsumexp_.defvjp(x=_share)


def logsumexp(input: Value, dim: Any, keepdim: bool = False) -> Value:
    """Return the logarithm of the sum of `e ** input` over `dim` (an integer or several)."""
    return logsumexp_(input, dim=dims_of(dim, len(input.shape)), keepdim=keepdim)


# Products, running sums and products


def prod(input: Value, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return the product of the elements along `dim`, or of all.

    Halves are multiplied until one element is left: gradients are right at zeros too, to any order.
    """
    x = input if dtype is None else cast(input, dtype=dtypes.as_dtype(dtype))
    if x.dtype.kind != "f":
        x = cast(x, dtype=dtypes.int64)
    dims = dims_of(dim, len(x.shape))
    shape = shapes.reduced(x.shape, dim=dims, keepdim=keepdim)
    if dim is None:
        x = reshape_(x, shape=(math.prod(x.shape),))
    at = dims[0] if dim is not None and dims else 0
    if not x.shape:
        return x
    if x.shape[at] == 0:
        return reshape_(sum_(x, dim=(at,), keepdim=False), shape=shape) + 1
    while (n := x.shape[at]) > 1:
        half = n // 2
        product = narrow_(x, dim=at, start=0, stop=half) * narrow_(x, dim=at, start=half, stop=2 * half)
        x = cat_(product, narrow_(x, dim=at, start=n - 1, stop=n), dim=at) if n % 2 else product
    return reshape_(x, shape=shape)


@op(
    shape=shapes.same,
    dtype=_sum_dtype,
    samples=(Sample(((3, 4),), params={"dim": 1}), Sample(((),), params={"dim": 0})),
)
def cumsum_(xp: Namespace, x: Array, *, dim: int) -> Array:
    """Return the running sum along `dim`."""
    return xp.cumsum(x, axis=dim, dtype=None if x.dtype.kind == "f" else dtypes.int64).reshape(x.shape)


cumsum_.defvjp(x=lambda g, dim: flip_(cumsum_(flip_(g, dim=(dim,)), dim=dim), dim=(dim,)) if g.shape else g)


def cumsum(input: Value, dim: int, *, dtype: Any = None) -> Value:
    """Return the running sum of `input` along `dim`."""
    x = input if dtype is None else cast(input, dtype=dtypes.as_dtype(dtype))
    return cumsum_(x, dim=dim_of(dim, len(x.shape)))


def scan(join: Callable[[Value, Value], Value], x: Value, dim: int) -> Value:
    """Return the running results of an associative operation along `dim`, in log2(n) steps.

    W. Hillis, G. Steele, "Data parallel algorithms", CACM 29 (1986), p. 1173.
    """
    size = x.shape[dim] if x.shape else 1
    step = 1
    while step < size:
        head = narrow_(x, dim=dim, start=0, stop=step)
        joined = join(narrow_(x, dim=dim, start=step, stop=size), narrow_(x, dim=dim, start=0, stop=size - step))
        x = cat_(head, joined, dim=dim)
        step *= 2
    return x


def cumprod(input: Value, dim: int, *, dtype: Any = None) -> Value:
    """Return the running product of `input` along `dim`; its gradient is right at zeros too."""
    x = input if dtype is None else cast(input, dtype=dtypes.as_dtype(dtype))
    if x.dtype.kind != "f":
        x = cast(x, dtype=dtypes.int64)
    return scan(mul, x, dim_of(dim, len(x.shape)))


def logcumsumexp(input: Value, dim: int) -> Value:
    """Return the logarithm of the running sum of `e ** input` along `dim`."""
    return scan(logaddexp, input, dim_of(dim, len(input.shape)))


# Truth and counting


def any(input: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Return whether any element over `dim` is true (not 0)."""
    return gt(count_nonzero(input, dim, keepdim), 0)


def all(input: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Return whether every element over `dim` is true (not 0)."""
    return eq(count_nonzero(eq(input, 0), dim, keepdim), 0)


def count_nonzero(input: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Return how many elements over `dim` are not 0."""
    return sum_(ne(input, 0), dim=dims_of(dim, len(input.shape)), keepdim=keepdim)


def nansum(input: Value, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return the sum over `dim`, with NaN taken as 0."""
    return sum(where(ne(input, input), 0.0, input), dim, keepdim, dtype=dtype)


def nanmean(input: Value, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return the mean over `dim` of what is not NaN."""
    counted = sum(eq(input, input), dim, keepdim)
    return div(nansum(input, dim, keepdim, dtype=dtype), counted)


__all__ = [
    "MinMax", "all", "amax", "amax_", "amin", "amin_", "aminmax", "any", "argmax", "argmax_", "argmin", "argmin_",
    "count_nonzero", "cumprod", "cumsum", "cumsum_", "logcumsumexp", "logsumexp", "logsumexp_", "mean", "nanmean",
    "nansum", "prod", "root", "std", "std_mean", "sum", "sum_", "var", "var_mean",
]  # fmt: skip
