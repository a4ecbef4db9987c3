"""Parameters as one vector, and back."""

import math
from collections.abc import Iterable
from typing import Any

from tinyseq import ops
from tinyseq.autograd import Tensor, no_grad
from tinyseq.errors import ShapeError


def parameters_to_vector(parameters: Iterable[Any]) -> Tensor:
    """Return all elements of the parameters, one after the other, as a vector through which gradients flow."""
    out: Tensor = ops.cat([ops.reshape(p, -1) for p in parameters])
    return out


def vector_to_parameters(vec: Tensor, parameters: Iterable[Any]) -> None:
    """Copy the elements of `vec` into the parameters, one after the other."""
    several = list(parameters)
    total = sum(math.prod(p.shape) for p in several)
    if vec.shape != (total,):
        raise ShapeError(f"vector_to_parameters: got shape {list(vec.shape)}, wanted [{total}]")
    start = 0
    with no_grad():
        for p in several:
            count = math.prod(p.shape)
            p.assign(ops.reshape(ops.narrow(vec, 0, start, count), p.shape))
            start += count
