"""What repeats over time in a graph: which operations make up a time step, and what one step hands to another."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tinyseq.render.model import Item, Link, Model

Role = tuple[int, int]  # a local item of the step that hands over, and how many steps later it is used
Place = tuple[int, int]  # a local item, and the number of its input


@dataclass(slots=True)
class Tile:
    """One time step: its items (numbers in the model) in the order of execution, and links by kind."""

    step: int
    members: list[int]
    inner: list[int] = field(default_factory=list)  # numbers of links
    entering: list[int] = field(default_factory=list)
    core: int = 0  # steps that do the same have the same number


@dataclass(slots=True)
class Loop:
    """Steps that follow one another, in the order of execution.

    `roles` says, for each core, which inputs come from another step; `leaving` which items are used outside of
    their step, in any step of the core; `states` those that another step uses.
    """

    tiles: list[Tile] = field(default_factory=list)
    roles: dict[int, dict[Place, Role]] = field(default_factory=dict)
    leaving: dict[int, list[int]] = field(default_factory=dict)
    states: dict[int, set[int]] = field(default_factory=dict)

    def typical(self) -> Tile:
        """Return a step that looks like most."""
        counts: dict[int, int] = {}
        for t in self.tiles:
            counts[t.core] = counts.get(t.core, 0) + 1
        most = max(counts, key=lambda c: counts[c])
        return [t for t in self.tiles if t.core == most][len(self.tiles) > 1 and counts[most] > 1]


@dataclass(slots=True)
class Repeats:
    """All loops of a model, and where each item stands: (loop, tile, local number)."""

    loops: list[Loop]
    where: dict[int, tuple[int, int, int]]
    leaving: dict[int, list[Link]] = field(default_factory=dict)  # by item: links to other steps, or out of the loop


def find_loops(model: Model) -> Repeats:
    """Return what repeats over time in `model`.

    Steps belong to one loop if they are of one module, or hand values to one another within a step: a cell and the
    layers in it are one loop, an encoder and a decoder are two.
    """
    items = model.items
    together = _Groups()
    for link in model.links:
        a, b = items[link.source], items[link.target]
        if a.step is not None and a.step == b.step:
            together.join(a.path, b.path)
    steps: dict[Any, dict[int, list[int]]] = {}
    for i, item in enumerate(items):
        if item.step is not None:
            steps.setdefault(together.find(item.path), {}).setdefault(item.step, []).append(i)
    repeats = Repeats([], {})
    for found in steps.values():
        if len(found) > 1:
            loop = Loop([Tile(step, members) for step, members in found.items()])
            for k, tile in enumerate(loop.tiles):
                repeats.where |= {i: (len(repeats.loops), k, n) for n, i in enumerate(tile.members)}
            repeats.loops.append(loop)
    _sort_links(model, repeats)
    for loop in repeats.loops:
        _number_cores(model, repeats, loop)
    _find_roles(model, repeats)
    _mark_states(items, repeats.loops)
    return repeats


class _Groups:
    """Sets that are joined, and found again (union-find)."""

    def __init__(self) -> None:
        self.above: dict[str, str] = {}

    def find(self, key: str) -> str:
        while (up := self.above.get(key, key)) != key:
            self.above[key] = key = self.above.get(up, up)
        return key

    def join(self, a: str, b: str) -> None:
        self.above[self.find(a)] = self.find(b)


def _sort_links(model: Model, repeats: Repeats) -> None:
    where = repeats.where
    for number, link in enumerate(model.links):
        b = where.get(link.target)
        if b is not None:
            tile = repeats.loops[b[0]].tiles[b[1]]
            a = where.get(link.source)
            (tile.inner if a is not None and a[:2] == b[:2] else tile.entering).append(number)


def _number_cores(model: Model, repeats: Repeats, loop: Loop) -> None:
    known: dict[Any, int] = {}
    where = repeats.where
    for tile in loop.tiles:
        ops = tuple([_likeness(model.items[i]) for i in tile.members])
        links = tuple([_inside(model.links[n], where) for n in tile.inner])
        tile.core = known.setdefault((ops, links), len(known))


def _likeness(item: Item) -> tuple[Any, ...]:
    return item.op, item.label, item.name, item.path, item.shape


def _inside(link: Link, where: dict[int, tuple[int, int, int]]) -> tuple[int, int, int]:
    return where[link.source][2], where[link.target][2], link.position


def _find_roles(model: Model, repeats: Repeats) -> None:
    leaving: dict[tuple[int, int], set[int]] = {}
    results = set(model.results)
    for link in model.links:
        a, b = repeats.where.get(link.source), repeats.where.get(link.target)
        if a is None or (b is not None and a[:2] == b[:2]):
            continue
        loop = repeats.loops[a[0]]
        core = loop.tiles[a[1]].core
        leaving.setdefault((a[0], core), set()).add(a[2])
        repeats.leaving.setdefault(link.source, []).append(link)
        if b is not None and a[0] == b[0]:
            loop.states.setdefault(core, set()).add(a[2])
            loop.roles.setdefault(loop.tiles[b[1]].core, {}).setdefault((b[2], link.position), (a[2], b[1] - a[1]))
    for i in results:
        if i in repeats.where:
            number, k, n = repeats.where[i]
            leaving.setdefault((number, repeats.loops[number].tiles[k].core), set()).add(n)
    for (number, core), found in leaving.items():
        repeats.loops[number].leaving[core] = sorted(found)


def _mark_states(items: list[Item], loops: Iterable[Loop]) -> None:
    for loop in loops:
        for tile in loop.tiles:
            for n in loop.states.get(tile.core, ()):
                items[tile.members[n]].kind = "state"
