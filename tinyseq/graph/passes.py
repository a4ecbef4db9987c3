"""Passes that improve a captured program, each Graph -> Graph. None of them knows what a cell is.

`improve` runs them all; a pass can be switched off by name. The first ones rebuild the program through a `Builder`,
which drops what nobody uses, shares what is computed twice, and undoes joins and splits that cancel. The last ones add
copies and zeros that must not be shared again, with `edited`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tinyseq.graph.builder import Builder, copied, edited, made_by, named, rewrite
from tinyseq.graph.ir import Const, Graph, Line, Symbol, new_line
from tinyseq.graph.places import Joins
from tinyseq.graph.schedule import KERNEL_DTYPES
from tinyseq.graph.sums import bound_rows, fill_gaps, gather_sums, most_rows


def share(graph: Graph) -> Graph:
    """Drop dead lines, compute equal lines once, and undo joins and splits that cancel."""
    return rewrite(graph, copied)


def push_slices(graph: Graph) -> Graph:
    """Make a slice of an elementwise value the elementwise value of slices, so that gates fuse across a split."""
    users = graph.users()
    returned = {o for o in graph.outputs if isinstance(o, Symbol)}

    split: set[Symbol] = set()  # elementwise values of which only slices are used, directly or further on
    for line in reversed(graph.lines):
        wanted = line.op.elementwise and line.out not in returned
        if wanted and all(u.op.name == "narrow" or u.out in split for u in users[line.out]):
            split.add(line.out)
    if not split:
        return graph
    origin: set[Symbol] = set()

    def visit(builder: Builder, line: Line, args: list[Any]) -> Any:
        if line.op.name == "narrow" and line.args[0] in split:
            return sliced(builder, args[0], line.params)
        out = copied(builder, line, args)
        if line.out in split:
            origin.add(out)
        return out

    def sliced(builder: Builder, x: Any, params: dict[str, Any]) -> Any:
        made = x.line if isinstance(x, Symbol) else None
        if x not in origin or made is None or not made.op.elementwise:  # a simpler value may have taken its place
            return builder.emit("narrow", [x], params)
        parts = [_slice_operand(builder, a, x.shape, params, sliced) for a in made.args]
        return builder.emit(made.op, parts, made.params)

    return rewrite(graph, visit)


def _slice_operand(builder: Builder, a: Any, shape: tuple[int, ...], params: dict[str, Any], sliced: Any) -> Any:
    """Return the part of an operand, broadcast to `shape`, that a slice of the result needs."""
    dim = params["dim"] - (len(shape) - len(getattr(a, "shape", ())))
    if isinstance(a, Const):
        return a if dim < 0 or a.shape[dim] == 1 else builder.emit("narrow", [a], {**params, "dim": dim})
    if not isinstance(a, Symbol) or dim < 0 or a.shape[dim] == 1:
        return a
    return sliced(builder, a, {**params, "dim": dim})


def batch_products(graph: Graph) -> Graph:
    """Make products that share their right-hand side and do not depend on one another a single product.

    The products of an input projection leave the time loop this way, forward and backward.
    """
    groups: dict[Any, list[Line]] = {}
    for line in graph:
        matrices = line.op.name == "matmul" and len(line.args[0].shape) == len(line.args[1].shape) == 2
        if matrices and made_by(line.args[0], "permute") is None:  # joining transposed values would copy them
            groups.setdefault(line.args[1], []).append(line)
    together: dict[Symbol, tuple[Any, int]] = {}
    for weight, lines in groups.items():
        if len(lines) > 1:
            for generation, members in _generations(graph, lines).items():
                if len(members) > 1:
                    for line in members:
                        together[line.out] = (weight, generation)
    if not together:
        return graph
    batches: dict[tuple[Any, int], list[Line]] = {}
    for line in graph:
        if line.out in together:
            batches.setdefault(together[line.out], []).append(line)
    return _with_batches(graph, [part for batch in batches.values() for part in _bounded(batch)])


def _bounded(batch: list[Line]) -> list[list[Line]]:
    """Cut a batch into parts of not too many rows, in the order in which their operands lie."""
    parts: list[list[Line]] = []
    most = most_rows(batch[0].out.shape[1])
    rows = most + 1
    for line in sorted(batch, key=lambda line: _position(line.args[0])):
        rows += line.out.shape[0]
        if rows > most:
            parts.append([])
            rows = line.out.shape[0]
        parts[-1].append(line)
    return parts


def _generations(graph: Graph, members: list[Line]) -> dict[int, list[Line]]:
    """Sort `members` by how many of them stand in a row before each: equal numbers are independent."""
    inside = {m.out for m in members}
    depth: dict[Any, int] = {}
    found: dict[int, list[Line]] = {}
    for line in graph:
        above = 0
        for a in line.args:
            if (before := depth.get(a, 0)) > above:
                above = before
        if line.out in inside:
            found.setdefault(above, []).append(line)
            above += 1
        if above:
            depth[line.out] = above
    return found


def _with_batches(graph: Graph, batches: list[list[Line]]) -> Graph:
    """Rebuild `graph` with each batch of products as one, in an order in which all operands are there."""
    leader = {line.out: i for i, batch in enumerate(batches) for line in batch}
    builder = Builder(graph.inputs)
    new: dict[Symbol, Any] = {s: s for s in graph.inputs}
    done: set[Any] = set()

    def needs(job: Any) -> list[Any]:
        lines = batches[job] if isinstance(job, int) else [job]
        return [a for line in lines for a in line.args if isinstance(a, Symbol)]

    def job_of(value: Symbol) -> Any:
        return leader.get(value, value.line)

    for line in sorted(graph, key=lambda line: not line.op.random):  # random numbers keep their order
        stack = [job_of(line.out)]
        while stack:
            job = stack[-1]
            if job in done:
                stack.pop()
                continue
            missing = [job_of(a) for a in needs(job) if a not in new]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            done.add(job)
            if isinstance(job, int):
                _emit_batch(builder, batches[job], new)
            else:
                new[job.out] = copied(builder, job, [new[a] if isinstance(a, Symbol) else a for a in job.args])
    return builder.graph([new[o] if isinstance(o, Symbol) else o for o in graph.outputs])


def _emit_batch(builder: Builder, batch: list[Line], new: dict[Symbol, Any]) -> None:
    lefts = [new.get(line.args[0], line.args[0]) for line in batch]
    order = sorted(range(len(batch)), key=lambda i: _position(lefts[i]))
    joined = builder.emit("cat", [lefts[i] for i in order], {"dim": 0})
    right = batch[0].args[1]
    product = builder.emit("matmul", [joined, new.get(right, right)], {})
    at = 0
    for i in order:
        end = at + lefts[i].shape[0]
        new[batch[i].out] = builder.emit("narrow", [product], {"dim": 0, "start": at, "stop": end})
        at = end


def _position(value: Any) -> int:
    """Return where in a longer value `value` stands: batches in that order need no copies."""
    line = made_by(value, "select", "narrow")
    return 0 if line is None else line.params.get("index", line.params.get("start", 0))


def copy_transposed(graph: Graph) -> Graph:
    """Give a transposed matrix that several products share one row-major copy: BLAS reads that faster."""
    shared: dict[Symbol, int] = {}
    for line in graph:
        if line.op.name == "matmul" and made_by(line.args[1], "permute") is not None:
            shared[line.args[1]] = shared.get(line.args[1], 0) + 1
    if max(shared.values(), default=0) < 2:
        return graph

    copies: dict[Any, Any] = {}

    def edit(lines: list[Line], line: Line, args: list[Any]) -> Line | None:
        if line.op.name != "matmul" or shared.get(line.args[1], 0) < 2:
            return None
        if args[1] not in copies:
            lines.append(new_line(named("clone"), [args[1]], {}, line.out.owner))
            copies[args[1]] = lines[-1].out
        return line.again([args[0], copies[args[1]]])

    return edited(graph, edit)


def copy_shared_parts(graph: Graph) -> Graph:
    """Copy values that two joins claim, or that lie elsewhere already: the copy fuses with what makes the value."""
    wanted: dict[Symbol, set[int]] = {}
    for line, position in Joins(graph).conflicts:
        part = line.args[position]
        if isinstance(part, Symbol) and line.out.dtype in KERNEL_DTYPES and made_by(part, "permute") is None:
            wanted.setdefault(line.out, set()).add(position)
    if not wanted:
        return graph

    def edit(lines: list[Line], line: Line, args: list[Any]) -> Line | None:
        for i in sorted(wanted.get(line.out, ())):
            lines.append(new_line(named("clone"), [args[i]], {}, line.out.owner))  # one of its own for each join
            args[i] = lines[-1].out
        return None

    return edited(graph, edit)


PASSES: dict[str, Callable[[Graph], Graph]] = {
    "share": share,
    "gather_sums": gather_sums,
    "batch_products": batch_products,
    "push_slices": push_slices,
    "bound_rows": bound_rows,
    "copy_transposed": copy_transposed,
    "fill_gaps": fill_gaps,
    "copy_shared_parts": copy_shared_parts,
}


def improve(graph: Graph, without: Sequence[str] = ()) -> Graph:
    """Return `graph` after every pass but those named in `without`."""
    better = graph
    for name, improved in PASSES.items():
        if name not in without:
            before, better = better, improved(better)
            if better is not before:
                before.take_apart([*graph.lines, *better.lines])
    return better
