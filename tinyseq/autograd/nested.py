"""Tensors in what a function returns: tuples, lists and mappings inside one another."""

from collections.abc import Mapping
from typing import Any

from tinyseq.autograd.tensor import Tensor


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors in nested results, in order.

    >>> import tinyseq as ts
    >>> [t.shape for t in tensors_in((ts.ones(2), {"h": [ts.ones(3)]}))]
    [(2,), (3,)]
    """
    found, waiting = [], [value]
    while waiting:
        v = waiting.pop()
        if isinstance(v, Tensor):
            found.append(v)
        elif isinstance(v, Mapping):
            waiting.extend(reversed(list(v.values())))
        elif isinstance(v, tuple | list):
            waiting.extend(reversed(v))
    return found
