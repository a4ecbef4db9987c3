"""Switches for what is recorded. Each is a context manager and a decorator; each holds for its thread or task."""

import functools
import inspect
from collections.abc import Callable, Generator
from contextvars import Token
from typing import Any, Self

from tinyseq.autograd.anomaly import anomaly
from tinyseq.core.dispatch import STATE, State, override


class _Mode:
    """Change the state on entry, restore it on exit."""

    def __init__(self) -> None:
        self._tokens: list[Token[State]] = []

    def changes(self) -> dict[str, Any]:
        """Return what changes in the state."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._tokens.append(STATE.set(STATE.get().change(**self.changes())))
        return self

    def __exit__(self, *error: object) -> None:
        STATE.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function: the mode holds while it runs, in a generator also between its yields."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with override(**self.changes()):
                return function(*args, **kwargs)

        @functools.wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            source = function(*args, **kwargs)
            resume, given = source.send, None
            while True:
                try:
                    with override(**self.changes()):
                        made = resume(given)
                except StopIteration as stop:
                    return stop.value
                try:
                    resume, given = source.send, (yield made)
                except BaseException as error:  # also GeneratorExit: the source may have something to close
                    resume, given = source.throw, error

        return generate if inspect.isgeneratorfunction(function) else call


class _Bare(_Mode):
    """A mode without options, which also decorates without parentheses: `@no_grad`."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)


class no_grad(_Bare):
    """Record nothing: results do not require gradients."""

    def changes(self) -> dict[str, Any]:
        """Return what changes in the state."""
        return {"grad": False}


class enable_grad(_Bare):
    """Record again, inside of `no_grad`."""

    def changes(self) -> dict[str, Any]:
        """Return what changes in the state."""
        return {"grad": True, "inference": False}


class inference_mode(_Mode):
    """Record nothing, as `no_grad` does; `is_inference_mode_enabled()` tells."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self._mode = bool(mode)

    def changes(self) -> dict[str, Any]:
        """Return what changes in the state."""
        return {"grad": not self._mode, "inference": self._mode}


class _Switch(_Mode):
    """Effective at once, and until the `with` block ends if there is one."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._mode = bool(mode)
        super().__enter__()

    def __enter__(self) -> Self:
        return self

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function; outside of it the switch is turned back."""
        self.__exit__()
        return super().__call__(function)


class set_grad_enabled(_Switch):
    """Record or not, by a flag; effective at once, and until the `with` block ends if there is one."""

    def changes(self) -> dict[str, Any]:
        """Return what changes in the state."""
        return {"grad": self._mode}


class set_detect_anomaly(_Switch):
    """Check every gradient for NaN, and name the operation and the line that called it, by a flag."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__(mode)

    def changes(self) -> dict[str, Any]:
        """Return what changes in the state."""
        return anomaly(self._mode)


class detect_anomaly(_Mode):
    """Check every gradient for NaN, and name the operation and the line that called it, inside a `with` block.

    The forward pass must run inside of it, too. It is slow: for finding a bug only.
    """

    def changes(self) -> dict[str, Any]:
        """Return what changes in the state."""
        return anomaly(True)


def is_grad_enabled() -> bool:
    """Tell whether operations are being recorded."""
    return STATE.get().grad


def is_inference_mode_enabled() -> bool:
    """Tell whether inference mode is on."""
    return STATE.get().inference
