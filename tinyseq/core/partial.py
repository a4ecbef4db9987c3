"""Gradient contributions that are cheaper to add up late than one by one.

A rule may return one of these in place of a gradient; the backward walk settles all that a value has received at
once. They hold arrays, Tensors or Symbols alike.
"""

from typing import Any, NamedTuple


class Product(NamedTuple):
    """The matrix product `leftᵀ @ right`, summed over all leading dimensions: (..., K), (..., M) -> (K, M).

    A weight that is used at T time steps receives T of these; stacked, they are a single product.
    """

    left: Any
    right: Any


class Placed(NamedTuple):
    """`value` at `start` along `dim`, and zero elsewhere.

    The parts of a value that was split receive one of these each; together they are a single concatenation.
    """

    value: Any
    dim: int
    start: int
