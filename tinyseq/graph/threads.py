"""Several cores on one program: each takes its share of the rows of every job, and they wait only where shares touch.

The rows of a recurrent program are those of its batch, so each core runs the whole time loop on its part of the batch
and meets the others at the products that sum over it. Nothing here knows that: a barrier stands before a job that
reads or writes bytes which another core has written, or reads what it will overwrite, since the last barrier.
"""

import ctypes
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from tinyseq.blas import NO_TRANSPOSE, blas_threads
from tinyseq.errors import ArgumentError
from tinyseq.graph.kernels import Kernel
from tinyseq.graph.places import Place

# Handing a share to another thread costs about 30 us and a barrier one: what a stretch of work must save to be shared
HANDING, WAITING = 100e-6, 2e-6
FLOPS, ELEMENTS = 8e10, 1e9  # what one core does in a second, roughly
MOST_WATCHED = 2048  # jobs between barriers: bounds the search for shares that touch

_threads = min(os.cpu_count() or 1, blas_threads() or 1)


def get_num_threads() -> int:
    """Return how many cores a compiled program may use: at first as many as NumPy's BLAS would."""
    return _threads


def set_num_threads(count: int) -> None:
    """Let compiled programs use `count` cores; programs that are compiled already keep theirs.

    Raises
    ------
    ArgumentError
        If `count` is below 1.
    """
    global _threads
    if count < 1:
        raise ArgumentError(f"set_num_threads: got {count}, wanted at least 1")
    _threads = int(count)


@functools.cache
def pool(workers: int) -> ThreadPoolExecutor:
    """Return the threads beside the calling one."""
    return ThreadPoolExecutor(workers, thread_name_prefix="tinyseq")


class Touched(NamedTuple):
    """The bytes of the arena that a share of a job reads and writes, as (first, end)."""

    reads: list[tuple[int, int]]
    writes: list[tuple[int, int]]


def seconds(what: Any, table: Sequence[Any]) -> float:
    """Estimate how long one core takes for a job."""
    if what == "gemm":
        return 2 * math.prod(table[3:6]) / FLOPS
    if what == "product":
        return 2 * math.prod(table[:3]) / FLOPS
    if what == "gemv":
        return table[2] * table[3] / ELEMENTS
    return table[0] * table[1] * (len(what.steps) if isinstance(what, Kernel) else 1) / 8 / ELEMENTS


def is_worth(total: float, shares: Sequence[float], waits: int) -> bool:
    """Tell whether sharing saves time: `total` seconds on one core against `shares` on several with `waits`."""
    return total - max(shares) > HANDING + waits * WAITING


