"""Passes over sums: many additions become one reduction or one product over stacked values."""

import itertools
from collections.abc import Sequence
from typing import Any

from tinyseq.core.shapes import Shape
from tinyseq.graph.builder import Builder, copied, edited, made_by, named, rewrite
from tinyseq.graph.ir import Graph, Line, Symbol, new_line

FEWEST = 3  # additions worth gathering
MOST_ROWS = 2048  # of a batched product: enough for BLAS to run at full speed, few enough to bound memory


def most_rows(columns: int) -> int:
    """Return how many rows a batched product should have at most, if its result, or what is summed, has `columns`.

    A sum of products that is cut there spends well below a hundredth of its time on adding up the parts.
    """
    return max(MOST_ROWS, 2 * columns)


def gather_sums(graph: Graph) -> Graph:
    """Make sums of like terms one: T reductions of a bias, T products for a weight, T parts at the same place.

    A weight that every time step transposes, slices or looks up anew collects its gradient in such terms.
    """
    users = graph.users()
    returned = {o for o in graph.outputs if isinstance(o, Symbol)}

    def is_inner(value: Any, shape: Shape) -> bool:
        made = made_by(value, "add")
        alone = made is not None and len(users[value]) == 1 and value not in returned
        return alone and users[value][0].op.name == "add" and value.shape == shape

    def terms(line: Line) -> list[Any]:
        found, stack = [], list(line.args[::-1])
        while stack:
            a = stack.pop()
            if is_inner(a, line.out.shape):
                stack.extend(a.line.args[::-1])
            else:
                found.append(a)
        return found

    inner = {line.out for line in graph if line.op.name == "add" and is_inner(line.out, line.out.shape)}
    if not inner and not any(line.op.name == "assemble" for line in graph):
        return graph

    def visit(builder: Builder, line: Line, args: list[Any]) -> Any:
        if line.op.name == "assemble":
            return _assembled(builder, line, args)
        if line.op.name == "add" and line.out not in inner:
            old = terms(line)
            if len(old) >= FEWEST and all(isinstance(t, Symbol) and t.shape == line.out.shape for t in old):
                gathered = total(builder, [new[t] for t in old])
                if gathered is not None:
                    return gathered
        return copied(builder, line, args)

    new: dict[Symbol, Any] = {s: s for s in graph.inputs}

    def remember(builder: Builder, line: Line, args: list[Any]) -> Any:
        new[line.out] = visit(builder, line, args)
        return new[line.out]

    return rewrite(graph, remember)


def total(builder: Builder, terms: Sequence[Any]) -> Any:
    """Return the sum of like terms as one operation over their joined operands, or None if they are not alike."""
    lines = [t.line for t in terms]
    if any(line is None or line.op is not lines[0].op for line in lines):
        return None
    first = lines[0]
    if first.op.name in ("permute", "reshape"):
        if any(line.params != first.params or line.args[0].shape != first.args[0].shape for line in lines):
            return None
        inside = total(builder, [line.args[0] for line in lines])
        return None if inside is None else builder.emit(first.op, [inside], first.params)
    if first.op.name == "sum_to":
        shape = first.params["shape"]
        rows = [line.args[0] for line in lines]
        if not shape or any(len(r.shape) != len(shape) + 1 or r.shape[1:] != shape for r in rows):
            return None
        return builder.emit("sum_to", [builder.emit("cat", rows[::-1], {"dim": 0})], {"shape": shape})
    if first.op.name == "matmul" and all(made_by(line.args[0], "permute") is not None for line in lines):
        lefts = [line.args[0].line.args[0] for line in lines]
        rights = [line.args[1] for line in lines]
        if all(len(v.shape) == 2 for v in (*lefts, *rights)):
            left, right = (builder.emit("cat", side[::-1], {"dim": 0}) for side in (lefts, rights))
            return builder.emit("matmul", [builder.emit("permute", [left], {"dims": (1, 0)}), right], {})
    return None


