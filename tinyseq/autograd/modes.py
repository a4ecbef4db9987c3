"""Switches for what is recorded. Each is a context manager and a decorator; each holds for its thread or task."""

import functools
from collections.abc import Callable
from contextvars import Token
from typing import Any, Self

from tinyseq.core.dispatch import STATE, State


class _Mode:
    """Change the state on entry, restore it on exit."""

    changes: dict[str, Any]

    def __init__(self) -> None:
        self._tokens: list[Token[State]] = []

    def __enter__(self) -> Self:
        self._tokens.append(STATE.set(STATE.get().change(**self.changes)))
        return self

    def __exit__(self, *error: object) -> None:
        STATE.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function: the mode holds while it runs."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            mode = type(self).__new__(type(self))
            mode.changes, mode._tokens = self.changes, []
            with mode:
                return function(*args, **kwargs)

        return wrapper


class no_grad(_Mode):
    """Record nothing: results do not require gradients."""

    changes = {"grad": False}


class enable_grad(_Mode):
    """Record again, inside of `no_grad`."""

    changes = {"grad": True, "inference": False}


class inference_mode(_Mode):
    """Record nothing, as `no_grad` does; `is_inference_mode_enabled()` tells."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.changes = {"grad": not mode, "inference": mode}


class set_grad_enabled(_Mode):
    """Record or not, by a flag; effective at once, and until the `with` block ends if there is one."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.changes = {"grad": bool(mode)}
        self._tokens.append(STATE.set(STATE.get().change(**self.changes)))

    def __enter__(self) -> Self:
        return self


class set_detect_anomaly(_Mode):
    """Check every gradient for NaN, and name the operation and the line that called it."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.changes = {"anomaly": bool(mode)}
        self._tokens.append(STATE.set(STATE.get().change(**self.changes)))

    def __enter__(self) -> Self:
        return self


class detect_anomaly(_Mode):
    """Check every gradient for NaN inside a `with` block."""

    changes = {"anomaly": True}


def is_grad_enabled() -> bool:
    """Tell whether operations are being recorded."""
    return STATE.get().grad


def is_inference_mode_enabled() -> bool:
    """Tell whether inference mode is on."""
    return STATE.get().inference
