"""Functions of one or two real numbers beyond arithmetic: trigonometric, hyperbolic, logarithms, error function."""

import math

import numpy as np

from tinyseq.backend import Array, Namespace
from tinyseq.core import dtypes
from tinyseq.core.op import Value
from tinyseq.core.sample import Sample
from tinyseq.ops.elementwise import (
    binary,
    cast,
    clamp_,
    eq,
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


__all__ = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "deg2rad", "entr", "exp2", "fmax",
    "fmin", "heaviside", "hypot", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "isreal", "ldexp", "lerp",
    "log10", "log1p", "log2", "logaddexp", "logaddexp2", "logit", "nan_to_num", "rad2deg", "reciprocal", "rsqrt",
    "signbit", "sin", "sinc", "sinh", "square", "tan", "xlog1py", "xlogy",
]  # fmt: skip
