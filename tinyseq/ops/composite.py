"""Functions made of other operations."""

import math
from typing import Any

from tinyseq.core.dtypes import float64
from tinyseq.core.op import Value
from tinyseq.errors import ArgumentError
from tinyseq.ops import elementwise
from tinyseq.ops.elementwise import cast, clamp_, where


def clamp(input: Value, min: Any = None, max: Any = None) -> Value:
    """Return `input`, kept between `min` and `max`: numbers, tensors or None.

    Raises
    ------
    ArgumentError
        If neither is given.
    """
    if min is None and max is None:
        raise ArgumentError("clamp: got neither min nor max, wanted at least one")
    if input.dtype.kind == "f" and not hasattr(min, "shape") and not hasattr(max, "shape"):
        low, high = -math.inf if min is None else float(min), math.inf if max is None else float(max)
        return clamp_(input, low=low, high=high)
    out = input if min is None else where(elementwise.lt(input, min), min, input)
    return out if max is None else where(elementwise.gt(out, max), max, out)


def clamp_min(input: Value, min: Any) -> Value:
    """Return `input`, and `min` where it is below."""
    return clamp(input, min)


def clamp_max(input: Value, max: Any) -> Value:
    """Return `input`, and `max` where it is above."""
    return clamp(input, None, max)


def logical_xor(input: Value, other: Value) -> Value:
    """Return whether exactly one of `input` and `other` is true (not 0)."""
    return elementwise.ne(elementwise.ne(input, 0), elementwise.ne(other, 0))


def float_power(input: Value, exponent: Value) -> Value:
    """Return `input ** exponent` in float64."""
    wide = [cast(v, dtype=float64) if hasattr(v, "dtype") and v.dtype != float64 else v for v in (input, exponent)]
    return elementwise.pow(*wide)


def positive(input: Value) -> Value:
    """Return `input` itself."""
    return input


__all__ = ["clamp", "clamp_max", "clamp_min", "float_power", "logical_xor", "positive"]
