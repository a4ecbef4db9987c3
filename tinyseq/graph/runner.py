"""Which runner executes a captured program on this machine."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tinyseq.backend import Array
from tinyseq.graph.ir import Graph
from tinyseq.graph.native import Native, can_run
from tinyseq.graph.passes import improve
from tinyseq.graph.replay import Replay

Runner: TypeAlias = Callable[[Sequence[Array]], list[Array]]


def runner_for(graph: Graph, without: Sequence[str] = ()) -> Runner:
    """Return a function from the graph's input arrays to its output arrays (new ones at every call).

    `without` names passes to leave out, and "native" for the plain runner.
    """
    better = improve(graph, without)
    return Native(better) if "native" not in without and can_run(better) else Replay(better)
