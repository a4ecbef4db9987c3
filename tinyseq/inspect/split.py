"""The gradient of one weight, split by where on the tape it was used."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

from tinyseq.autograd.route import Route, dense

Label = Callable[[Any], Hashable]  # of a node; None for what belongs nowhere in particular


def parts_by_label(seeds: Mapping[Any, Any], weight: Any, label: Label) -> dict[Hashable, Any]:
    """Return the parts of the gradient of the leaf `weight`, by the label of the last labelled node before it.

    What is computed for all steps at once, as the projection of the inputs, has no label of its own. The gradient is
    linear, so that each label's share is taken through such nodes by itself, and the parts sum to the gradient.
    """
    route = Route(list(seeds), targets=[weight])
    bridges = _bridges(route.order, weight, label)
    found: dict[Hashable, Any] = {}
    waiting: dict[Hashable, dict[Any, Any]] = {}
    for node, seed in seeds.items():
        if node in bridges:
            add(waiting.setdefault(None, {}), node, seed)

    def visit(node: Any, _: Any, parts: Sequence[Any]) -> None:
        if not parts or node in bridges:
            return
        mine = label(node)
        for edge, part in zip(node.edges, parts, strict=True):
            if part is None:
                continue
            if edge is weight:
                add(found, mine, dense(part, edge.shape))
            elif edge in bridges:
                add(waiting.setdefault(mine, {}), edge, dense(part, edge.shape))

    route.walk(seeds, visit)
    for mine, held in waiting.items():
        for part in _across(bridges, weight, held):
            add(found, mine, part)
    return found


def _bridges(order: Sequence[Any], weight: Any, label: Label) -> set[Any]:
    """Return the nodes without a label that lead to `weight` by way of such nodes alone."""
    found: set[Any] = set()
    for node in reversed(order):
        if node.edges and label(node) is None and any(edge is weight or edge in found for edge in node.edges):
            found.add(node)
    return found


def _across(bridges: Collection[Any], weight: Any, held: Mapping[Any, Any]) -> list[Any]:
    """Return what the gradients `held` at some bridges contribute to `weight`, by way of bridges alone."""
    found = []

    def visit(node: Any, _: Any, parts: Sequence[Any]) -> None:
        for edge, part in zip(node.edges if parts else (), parts, strict=True):
            if edge is weight and part is not None:
                found.append(dense(part, edge.shape))

    Route(list(held), targets=[weight], stop=True, inside=lambda node: node in bridges).walk(held, visit)
    return found


def add(sums: dict[Any, Any], key: Any, part: Any) -> None:
    """Add `part` to what `sums` has at `key`."""
    sums[key] = part if key not in sums else sums[key] + part
