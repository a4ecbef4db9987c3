"""Which runner executes a captured program on this machine."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from tinyseq.backend import Array
from tinyseq.graph.ir import Graph
from tinyseq.graph.native import Native, can_run
from tinyseq.graph.passes import improve
from tinyseq.graph.placed import Placed, can_place
from tinyseq.graph.planning import Planning
from tinyseq.graph.replay import Replay

# Passes that make lines, so that kernels make fewer values: line by line they only cost
FOR_KERNELS = ("push_slices", "fill_gaps", "copy_shared_parts")

Runner: TypeAlias = Callable[[Sequence[Array]], list[Array]]


def runner_for(graph: Graph, without: Sequence[str] = ()) -> Runner:
    """Return a function from the graph's input arrays to its output arrays (new ones at every call).

    `without` names passes to leave out, and "native" for NumPy in place of native code.
    """
    with collector_paused():
        native = "native" not in without and can_run(graph)
        better = improve(graph, without if native else (*without, *FOR_KERNELS))
        runner: Runner
        if native:
            runner = Native(better)
        elif can_place(better):
            runner = Placed(better, Planning(better, None))
        else:
            runner = Replay(better)
        better.take_apart(graph.lines)
    return runner


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the cycle collector from searching, again and again, the many small objects of a plan in the making.

    It runs once at the end, for the programs between passes: their lines and values refer to each other.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        gc.collect(0)
