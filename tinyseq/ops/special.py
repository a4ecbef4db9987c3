"""Functions of one or two real numbers beyond arithmetic: trigonometric, hyperbolic, logarithms, error function."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyseq.backend import Array, Namespace
from tinyseq.core import dtypes
from tinyseq.core.op import Value
from tinyseq.core.sample import Sample
from tinyseq.ops.elementwise import (
    Define,
    binary,
    cast,
    clamp_,
    eq,
    exp,
    function,
    gt,
    log,
    logical_or,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    sigmoid,
    sqrt,
    sub,
    unary,
    where,
)

INSIDE = (Sample(((3, 2),), low=-0.8, high=0.8), Sample(((),), low=-0.8, high=0.8))
ABOVE_ONE = (Sample(((3, 2),), low=1.2, high=2.0),)
POSITIVE = (Sample(((3, 2),), low=0.5, high=2.0),)
QUADRANTS = (Sample(((3, 2), (3, 2)), apart=True), Sample(((3, 1), (2,)), apart=True))

# Trigonometric and hyperbolic functions


@function("sin({x})", quiet=True)
def sin(xp: Namespace, x: Array) -> Array:
    """Return the sine of `x`, an angle in radians."""
    return xp.sin(x)


@function("cos({x})", quiet=True)
def cos(xp: Namespace, x: Array) -> Array:
    """Return the cosine of `x`, an angle in radians."""
    return xp.cos(x)


sin.defvjp(x=lambda g, x: g * cos(x))
cos.defvjp(x=lambda g, x: -g * sin(x))


@function("tan({x})", quiet=True)
def tan(xp: Namespace, x: Array) -> Array:
    """Return the tangent of `x`, an angle in radians."""
    return xp.tan(x)


tan.defvjp(x=lambda g, out: g * (1.0 + out * out))


@function("asin({x})", INSIDE, quiet=True)
def asin(xp: Namespace, x: Array) -> Array:
    """Return the angle in radians, from -π/2 to π/2, whose sine is `x`."""
    return xp.arcsin(x)


asin.defvjp(x=lambda g, x: g / sqrt(1.0 - x * x))


@function("acos({x})", INSIDE, quiet=True)
def acos(xp: Namespace, x: Array) -> Array:
    """Return the angle in radians, from 0 to π, whose cosine is `x`."""
    return xp.arccos(x)


acos.defvjp(x=lambda g, x: -g / sqrt(1.0 - x * x))


@function("atan({x})")
def atan(xp: Namespace, x: Array) -> Array:
    """Return the angle in radians, from -π/2 to π/2, whose tangent is `x`."""
    return xp.arctan(x)


atan.defvjp(x=lambda g, x: g / (1.0 + x * x))


@binary("atan2({x}, {y})", QUADRANTS, floating=True, dtype=dtypes.floating)
def atan2(xp: Namespace, x: Array, y: Array) -> Array:
    """Return the angle in radians, from -π to π, of the point with ordinate `x` and abscissa `y`."""
    return xp.arctan2(x, y)


atan2.defvjp(x=lambda g, x, y: g * y / (x * x + y * y), y=lambda g, x, y: -g * x / (x * x + y * y))


@function("sinh({x})", quiet=True)
def sinh(xp: Namespace, x: Array) -> Array:
    """Return the hyperbolic sine of `x`."""
    return xp.sinh(x)


@function("cosh({x})", quiet=True)
def cosh(xp: Namespace, x: Array) -> Array:
    """Return the hyperbolic cosine of `x`."""
    return xp.cosh(x)


sinh.defvjp(x=lambda g, x: g * cosh(x))
cosh.defvjp(x=lambda g, x: g * sinh(x))


@function("asinh({x})")
def asinh(xp: Namespace, x: Array) -> Array:
    """Return the number whose hyperbolic sine is `x`."""
    return xp.arcsinh(x)


asinh.defvjp(x=lambda g, x: g / sqrt(x * x + 1.0))


@function("acosh({x})", ABOVE_ONE, quiet=True)
def acosh(xp: Namespace, x: Array) -> Array:
    """Return the number from 0 on whose hyperbolic cosine is `x`."""
    return xp.arccosh(x)


acosh.defvjp(x=lambda g, x: g / (sqrt(x - 1.0) * sqrt(x + 1.0)))


@function("atanh({x})", INSIDE, quiet=True)
def atanh(xp: Namespace, x: Array) -> Array:
    """Return the number whose hyperbolic tangent is `x`."""
    return xp.arctanh(x)


atanh.defvjp(x=lambda g, x: g / (1.0 - x * x))

# Powers and logarithms


@function("exp2({x})", quiet=True)
def exp2(xp: Namespace, x: Array) -> Array:
    """Return `2 ** x`."""
    return xp.exp2(x)


exp2.defvjp(x=lambda g, out: g * out * math.log(2))


@function("log1p({x})", INSIDE, quiet=True)
def log1p(xp: Namespace, x: Array) -> Array:
    """Return `log(1 + x)`, accurate near 0."""
    return xp.log1p(x)


log1p.defvjp(x=lambda g, x: g / (x + 1.0))


@function("log2({x})", POSITIVE, quiet=True)
def log2(xp: Namespace, x: Array) -> Array:
    """Return the logarithm of `x` to base 2."""
    return xp.log2(x)


log2.defvjp(x=lambda g, x: g / (x * math.log(2)))


@function("log10({x})", POSITIVE, quiet=True)
def log10(xp: Namespace, x: Array) -> Array:
    """Return the logarithm of `x` to base 10."""
    return xp.log10(x)


log10.defvjp(x=lambda g, x: g / (x * math.log(10)))


@function("(1 / {x})", POSITIVE, quiet=True)
def reciprocal(xp: Namespace, x: Array) -> Array:
    """Return `1 / x`."""
    return xp.reciprocal(x)


reciprocal.defvjp(x=lambda g, out: -g * out * out)


@function("(1 / sqrt({x}))", POSITIVE, quiet=True)
def rsqrt(xp: Namespace, x: Array) -> Array:
    """Return `1 / sqrt(x)`."""
    return 1 / xp.sqrt(x)


rsqrt.defvjp(x=lambda g, out: -0.5 * g * out * out * out)


@binary("log(exp({x}) + exp({y}))", floating=True, dtype=dtypes.floating, quiet=True)
def logaddexp(xp: Namespace, x: Array, y: Array) -> Array:
    """Return `log(e ** x + e ** y)`, computed without overflow."""
    return xp.logaddexp(x, y)


logaddexp.defvjp(
    x=lambda g, x, y: g * sigmoid(where(eq(x, y), 0.0, sub(x, y))),  # where: infinities may be equal
    y=lambda g, x, y: g * sigmoid(where(eq(x, y), 0.0, sub(y, x))),
)


def logaddexp2(input: Value, other: Value) -> Value:
    """Return `log2(2 ** input + 2 ** other)`, computed without overflow."""
    return logaddexp(input * math.log(2), other * math.log(2)) / math.log(2)


@binary("hypot({x}, {y})", QUADRANTS, floating=True, dtype=dtypes.floating)
def hypot(xp: Namespace, x: Array, y: Array) -> Array:
    """Return `sqrt(x² + y²)`, computed without overflow."""
    return xp.hypot(x, y)


hypot.defvjp(x=lambda g, x, out: g * x / out, y=lambda g, y, out: g * y / out)


def square(input: Value) -> Value:
    """Return `input * input`."""
    return mul(input, input)


def xlogy(input: Value, other: Value) -> Value:
    """Return `input * log(other)`, and 0 where `input` is 0."""
    nothing = eq(input, 0)
    product = mul(input, log(where(nothing, 1.0, other)))
    return where(nothing, where(_is_nan(other), math.nan, 0.0), product)


def xlog1py(input: Value, other: Value) -> Value:
    """Return `input * log(1 + other)`, and 0 where `input` is 0."""
    nothing = eq(input, 0)
    product = mul(input, log1p(where(nothing, 0.0, other)))
    return where(nothing, where(_is_nan(other), math.nan, 0.0), product)


def _is_nan(x: Value) -> Value:
    return ne(x, x)


def logit(input: Value, eps: float | None = None) -> Value:
    """Return `log(x / (1 - x))`, of `x` kept between `eps` and `1 - eps` if that is given."""
    x = input if eps is None else clamp_(input, low=float(eps), high=1 - float(eps))
    return log(x / (1.0 - x))


def entr(input: Value) -> Value:
    """Return `-x log(x)`, 0 at 0 and -∞ below."""
    return where(lt(input, 0.0), -math.inf, -xlogy(input, input))


def sinc(input: Value) -> Value:
    """Return `sin(πx) / (πx)`, and 1 at 0."""
    nothing = eq(input, 0)
    angle = where(nothing, 1.0, input) * math.pi
    return where(nothing, 1.0 - input * input * (math.pi**2 / 6), sin(angle) / angle)


def deg2rad(input: Value) -> Value:
    """Return degrees as radians."""
    return mul(input, math.pi / 180)


def rad2deg(input: Value) -> Value:
    """Return radians as degrees."""
    return mul(input, 180 / math.pi)


# The error function: erf(x) / x is smooth in x² for |x| <= 1, and erfc(x) e^(x²) (1 + 2x) is smooth in
# t = (x - 3) / (x + 3) for x >= 0. Each is a series of Chebyshev polynomials, fitted with 40 digits to an error below
# 1e-16; the ends may be dropped where the dtype has fewer digits.

_NEAR = (
    0.9754769393826541, -0.14226120510371364, 0.010035582187599796, -0.00057687646997674848, 2.7419931252196061e-5,
    -1.1043175507344508e-6, 3.8488755420345037e-8, -1.1808582533875467e-9, 3.233421582605091e-11,
    -7.9910159470045488e-13, 1.7990725113961456e-14, -3.7186354878186926e-16, 7.103599003714253e-18,
)  # fmt: skip
_FAR = (
    1.17756257419656, 0.0053539045396156768, -0.093775503422842091, 0.05436652555744322, -0.018976596707845207,
    0.0044534260614627116, -0.00063355317105531469, 1.7661719523171592e-5, 1.2841532864056671e-5,
    -2.0072285659059914e-6, -1.8075227904148371e-7, 7.5498283438250928e-8, 1.8856685238386028e-9,
    -2.699519049798364e-9, -1.4600791199391049e-11, 1.036160744596949e-10, 1.475715976623473e-12,
    -4.2773400643969108e-12, -2.07922492859799e-13, 1.8134502003176962e-13, 1.9734255745447388e-14,
    -7.2879437375926732e-15, -1.5169878690228116e-15, 2.3514112258781404e-16, 1.0006111691821668e-16,
)  # fmt: skip


def _series(xp: Namespace, t: Array, coefficients: Sequence[float]) -> Array:
    """Sum a Chebyshev series at `t` in [-1, 1] by Clenshaw's recurrence."""
    if t.dtype.itemsize < 8:
        coefficients = [c for c in coefficients if c > 1e-9 or c < -1e-9]
    twice = t + t
    this, last = xp.zeros_like(t), xp.zeros_like(t)
    for c in coefficients[:0:-1]:
        this, last = twice * this - last + c, this
    return t * this - last + coefficients[0]


