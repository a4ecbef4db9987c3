"""Activation functions, softmax and its relatives."""

import math
from typing import Any

from tinyseq.backend import Array, Namespace
from tinyseq.core import dtypes, shapes
from tinyseq.core.define import op
from tinyseq.core.op import Value
from tinyseq.core.sample import Sample
from tinyseq.core.shapes import dim_of
from tinyseq.errors import ShapeError
from tinyseq.ops.elementwise import abs, cast, clamp_, exp, expm1, function, gt, le, sigmoid, sub, tanh, where
from tinyseq.ops.gaussian import erf
from tinyseq.ops.reduction import sum_
from tinyseq.ops.shaping import narrow_

ALONG = (Sample(((3, 4),), params={"dim": 1}), Sample(((3, 4),), params={"dim": 0}), Sample(((),), params={"dim": 0}))


def _whole(x: Array, dim: int) -> int | None:
    """Return the axis to reduce: that of a 0-d array is none."""
    return dim if x.ndim else None


def _top(x: Array, dim: int) -> Any:
    return x.max(axis=_whole(x, dim), keepdims=True) if x.size else 0


@op(shape=shapes.same, dtype=dtypes.floating, samples=ALONG, floating=True, quiet=True)
def softmax_(xp: Namespace, x: Array, *, dim: int) -> Array:
    """Return `e ** x` over its sum along `dim`."""
    out = xp.exp(x - _top(x, dim))
    return out / out.sum(axis=_whole(x, dim), keepdims=True)


softmax_.defvjp(x=lambda g, out, dim: out * (g - _total(g * out, dim)))


@op(shape=shapes.same, dtype=dtypes.floating, samples=ALONG, floating=True, quiet=True)
def log_softmax_(xp: Namespace, x: Array, *, dim: int) -> Array:
    """Return the logarithm of the softmax of `x` along `dim`, computed without overflow."""
    centred = x - _top(x, dim)
    return centred - xp.log(xp.exp(centred).sum(axis=_whole(x, dim), keepdims=True))


log_softmax_.defvjp(x=lambda g, out, dim: g - exp(out) * _total(g, dim))


def _total(x: Value, dim: int) -> Value:
    return sum_(x, dim=(dim,) if x.shape else (), keepdim=True)


def softmax(input: Value, dim: int, *, dtype: Any = None) -> Value:
    """Return the softmax of `input` along `dim`: positive numbers that add up to 1."""
    x = input if dtype is None else cast(input, dtype=dtypes.as_dtype(dtype))
    return softmax_(x, dim=dim_of(dim, len(x.shape)))


def log_softmax(input: Value, dim: int, *, dtype: Any = None) -> Value:
    """Return the logarithm of the softmax of `input` along `dim`."""
    x = input if dtype is None else cast(input, dtype=dtypes.as_dtype(dtype))
    return log_softmax_(x, dim=dim_of(dim, len(x.shape)))


def softmin(input: Value, dim: int, *, dtype: Any = None) -> Value:
    """Return the softmax of `-input` along `dim`."""
    return softmax(-input, dim, dtype=dtype)


