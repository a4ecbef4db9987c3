"""The fast runner: kernels and products as one flat program in native code, over one arena.

What no kernel computes (indexing, random numbers, float64) runs between the native stretches through the operations'
own forward rules, on views of the same arena.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyseq.backend import CPU, Array
from tinyseq.blas import openblas
from tinyseq.core.tape import stamp_write
from tinyseq.graph import threads
from tinyseq.graph.compiler import Compiler, compiler
from tinyseq.graph.ir import Graph
from tinyseq.graph.kernels import Kernel
from tinyseq.graph.places import Place
from tinyseq.graph.planning import HostCall, Job, Planning


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
        found, library = compiler(), openblas()
        assert found is not None
        assert library is not None
        self.compiler: Compiler = found
        self.blas = library
        self.threads = threads.get_num_threads()
        planned = Planning(graph, library)
        kernels = [job.what for job in planned.jobs if isinstance(job.what, Kernel)]
        self.compiler.compile(kernels)
        self.size = planned.size
        self.arena = _aligned(self.size)
        for place, value in planned.constants:
            self._array(place)[...] = value
        self.inputs: list[Any] = [None] * len(graph.inputs)
        self.outputs = planned.outputs
        self.rebuild: list[Callable[[], None]] = []
        self._link(planned.jobs)
        on_host = sum(isinstance(job.what, HostCall) for job in planned.jobs)
        self.explained = [
            f"{len(graph)} lines run as {len(planned.jobs) - on_host} native calls and {on_host} calls of NumPy",
            f"{len(set(kernels))} kernels serve {len(kernels)} places of the program",
            f"the arena takes {self.size:,} bytes",
            f"{self.shared} stretches are shared by {self.threads} threads",
        ]

    # Linking: from places to addresses

    def _link(self, jobs: Sequence[Job]) -> None:
        self.values: list[int] = []
        self.patches: dict[int, tuple[list[int], list[int]]] = {}
        self.barrier = threads.Barrier(self.threads)
        stretches: list[Any] = []  # a callable, or the programs of consecutive native jobs, one for each thread
        for on_host, some in itertools.groupby(jobs, lambda job: isinstance(job.what, HostCall)):
            if on_host:
                stretches.extend(self._hosted(job.what) for job in some)
            else:
                stretches.append(self._stretch(list(some)))
        self.tables = np.array(self.values, np.int64)
        self.fixups = {i: (np.array(p), np.array(o, np.int64)) for i, (p, o) in self.patches.items()}
        del self.values, self.patches
        self.programs: list[Array] = []
        self.steps = [s if callable(s) else self._runnable(s) for s in stretches]
        self.shared = sum(not callable(s) and len(s) > 1 for s in stretches)

    def _hosted(self, call: HostCall) -> Callable[[], None]:
        """Return a call of a forward rule on views of the arena."""
        forward, operands, params, out = call
        views: list[Any] = []

        def look() -> None:
            views[:] = [self._array(a) if isinstance(a, Place) else a for a in (*operands, out)]

        self.rebuild.append(look)
        if forward is None:
            return lambda: np.copyto(views[-1], views[0].reshape(views[-1].shape))

        def run() -> None:
            views[-1][...] = forward(np, *views[:-1], **params)

        return run

    def _stretch(self, jobs: Sequence[Job]) -> list[list[tuple[Any, int]]]:
        """Return programs of (function, start of its table) for native jobs in a row: see `_programs`, or just one."""
        total = sum(threads.seconds(job.what, job.table) for job in jobs)
        count = self.threads
        if count > 1 and threads.is_worth(total, [total / count], 0):
            parts = [[threads.share(job.what, job.table, job.shape, w, count) for w in range(count)] for job in jobs]
            waits = threads.barriers([[p and p[1] for p in several] for several in parts])
            shares = [0.0] * count
            for job, several in zip(jobs, parts, strict=True):
                for w, part in enumerate(several):
                    shares[w] += threads.seconds(job.what, part[0]) if part is not None else 0.0
            if threads.is_worth(total, shares, sum(waits)):
                return self._programs([job.what for job in jobs], parts, waits)
        return [[(job.what, self._stored(job.table)) for job in jobs]]

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
        stamp_write(self.arena)  # a rule that keeps a copy of a matrix it has met must not take it for this call's
        with self.blas.limited(1):
            for step in self.steps:
                step()
        return [self._array(out).copy() if isinstance(out, Place) else out for out in self.outputs]

    def explain(self) -> list[str]:
        """Return in words what was planned."""
        return self.explained


def _aligned(size: int) -> Array:
    raw = np.zeros(size + 64, np.uint8)
    shift = -raw.ctypes.data % 64
    return raw[shift : shift + size]
