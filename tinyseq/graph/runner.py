"""Which runner executes a captured program on this machine."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tinyseq.backend import Array
from tinyseq.graph.ir import Graph
from tinyseq.graph.replay import Replay

Runner: TypeAlias = Callable[[Sequence[Array]], list[Array]]


def runner_for(graph: Graph) -> Runner:
    """Return a function from the graph's input arrays to its output arrays (new ones at every call)."""
    return Replay(graph)