def _erf_near(xp: Namespace, x: Array) -> Array:
    return x * _series(xp, 2 * (x * x) - 1, _NEAR)


def _erfc_far(xp: Namespace, x: Array) -> Array:
    """Return erfc(x) for x >= 0."""
    scaled = _series(xp, (x - 3) / (x + 3), _FAR) / (1 + 2 * x)
    high = xp.trunc(x * 64) / 64  # e^(-x²) with x² in two parts, as rounding x² alone would cost digits
    return scaled * xp.exp(-high * high) * xp.exp((high - x) * (high + x))


def _between(xp: Namespace, x: Array, cut: float) -> Array:
    return xp.minimum(xp.absolute(x), x.dtype.type(cut))


@function("erf({x})", quiet=True)
def erf(xp: Namespace, x: Array) -> Array:
    """Return the error function, `2 / sqrt(π)` times the integral of `e ** -t²` from 0 to `x`."""
    far = xp.copysign(1 - _erfc_far(xp, _between(xp, x, 30)), x)
    return xp.where(xp.absolute(x) < 1, _erf_near(xp, xp.clip(x, -1, 1)), far)


@function("erfc({x})", quiet=True)
def erfc(xp: Namespace, x: Array) -> Array:
    """Return `1 - erf(x)`, accurate where that is small."""
    far = _erfc_far(xp, _between(xp, x, 30))
    return xp.where(x < 0.5, xp.where(x < -1, 2 - far, 1 - _erf_near(xp, xp.clip(x, -1, 1))), far)


