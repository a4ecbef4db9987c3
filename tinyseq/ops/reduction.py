"""Sums, means, extrema and what is made of them."""

import math
from typing import Any

from tinyseq.backend import Array, Namespace
from tinyseq.core import dtypes, shapes
from tinyseq.core.define import op
from tinyseq.core.op import Value
from tinyseq.core.sample import Sample
from tinyseq.core.shapes import Dims, Shape, dims_of
from tinyseq.ops.elementwise import div, mul
from tinyseq.ops.shaping import broadcast_to, reshape_

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


def sum(x: Value, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return the sum of `x` over `dim` (an integer, several, or None for all)."""
    from_ = x if dtype is None else x.to(dtypes.as_dtype(dtype))
    return sum_(from_, dim=dims_of(dim, len(x.shape)), keepdim=keepdim)


def mean(x: Value, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Return the mean of `x` over `dim` (an integer, several, or None for all)."""
    dims = dims_of(dim, len(x.shape))
    return div(sum(x, dims or None, keepdim, dtype=dtype), math.prod(x.shape[d] for d in dims))


def var(x: Value, dim: Any = None, *, correction: float = 1, keepdim: bool = False) -> Value:
    """Return the variance of `x` over `dim`, with the divisor `n - correction`."""
    dims = dims_of(dim, len(x.shape))
    centred = x - mean(x, dims or None, True)
    return div(sum(mul(centred, centred), dims or None, keepdim), max(math.prod(x.shape[d] for d in dims) - correction, 0))
