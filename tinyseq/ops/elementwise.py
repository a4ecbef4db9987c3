"""Elementwise arithmetic and comparison. All broadcast; the backward walk sums gradients back."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tinyseq.backend import Array, Namespace
from tinyseq.core import dtypes, shapes
from tinyseq.core.define import Operation, op
from tinyseq.core.op import Value
from tinyseq.core.sample import Bools, Ints, Sample
from tinyseq.ops.creation import full_like_

PAIR = (Sample(((3, 2), (3, 2))), Sample(((3, 1), (2,))), Sample(((), (2,))), Sample(((0, 2), (2,))))
APART = (Sample(((3, 2), (3, 2)), apart=True), Sample(((3, 1), (2,)), apart=True))
NONZERO = (Sample(((3, 2), (3, 2)), low=0.5, high=2.0), Sample(((3, 1), (2,)), low=-2.0, high=-0.5))
ONE = (Sample(((3, 2),)), Sample(((),)), Sample(((0, 3),)))


Define: TypeAlias = Callable[[Callable[..., Any]], Operation]  # a decorator that defines an operation


def binary(expr: str, samples: tuple[Sample, ...] = PAIR, **more: Any) -> Define:
    """Define an operation of two broadcast operands."""
    return op(shape=shapes.elementwise, expr=expr, samples=samples, elementwise=True, operands="promote", **more)


def unary(expr: str, samples: tuple[Sample, ...] = ONE, **more: Any) -> Define:
    """Define an operation of one operand."""
    return op(shape=shapes.same, expr=expr, samples=samples, elementwise=True, **more)


def function(expr: str, samples: tuple[Sample, ...] = ONE, **more: Any) -> Define:
    """Define a real function of one operand; integers are cast to the default dtype."""
    return unary(expr, samples, floating=True, dtype=dtypes.floating, **more)


@op(
    shape=shapes.elementwise,
    dtype=lambda condition, x, y: x,
    expr="select({condition}, {x}, {y})",
    samples=(Sample((Bools((3, 2)), (3, 2), (3, 2))), Sample((Bools((3, 1)), (2,), ()))),
    elementwise=True,
    operands="promote branches",
)
def where(xp: Namespace, condition: Array, x: Array, y: Array) -> Array:
    """Return `x` where `condition` is true and `y` elsewhere, broadcast."""
    return xp.where(condition, x, y)


where.defvjp(
    x=lambda g, condition: where(condition, g, 0.0),
    y=lambda g, condition: where(condition, 0.0, g),
)


def comparison(name: str, sign_: str, sentence: str, label: str = "") -> Operation:
    """Define the comparison that NumPy calls `name`; `label` is its symbol, where that is not what Python writes."""

    def forward(xp: Namespace, x: Array, y: Array) -> Array:
        return getattr(xp, name)(x, y)

    forward.__name__ = {"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le"}.get(
        name, {"greater": "gt", "greater_equal": "ge"}.get(name, name)
    )
    forward.__doc__ = sentence
    define = binary(f"({{x}} {sign_} {{y}})", APART, label=label or sign_, dtype=dtypes.bool_, differentiable=False)
    made: Operation = define(forward)
    return made


eq = comparison("equal", "==", "Return whether `x` equals `y`, elementwise.")
ne = comparison("not_equal", "!=", "Return whether `x` differs from `y`, elementwise.", "≠")
lt = comparison("less", "<", "Return whether `x` is below `y`, elementwise.")
le = comparison("less_equal", "<=", "Return whether `x` is at most `y`, elementwise.", "≤")
gt = comparison("greater", ">", "Return whether `x` is above `y`, elementwise.")
ge = comparison("greater_equal", ">=", "Return whether `x` is at least `y`, elementwise.", "≥")


@binary("({x} + {y})", label="+")
def add(xp: Namespace, x: Array, y: Array) -> Array:
    """Return `x + y`, broadcast."""
    return xp.add(x, y)


add.defvjp(x=lambda g: g, y=lambda g: g)


@binary("({x} - {y})", label="−")
def sub(xp: Namespace, x: Array, y: Array) -> Array:
    """Return `x - y`, broadcast."""
    return xp.subtract(x, y)


sub.defvjp(x=lambda g: g, y=lambda g: -g)


@binary("({x} * {y})", label="×")
def mul(xp: Namespace, x: Array, y: Array) -> Array:
    """Return `x * y`, broadcast."""
    return xp.multiply(x, y)


mul.defvjp(x=lambda g, y: g * y, y=lambda g, x: g * x)


@binary("({x} / {y})", NONZERO, label="÷", floating=True, dtype=dtypes.floating, quiet=True)
def div(xp: Namespace, x: Array, y: Array) -> Array:
    """Return `x / y`, broadcast; integers are divided as floating-point numbers."""
    return xp.true_divide(x, y)


div.defvjp(x=lambda g, y: g / y, y=lambda g, y, out: -g * out / y)


@binary("floor({x} / {y})", (Sample(((3, 2), (3, 2)), low=0.5, high=2.0),), quiet=True, differentiable=False)
def floor_divide(xp: Namespace, x: Array, y: Array) -> Array:
    """Return the largest integer not above `x / y`."""
    return xp.floor_divide(x, y)


@binary("({x} - floor({x} / {y}) * {y})", (Sample(((3, 2), (3, 2)), low=0.5, high=2.0),), label="mod", quiet=True)
def remainder(xp: Namespace, x: Array, y: Array) -> Array:
    """Return `x` modulo `y`, with the sign of `y`."""
    return xp.remainder(x, y)


remainder.defvjp(x=lambda g: g, y=lambda g, x, y: -g * floor_divide(x, y))


@binary("maximum({x}, {y})", APART, label="max")
def maximum(xp: Namespace, x: Array, y: Array) -> Array:
    """Return the larger of `x` and `y`; at a tie each gets half of the gradient."""
    return xp.maximum(x, y)


@binary("minimum({x}, {y})", APART, label="min")
def minimum(xp: Namespace, x: Array, y: Array) -> Array:
    """Return the smaller of `x` and `y`; at a tie each gets half of the gradient."""
    return xp.minimum(x, y)


maximum.defvjp(
    x=lambda g, x, y: where(eq(x, y), g * 0.5, where(gt(x, y), g, 0.0)),
    y=lambda g, x, y: where(eq(x, y), g * 0.5, where(lt(x, y), g, 0.0)),
)
minimum.defvjp(
    x=lambda g, x, y: where(eq(x, y), g * 0.5, where(lt(x, y), g, 0.0)),
    y=lambda g, x, y: where(eq(x, y), g * 0.5, where(gt(x, y), g, 0.0)),
)


@unary("(-{x})", label="−")
def neg(xp: Namespace, x: Array) -> Array:
    """Return `-x`."""
    return xp.negative(x)


neg.defvjp(x=lambda g: -g)


@unary("sign({x})", (Sample(((3, 2),), apart=True),))
def sign(xp: Namespace, x: Array) -> Array:
    """Return -1, 0 or 1: the sign of `x`; its gradient is 0."""
    return xp.sign(x)


sign.defvjp(x=lambda g: g * 0.0)


@unary("abs({x})", (Sample(((3, 2),), apart=True),), label="|·|")
def abs(xp: Namespace, x: Array) -> Array:
    """Return the absolute value of `x`; its gradient at 0 is 0."""
    return xp.absolute(x)


abs.defvjp(x=lambda g, x: g * sign(x))


@function("exp({x})", quiet=True)
def exp(xp: Namespace, x: Array) -> Array:
    """Return `e ** x`."""
    return xp.exp(x)


exp.defvjp(x=lambda g, out: g * out)


@function("log({x})", (Sample(((3, 2),), low=0.5, high=2.0),), quiet=True)
def log(xp: Namespace, x: Array) -> Array:
    """Return the natural logarithm of `x`."""
    return xp.log(x)


log.defvjp(x=lambda g, x: g / x)


@binary("power({x}, {y})", NONZERO[:1], label="^", quiet=True)
def pow(xp: Namespace, x: Array, y: Array) -> Array:
    """Return `x ** y`, broadcast."""
    if getattr(x, "dtype", None) == dtypes.bool_:  # NumPy's result is int8
        return xp.logical_or(x, xp.logical_not(y))
    return xp.power(x, y)


# d/dx = y x^(y-1) is 0 where y is 0, also at x = 0; d/dy = x^y log x is 0 where x is 0 and y is not negative.
def _pow_base(g: Value, x: Value, y: Value) -> Value:
    if not hasattr(y, "dtype"):
        return g * y * pow(x, y - 1.0) if y else full_like_(g, value=0.0)
    return where(eq(y, 0), 0.0, g * y * pow(x, where(eq(y, 0), 1.0, sub(y, 1))))


def _pow_exponent(g: Value, x: Value, y: Value, out: Value) -> Value:
    if not hasattr(x, "dtype"):
        logarithm = math.log(x) if x > 0 else -math.inf if x == 0 else math.nan
        return g * out * logarithm if x else where(ge(y, 0), 0.0, g * out * logarithm)
    return where(mul(eq(x, 0), ge(y, 0)), 0.0, g * out * log(where(eq(x, 0), 1.0, x)))


pow.defvjp(x=_pow_base, y=_pow_exponent)


@function("sqrt({x})", (Sample(((3, 2),), low=0.5, high=2.0),), label="√", quiet=True)
def sqrt(xp: Namespace, x: Array) -> Array:
    """Return the square root of `x`."""
    return xp.sqrt(x)


sqrt.defvjp(x=lambda g, out: g / (2 * out))


@function("expm1({x})", quiet=True)
def expm1(xp: Namespace, x: Array) -> Array:
    """Return `e ** x - 1`, accurate near 0."""
    return xp.expm1(x)


expm1.defvjp(x=lambda g, out: g * (out + 1.0))


@function("tanh({x})")
def tanh(xp: Namespace, x: Array) -> Array:
    """Return the hyperbolic tangent of `x`."""
    return xp.tanh(x)


tanh.defvjp(x=lambda g, out: g - g * (out * out))


HALF = {d: np.array(0.5, d) for d in map(np.dtype, ("float16", "float32", "float64", "complex128"))}


@function("sigmoid({x})", label="σ")
def sigmoid(xp: Namespace, x: Array) -> Array:
    """Return the logistic function `1 / (1 + e ** -x)`, as `(1 + tanh(x / 2)) / 2`, which cannot overflow."""
    half = HALF[x.dtype] if xp is np else 0.5  # NumPy takes twice as long to convert a Python number
    out = xp.multiply(x, half)
    if not x.ndim:
        return xp.tanh(out) * 0.5 + 0.5
    xp.tanh(out, out)
    xp.multiply(out, half, out)
    return xp.add(out, half, out)


sigmoid.defvjp(x=lambda g, out: g * (out - out * out))


@unary("maximum({x}, 0)", (Sample(((3, 2),), apart=True),))
def relu(xp: Namespace, x: Array) -> Array:
    """Return `max(x, 0)`; its gradient at 0 is 0."""
    return xp.maximum(x, 0)


relu.defvjp(x=lambda g, out: g * gt(out, 0))


LIMITS = {"low": -0.5, "high": 0.5}


@unary("minimum(maximum({x}, {low}), {high})", (Sample(((3, 2),), params=LIMITS), Sample(((),), params=LIMITS)))
def clamp_(xp: Namespace, x: Array, *, low: float, high: float) -> Array:
    """Return `x`, kept between `low` and `high`; gradients pass where it lies between them or at them."""
    return xp.minimum(xp.maximum(x, low), high)


clamp_.defvjp(x=lambda g, x, low, high: where(mul(ge(x, low), le(x, high)), g, 0.0))


LOGICAL = (Sample((Bools((3, 2)), Bools((3, 2)))), Sample((Ints((3, 1), 3), Ints((2,), 3))))


@binary("({x} && {y})", LOGICAL, label="∧", dtype=dtypes.bool_, differentiable=False)
def logical_and(xp: Namespace, x: Array, y: Array) -> Array:
    """Return whether both `x` and `y` are true (not 0)."""
    return xp.logical_and(x, y)


@binary("({x} || {y})", LOGICAL, label="∨", dtype=dtypes.bool_, differentiable=False)
def logical_or(xp: Namespace, x: Array, y: Array) -> Array:
    """Return whether `x` or `y` is true (not 0)."""
    return xp.logical_or(x, y)


@unary("(!{x})", (Sample((Bools((3, 2)),)),), label="¬", dtype=dtypes.bool_, differentiable=False)
def logical_not(xp: Namespace, x: Array) -> Array:
    """Return whether `x` is false (0)."""
    return xp.logical_not(x)


@op(
    shape=shapes.same,
    dtype=lambda x, *, dtype: dtype,
    expr="cast({x})",
    samples=(Sample(((3, 2),), params={"dtype": dtypes.float64}),),
    elementwise=True,
)
def cast(xp: Namespace, x: Array, *, dtype: dtypes.DType) -> Array:
    """Return `x` as an array of `dtype`, always a new one."""
    return x.astype(dtype)


cast.defvjp(x=lambda g, x_dtype: cast(g, dtype=x_dtype))


__all__ = [
    "abs", "add", "cast", "clamp_", "div", "eq", "exp", "expm1", "floor_divide", "ge", "gt", "le", "log", "logical_and",
    "logical_not", "logical_or", "lt", "maximum", "minimum", "mul", "ne", "neg", "pow", "relu", "remainder", "sigmoid",
    "sign", "sqrt", "sub", "tanh", "where",
]  # fmt: skip
