"""The fast runner: kernels and products as one flat program in native code, over one arena.

What no kernel computes (indexing, random numbers, float64) runs between the native stretches through the operations'
own forward rules, on views of the same arena.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyseq.backend import Array
from tinyseq.blas import openblas
from tinyseq.graph import threads
from tinyseq.graph.compiler import Compiler, compiler
from tinyseq.graph.ir import Graph
from tinyseq.graph.kernels import Kernel
from tinyseq.graph.placed import Placed, can_place
from tinyseq.graph.planning import HostCall, Job, Planning


def can_run(graph: Graph) -> bool:
    """Tell whether this machine has what the native runner needs, and the program is one that it takes."""
    return can_place(graph) and compiler() is not None and _has_products()


def _has_products() -> bool:
    library = openblas()
    return library is not None and bool(library.gemm and library.gemv)


class Native(Placed):
    """Runs an improved program in native code."""

    def __init__(self, graph: Graph) -> None:
        found, library = compiler(), openblas()
        assert found is not None
        assert library is not None
        self.compiler: Compiler = found
        self.blas = library
        self.threads = threads.get_num_threads()
        planned = Planning(graph, library, self.compiler.has_products)
        kernels = [job.what for job in planned.jobs if isinstance(job.what, Kernel)]
        self.compiler.compile(kernels)
        super().__init__(graph, planned)
        on_host = sum(isinstance(job.what, HostCall) for job in planned.jobs)
        self.explained = [
            f"{len(graph)} lines run as {len(planned.jobs) - on_host} native calls and {on_host} calls of NumPy",
            f"{len(set(kernels))} kernels serve {len(kernels)} places of the program",
            f"the arena takes {self.size:,} bytes",
            f"{self.shared} stretches are shared by {self.threads} threads",
        ]

    # Linking: from places to addresses

    def _steps(self, planned: Planning) -> list[tuple[Callable[..., Any], list[Any]]]:
        self.values: list[int] = []
        self.patches: dict[int, tuple[list[int], list[int]]] = {}
        self.barrier = threads.Barrier(self.threads)
        stretches: list[Any] = []  # a call, or the programs of consecutive native jobs, one for each thread
        for on_host, some in itertools.groupby(planned.jobs, lambda job: isinstance(job.what, HostCall)):
            if on_host:
                stretches.extend(self._hosted(job.what) for job in some)
            else:
                stretches.append(self._stretch(list(some)))
        self.tables = np.array(self.values, np.int64)
        self.fixups = {i: (np.array(p), np.array(o, np.int64)) for i, (p, o) in self.patches.items()}
        del self.values, self.patches
        self.programs: list[Array] = []
        self.shared = sum(isinstance(s, list) and len(s) > 1 for s in stretches)
        return [(self._runnable(s), []) if isinstance(s, list) else s for s in stretches]

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

    def _move(self, number: int) -> None:
        super()._move(number)
        if number in self.fixups:
            positions, offsets = self.fixups[number]
            self.tables[positions] = offsets + self.inputs[number].ctypes.data

    def _run(self, inputs: Sequence[Array]) -> list[Array]:
        with self.blas.limited(1):
            return super()._run(inputs)

    def explain(self) -> list[str]:
        """Return in words what was planned."""
        return self.explained
