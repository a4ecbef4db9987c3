"""Functions made of other operations."""

import math
from typing import Any

from tinyseq.core.op import Value
from tinyseq.errors import ArgumentError
from tinyseq.ops import elementwise
from tinyseq.ops.elementwise import clamp_, where


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


__all__ = ["clamp", "clamp_max", "clamp_min"]