erf.defvjp(x=lambda g, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))
erfc.defvjp(x=lambda g, x: g * (-2 / math.sqrt(math.pi)) * exp(-x * x))


def ndtr(input: Value) -> Value:
    """Return the area under the standard normal curve up to `x`."""
    return 0.5 * erfc(input * -math.sqrt(0.5))


# Rounding: constant between its steps, so the gradient is 0


def rounding(expr: str, **more: Any) -> Define:
    """Define a function whose gradient is 0 wherever it has one."""
    return unary(expr, (Sample(((3, 2),), low=-3.0, high=3.0),), **more)


@rounding("floor({x})", label="⌊·⌋")
def floor(xp: Namespace, x: Array) -> Array:
    """Return the largest integer not above `x`; its gradient is 0."""
    return xp.floor(x).astype(x.dtype, copy=False)


@rounding("ceil({x})", label="⌈·⌉")
def ceil(xp: Namespace, x: Array) -> Array:
    """Return the smallest integer not below `x`; its gradient is 0."""
    return xp.ceil(x).astype(x.dtype, copy=False)


@rounding("trunc({x})")
def trunc(xp: Namespace, x: Array) -> Array:
    """Return `x` without its fraction; its gradient is 0."""
    return xp.trunc(x).astype(x.dtype, copy=False)


