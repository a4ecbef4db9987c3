"""When each line of a program runs: products as early as they can, elementwise lines as late as their users allow.

A line that only backward needs thus runs in backward, beside its use, and its result is never stored. Elementwise
lines of one level and shape become one kernel.
"""

from collections.abc import Callable
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
        self.graph, self.needs_copy = graph, needs_copy
        self.elementwise = {line.out for line in graph if is_elementwise(line)}
        self.users = graph.users()
        self.level: dict[Symbol, int] = dict.fromkeys(graph.inputs, 0)
        for line in graph:
            level = max((self.level[a] for a in line.args if isinstance(a, Symbol)), default=0)
            self.level[line.out] = level + (0 if self.is_free(line) or line.out in self.elementwise else 1)
        self._delay()

    def is_free(self, line: Line) -> bool:
        """Tell whether `line` only looks at memory that is there."""
        return (line.op.name in VIEWS or line.op.name == "cat") and not self.needs_copy(line)

    def _delay(self) -> None:
        """Move elementwise lines to the last level at which all of their users still find them.

        What must be stored anyway, because it is returned, joined or multiplied, gains nothing by waiting; moving it
        would gather the work of all time steps in one kernel, as long as the sequence.
        """
        returned = {o for o in self.graph.outputs if isinstance(o, Symbol)}
        latest: dict[Symbol, int] = {}
        end = max(self.level.values(), default=0)
        for o in self.graph.outputs:
            if isinstance(o, Symbol):
                latest[o] = end
        for line in reversed(self.graph.lines):
            out = line.out
            limit = latest.get(out, end)
            fused = out not in returned and all(u.out in self.elementwise for u in self.users[out])
            if out in self.elementwise and fused:
                self.level[out] = max(self.level[out], limit)
            if line.op.name == "matmul" and self._reads_input(line):
                self.level[out] = max(self.level[out], limit)
            if self.is_free(line):
                needed = limit
            elif out in self.elementwise:
                needed = self.level[out]
            else:
                needed = self.level[out] - 1
            for a in line.args:
                if isinstance(a, Symbol):
                    latest[a] = min(latest.get(a, end), needed)
        for line in self.graph:
            if self.is_free(line):  # what a view looks at may have moved
                self.level[line.out] = max((self.level[a] for a in line.args if isinstance(a, Symbol)), default=0)

    def _reads_input(self, line: Line) -> bool:
        """Tell whether a product takes its rows from an input, which lies there anyway, so that it can wait."""
        x = line.args[0]
        while isinstance(x, Symbol) and x.line is not None and x.line.op.name in VIEWS:
            x = x.line.args[0]
        return isinstance(x, Symbol) and x.line is None

    def order(self) -> list[Any]:
        """Return what runs, in order: a Line, or a list of elementwise Lines of one shape (a kernel)."""
        by_level: dict[int, tuple[list[Line], dict[Any, list[Line]]]] = {}
        depth: dict[Symbol, int] = {}
        for line in self.graph:
            if self.is_free(line):
                depth[line.out] = max((depth.get(a, 0) for a in line.args if isinstance(a, Symbol)), default=0)
                continue
            level = self.level[line.out]
            lines, clusters = by_level.setdefault(level, ([], {}))
            if line.out not in self.elementwise:
                lines.append(line)
                continue
            deep = 0
            for a in line.args:
                if isinstance(a, Symbol) and self.level[a] == level:
                    apart = a not in self.elementwise or a.shape != line.out.shape
                    deep = max(deep, depth.get(a, 0) + (1 if apart and self._waits(a, level) else 0))
            depth[line.out] = deep
            clusters.setdefault((deep, line.out.shape), []).append(line)
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
            elif v.line is not None and self.is_free(v.line):
                stack.extend(a for a in v.line.args if isinstance(a, Symbol))
        return False
