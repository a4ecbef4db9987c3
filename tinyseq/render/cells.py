"""One time step as a scene: its operations, and chips for all that comes from outside or leaves.

Steps that look alike are laid out once.
"""

from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from tinyseq.render.engines import Engine
from tinyseq.render.loops import Loop, Repeats, Role, Tile, state_name
from tinyseq.render.model import Item, Link, Model
from tinyseq.render.picture import Curve, Picture, Point
from tinyseq.render.scene import Look, Scene, Spot, Wire, common_path, describe, leaf_chip, parts


@dataclass(slots=True)
class Port:
    """A chip through which a value enters a step: `sources` are links from outside, empty where none is known."""

    label: str
    role: Role | None
    sources: list[Link] = field(default_factory=list)


@dataclass(slots=True)
class Cell:
    """A time step on its way to the picture."""

    tile: Tile
    scene: Scene
    ins: dict[str, Port]
    outs: dict[str, int]  # chips through which items (numbers in the model) leave
    picture: Picture = field(default_factory=Picture)
    at: dict[str, Point] = field(default_factory=dict)


def is_chip(item: Item, inputs: int) -> bool:
    """Whether an item outside of the loop is drawn as a chip inside: a leaf, or a constant that an operation made."""
    return item.op == "leaf" or (item.kind == "constant" and not inputs)


def cell(
    model: Model, repeats: Repeats, loop: Loop, tile: Tile, look: Look, outer: set[int], *, typical: bool = False
) -> Cell:
    """Return the scene of one time step; `outer` are the items that are drawn outside of all loops.

    A `typical` one stands for all steps.
    """
    scene, made = Scene(backward=look.backward), Cell(tile, Scene(), {}, {})
    items, where = model.items, repeats.where
    depth = len(common_path(items[i] for t in loop.tiles[:2] for i in t.members))
    for n, i in enumerate(tile.members):
        scene.spots[f"n{n}"] = Spot(look.box(items[i], (("data-n", str(i)),)), parts(items[i])[depth:])
    for number in tile.inner:
        link = model.links[number]
        a, b = where[link.source][2], where[link.target][2]
        scene.wires.append(Wire(f"n{a}", f"n{b}", look.curve(link, model)))
    roles = dict(loop.roles.get(tile.core, {}))
    for number in tile.entering:
        link = model.links[number]
        to = where[link.target][2]
        role = roles.pop((to, link.position), None)
        curve = look.curve(link, model)
        if role is None and link.source not in outer and link.source not in where:
            key = f"w{to}_{link.position}"
            scene.spots[key] = Spot(leaf_chip(model, link, number, look), scene.spots[f"n{to}"].path)
        else:
            key = _port(model, repeats, made, scene, look, link, role, typical)
        scene.wires.append(Wire(key, f"n{to}", curve))
    for wire in scene.wires:
        sources = made.ins[wire.a].sources if wire.a in made.ins else ()
        if any(link.source in outer or link.source in where for link in sources) and all(k.cut for k in sources):
            wire.curve.cut = False  # the line that comes to the chip has the mark
    for (to, _), role in roles.items():  # what the tape does not tell, as it needs no gradient
        key = f"s{role[0]}_{role[1]}"
        if key not in made.ins:
            made.ins[key] = Port("start", role)
            title = "the state before the first step; it needs no gradient, so the tape does not have it"
            scene.spots[key] = Spot(look.chip("start", "constant", title))
            scene.top.append(key)
        scene.wires.append(Wire(key, f"n{to}", Curve((), missing=True)))
    for n in loop.leaving.get(tile.core, ()):
        item = items[tile.members[n]]
        made.outs[f"o{n}"] = tile.members[n]
        data = (("data-n", str(tile.members[n])),)
        scene.spots[f"o{n}"] = Spot(look.chip(_called(item), item.kind, look.tooltip(item), "", data))
        scene.bottom.append(f"o{n}")
        scene.wires.append(Wire(f"n{n}", f"o{n}", look.bundle(repeats.leaving.get(tile.members[n], ()), model)))
        scene.wires[-1].curve.arrow, scene.wires[-1].curve.cut = look.backward, False
    made.scene = scene
    return made


def _port(
    model: Model, repeats: Repeats, made: Cell, scene: Scene, look: Look, link: Link, role: Role | None, typical: bool
) -> str:
    """Add the chip through which `link` enters the step, unless it is there; return its key."""
    where, tile = repeats.where, made.tile
    item, source = model.items[link.source], where.get(link.source)
    key = f"s{role[0]}_{role[1]}" if role is not None else f"b{link.source}" if source is None else f"l{source[2]}"
    if key not in made.ins:
        label, kind = item.name or " ".join([*parts(item)[-1:], item.label]), item.kind
        if item.step is not None and source is not None and source[0] == where[tile.members[0]][0]:
            late = tile.step - item.step
            label = f"{_called(item)} t{'−' if late > 0 else '+'}{abs(late)}"
        elif item.step is not None:  # a step of another loop, which counts for itself
            here, there = parts(model.items[tile.members[0]]), parts(item)
            apart = next((b for a, b in zip_longest(here, there) if a != b), None)
            when = "t" if typical and item.step == tile.step else f"t={item.step}"
            label = " ".join([*([apart] if apart else []), _called(item), when])
        elif kind == "constant":
            label = f"{label} {item.value.split(' ')[0]}" if item.name and not item.shape else label
        made.ins[key] = Port(label, role)
        title = f"from {describe(item)}\n{look.tooltip(item)}"
        scene.spots[key] = Spot(look.chip(label, kind, title, "", (("data-n", str(link.source)),)))
        scene.top.append(key)
    made.ins[key].sources.append(link)
    return key


def _called(item: Item) -> str:
    """Return what a chip for `item` says."""
    return state_name(item) if item.kind == "state" else item.name or item.label


def lay_out(cells: list[Cell], program: Engine) -> None:
    """Place each cell; the engine sees each kind once, and all kinds in one run."""
    kinds: dict[Any, list[Cell]] = {}
    for c in cells:
        kinds.setdefault(_likeness(c.scene), []).append(c)
    placed = program.layout([same[0].scene.source() for same in kinds.values()])
    for said, same in zip(placed, kinds.values(), strict=True):
        for c in same:
            c.picture, c.at = c.scene.place(said)


def _likeness(scene: Scene) -> Any:
    """Return what decides a layout: sizes and structure, but no text."""
    spots = tuple([(key, round(s.box.w, 1), s.box.h, s.path) for key, s in scene.spots.items()])
    return spots, tuple([(w.a, w.b) for w in scene.wires]), tuple(scene.top), tuple(scene.bottom)
