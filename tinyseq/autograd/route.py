"""A backward walk to look at: every gradient on its way, and nothing is changed.

The walk of `engine` delivers sums. This one shows each node, the gradient that arrived there, and what the node hands
to each of its inputs, as often as one likes. No `grad` is written, no hook is called, nothing saved is released.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from tinyseq.autograd import engine
from tinyseq.autograd.tensor import Tensor
from tinyseq.core.dispatch import as_array, override
from tinyseq.core.partial import PARTIAL
from tinyseq.core.shapes import Shape

Visit = Callable[[Any, Any, Sequence[Any]], None]


class Route:
    """The nodes between some roots and what lies before them, newest first.

    Parameters
    ----------
    roots
        The nodes to start from.
    targets
        Visit only nodes that lead to one of these; None for all.
    stop
        Whether the walk ends at the targets, or goes on through one target to the next.
    inside
        Which nodes may be passed through; None for all. Targets always may.
    """

    def __init__(
        self,
        roots: Collection[Any],
        targets: Collection[Any] | None = None,
        stop: bool = False,
        inside: Callable[[Any], bool] | None = None,
    ) -> None:
        self.ends = set(targets or ()) if stop else set()
        wanted = set(targets or ())
        found = list(dict.fromkeys(roots))
        seen = set(found)
        for node in found:  # grows while it is walked
            if node in self.ends:
                continue
            for edge in node.edges:
                if edge not in seen and (inside is None or edge in wanted or inside(edge)):
                    seen.add(edge)
                    found.append(edge)
        found.sort(key=attrgetter("seq"), reverse=True)
        self.useful = seen if targets is None else engine.leading_to(wanted, found)
        self.order = [node for node in found if node in self.useful]
        self._fit = engine.Walk(Tensor, retain_graph=True, create_graph=False).fit

    def walk(self, seeds: Mapping[Any, Any], visit: Visit) -> None:
        """Start with the gradients `seeds` at nodes, and call `visit(node, gradient, parts)` for each that gets one.

        `parts` has what the node hands to each of its `edges`: None, an array, or a contribution of `core.partial`,
        which `dense` turns into an array. It is empty at leaves and where the walk ends.

        Raises
        ------
        GradientError
            If a node's saved values were released or modified.
        """
        pending: dict[Any, Any] = {}
        with override(grad=False), np.errstate(all="ignore"):
            for node, seed in seeds.items():
                self._receive(pending, node, seed)
            for node in self.order:
                g = pending.pop(node, None)
                if g is None:
                    continue
                if type(g) is engine.Received:
                    g = g.settle(node.shape)
                if node in self.ends or not node.edges:
                    visit(node, g, ())
                    continue
                parts = [
                    part if part is None or type(part) in PARTIAL or part.shape == edge.shape
                    else self._fit(node, edge, part)
                    for edge, part in zip(node.edges, node.pull(g), strict=True)
                ]  # fmt: skip
                visit(node, g, parts)
                for edge, part in zip(node.edges, parts, strict=True):
                    if part is not None and edge in self.useful:
                        self._receive(pending, edge, part)

    def _receive(self, pending: dict[Any, Any], node: Any, part: Any) -> None:
        held = pending.get(node)
        if type(part) in PARTIAL or type(held) is engine.Received:
            if type(held) is not engine.Received:
                held = pending[node] = engine.Received(held)
            held.add(part)
        else:
            pending[node] = part if held is None else held + part


def dense(part: Any, shape: Shape) -> Any:
    """Return a contribution to the gradient of a value of `shape` as an array."""
    if type(part) in PARTIAL:
        with override(grad=False):
            received = engine.Received(None)
            received.add(part)
            part = received.settle(shape)
    return as_array(part)
