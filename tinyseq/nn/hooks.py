"""Hooks of a module: what is called before and after its `forward`."""

from collections.abc import Callable
from typing import Any

from tinyseq.autograd.engine import HookHandle


class Hooks:
    """The hooks of one module, in the order in which they were added.

    Attributes
    ----------
    before, after
        The hooks by number.
    """

    def __init__(self) -> None:
        self.before: dict[int, Callable[..., Any]] = {}
        self.after: dict[int, Callable[..., Any]] = {}

    def arguments(self, module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return what `forward` gets: `args`, or what a hook puts in their place."""
        for hook in list(self.before.values()):
            replaced = hook(module, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        return args

    def output(self, module: Any, args: tuple[Any, ...], output: Any) -> Any:
        """Return what the module returns: `output`, or what a hook puts in its place."""
        for hook in list(self.after.values()):
            replaced = hook(module, args, output)
            output = output if replaced is None else replaced
        return output


def add_hook(hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> HookHandle:
    """Add a hook behind the others; return what removes it."""
    key = max(hooks, default=-1) + 1
    hooks[key] = hook
    return HookHandle(hooks, key)
