"""States of recurrent cells: named tuples of tensors (B, ...), which may be nested."""

from collections.abc import Callable, Iterator
from typing import Any

from tinyseq.autograd import Tensor
from tinyseq.errors import DTypeError, ShapeError


def map_state(function: Callable[..., Any], state: Any, *others: Any) -> Any:
    """Return a state of the same structure, made by `function` from the tensors of one or several states."""
    if not isinstance(state, tuple):
        return function(state, *others)
    parts = [map_state(function, *several) for several in zip(state, *others, strict=True)]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def named_leaves(state: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors of a state with the names of the fields that lead to them, joined by dots."""
    if not isinstance(state, tuple):
        yield prefix, state
        return
    for name, part in zip(getattr(state, "_fields", map(str, range(len(state)))), state, strict=True):
        yield from named_leaves(part, f"{prefix}.{name}" if prefix else name)


def detach_state(state: Any) -> Any:
    """Return a state, nested or not, without its history: where truncated backpropagation through time cuts.

    Raises
    ------
    DTypeError
        If it is anything else than a tensor, or a tuple or list, nested or not, of tensors.

    >>> import tinyseq
    >>> h = tinyseq.ones(1, requires_grad=True) * 2
    >>> detach_state((h, (h, h)))
    (tensor([2.]), (tensor([2.]), tensor([2.])))
    """
    return map_state(_detached, state)


def _detached(leaf: Any) -> Any:
    if isinstance(leaf, list):
        return [detach_state(part) for part in leaf]
    if not isinstance(leaf, Tensor):
        raise DTypeError(
            f"detach_state: got {type(leaf).__name__} in the state, wanted a tensor, or a tuple of tensors or of tuples"
        )
    return leaf.detach()


def describe_state(state: Any) -> str:
    """Return the structure of a state, as errors print it."""
    if isinstance(state, tuple | list):
        names = getattr(state, "_fields", ("",) * len(state))
        parts = (
            f"{name}: {describe_state(part)}" if name else describe_state(part)
            for name, part in zip(names, state, strict=True)
        )
        return f"({', '.join(parts)})"
    return str(list(state.shape)) if isinstance(state, Tensor) else type(state).__name__


def conform(given: Any, wanted: Any, who: str) -> Any:
    """Return `given` with the structure of the state `wanted`; tuples may be plain, a single tensor may stand alone.

    Raises
    ------
    ShapeError
        If the structure or a shape differs.
    """
    if isinstance(wanted, tuple) and isinstance(given, Tensor) and len(wanted) == 1:
        given = (given,)
    if not same_structure(given, wanted):
        raise ShapeError(f"{who}: got a state {describe_state(given)}, wanted {describe_state(wanted)}")
    return restructured(given, wanted)


def same_structure(given: Any, wanted: Any) -> bool:
    """Tell whether two states have the same structure and shapes."""
    if isinstance(wanted, tuple):
        return (
            isinstance(given, tuple | list)
            and len(given) == len(wanted)
            and all(same_structure(g, w) for g, w in zip(given, wanted, strict=True))
        )
    return isinstance(given, Tensor) and given.shape == wanted.shape


def restructured(given: Any, wanted: Any) -> Any:
    """Return `given` with the tuple types of `wanted`, where the structure is known to be the same."""
    if not isinstance(wanted, tuple):
        return given
    parts = [restructured(g, w) for g, w in zip(given, wanted, strict=True)]
    return type(wanted)(*parts) if hasattr(wanted, "_fields") else tuple(parts)