def share(what: Any, table: Sequence[Any], shape: Any, worker: int, workers: int) -> tuple[list[Any], Touched] | None:
    """Return the table of one worker's part of a job and what it touches; None if the worker has no part in it."""
    if what == "gemm":
        return _share_gemm(table, worker, workers)
    if what == "product":
        return _share_product(table, worker, workers)
    if what == "gemv":
        return (list(table), Touched([_span(table[4]), _span(table[6])], [_span(table[7])])) if worker == 0 else None
    if what == "rowsum":
        first, end = _part(table[0], worker, workers)
        operands = [(table[2][0], table[3], 4 * table[1]), (table[4][0], table[5], 4)]
        return _share_rows([end - first, table[1]], operands, first, end, {1})
    if what == "transpose":
        return _share_transpose(table, worker, workers)
    if what == "colsum":
        return _share_columns(table, worker, workers)
    rows, columns = table[:2]
    places = [(table[i][0], table[i + 1]) for i in range(2, len(table), 2)]
    stores = {step.store for step in what.steps if step.store >= 0}
    if rows == 1 and math.prod(shape) == columns:  # flat: cut between the rows that the shape has
        width = shape[-1] if shape else 1
        first, end = _part(columns // max(width, 1), worker, workers)
        size = [p.dtype.itemsize for p, _ in places]
        operands = [(p, width * s, width * s) for (p, _), s in zip(places, size, strict=True)]
        return _share_rows([1, (end - first) * width], operands, first, end, stores)
    first, end = _part(rows, worker, workers)
    spread = [operand.spread for operand in what.operands]
    operands = [
        (p, stride, p.dtype.itemsize * (1 if one else columns)) for (p, stride), one in zip(places, spread, strict=True)
    ]
    return _share_rows([end - first, columns], operands, first, end, stores)


def _part(count: int, worker: int, workers: int) -> tuple[int, int]:
    return count * worker // workers, count * (worker + 1) // workers


def _share_rows(
    sizes: list[int], operands: Sequence[tuple[Place, int, int]], first: int, end: int, stores: set[int]
) -> tuple[list[Any], Touched] | None:
    """Return a share of a job over rows, whose operands are given as (place, row stride, bytes in a row)."""
    if first == end:
        return None
    table: list[Any] = list(sizes)
    touched = Touched([], [])
    for i, (place, stride, width) in enumerate(operands):
        table += [(place, first * stride), stride]
        begin = _at(place) + first * stride
        if place.block.input is None:
            span = (begin, begin + (end - first - 1) * stride + width)
            (touched.writes if i in stores else touched.reads).append(span)
    return table, touched


def _share_transpose(table: Sequence[Any], worker: int, workers: int) -> tuple[list[Any], Touched] | None:
    """Return a share of the rows of a transposed copy, which are columns of what is copied."""
    rows, columns, (x, _), stride, (out, _), wide = table
    first, end = _part(rows, worker, workers)
    if first == end:
        return None
    begin, into = _at(x) + 4 * first, _at(out) + wide * first
    reads = [(begin, begin + (columns - 1) * stride + 4 * (end - first))] if x.block.input is None else []
    part = [end - first, columns, (x, 4 * first), stride, (out, wide * first), wide]
    return part, Touched(reads, [(into, into + (end - first - 1) * wide + 4 * columns)])


def _share_columns(table: Sequence[Any], worker: int, workers: int) -> tuple[list[Any], Touched] | None:
    """Return a share of the columns of a sum over rows."""
    rows, columns, (x, _), stride, (out, _) = table
    first, end = _part(columns, worker, workers)
    if first == end:
        return None
    begin, into = _at(x) + 4 * first, _at(out) + 4 * first
    reads = [(begin, begin + (rows - 1) * stride + 4 * (end - first))] if x.block.input is None else []
    part = [rows, end - first, (x, 4 * first), stride, (out, 4 * first)]
    return part, Touched(reads, [(into, into + 4 * (end - first))])


def _share_product(table: Sequence[Any], worker: int, workers: int) -> tuple[list[Any], Touched] | None:
    """Return a share of the rows of a product of our own."""
    m, n, k, (a, _), ra, ca, b, rb, (c, _), rc = table
    first, end = _part(m, worker, workers)
    if first == end:
        return None
    start = _at(a) + 4 * first * ra
    reads = [(start, start + 4 * ((end - first - 1) * ra + (k - 1) * ca + 1))] if a.block.input is None else []
    if b[0].block.input is None:
        reads.append(_span(b))
    out = _at(c) + 4 * first * rc
    part = [end - first, n, k, (a, 4 * first * ra), ra, ca, b, rb, (c, 4 * first * rc), rc]
    return part, Touched(reads, [(out, out + 4 * ((end - first - 1) * rc + n))])


def _share_gemm(table: Sequence[Any], worker: int, workers: int) -> tuple[list[Any], Touched] | None:
    """Return a share of the rows of a product through BLAS."""
    f, ta, tb, m, n, k, (a, _), lda, b, ldb, (c, _), ldc = table
    first, end = _part(m, worker, workers)
    if first == end:
        return None
    into = first * 4 * (lda if ta == NO_TRANSPOSE else 1)
    start = _at(a) + into
    length = ((end - first - 1) * lda + k) * 4 if ta == NO_TRANSPOSE else ((k - 1) * lda + end - first) * 4
    reads = [(start, start + length)] if a.block.input is None else []
    if b[0].block.input is None:
        reads.append(_span(b))
    out = _at(c) + first * 4 * ldc
    part = [f, ta, tb, end - first, n, k, (a, into), lda, b, ldb, (c, first * 4 * ldc), ldc]
    return part, Touched(reads, [(out, out + ((end - first - 1) * ldc + n) * 4)])


def _at(place: Place) -> int:
    return place.block.start + place.offset


def _span(entry: tuple[Place, int]) -> tuple[int, int]:
    """Return the bytes that a whole value takes; nothing of the arena for an input."""
    place = entry[0]
    if place.block.input is not None:
        return (0, 0)
    extent = sum((n - 1) * s for n, s in zip(place.shape, place.strides, strict=True))
    return _at(place), _at(place) + extent + place.dtype.itemsize


class _Watched:
    """What one worker has read or written since the last barrier."""

    def __init__(self) -> None:
        self.bounds = np.zeros((2, 1 << 16), np.int64)
        self.count = 0

    def add(self, spans: Sequence[tuple[int, int]]) -> None:
        if self.count + len(spans) > self.bounds.shape[1]:
            more = np.zeros((2, self.count + len(spans)), np.int64)
            self.bounds = np.concatenate([self.bounds, more], 1)
        for begin, end in spans:
            self.bounds[:, self.count] = begin, end
            self.count += 1

    def meets(self, spans: Sequence[tuple[int, int]]) -> bool:
        begins, ends = self.bounds[:, : self.count]
        return any(bool(((begins < end) & (ends > begin)).any()) for begin, end in spans)


def barriers(shares: Sequence[Sequence[Touched | None]]) -> list[bool]:
    """Tell before which jobs the workers must wait for each other, given what each worker's share touches."""
    workers = len(shares[0])
    found = []
    since = 0
    reads, writes = ([_Watched() for _ in range(workers)] for _ in range(2))
    for job in shares:
        wait = since >= MOST_WATCHED or any(
            mine is not None and (writes[other].meets([*mine.reads, *mine.writes]) or reads[other].meets(mine.writes))
            for me, mine in enumerate(job)
            for other in range(workers)
            if other != me
        )
        if wait:
            since = 0
            for watched in (*reads, *writes):
                watched.count = 0
        for me, mine in enumerate(job):
            if mine is not None:
                reads[me].add(mine.reads)
                writes[me].add(mine.writes)
        since += 1
        found.append(wait)
    return found


class Barrier:
    """The memory in which workers meet."""

    def __init__(self, workers: int) -> None:
        self.counters = np.zeros(32, np.int64)  # arrived in the first cache line, meetings in the third
        give_way = ctypes.cast(getattr(ctypes.CDLL(None), "sched_yield", None) or _idle, ctypes.c_void_p).value
        base = self.counters.ctypes.data
        self.table = np.array([base, base + 128, workers, give_way or 0], np.int64)


_idle = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0)


