"""Functions that take more than the operations of their names, as torch's functions do.

The operations themselves (`ops.add`, `ops.where`, ...) take their operands and nothing else; these are what
`tinyseq.add`, `Tensor.add` and so on stand for.
"""

from typing import Any

from tinyseq.core.op import Value
from tinyseq.errors import ArgumentError
from tinyseq.ops import elementwise, rounding, selecting


def add(input: Value, other: Value, *, alpha: float = 1) -> Value:
    """Return `input + alpha * other`, broadcast."""
    return elementwise.add(input, other if alpha == 1 else elementwise.mul(other, alpha))


def sub(input: Value, other: Value, *, alpha: float = 1) -> Value:
    """Return `input - alpha * other`, broadcast."""
    return elementwise.sub(input, other if alpha == 1 else elementwise.mul(other, alpha))


def rsub(input: Value, other: Value, *, alpha: float = 1) -> Value:
    """Return `other - alpha * input`, broadcast."""
    return elementwise.sub(other, input if alpha == 1 else elementwise.mul(input, alpha))


def div(input: Value, other: Value, *, rounding_mode: Any = None) -> Value:
    """Return `input / other`, broadcast; rounded if `rounding_mode` is "floor" or "trunc".

    Raises
    ------
    ArgumentError
        If `rounding_mode` is something else.
    """
    if rounding_mode is None:
        return elementwise.div(input, other)
    if rounding_mode == "floor":
        return elementwise.floor_divide(input, other)
    if rounding_mode == "trunc":
        return rounding.trunc(elementwise.div(input, other))
    raise ArgumentError(f"div: got rounding_mode {rounding_mode!r}, wanted None, 'floor' or 'trunc'")


def where(condition: Value, input: Any = None, other: Any = None) -> Any:
    """Return `input` where `condition` is true and `other` elsewhere; with neither, the indices where it is true."""
    if input is None and other is None:
        return selecting.nonzero(condition, as_tuple=True)
    return elementwise.where(condition, input, other)


__all__ = ["add", "div", "rsub", "sub", "where"]
