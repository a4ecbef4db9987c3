"""Rounding and remainders."""

from typing import Any

from tinyseq.backend import Array, Namespace
from tinyseq.core import dtypes
from tinyseq.core.op import Value
from tinyseq.core.sample import Sample
from tinyseq.ops.elementwise import Define, binary, eq, sub, unary, where

QUADRANTS = (Sample(((3, 2), (3, 2)), apart=True), Sample(((3, 1), (2,)), apart=True))

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


__all__ = ["ceil", "copysign", "floor", "fmod", "frac", "round", "round_", "trunc"]
