"""The fast runner: kernels and products as one flat program in native code, over one arena.

What no kernel computes (indexing, random numbers, float64) runs between the native stretches through the operations'
own forward rules, on views of the same arena.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinyseq.backend import CPU, Array
from tinyseq.blas import NO_TRANSPOSE, TRANSPOSE, openblas
from tinyseq.core import dtypes
from tinyseq.core.op import Op
from tinyseq.graph import threads
from tinyseq.graph.compiler import Compiler, compiler
from tinyseq.graph.ir import Const, Graph, Line, Symbol
from tinyseq.graph.kernels import Kernel, Operand, Step, parsed
from tinyseq.graph.places import Joins, Place, Places, contiguous_strides
from tinyseq.graph.schedule import Schedule

_F32 = dtypes.float32


def can_run(graph: Graph) -> bool:
    """Tell whether this machine has what the native runner needs, and the program is one that it takes."""
    shapes = {s.shape for s in (*graph.inputs, *[line.out for line in graph])}
    on_host = all(s.device is None or s.device == CPU for s in graph.inputs)
    return on_host and all(0 not in shape for shape in shapes) and compiler() is not None and _has_products()


def _has_products() -> bool:
    library = openblas()
    return library is not None and bool(library.gemm and library.gemv)


class Native:
    """Runs an improved program in native code."""

    def __init__(self, graph: Graph) -> None:
        found = compiler()
        assert found is not None
        self.compiler: Compiler = found
        library = openblas()
        assert library is not None
        self.blas = library
        self.threads = threads.get_num_threads()
        self.graph = graph
        self.joins = Joins(graph)
        self.schedule = Schedule(graph, self.joins.needs_copy)
        self.places = Places(graph, self.joins)
        self.returned = {o for o in graph.outputs if isinstance(o, Symbol)}
        self.jobs: list[tuple[Any, list[int | tuple[Place, int]]]] = []  # (function or callable, table)
        self.calls: list[tuple[int, Callable[[], None]]] = []
        self.rebuild: list[Callable[[], None]] = []
        self.kernels: list[Kernel] = []
        self.shapes: dict[int, tuple[int, ...]] = {}  # of the kernels' results, by job
        self._plan()

    # Planning

    def _plan(self) -> None:
        constant: list[Line] = []
        self.position = 0  # in the order of time, by which the lives of blocks are told
        for item in self.schedule.order():
            if isinstance(item, Line) and item.op.name == "full":
                constant.append(item)
                continue
            self.jobs.append(self._kernel_job(item) if isinstance(item, list) else self._job(item))
            self.position += 1
        position = self.position
        for o in self.returned:
            block = self.places.of(o).block
            block.last = position
            block.first = block.first if block.first >= 0 else position
        for line in constant:
            block = self.places.of(line.out).block
            block.first, block.last = 0, position
        self.compiler.compile(self.kernels)
        self.size = self.places.arrange()
        self.arena = _aligned(self.size)
        for line in constant:
            self._array(self.places.of(line.out))[...] = line.params["value"]
        self._link()

    def _use(self, places: Iterable[Place]) -> None:
        """Note that the job being planned reads or writes `places`."""
        for place in places:
            block = place.block
            if block.first < 0:
                block.first = self.position
            block.last = self.position

    def _kernel_job(self, cluster: list[Line]) -> tuple[Any, list[Any]]:
        shape = cluster[0].out.shape
        users, made = self.schedule.users, dict.fromkeys([line.out for line in cluster])
        read = [a for line in cluster for a in line.args if type(a) is Symbol and a not in made]
        stored = [s for s in made if s in self.returned or not all(u.out in made for u in users[s])]
        reached = {s: self.places.of(s) for s in dict.fromkeys((*read, *stored))}
        self._use(reached.values())
        flat = all(p.contiguous and p.shape == shape for p in reached.values())
        rows, columns = (1, math.prod(shape)) if flat else (math.prod(shape[:-1]), shape[-1])
        table: list[Any] = [rows, columns]
        operands: list[Operand] = []
        number: dict[Symbol, int] = {}
        for s, place in reached.items():
            access = (False, 0) if flat else _access(place, shape)
            if access is None:
                place = self._copied(place)
                access = _access(place, shape)
                assert access is not None
            number[s] = len(operands)
            operands.append(Operand(access[0], "f" if place.dtype == _F32 else "b"))
            table += [(place, 0), access[1]]
        steps: list[Step] = []
        at: dict[Symbol, int] = {}
        for line in cluster:
            args = tuple(
                ("step", at[a])
                if a in at
                else ("load", number[a])
                if isinstance(a, Symbol)
                else ("number", float(a).hex())
                for a in line.args
            )
            at[line.out] = len(steps)
            named = tuple([args[i] for i in _formula_order(line.op)])
            kind = "f" if line.out.dtype == _F32 else "b"
            steps.append(Step(line.op.expr or "", named, kind, number.get(line.out, -1)))
        kernel = Kernel(tuple(operands), tuple(steps))
        self.kernels.append(kernel)
        self.shapes[len(self.jobs)] = shape
        return kernel, table

    def _copied(self, place: Place) -> Place:
        """Return a row-major copy of a value that no kernel can read as it lies."""
        block = self.places._new(math.prod(place.shape) * place.dtype.itemsize)
        block.first = block.last = self.position
        from_, copy = place, Place(block, 0, place.shape, contiguous_strides(place.shape, place.dtype), place.dtype)
        self.jobs.append((lambda: np.copyto(self._array(copy), self._array(from_)), []))
        return copy

    def _job(self, line: Line) -> tuple[Any, list[Any]]:
        self._use(self.places.of(v) for v in (*line.args, line.out) if isinstance(v, Symbol))
        if line.op.name == "matmul":
            job = self._product(line)
            if job is not None:
                return job
        if line.op.name == "sum" and line.out.dtype == _F32 and line.params["dim"] == (len(line.args[0].shape) - 1,):
            place, out = self.places.of(line.args[0]), self.places.of(line.out)
            access = _access(place, place.shape)
            if access is not None and not access[0] and out.contiguous:
                rows, columns = math.prod(place.shape[:-1]), place.shape[-1]
                return "rowsum", [rows, columns, (place, 0), access[1], (out, 0), 4]
        return self._python(line), []

    def _product(self, line: Line) -> tuple[Any, list[Any]] | None:
        a, b = line.args
        if not all(isinstance(x, Symbol) and x.dtype == _F32 and len(x.shape) == 2 for x in (a, b)):
            return None
        pa, pb, pc = self.places.of(a), self.places.of(b), self.places.of(line.out)
        (m, k), n = a.shape, b.shape[1]
        left, right, out = _matrix(pa), _matrix(pb), _matrix(pc)
        if left is None or right is None or out is None or out[0] != NO_TRANSPOSE:
            return None
        gemm, gemv = self.blas.gemm, self.blas.gemv
        if m == 1 and pa.strides[1] == 4 and pc.strides[1] == 4:
            rows, columns, flag = (k, n, TRANSPOSE) if right[0] == NO_TRANSPOSE else (n, k, NO_TRANSPOSE)
            return "gemv", [gemv, flag, rows, columns, (pb, 0), right[1], (pa, 0), (pc, 0)]
        return "gemm", [gemm, left[0], right[0], m, n, k, (pa, 0), left[1], (pb, 0), right[1], (pc, 0), out[1]]

    def _python(self, line: Line) -> Callable[[], None]:
        """Return a call of the operation's forward rule on views of the arena."""
        args = [
            self.places.of(a) if isinstance(a, Symbol) else a.array if isinstance(a, Const) else a for a in line.args
        ]
        out, forward, params = self.places.of(line.out), line.op.forward, line.params
        views: list[Any] = []

        def look() -> None:
            views[:] = [self._array(a) if isinstance(a, Place) else a for a in (*args, out)]

        self.rebuild.append(look)
        if line.op.name in ("clone", "reshape"):
            return lambda: np.copyto(views[-1], views[0].reshape(views[-1].shape))

        def call() -> None:
            views[-1][...] = forward(np, *views[:-1], **params)

        return call

    # Linking: from places to addresses

    def _link(self) -> None:
        self.values: list[int] = []
        self.patches: dict[int, tuple[list[int], list[int]]] = {}
        self.barrier = threads.Barrier(self.threads)
        stretches: list[Any] = []  # a callable, or the programs of consecutive native jobs, one for each thread
        at = 0
        while at < len(self.jobs):
            end = at
            while end < len(self.jobs) and not callable(self.jobs[end][0]):
                end += 1
            stretches.append(self.jobs[at][0] if end == at else self._stretch(at, end))
            at = max(end, at + 1)
        self.tables = np.array(self.values, np.int64)
        self.fixups = {i: (np.array(p), np.array(o, np.int64)) for i, (p, o) in self.patches.items()}
        self.programs: list[Array] = []
        self.steps = [s if callable(s) else self._runnable(s) for s in stretches]
        self.shared = sum(not callable(s) and len(s) > 1 for s in stretches)
        self.inputs: list[Any] = [None] * len(self.graph.inputs)
        self.results = [
            (self.places.of(o), None) if isinstance(o, Symbol) else (None, o.array if isinstance(o, Const) else o)
            for o in self.graph.outputs
        ]

    def _stretch(self, at: int, end: int) -> list[list[tuple[Any, int]]]:
        """Return programs of (function, start of its table) for jobs `at` to `end`: see `_programs`, or just one."""
        jobs = [(i, *self.jobs[i]) for i in range(at, end)]
        total = sum(threads.seconds(what, table) for _, what, table in jobs)
        count = self.threads
        if count > 1 and threads.is_worth(total, [total / count], 0):
            parts = [[threads.share(f, t, self.shapes.get(i), w, count) for w in range(count)] for i, f, t in jobs]
            waits = threads.barriers([[p and p[1] for p in job] for job in parts])
            shares = [0.0] * count
            for (_, what, _), job in zip(jobs, parts, strict=True):
                for w, part in enumerate(job):
                    shares[w] += threads.seconds(what, part[0]) if part is not None else 0.0
            if threads.is_worth(total, shares, sum(waits)):
                return self._programs([what for _, what, _ in jobs], parts, waits)
        return [[(what, self._stored(table)) for _, what, table in jobs]]

    def _programs(self, functions: Sequence[Any], parts: Sequence[Any], waits: Sequence[bool]) -> list[Any]:
        """Return a program for each thread, and last one that runs all of their shares in turn."""
        programs: list[list[tuple[Any, int]]] = [[] for _ in parts[0]]
        in_turn: list[tuple[Any, int]] = []
        for what, job, wait in zip(functions, parts, waits, strict=True):
            for program, part in zip(programs, job, strict=True):
                if wait:
                    program.append(("barrier", -1))
                if part is not None:
                    program.append((what, self._stored(part[0])))
                    in_turn.append(program[-1])
        return [*programs, in_turn]

    def _stored(self, table: Sequence[Any]) -> int:
        """Write a table with addresses in place of places; return where it starts."""
        start = len(self.values)
        base = self.arena.ctypes.data
        for entry in table:
            if isinstance(entry, int):
                self.values.append(entry)
                continue
            place, more = entry
            if place.block.input is None:
                self.values.append(base + place.block.start + place.offset + more)
                continue
            positions, offsets = self.patches.setdefault(place.block.input, ([], []))
            positions.append(len(self.values))
            offsets.append(place.offset + more)
            self.values.append(0)
        return start

    def _runnable(self, programs: list[list[tuple[Any, int]]]) -> Callable[[], None]:
        """Return a call that runs native programs, one on each thread."""
        tables, meeting = self.tables.ctypes.data, self.barrier.table.ctypes.data
        placed = []
        for program in programs:
            rows = [(self.compiler.addresses[f], meeting if at < 0 else tables + 8 * at) for f, at in program]
            self.programs.append(np.array(rows, np.int64))
            placed.append((self.programs[-1].ctypes.data, len(rows)))
        *shares, alone = placed
        in_turn = functools.partial(self.compiler.run, *alone)
        return threads.Faster(threads.together(self.compiler.run, shares), in_turn) if shares else in_turn

    def _array(self, place: Place) -> Array:
        """Return the memory of a place as an array."""
        if place.block.input is None:
            start = place.block.start + place.offset
            return np.ndarray(place.shape, place.dtype, self.arena, start, place.strides)
        return np.ndarray(place.shape, place.dtype, self.inputs[place.block.input], place.offset, place.strides)

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the outputs for `inputs`."""
        moved = not inputs
        for i, array in enumerate(inputs):
            if array is self.inputs[i]:
                continue
            if not array.flags.c_contiguous or not array.flags.aligned:
                array = np.ascontiguousarray(array)
            self.inputs[i] = array
            moved = True
            if i in self.fixups:
                positions, offsets = self.fixups[i]
                self.tables[positions] = offsets + array.ctypes.data
        if moved:
            for look in self.rebuild:
                look()
        with self.blas.limited(1):
            for step in self.steps:
                step()
        return [self._array(place).copy() if place is not None else value for place, value in self.results]

    def explain(self) -> list[str]:
        """Return in words what was planned."""
        native = sum(not callable(what) for what, _ in self.jobs)
        return [
            f"{len(self.graph)} lines run as {native} native calls and {len(self.jobs) - native} calls of NumPy",
            f"{len(set(self.kernels))} kernels serve {len(self.kernels)} places of the program",
            f"the arena takes {self.size:,} bytes",
            f"{self.shared} stretches are shared by {self.threads} threads",
        ]


def _aligned(size: int) -> Array:
    raw = np.zeros(size + 64, np.uint8)
    shift = -raw.ctypes.data % 64
    return raw[shift : shift + size]


@functools.cache
def _formula_order(op: Op) -> tuple[int, ...]:
    """Return which operands the formula of an operation names, in the order in which it names them."""
    found = parsed(op.expr or "")
    assert found is not None
    return tuple(op.inputs.index(name) for name in found[1])


def _access(place: Place, full: tuple[int, ...]) -> tuple[bool, int] | None:
    """Return (one value a row?, row stride) of an operand broadcast to `full`; None if a kernel cannot read it so."""
    lead = len(full) - len(place.shape)
    shape = (1,) * lead + place.shape
    strides = tuple(0 if n == 1 else s for n, s in zip(shape, (0,) * lead + place.strides, strict=True))
    spread = full[-1] != 1 and (shape[-1] == 1 or strides[-1] == 0)
    if not spread and full[-1] != 1 and strides[-1] != place.dtype.itemsize:
        return None
    rows = [(n, s) for n, s in zip(full[:-1], strides[:-1], strict=True) if n != 1]
    if not rows:
        return spread, 0
    for (_, outer), (n, inner) in itertools.pairwise(rows):
        if outer != n * inner:
            return None
    return spread, rows[-1][1]


def _matrix(place: Place) -> tuple[int, int] | None:
    """Return (transposed?, leading dimension) as BLAS wants it; None if it cannot read the matrix as it lies."""
    (m, n), (row, column) = place.shape, place.strides
    if (column == 4 or n == 1) and row % 4 == 0 and (row >= 4 * n or m == 1):
        return NO_TRANSPOSE, max(row // 4, n)
    if (row == 4 or m == 1) and column % 4 == 0 and column >= 4 * m:
        return TRANSPOSE, column // 4
    return None
