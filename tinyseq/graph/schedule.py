"""When each line of a program runs: products as early as they can, elementwise lines as late as their users allow.

A line that only backward needs thus runs in backward, beside its use, and its result is never stored. Elementwise
lines of one level and shape become one kernel.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tinyseq.core import dtypes
from tinyseq.graph.builder import made_by
from tinyseq.graph.ir import Const, Graph, Line, Symbol
from tinyseq.graph.kernels import parsed
from tinyseq.graph.places import VIEWS

KERNEL_DTYPES = (dtypes.float32, dtypes.bool_)


def is_elementwise(line: Line) -> bool:
    """Tell whether a kernel can compute `line`."""
    if not line.op.elementwise or line.op.expr is None or line.out.dtype not in KERNEL_DTYPES:
        return False
    known = parsed(line.op.expr)
    if known is None or len(known[1]) != len(line.args):
        return False
    if line.op.name == "clone" and made_by(line.args[0], "permute") is not None:
        return False  # a transpose, which kernels cannot read
    for a in line.args:
        if isinstance(a, Const) or (isinstance(a, Symbol) and a.dtype not in KERNEL_DTYPES):
            return False
        if isinstance(a, Symbol) and not fits(a.shape, line.out.shape):
            return False
    return True


def fits(shape: tuple[int, ...], full: tuple[int, ...]) -> bool:
    """Tell whether a kernel over rows and columns can read `shape` broadcast to `full`.

    It can if the operand is whole, or lacks leading dimensions, or has one value for each row.
    """
    if shape == full:
        return True
    padded = (1,) * (len(full) - len(shape)) + shape
    if all(n == 1 for n in padded):
        return True
    last = 1 if padded[-1] == 1 else 0
    inner = padded[: len(padded) - last]
    outer = full[: len(full) - last]
    if last:
        return inner == outer
    return inner[:-1] == (1,) * (len(inner) - 1) and inner[-1] == outer[-1]


class Schedule:
    """The level of every line, and the order in which levels, lines and kernels run."""

    def __init__(self, graph: Graph, needs_copy: Callable[[Line], bool]) -> None:
        self.graph = graph
        self.elementwise = {line.out for line in graph if is_elementwise(line)}
        self.free = {  # what only looks at memory that is there
            line.out for line in graph if (line.op.name in VIEWS or line.op.name == "cat") and not needs_copy(line)
        }
        self.users = graph.users()
        self.level: dict[Any, int] = {}
        for line in graph:
            level = self._highest(line.args)
            self.level[line.out] = level if line.out in self.free or line.out in self.elementwise else level + 1
        self._delay()

    def _highest(self, values: Sequence[Any]) -> int:
        return max([self.level.get(v, 0) for v in values], default=0)

    def _delay(self) -> None:
        """Move elementwise lines to the last level at which all of their users still find them.

        What must be stored anyway, because it is returned, joined or multiplied, gains nothing by waiting; moving it
        would gather the work of all time steps in one kernel, as long as the sequence.
        """
        users, elementwise, levels = self.users, self.elementwise, self.level
        settled = self._settled()
        end = max(levels.values(), default=0)
        returned = {o for o in self.graph.outputs if isinstance(o, Symbol)}
        latest: dict[Any, int] = dict.fromkeys(returned, end)
        for line in reversed(self.graph.lines):
            out = line.out
            limit = latest.get(out, end)
            if out in elementwise:
                fused = out not in returned and all(u.out in elementwise for u in users[out])
                if fused and out not in settled:
                    levels[out] = max(levels[out], limit)
                needed = levels[out]
            elif out in self.free:
                needed = limit
            else:
                if line.op.name == "matmul" and self._reads_inputs(line):
                    levels[out] = max(levels[out], limit)
                needed = levels[out] - 1
            for a in line.args:
                if latest.get(a, end) >= needed:
                    latest[a] = needed
        for line in self.graph:
            if line.out in self.free:  # what a view looks at may have moved
                levels[line.out] = self._highest(line.args)

    def _settled(self) -> set[Symbol]:
        """Return the elementwise values that replace several, which only they read: waiting would cost memory."""
        found: set[Symbol] = set()
        for line in self.graph:
            if line.out in self.elementwise and len(line.args) > 1:
                alone = [a for a in line.args if type(a) is Symbol and a.line is not None and len(self.users[a]) == 1]
                if len(alone) > 1:
                    stored = [a for a in alone if a in found or (a not in self.elementwise and a not in self.free)]
                    if sum(a.shape == line.out.shape for a in stored) > 1:
                        found.add(line.out)
        return found

    def _reads_inputs(self, line: Line) -> bool:
        """Tell whether a product takes its operands from inputs, which lie there anyway, so that it can wait."""
        for x in line.args:
            while isinstance(x, Symbol) and x.line is not None and x.line.op.name in VIEWS:
                x = x.line.args[0]
            if not isinstance(x, Symbol) or x.line is not None:
                return False
        return True

    def order(self) -> list[Any]:
        """Return what runs, in order: a Line, or a list of elementwise Lines of one shape (a kernel)."""
        by_level: dict[int, tuple[list[Line], dict[Any, list[Line]]]] = {}
        depth: dict[Any, int] = {}
        for line in self.graph:
            out = line.out
            if out in self.free:
                depth[out] = max([depth.get(a, 0) for a in line.args], default=0)
                continue
            level = self.level[out]
            lines, clusters = by_level.setdefault(level, ([], {}))
            if out not in self.elementwise:
                lines.append(line)
                continue
            deep = 0
            for a in line.args:
                if self.level.get(a) == level:
                    apart = a not in self.elementwise or a.shape != out.shape
                    deep = max(deep, depth.get(a, 0) + (1 if apart and self._waits(a, level) else 0))
            depth[out] = deep
            clusters.setdefault((deep, out.shape), []).append(line)
        found: list[Any] = []
        for level in sorted(by_level):
            lines, clusters = by_level[level]
            found.extend(lines)
            found.extend(clusters[key] for key in sorted(clusters, key=lambda k: k[0]))
        return found

    def _waits(self, value: Symbol, level: int) -> bool:
        """Tell whether `value` rests on an elementwise line of the same level."""
        stack = [value]
        while stack:
            v = stack.pop()
            if v in self.elementwise:
                if self.level[v] == level:
                    return True
            elif v.line is not None and v in self.free:
                stack.extend(a for a in v.line.args if isinstance(a, Symbol))
        return False
