"""Which interpreter handles this call? The one point that every operation goes through.

Three interpreters exist: `Eager` computes on arrays, a capture records on Symbols, the autograd recorder runs on
Tensors and hands the payloads down. Upper layers register their value types here, so that operations need not
know them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinyseq.backend import NAMESPACES, Array, device_of, is_array, namespace_of
from tinyseq.errors import CaptureError, DeviceError, DimError, DTypeError, ShapeError, TinyseqError


class Interpreter(Protocol):
    """Gives operations a meaning for one kind of value."""

    def apply(self, op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run or record `op`."""

    def read(self, tensor: Any) -> Any:
        """Return what the payload of `tensor` stands for now."""

    def write(self, tensor: Any, value: Any) -> None:
        """Replace the contents of `tensor` by `value`."""

    def watch(self, tensor: Any) -> None:
        """Take note that the payload of `tensor` is handed to another tensor, or is about to be looked into."""

    def peek(self, holder: Any) -> None:
        """Take note that the gradient of `holder` is about to be looked at."""

    def touch(self, holder: Any) -> None:
        """Take note that the gradient of `holder` is about to be replaced."""

    def own(self, value: Any) -> Any:
        """Return a copy of `value` as a payload that no other tensor looks at."""

    def know(self, tensor: Any, what: str) -> None:
        """Raise if the values of `tensor` are not known; `what` names who asks for them."""

    def bear(self, array: Any) -> None:
        """Take note that `array` was made of Python data just now."""


class Eager:
    """The bottom interpreter: arrays in, array out."""

    def apply(self, op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Array:
        """Compute with the library that owns the arrays."""
        try:
            if op.quiet:
                with np.errstate(all="ignore"):
                    out = op.forward(namespace_of(args), *args, **params)
            else:
                out = op.forward(namespace_of(args), *args, **params)
        except TinyseqError:
            raise
        except Exception as error:
            raise explained(op, args, params, error) from error
        return out if type(out) is np.ndarray else as_array(out)

    def read(self, tensor: Any) -> Any:
        """Return the payload of `tensor`: an array always holds its own contents."""
        payload = tensor.payload
        if type(payload) not in NAMESPACES:
            raise CaptureError(
                "a tensor of a captured function was used after its capture ended, as one kept on an attribute; return "
                "it from the function, and make constants beforehand, as in __init__"
            )
        return payload

    def write(self, tensor: Any, value: Any) -> None:
        """Copy `value` into the payload of `tensor`."""
        tensor.payload[...] = value

    def watch(self, tensor: Any) -> None:
        """Nothing to do."""

    def peek(self, holder: Any) -> None:
        """Nothing to do."""

    def touch(self, holder: Any) -> None:
        """Nothing to do."""

    def own(self, value: Any) -> Any:
        """Return a copy of `value`."""
        return value.copy()

    def know(self, tensor: Any, what: str) -> None:
        """Every value is known."""

    def bear(self, array: Any) -> None:
        """Nothing to do."""


EAGER = Eager()


def as_array(value: Any) -> Array:
    """Return the scalar into which NumPy turns a 0-d result as an array again."""
    return np.asarray(value) if isinstance(value, np.generic) else value


class Scope(NamedTuple):
    """Where in the model an operation was called: the module's path and the time step."""

    path: str = ""
    step: int | None = None


NO_SCOPE = Scope()


@dataclass(frozen=True, slots=True)
class State:
    """What an operation must know of the context that it is called in."""

    grad: bool = True
    bottom: Any = EAGER
    scope: Scope = NO_SCOPE
    inference: bool = False
    anomaly: bool = False

    def change(self, **changes: Any) -> "State":
        """Return a state that differs in `changes`."""
        return replace(self, **changes)


STATE: ContextVar[State] = ContextVar("tinyseq state", default=State())  # noqa: B039 -- State is immutable
INTERPRETERS: dict[type, Interpreter] = {}  # below the top
TOP: dict[type, Any] = {}  # each type of the top interpreter, with its `apply`: found with one look-up


@contextmanager
def override(**changes: Any) -> Iterator[State]:
    """Change the state of this thread or task inside a `with` block."""
    token = STATE.set(STATE.get().change(**changes))
    try:
        yield STATE.get()
    finally:
        STATE.reset(token)


def bind(op: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Hand the call to the highest interpreter among its arguments."""
    for a in args:
        apply = TOP.get(type(a))
        if apply is not None:
            return apply(op, args, params)
    for a in args:
        found = INTERPRETERS.get(type(a))
        if found is not None:
            return found.apply(op, args, params)
    return STATE.get().bottom.apply(op, args, params)


def describe(value: Any) -> str:
    """Return shape and dtype of a value, as errors print it.

    >>> describe(np.zeros((2, 3), np.float32))
    'float32[2, 3]'
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    return f"{type(value).__name__} {value!r}"[:60]


def explained(op: Any, args: tuple[Any, ...], params: dict[str, Any], error: Exception) -> Exception:
    """Return the error that says what `op` was given, in place of what the array library said."""
    given = ", ".join(f"{name}: {describe(a)}" for name, a in zip(op.argument_names(len(args)), args, strict=False))
    if params:
        given += ("; " if given else "") + ", ".join(f"{k}={v!r}" for k, v in params.items())
    if isinstance(error, MemoryError | Warning | TinyseqError):
        return error
    devices = {str(device_of(a)) for a in args if is_array(a)}
    if len(devices) > 1:
        return DeviceError(
            f"{op.name}: operands live on different devices, {' and '.join(sorted(devices))}; "
            f"got {given}; move one with .to(device)"
        )
    try:
        op.shape(*(tuple(np.shape(a)) if not hasattr(a, "shape") else tuple(a.shape) for a in args), **params)
    except TinyseqError as known:
        return type(known)(f"{op.name}: {known}; got {given}")
    except Exception as also:
        error = also if isinstance(also, ValueError | IndexError) else error
    kind: type[TinyseqError] = DTypeError if isinstance(error, TypeError) else ShapeError
    if isinstance(error, IndexError):
        return DimError(f"{op.name}: {error}; got {given}")
    return kind(f"{op.name}: {error}; got {given}")
