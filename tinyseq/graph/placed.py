"""A planned program over one arena, with NumPy for every line: the runner where nothing can be compiled."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyseq.backend import CPU, Array
from tinyseq.core.tape import stamp_write
from tinyseq.graph.ir import Graph
from tinyseq.graph.places import Place
from tinyseq.graph.planning import HostCall, Planning


def can_place(graph: Graph) -> bool:
    """Tell whether a program can run in one arena: on the host, and without empty values."""
    symbols = [*graph.inputs, *[line.out for line in graph]]
    devices = {s.device for s in symbols}
    return devices <= {None, CPU} and all(0 not in shape for shape in {s.shape for s in symbols})


class Placed:
    """Runs a planned program: calls that read and write views of one arena, in which every value has its place."""

    def __init__(self, graph: Graph, planned: Planning) -> None:
        self.size = planned.size
        self.arena = _aligned(self.size)
        for place, value in planned.constants:
            self._array(place)[...] = value
        self.inputs: list[Any] = [*[None] * len(graph.inputs), *planned.arrays]
        self.outputs = planned.outputs
        self.lock = threading.Lock()
        self.looking: dict[int, list[tuple[list[Any], int, Place]]] = {}  # views of inputs, which may move
        self.steps = self._steps(planned)
        for k in range(len(graph.inputs), len(self.inputs)):
            self._move(k)

    def _steps(self, planned: Planning) -> list[tuple[Callable[..., Any], list[Any]]]:
        """Return what runs, each with its operands."""
        return [self._hosted(job.what) for job in planned.jobs]

    def _hosted(self, what: HostCall) -> tuple[Callable[..., Any], list[Any]]:
        views: list[Any] = []
        for i, a in enumerate(what.operands):
            if isinstance(a, Place) and a.block.input is not None:
                self.looking.setdefault(a.block.input, []).append((views, i, a))
                a = None
            views.append(self._array(a) if isinstance(a, Place) else a)
        return what.call, views

    def _array(self, place: Place) -> Array:
        """Return the memory of a place as an array."""
        if place.block.input is None:
            start = place.block.start + place.offset
            return np.ndarray(place.shape, place.dtype, self.arena, start, place.strides)
        return np.ndarray(place.shape, place.dtype, self.inputs[place.block.input], place.offset, place.strides)

    def _move(self, number: int) -> None:
        """Look at an input where it lies now."""
        for views, i, place in self.looking.get(number, ()):
            views[i] = self._array(place)

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the outputs for `inputs`; several threads take turns, as there is one arena."""
        with self.lock:
            return self._run(inputs)

    def _run(self, inputs: Sequence[Array]) -> list[Array]:
        for i, array in enumerate(inputs):
            if array is not self.inputs[i]:
                proper = array.flags.c_contiguous and array.flags.aligned
                self.inputs[i] = array if proper else np.ascontiguousarray(array)
                self._move(i)
        stamp_write(self.arena)  # a rule that keeps a copy of a matrix it has met must not take it for this call's
        with np.errstate(all="ignore"):
            for call, operands in self.steps:
                call(*operands)
        return [(self._array(out) if isinstance(out, Place) else np.asarray(out)).copy() for out in self.outputs]

    def explain(self) -> list[str]:
        """Return in words what was planned."""
        return [f"{len(self.steps)} calls of NumPy", f"the arena takes {self.size:,} bytes"]


def _aligned(size: int) -> Array:
    raw = np.zeros(size + 64, np.uint8)
    shift = -raw.ctypes.data % 64
    return raw[shift : shift + size]
