"""The plain runner: every line through its operation's own forward rule, on any array library and in any shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyseq.backend import CPU, Array, namespace_of
from tinyseq.core.dispatch import as_array
from tinyseq.graph.ir import Const, Graph, Symbol


class Replay:
    """Runs a graph line by line; what a line no longer needs is freed."""

    def __init__(self, graph: Graph) -> None:
        slots = {s: i for i, s in enumerate(graph.inputs)}
        constants: list[tuple[int, Any]] = []

        def slot(a: Any) -> int:
            if isinstance(a, Symbol):
                return slots[a]
            constants.append((len(slots) + len(constants), a.array if isinstance(a, Const) else a))
            return -len(constants)

        self.steps = []
        looks_at: dict[int, int] = {}  # whose memory a view shares
        for line in graph:
            args = [slot(a) for a in line.args]
            out = slots[line.out] = len(slots)
            self.steps.append((line.op.forward, args, line.params, out))
            if line.op.view:
                looks_at[out] = looks_at.get(args[0], args[0])
        self.outputs = [slot(o) for o in graph.outputs]
        # Lines may have become one, or views, or the inputs that they were made of, but each output is an array of its
        # own
        taken = set(range(len(graph.inputs)))
        self.shared = []
        for k, o in enumerate(self.outputs):
            source = looks_at.get(o, o)
            if source < 0 or source in taken:
                self.shared.append(k)
            taken.add(source)
        self.constants = [value for _, value in constants]
        self.count = len(slots)
        self.on_host = all(line.out.device in (None, CPU) for line in graph)
        self.frees = _last_uses(self.steps, set(self.outputs), len(graph.inputs))

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the outputs for `inputs`."""
        values: list[Any] = [*inputs, *[None] * (self.count - len(inputs))]
        constants = self.constants
        xp = np if all(type(a) is np.ndarray for a in inputs) and self.on_host else None
        with np.errstate(all="ignore"):
            for (forward, args, params, out), free in zip(self.steps, self.frees, strict=True):
                operands = [values[a] if a >= 0 else constants[-a - 1] for a in args]
                result = forward(xp or namespace_of(operands), *operands, **params)
                values[out] = result if type(result) is np.ndarray else as_array(result)
                for dead in free:
                    values[dead] = None
        results = [values[o] if o >= 0 else constants[-o - 1] for o in self.outputs]
        for k in self.shared:
            results[k] = results[k].copy()
        return results


def _last_uses(steps: Sequence[Any], kept: set[int], first: int) -> list[list[int]]:
    """Return, for each step, the values that no later step needs."""
    seen = set(kept)
    frees: list[list[int]] = []
    for _, args, _, out in reversed(steps):
        dead = [a for a in dict.fromkeys((*args, out)) if a >= first and a not in seen]
        seen.update(dead)
        frees.append(dead)
    return frees[::-1]