def _assembled(builder: Builder, line: Line, parts: list[Any]) -> Any:
    """Return an `assemble` whose parts do not overlap, if adding up those at the same place achieves that."""
    dim, shape = line.params["dim"], line.params["shape"]
    at: dict[tuple[int, int], list[Any]] = {}
    for part, start in zip(parts, line.params["starts"], strict=True):
        at.setdefault((start, part.shape[dim]), []).append(part)
    places = sorted(at)
    if any(a + n > b for (a, n), (b, _) in itertools.pairwise(places)):
        return copied(builder, line, parts)
    summed = []
    for place in places:
        together = total(builder, at[place]) if len(at[place]) >= FEWEST else None
        if together is None:
            together, *others = at[place]
            for other in others:
                together = builder.emit("add", [together, other], {})
        summed.append(together)
    if sum(n for _, n in places) == shape[dim]:
        return builder.emit("cat", summed, {"dim": dim})
    return builder.emit("assemble", summed, {**line.params, "starts": tuple(a for a, _ in places)})


def bound_rows(graph: Graph) -> Graph:
    """Cut sums over very many stacked rows into sums of a few thousand, so that what was stacked can be forgotten.

    Such a product runs as fast as a longer one, and the rows of the next take the memory of the last.
    """
    if not any(line.op.name == "cat" and _has_many_rows(line) for line in graph):
        return graph

    def visit(builder: Builder, line: Line, args: list[Any]) -> Any:
        name = line.op.name
        of_matrices = name == "matmul" and len(args[0].shape) == len(args[1].shape) == 2
        left = made_by(args[0], "permute") if of_matrices else None
        stacked = (
            made_by(args[1] if left is not None else args[0], "cat") if left is not None or name == "sum_to" else None
        )
        if stacked is None or not _has_many_rows(stacked):
            return copied(builder, line, args)
        if name == "sum_to" and line.params["shape"] != stacked.out.shape[1:]:
            return copied(builder, line, args)
        total, at = None, 0
        for part in _parts_of(stacked):
            rows = builder.emit("cat", part, {"dim": 0})
            end = at + rows.shape[0]
            if left is None:
                term = builder.emit("sum_to", [rows], line.params)
            else:
                range_ = builder.emit("narrow", [left.args[0]], {"dim": 0, "start": at, "stop": end})
                term = builder.emit("matmul", [builder.emit("permute", [range_], {"dims": (1, 0)}), rows], {})
            total = term if total is None else builder.emit("add", [total, term], {})
            at = end
        return total

    return rewrite(graph, visit)


def _has_many_rows(stacked: Line) -> bool:
    shape = stacked.out.shape
    return bool(stacked.params["dim"] == 0 and shape[0] > most_rows(shape[-1]))


def _parts_of(stacked: Line) -> list[list[Any]]:
    """Cut the members of a `cat` into lists of not too many rows."""
    parts: list[list[Any]] = [[]]
    rows, most = 0, most_rows(stacked.out.shape[-1])
    for member in stacked.args:
        rows += member.shape[0]
        if rows > most and parts[-1]:
            parts.append([])
            rows = member.shape[0]
        parts[-1].append(member)
    return parts


def fill_gaps(graph: Graph) -> Graph:
    """Make an `assemble` a `cat` with zeros in its gaps, so that its parts are computed in their place there.

    Each gap has zeros of its own, which are written once for all: hence the last pass, after which nothing is shared.
    """
    if not any(line.op.name == "assemble" for line in graph):
        return graph

    def edit(lines: list[Line], line: Line, args: list[Any]) -> Line | None:
        apart = line.op.name == "assemble" and _is_apart(line)
        return _with_gaps(lines, line, args) if apart else None

    return edited(graph, edit)


def _is_apart(line: Line) -> bool:
    dim, starts = line.params["dim"], line.params["starts"]
    ends = [a + part.shape[dim] for a, part in zip(starts, line.args, strict=True)]
    return all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def _with_gaps(lines: list[Line], line: Line, parts: Sequence[Any]) -> Line:
    dim, shape = line.params["dim"], line.params["shape"]
    pieces: list[Any] = []
    at = 0
    for part, start in zip((*parts, None), (*line.params["starts"], shape[dim]), strict=True):
        if start > at:
            gap = (*shape[:dim], start - at, *shape[dim + 1 :])
            params = {"shape": gap, "value": 0.0, "dtype": line.out.dtype, "device": line.out.device}
            zeros = new_line(named("full"), (), params, line.out.owner)
            lines.append(zeros)
            pieces.append(zeros.out)
        if part is not None:
            pieces.append(part)
            at = start + part.shape[dim]
    return new_line(named("cat"), pieces, {"dim": dim}, line.out.owner)
