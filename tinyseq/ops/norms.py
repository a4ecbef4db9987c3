"""Norms, distances, quantiles and covariance."""

import math
from typing import Any

from tinyseq.core import dtypes
from tinyseq.core.op import Value
from tinyseq.core.shapes import Dims, Shape, dim_of, dims_of
from tinyseq.errors import ArgumentError, ShapeError
from tinyseq.ops.arranging import movedim, ravel
from tinyseq.ops.creation import filled
from tinyseq.ops.diagonals import diagonal
from tinyseq.ops.elementwise import abs, add, cast, clamp_, div, eq, maximum, mul, ne, pow, sign, sqrt, sub, where
from tinyseq.ops.gathering import gather_
from tinyseq.ops.linalg import matmul
from tinyseq.ops.reduction import amax, amin, any, mean, root, sum, sum_
from tinyseq.ops.rounding import ceil, floor, round_
from tinyseq.ops.shaping import reshape, reshape_, select_, transpose, unsqueeze
from tinyseq.ops.sorting import sort
from tinyseq.ops.special import lerp


def vector_norm(x: Value, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return `(sum |x| ** ord) ** (1 / ord)` over `dim`: the largest size for ∞, the count of non-zeros for 0.

    Gradients at 0 are 0.
    """
    x = x if dtype is None else cast(x, dtype=dtypes.as_dtype(dtype))
    dims = dims_of(dim, len(x.shape))
    if math.isinf(ord):
        return (amax if ord > 0 else amin)(abs(x), dims or None, keepdim)
    if ord == 2:
        return root(sum_(mul(x, x), dim=dims, keepdim=keepdim))
    if ord == 1:
        return sum_(abs(x), dim=dims, keepdim=keepdim)
    if ord == 0:
        return sum_(abs(sign(x)), dim=dims, keepdim=keepdim)
    if ord < 0:
        return pow(sum_(pow(abs(x), float(ord)), dim=dims, keepdim=keepdim), 1.0 / ord)
    return _powered(sum_(_powered(abs(x), float(ord)), dim=dims, keepdim=keepdim), 1.0 / ord)


def _powered(x: Value, exponent: float) -> Value:
    """Return `x ** exponent` of numbers that are not negative, with gradient 0 at 0."""
    nothing = eq(x, 0)
    return where(nothing, 0.0, pow(where(nothing, 1.0, x), exponent))


def matrix_norm(A: Value, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return a norm of the matrices in `dim`: "fro" (Frobenius), 1 and -1 (of columns), ∞ and -∞ (of rows).

    Raises
    ------
    ArgumentError
        If `ord` is a norm that needs singular values ("nuc", 2, -2).
    """
    A = A if dtype is None else cast(A, dtype=dtypes.as_dtype(dtype))
    n = len(A.shape)
    rows, columns = (dim_of(d, n) for d in dim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    if ord not in (1, -1, math.inf, -math.inf):
        raise ArgumentError(f"matrix_norm: got ord {ord!r}, wanted 'fro', 1, -1, inf or -inf")
    first, second = (rows, columns) if ord in (1, -1) else (columns, rows)
    sums = sum_(abs(A), dim=(first,), keepdim=True)
    out = (amax if ord > 0 else amin)(sums, second, True)
    return out if keepdim else reshape_(out, shape=_without(out.shape, (rows, columns)))


def _without(shape: Shape, dims: Dims) -> Shape:
    return tuple(n for i, n in enumerate(shape) if i not in dims)


def linalg_norm(A: Value, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return a vector norm (`dim` an integer, or a vector), a matrix norm (two dims), or that of all elements."""
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    dims = tuple(range(len(A.shape))) if dim is None else (dim,) if hasattr(dim, "__index__") else tuple(dim)
    if len(dims) == 2:
        return matrix_norm(A, ord, dims, keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


def norm(input: Value, p: Any = "fro", dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return the `p`-norm of the elements over `dim`; "fro" is the root of the sum of squares."""
    if p == "nuc":
        raise ArgumentError("norm: p 'nuc' needs singular values, which are not supported")
    return vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


def dist(input: Value, other: Value, p: float = 2) -> Value:
    """Return the `p`-norm of `input - other`."""
    return vector_norm(sub(input, other), p)


def cdist(x1: Value, x2: Value, p: float = 2.0, compute_mode: str | None = None) -> Value:
    """Return the `p`-norm distances between rows: (..., N, D), (..., M, D) -> (..., N, M).

    All are taken from differences, the exact way; `compute_mode` is accepted and changes nothing.
    """
    return vector_norm(sub(unsqueeze(x1, -2), unsqueeze(x2, -3)), p, -1)


def renorm(input: Value, p: float, dim: int, maxnorm: float) -> Value:
    """Return `input` with each slice along `dim` shrunk to a `p`-norm of at most `maxnorm`."""
    d = dim_of(dim, len(input.shape))
    others = tuple(i for i in range(len(input.shape)) if i != d)
    size = vector_norm(input, p, others, True)
    return mul(input, where(size > maxnorm, maxnorm / (size + 1e-7), 1.0))


def quantile(
    input: Value, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Value:
    """Return the value below which the part `q` (a number or a vector) of the elements along `dim` lies.

    Raises
    ------
    ArgumentError
        If `interpolation` is not one of "linear", "lower", "higher", "nearest", "midpoint".
    """
    return _quantile(input, q, dim, keepdim, interpolation, False)


def nanquantile(
    input: Value, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Value:
    """Return the quantile of those elements along `dim` that are not NaN."""
    return _quantile(input, q, dim, keepdim, interpolation, True)


def _quantile(x: Value, q: Any, dim: int | None, keepdim: bool, how: str, skip: bool) -> Value:
    if how not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise ArgumentError(f"quantile: got interpolation {how!r}, wanted linear, lower, higher, nearest or midpoint")
    rank = len(x.shape)
    line = ravel(x) if dim is None else (movedim(x, dim, -1) if rank else reshape(x, 1))
    several = hasattr(q, "shape") and len(q.shape) == 1
    parts = reshape(q, -1) if hasattr(q, "shape") else add(filled(line, (1,)), float(q))
    count = line.shape[-1]
    ordered = sort(line, -1).values
    broken = ne(line, line)
    if skip:
        found = count - sum_(broken, dim=(len(line.shape) - 1,), keepdim=True)
    else:
        found = filled(broken.long(), (*line.shape[:-1], 1), count)
    at = mul(parts, cast(found - 1, dtype=x.dtype))  # (..., Q)
    low, high = floor(at), ceil(at)
    if how == "nearest":
        low = high = round_(at)
    elif how in ("lower", "higher"):
        low = high = low if how == "lower" else high
    axis = len(ordered.shape) - 1
    below = gather_(ordered, cast(clamp_(low, low=0.0, high=math.inf), dtype=dtypes.int64), dim=axis)
    above = gather_(ordered, cast(clamp_(high, low=0.0, high=math.inf), dtype=dtypes.int64), dim=axis)
    weight = 0.5 if how == "midpoint" else sub(at, low)
    out = lerp(below, above, weight)
    if not skip:
        out = where(any(broken, -1, True), math.nan, out)
    out = movedim(out, -1, 0)  # (Q, ...)
    if keepdim:
        shape = [1] * rank if dim is None else [1 if i == dim_of(dim, rank) else n for i, n in enumerate(x.shape)]
        out = reshape_(out, shape=(out.shape[0], *shape))
    elif not rank:
        out = reshape_(out, shape=(out.shape[0],))
    return out if several else select_(out, dim=0, index=0)


def cov(input: Value, *, correction: int = 1, fweights: Value | None = None, aweights: Value | None = None) -> Value:
    """Return the covariances of the rows of a matrix (variables, observations), with optional weights of observations.

    `fweights` counts how often an observation occurred, `aweights` is its relative weight.
    """
    if len(input.shape) > 2:
        raise ShapeError(f"cov: got {len(input.shape)} dimensions, wanted at most 2")
    x = reshape_(input, shape=(1, math.prod(input.shape))) if len(input.shape) < 2 else input
    count = x.shape[1]
    weights = None
    for w in (fweights, aweights):
        if w is not None:
            weights = w if weights is None else mul(weights, w)
    if weights is None:
        centred = sub(x, mean(x, 1, True))
        divisor: Any = float(max(count - correction, 0))
        product = matmul(centred, transpose(centred, 0, 1))
    else:
        total = sum(weights)
        centred = sub(x, div(sum(mul(x, weights), 1, True), total))
        if aweights is None or correction == 0:
            divisor = total - correction
        else:
            divisor = total - div(sum(mul(weights, aweights)), total) * correction
        divisor = maximum(divisor, 0)
        product = matmul(mul(centred, weights), transpose(centred, 0, 1))
    out = div(product, divisor)
    return reshape_(out, shape=()) if x.shape[0] == 1 else out


def corrcoef(input: Value) -> Value:
    """Return the correlation coefficients of the rows of a matrix (variables, observations)."""
    c = cov(input)
    if not c.shape:
        return div(c, c)
    deviation = sqrt(diagonal(c))
    return clamp_(c / unsqueeze(deviation, 1) / deviation, low=-1.0, high=1.0)


__all__ = [
    "cdist", "corrcoef", "cov", "dist", "linalg_norm", "matrix_norm", "nanquantile", "norm", "quantile", "renorm",
    "vector_norm",
]  # fmt: skip
