"""Sum, difference and quotient with the extra arguments that torch's functions of these names take.

The operations themselves (`ops.add`, ...) take two operands and nothing else; these are what `tinyseq.add`,
`Tensor.add` and so on stand for.
"""

from typing import Any

from tinyseq.core.op import Value
from tinyseq.errors import ArgumentError
from tinyseq.ops import elementwise, rounding


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
