"""Arguments and results as trees: tuples, named tuples, lists and dictionaries of tensors and plain values."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

from tinyseq.autograd import Tensor
from tinyseq.backend import Device, is_array
from tinyseq.errors import CaptureError

Key: TypeAlias = tuple[Any, ...]

# Values that are compared as they are
PLAIN = (int, float, bool, str, bytes, complex, type(None), np.generic, np.dtype, Device, Enum, range, type(...))
MOST_BYTES = 16384  # arrays up to this size are compared by content


def plain_key(value: Any) -> Key:
    """Return what tells a plain value from all others, also `1` from `1.0` and from `True`, and `0.0` from `-0.0`."""
    if isinstance(value, float | complex | np.floating) and (value == 0 or value != value):
        return type(value), repr(value)
    return type(value), value


def is_plain(value: Any) -> bool:
    """Tell whether a value is compared as it is."""
    return isinstance(value, PLAIN)


class Call:
    """The arguments of one call, taken apart.

    Attributes
    ----------
    tensors
        Every tensor among the arguments, each once.
    others
        Objects that are neither tensors nor plain values, with their paths.
    key
        The structure, plain values, and which tensor stands where.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.args, self.kwargs = args, dict(kwargs)
        self.tensors: list[Tensor] = []
        self.others: list[tuple[str, Any]] = []
        self.facts: dict[str, Any] = {}
        self._numbers: dict[int, int] = {}
        parts = [self._key_of(a, f"argument {i}") for i, a in enumerate(args)]
        named = [(k, self._key_of(v, f"argument {k!r}")) for k, v in kwargs.items()]
        self.key: Key = (*parts, *named)

    def _key_of(self, value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            if id(value) not in self._numbers:
                self._numbers[id(value)] = len(self.tensors)
                self.tensors.append(value)
                self.facts[f"the shape of {path}"] = list(value.shape)
                self.facts[f"the dtype of {path}"] = str(value.dtype)
                self.facts[f"whether {path} requires gradients"] = value.requires_grad
            return self._numbers[id(value)]
        if isinstance(value, PLAIN):
            self.facts[path] = value
            return plain_key(value)
        if isinstance(value, tuple | list):
            return (type(value), *(self._key_of(v, f"{path}[{i}]") for i, v in enumerate(value)))
        if isinstance(value, dict):
            return (type(value), *((k, self._key_of(v, f"{path}[{k!r}]")) for k, v in value.items()))
        if isinstance(value, slice):
            return (slice, value.start, value.stop, value.step)
        if is_array(value):
            raise CaptureError(
                f"{path} is a NumPy array of shape {list(value.shape)}; a compiled function takes tensors, so pass "
                "tinyseq.tensor(array)"
            )
        self.others.append((path, value))
        return "object", id(value)

    def replaced(self, stand_ins: list[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with `stand_ins` in place of the tensors, in containers of their own."""

        def visit(value: Any) -> Any:
            return stand_ins[self._numbers[id(value)]] if isinstance(value, Tensor) else value

        return tuple([mapped(visit, a) for a in self.args]), {k: mapped(visit, v) for k, v in self.kwargs.items()}


def mapped(visit: Callable[[Any], Any], tree: Any) -> Any:
    """Return `tree` with every leaf replaced by `visit(leaf)`."""
    if isinstance(tree, tuple):
        parts = [mapped(visit, v) for v in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if isinstance(tree, list):
        return type(tree)([mapped(visit, v) for v in tree])
    if isinstance(tree, dict):
        parts = [(k, mapped(visit, v)) for k, v in tree.items()]
        return dict(parts) if type(tree) is dict else type(tree)(parts)
    return visit(tree)


def leaves(tree: Any) -> list[Any]:
    """Return the leaves of `tree` in order, and its containers' types and keys between them."""
    found: list[Any] = []

    def visit(value: Any) -> None:
        if isinstance(value, tuple | list):
            found.append((type(value), len(value)))
            for v in value:
                visit(v)
        elif isinstance(value, dict):
            found.append((type(value), tuple(value)))
            for v in value.values():
                visit(v)
        else:
            found.append(value)

    visit(tree)
    return found