class Faster:
    """Runs the same shares side by side or one after the other, whichever has been faster of late.

    On cores that others keep busy, waiting for a thread to be scheduled costs more than sharing gains. Both ways
    compute the same shares, so results do not depend on the choice.
    """

    def __init__(self, together: Callable[[], None], alone: Callable[[], None]) -> None:
        self.ways = (together, alone)
        self.seconds = [0.0, 0.0]
        self.calls = 0

    def __call__(self) -> None:
        """Run the shares once."""
        better = int(self.seconds[1] < self.seconds[0])
        way = self.calls % 2 if self.calls < TRIALS else 1 - better if self.calls % RETRIAL == 0 else better
        self.calls += 1
        begin = time.perf_counter()
        self.ways[way]()
        took, known = time.perf_counter() - begin, self.seconds[way]
        self.seconds[way] = (took + known) / 2 if 0 < took < known else min(took, known * 1.2) if known else took


TRIALS, RETRIAL = 6, 24  # how many calls try both ways at first, and how often the slower one is tried again


_handing = threading.Lock()  # shares that wait for each other stand in a row, so that those before them let them all in


def together(run: Callable[[int, int], None], programs: Sequence[tuple[int, int]]) -> Callable[[], None]:
    """Return a call that runs one program on each of several threads, this one among them."""
    others = pool(len(programs) - 1)

    def call() -> None:
        with _handing:
            waiting = [others.submit(run, address, count) for address, count in programs[1:]]
        run(*programs[0])
        for done in waiting:
            done.result()

    return call
