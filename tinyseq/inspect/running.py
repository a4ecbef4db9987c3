"""Running a function with an eye on every operation: what each made, and what if it had made something else."""

from typing import Any

import numpy as np

from tinyseq.backend import Array
from tinyseq.core.dispatch import STATE, Eager
from tinyseq.core.op import Op
from tinyseq.core.tape import CLOCK


class Watch(Eager):
    """Computes as `Eager` does; keeps what was made inside time steps, and the order of the calls."""

    def __init__(self) -> None:
        self.count = 0
        self.outputs: dict[int, Array] = {}  # by the number that the tape gives the node of the call
        self.calls: dict[int, int] = {}

    def apply(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Array:
        """Compute, and take note."""
        out = super().apply(op, args, params)
        if STATE.get().scope.step is not None:
            number = next(CLOCK) + 1  # the node is made right after this
            self.outputs[number], self.calls[number] = out, self.count
        self.count += 1
        return out


class Nudge(Eager):
    """Computes as `Eager` does, but adds `change` to the result of one call, or to an argument.

    `step` says in which time step the argument changes; None for all.
    """

    def __init__(
        self, change: Array, call: int | None = None, argument: Array | None = None, step: int | None = None
    ) -> None:
        self.change, self.call, self.argument, self.step, self.count = change, call, argument, step, 0

    def apply(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Array:
        """Compute with the change."""
        if self.argument is not None and (self.step is None or STATE.get().scope.step == self.step):
            args = tuple([a + self.change if a is self.argument else a for a in args])
        out = super().apply(op, args, params)
        self.count += 1
        return np.add(out, self.change) if self.count - 1 == self.call else out