@rounding("round({x})")
def round_(xp: Namespace, x: Array) -> Array:
    """Return the integer nearest to `x`, the even one of two; its gradient is 0."""
    return xp.around(x)


for _step in (floor, ceil, trunc, round_):
    _step.defvjp(x=lambda g: g * 0.0)


def round(input: Value, *, decimals: int = 0) -> Value:
    """Return `input` rounded to `decimals` places, halves to even."""
    return round_(input) if decimals == 0 else round_(input * 10.0**decimals) / 10.0**decimals


def frac(input: Value) -> Value:
    """Return the fraction of `input`, with its sign."""
    return sub(input, trunc(input))


@binary("fmod({x}, {y})", (Sample(((3, 2), (3, 2)), low=0.5, high=2.0),), quiet=True)
def fmod(xp: Namespace, x: Array, y: Array) -> Array:
    """Return the remainder of `x / y`, with the sign of `x`."""
    return xp.fmod(x, y)


fmod.defvjp(x=lambda g: g, y=lambda g, x, y: -g * trunc(x / y))


@binary("copysign({x}, {y})", QUADRANTS, floating=True, dtype=dtypes.floating)
def copysign(xp: Namespace, x: Array, y: Array) -> Array:
    """Return the size of `x` with the sign of `y`."""
    return xp.copysign(x, y)


copysign.defvjp(x=lambda g, x, out: where(eq(x, 0), 0.0, g * out / where(eq(x, 0), 1.0, x)), y=lambda g: g * 0.0)


@unary("isnan({x})", (Sample(([0.5, 2.0],)),), dtype=dtypes.bool_, differentiable=False)
def isnan(xp: Namespace, x: Array) -> Array:
    """Return whether `x` is not a number."""
    return xp.isnan(x)


@unary("isinf({x})", (Sample(([0.5, 2.0],)),), dtype=dtypes.bool_, differentiable=False)
def isinf(xp: Namespace, x: Array) -> Array:
    """Return whether `x` is infinite."""
    return xp.isinf(x)


@unary("isfinite({x})", (Sample(([0.5, 2.0],)),), dtype=dtypes.bool_, differentiable=False)
def isfinite(xp: Namespace, x: Array) -> Array:
    """Return whether `x` is neither infinite nor NaN."""
    return xp.isfinite(x)


@unary("signbit({x})", (Sample(([0.5, -2.0],)),), dtype=dtypes.bool_, differentiable=False)
def signbit(xp: Namespace, x: Array) -> Array:
    """Return whether the sign of `x` is minus, also for -0."""
    return xp.signbit(x)


def isposinf(input: Value) -> Value:
    """Return whether `input` is +∞."""
    return eq(input, math.inf)


def isneginf(input: Value) -> Value:
    """Return whether `input` is -∞."""
    return eq(input, -math.inf)


def isreal(input: Value) -> Value:
    """Return whether `input` is real: always, as tinyseq has no complex numbers."""
    return logical_or(eq(input, input), ne(input, input))


def nan_to_num(input: Value, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Value:
    """Return `input` with NaN and infinities replaced; infinities by the largest numbers if not said otherwise."""
    if input.dtype.kind != "f":
        return input
    limit = float(np.finfo(input.dtype).max)
    out = where(isnan(input), float(nan), input)
    out = where(isposinf(input), limit if posinf is None else float(posinf), out)
    return where(isneginf(input), -limit if neginf is None else float(neginf), out)


def heaviside(input: Value, values: Value) -> Value:
    """Return 0 below 0, 1 above, and `values` at 0."""
    return where(eq(input, 0), values, cast(gt(input, 0), dtype=values.dtype))


def fmax(input: Value, other: Value) -> Value:
    """Return the larger of `input` and `other`; where one is NaN, the other."""
    return where(isnan(input), other, where(isnan(other), input, maximum(input, other)))


def fmin(input: Value, other: Value) -> Value:
    """Return the smaller of `input` and `other`; where one is NaN, the other."""
    return where(isnan(input), other, where(isnan(other), input, minimum(input, other)))


def lerp(input: Value, end: Value, weight: Value) -> Value:
    """Return `input + weight (end - input)`."""
    return input + mul(weight, sub(end, input))


def ldexp(input: Value, other: Value) -> Value:
    """Return `input` times 2 to the power of `other`."""
    return mul(input, exp2(other))
