"""Gradient contributions that are cheaper to add up late than one by one.

A rule may return one of these in place of a gradient; the backward walk settles all that a value has received at
once. They hold arrays, Tensors or Symbols alike.
"""

from typing import Any


class Product:
    """The matrix product `leftᵀ @ right`, summed over all leading dimensions: (..., K), (..., M) -> (K, M).

    A weight that is used at T time steps receives T of these; stacked, they are a single product.
    """

    __slots__ = ("left", "right")

    def __init__(self, left: Any, right: Any) -> None:
        self.left, self.right = left, right


class Placed:
    """`value` at `start` along `dim`, and zero elsewhere.

    The parts of a value that was split receive one of these each; together they are a single concatenation.
    """

    __slots__ = ("dim", "start", "value")

    def __init__(self, value: Any, dim: int, start: int) -> None:
        self.value, self.dim, self.start = value, dim, start


class Summed:
    """`value` (..., *shape) summed over its leading dimensions: the gradient of a bias."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


PARTIAL = frozenset((Product, Placed, Summed))
