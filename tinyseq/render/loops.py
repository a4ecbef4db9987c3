"""What repeats over time in a graph: which operations make up a time step, and what one step hands to another."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tinyseq.render.model import Item, Link, Model

# A local item, and how many steps later it is used. Where the step that hands over does not do what the step that
# takes does, it is the item of the latter that hands the same over in its turn; negative if there is none
Role = tuple[int, int]
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

    What one module does from one step to the next is a run. Runs belong to one loop if they go through the steps
    together and hand values to one another within a step: a cell and the layers in it are one loop, an encoder and a
    decoder are two, and so are two pieces of a sequence that one layer reads one after the other.
    """
    runs = _runs(model.items)
    together, looked = _Groups(), set()
    for link in model.links:
        a, b = runs.get(link.source), runs.get(link.target)
        if a is None or b is None or a is b:
            continue
        step, pair = model.items[link.source].step, (min(a.number, b.number), max(a.number, b.number))
        if pair not in looked and step is not None and step == model.items[link.target].step:
            looked.add(pair)
            if a.goes_with(b, step):
                together.join(a.number, b.number)
    steps: dict[int, dict[int, list[int]]] = {}
    for i, item in enumerate(model.items):
        if item.step is not None:
            steps.setdefault(together.find(runs[i].number), {}).setdefault(item.step, []).append(i)
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
    _mark_states(model.items, repeats.loops)
    return repeats


@dataclass(slots=True)
class _Run:
    """The items of one module from one step to the next: for each step, in order, its first and its last item."""

    number: int
    path: str
    spans: dict[int, list[int]] = field(default_factory=dict)
    at: int | None = None

    def goes_with(self, other: "_Run", step: int) -> bool:
        """Whether both go through the time steps around `step` together, and neither through several in one of both."""
        early, late = sorted((self, other), key=lambda run: run.spans[step][0])
        begin, end = early.spans[step]
        after = min((first for first, _ in early._beside(step) if first > begin), default=end)
        if any(first < after and last > begin for first, last in late._beside(step)):
            return False
        nested = any(a.path and b.path.startswith(f"{a.path}.") for a, b in ((self, other), (other, self)))
        return nested or (self._first() < other._last() and other._first() < self._last())

    def _beside(self, step: int) -> list[list[int]]:
        """Return the spans of the steps next to `step`."""
        return [self.spans[t] for t in (step - 1, step + 1) if t in self.spans]

    def _first(self) -> int:
        return next(iter(self.spans.values()))[0]

    def _last(self) -> int:
        return next(reversed(self.spans.values()))[1]


def _runs(items: list[Item]) -> dict[int, _Run]:
    """Return the run of each item with a time step: a module that comes to a step again begins a new one."""
    found: dict[int, _Run] = {}
    latest: dict[str, _Run] = {}
    count = 0
    for i, item in enumerate(items):
        if item.step is None:
            continue
        run = latest.get(item.path)
        if run is None or (item.step != run.at and item.step in run.spans):
            run = latest[item.path] = _Run(count, item.path)
            count += 1
        if item.step != run.at:
            run.at = item.step
            run.spans[item.step] = [i, i]
        run.spans[item.step][1] = i
        found[i] = run
    return found


class _Groups:
    """Sets that are joined, and found again (union-find)."""

    def __init__(self) -> None:
        self.above: dict[int, int] = {}

    def find(self, key: int) -> int:
        while (up := self.above.get(key, key)) != key:
            self.above[key] = key = self.above.get(up, up)
        return key

    def join(self, a: int, b: int) -> None:
        if (upper := self.find(b)) != (lower := self.find(a)):
            self.above[lower] = upper


def add_cuts(model: Model) -> None:
    """Add to a graph from the tape what it does not have: states that were detached on their way to the next step.

    They show as steps that take nothing from the step before, where others do.
    """
    repeats = find_loops(model)
    given = {(link.target, link.position) for link in model.links}
    for loop in repeats.loops:
        tiles = loop.tiles
        forward = tiles[0].step < tiles[-1].step
        for k, tile in enumerate(tiles):
            stubs: dict[Role, int] = {}
            for (to, position), role in loop.roles.get(tile.core, {}).items():
                n, late = role
                if (tile.members[to], position) in given or (k < late and not (forward and tile.step >= late)):
                    continue  # what comes before the first step is a state to start from, as far as the tape knows
                if role not in stubs:
                    state = model.items[tile.members[n]] if n >= 0 else Item("state", "", "")
                    stubs[role] = len(model.items)
                    name = f"{state_name(state)} t{'−' if forward else '+'}{late}"
                    model.items.append(Item("constant", "leaf", "", name, shape=state.shape))
                model.links.append(Link(len(model.links), stubs[role], tile.members[to], position, cut=True))


def state_name(item: Item) -> str:
    """Return what a value that one step hands to another is called."""
    return item.name or f"state {item.label}".strip()


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
    passed: list[tuple[Link, tuple[int, int, int], tuple[int, int, int]]] = []  # from one step to another
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
            passed.append((link, a, b))
    for link, a, b in passed:
        loop = repeats.loops[a[0]]
        core = loop.tiles[b[1]].core
        known, place = loop.roles.setdefault(core, {}), (b[2], link.position)
        if place not in known:
            known[place] = (_counterpart(model, loop, a, b), b[1] - a[1])
    for i in set(model.results):
        if i in repeats.where:
            number, k, n = repeats.where[i]
            leaving.setdefault((number, repeats.loops[number].tiles[k].core), set()).add(n)
    for (number, core), found in leaving.items():
        repeats.loops[number].leaving[core] = sorted(found)


def _counterpart(model: Model, loop: Loop, a: tuple[int, int, int], b: tuple[int, int, int]) -> int:
    """Return which item of the step `b` is what the item `a` of another step is there; a negative number if none is."""
    one, other, n = loop.tiles[a[1]], loop.tiles[b[1]], a[2]
    if one.core == other.core:
        return n
    item = model.items[one.members[n]]
    if item.name:
        found = ((m, model.items[i]) for m, i in enumerate(other.members))
        same = [m for m, i in found if i.name == item.name and i.path == item.path]
        return same[-1] if same else -1 - n
    ours, theirs = sorted(loop.states[one.core]), sorted(loop.states.get(other.core, ()))
    return theirs[ours.index(n)] if len(ours) == len(theirs) else -1 - n


def _mark_states(items: list[Item], loops: Iterable[Loop]) -> None:
    for loop in loops:
        for tile in loop.tiles:
            for n in loop.states.get(tile.core, ()):
                items[tile.members[n]].kind = "state"