@function("(maximum({x}, 0) + log1p(exp(-abs({x}))))")
def softplus_(xp: Namespace, x: Array) -> Array:
    """Return `log(1 + e ** x)`, computed without overflow."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.absolute(x)))


softplus_.defvjp(x=lambda g, x: g * sigmoid(x))


def softplus(input: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    """Return `log(1 + e ** (beta x)) / beta`, and `x` itself where `beta x` is above `threshold`."""
    if beta == 1 and threshold == 20:
        return softplus_(input)
    scaled = input * float(beta)
    return where(gt(scaled, float(threshold)), input, softplus_(scaled) / float(beta))


def logsigmoid(input: Value) -> Value:
    """Return the logarithm of the logistic function."""
    return -softplus_(-input)


def gelu(input: Value, approximate: str = "none") -> Value:
    """Return `x Φ(x)`, Φ the normal distribution function, or with `approximate="tanh"` a formula close to it.

    D. Hendrycks, K. Gimpel, "Gaussian error linear units", arXiv:1606.08415, section 2.
    """
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (input + 0.044715 * (input * input * input))
        return 0.5 * input * (1.0 + tanh(inner))
    return 0.5 * input * (1.0 + erf(input * math.sqrt(0.5)))


def elu(input: Value, alpha: float = 1.0, scale: float = 1.0) -> Value:
    """Return `scale x` above 0 and `scale alpha (e ** x - 1)` below."""
    below = expm1(clamp_(input, low=-math.inf, high=0.0))  # what where() does not take must not overflow
    return where(gt(input, 0.0), input * float(scale), below * float(alpha * scale))


def celu(input: Value, alpha: float = 1.0) -> Value:
    """Return `x` above 0 and `alpha (e ** (x / alpha) - 1)` below."""
    return where(gt(input, 0.0), input, expm1(clamp_(input / float(alpha), low=-math.inf, high=0.0)) * float(alpha))


def selu(input: Value) -> Value:
    """Return the self-normalising ELU. G. Klambauer et al., NIPS 2017, arXiv:1706.02515, equation 2."""
    return elu(input, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


def silu(input: Value) -> Value:
    """Return `x` times the logistic function of `x`."""
    return input * sigmoid(input)


def mish(input: Value) -> Value:
    """Return `x tanh(log(1 + e ** x))`. D. Misra, "Mish", arXiv:1908.08681, equation 1."""
    return input * tanh(softplus_(input))


def leaky_relu(input: Value, negative_slope: float = 0.01) -> Value:
    """Return `x` above 0 and `negative_slope x` below."""
    return where(gt(input, 0.0), input, input * float(negative_slope))


def hardtanh(input: Value, min_val: float = -1.0, max_val: float = 1.0) -> Value:
    """Return `x`, kept between `min_val` and `max_val`."""
    return clamp_(input, low=float(min_val), high=float(max_val))


def relu6(input: Value) -> Value:
    """Return `x`, kept between 0 and 6."""
    return hardtanh(input, 0.0, 6.0)


def hardsigmoid(input: Value) -> Value:
    """Return `(x + 3) / 6`, kept between 0 and 1."""
    return clamp_(input / 6.0 + 0.5, low=0.0, high=1.0)


def hardswish(input: Value) -> Value:
    """Return `x` times its hardsigmoid."""
    return input * hardsigmoid(input)


def softsign(input: Value) -> Value:
    """Return `x / (1 + |x|)`."""
    return input / (1.0 + abs(input))


def tanhshrink(input: Value) -> Value:
    """Return `x - tanh(x)`."""
    return sub(input, tanh(input))


def softshrink(input: Value, lambd: float = 0.5) -> Value:
    """Return `x` moved towards 0 by `lambd`, and 0 where it is nearer than that."""
    return sub(input, clamp_(input, low=-float(lambd), high=float(lambd)))


def hardshrink(input: Value, lambd: float = 0.5) -> Value:
    """Return `x`, and 0 where it is no farther than `lambd` from 0."""
    return where(le(abs(input), float(lambd)), 0.0, input)


def threshold(input: Value, threshold: float, value: float) -> Value:
    """Return `x` above `threshold`, and `value` elsewhere."""
    return where(gt(input, float(threshold)), input, float(value))


def glu(input: Value, dim: int = -1) -> Value:
    """Return the first half of `input` along `dim` times the logistic function of the second half.

    Y. Dauphin et al., "Language modeling with gated convolutional networks", ICML 2017, equation 1.
    """
    d = dim_of(dim, len(input.shape))
    size = input.shape[d] if input.shape else 1
    if size % 2:
        raise ShapeError(f"glu: got size {size} along dim {dim}, wanted an even number")
    left = narrow_(input, dim=d, start=0, stop=size // 2)
    return left * sigmoid(narrow_(input, dim=d, start=size // 2, stop=size))


def prelu(input: Value, weight: Value) -> Value:
    """Return `x` above 0 and `weight x` below; a weight of several numbers has one for each index of dim 1."""
    slope = weight
    if len(input.shape) > 1 and weight.shape not in ((), (1,)):
        slope = weight.reshape(-1, *[1] * (len(input.shape) - 2))
    elif weight.shape == (1,) and not input.shape:
        slope = weight.reshape(())
    return where(gt(input, 0.0), input, slope * input)


__all__ = [
    "celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax",
    "log_softmax_", "logsigmoid", "mish", "prelu", "relu6", "selu", "silu", "softmax", "softmax_", "softmin",
    "softplus", "softplus_", "softshrink", "softsign", "tanhshrink", "threshold",
]  # fmt: skip
