"""A part of a graph on its way to a picture: spots to place, wires between them, and what an engine said of both."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import graphviz

from tinyseq.render import style
from tinyseq.render.loops import find_loops
from tinyseq.render.model import Item, Link, Model
from tinyseq.render.picture import Box, Curve, Frame, Picture, Point, find_room, html_label

_NOTHING = '""'
APART = "\u2063"  # sets frames of one name apart
NUMBER = style.text_width("g 1.23e-07", style.SMALL)  # the same room for each, so that equal steps look equal


@dataclass(slots=True)
class Spot:
    """A box to be placed, in the innermost of the modules `path`; what follows APART there is not shown."""

    box: Box
    path: tuple[str, ...] = ()


@dataclass(slots=True)
class Wire:
    """An edge to be routed from spot `a` to spot `b`."""

    a: str
    b: str
    curve: Curve
    ports: tuple[str, str] = ("", "")  # sides at which it must leave and arrive: "w", "e" or any
    loose: bool = False  # it runs against the ranks


@dataclass(slots=True)
class Scene:
    """What one run of the engine lays out. `top` and `bottom` are spots that must stand first and last."""

    spots: dict[str, Spot] = field(default_factory=dict)
    wires: list[Wire] = field(default_factory=list)
    top: list[str] = field(default_factory=list)
    bottom: list[str] = field(default_factory=list)
    rankdir: str = "TB"
    backward: bool = False
    apart: float = 0.26  # from one rank to the next, in inches

    def source(self, *, words: bool = False) -> str:
        """Return the scene as DOT, for an engine to place, or with `words` at what is cut, for people to draw."""
        g = graphviz.Digraph("tinyseq")
        g.attr(
            "graph", rankdir=self.rankdir, ranksep=f"{self.apart:g}", nodesep="0.14", fontname="Helvetica", fontsize="9"
        )
        g.attr("node", shape="box", style="rounded,filled", fontname="Helvetica", fixedsize="true", margin="0")
        g.attr("edge", arrowsize="0.5", arrowhead="vee", color=style.PLAIN)
        _fill(g, self.spots)
        for rank, keys in (("min", self.top), ("max", self.bottom)):
            if keys:
                with g.subgraph() as s:
                    s.attr(rank=rank)
                    for key in keys:
                        s.node(key)
        alone, above = Counter(w.b for w in self.wires), "n" if self.rankdir == "TB" else "w"
        for i, w in enumerate(self.wires):  # arrows to neighbours that cross would meet if they aimed at corners
            more = {"dir": "back", "arrowtail": "vee"} if self.backward else {}
            if w.curve.missing:
                more["style"] = "dashed"
            if w.curve.title:
                more["tooltip"] = graphviz.escape(w.curve.title)
            if w.curve.cut and words:
                more |= {"label": "‖ cut", "fontsize": "8.5"}
            if w.curve.cut and not self.top:
                more["minlen"] = "2"  # room for the mark; time steps keep their layout, cut or not
            if w.loose:
                more["constraint"] = "false"
            if w.ports[0]:
                more["tailport"] = w.ports[0]
            if w.ports[1] or alone[w.b] == 1:
                more["headport"] = w.ports[1] or above
            g.edge(w.a, w.b, id=f"e{i}", **more)
        return str(g.source)

    def place(self, said: dict[str, Any]) -> tuple[Picture, dict[str, Point]]:
        """Return the picture that the engine's answer makes of the scene, and where each spot came to stand."""
        _, _, right, top = (float(v) for v in said["bb"].split(","))
        picture, at = Picture(w=right, h=top), {}
        for thing in said.get("objects", ()):
            if "nodes" not in thing and "pos" in thing:
                x, y = (float(v) for v in thing["pos"].split(","))
                at[thing["name"]] = (x, top - y)
            elif thing["name"].startswith("cluster") and "bb" in thing:
                x0, y0, x1, y1 = (float(v) for v in thing["bb"].split(","))
                picture.frames.append(Frame(x0, top - y1, x1 - x0, y1 - y0, thing.get("label", "")))
        for key, spot in self.spots.items():
            spot.box.x, spot.box.y = at[key]
            picture.boxes.append(spot.box)
        for thing in said.get("edges", ()):
            wire = self.wires[int(thing["id"][1:])]
            points = _points(thing["pos"], top)
            wire.curve.points = points[::-1] if self.backward else points
            picture.curves.append(wire.curve)
        find_room(picture)
        return picture, at


def _points(text: str, top: float) -> tuple[Point, ...]:
    """Return the Bézier points of an edge, stretched to where its arrow ends."""
    start = end = None
    points: list[Point] = []
    for part in text.split(";")[0].split():
        mark = part[0] if part[:2] in ("e,", "s,") else ""
        x, y = (float(v) for v in part[2 * bool(mark) :].split(","))
        if mark == "e":
            end = (x, top - y)
        elif mark == "s":
            start = (x, top - y)
        else:
            points.append((x, top - y))
    if start is not None:
        points[0] = start
    if end is not None:
        points[-1] = end
    return tuple(points)


def _fill(g: graphviz.Digraph, spots: dict[str, Spot]) -> None:
    """Add the spots inside of nested clusters, one for each module, without recursion."""
    tree: dict[tuple[str, ...], list[str]] = {(): []}
    for key, spot in spots.items():
        for depth in range(len(spot.path) + 1):
            tree.setdefault(spot.path[:depth], [])
        tree[spot.path].append(key)
    body: list[str] = []
    open_: list[str] = []
    for path in sorted(tree):
        while open_ != list(path[: len(open_)]):
            body.append("}")
            open_.pop()
        for part in path[len(open_) :]:
            open_.append(part)
            name = graphviz.quoting.quote("cluster_" + "/".join(open_))
            label = graphviz.quoting.quote(graphviz.escape(part.partition(APART)[0]))
            body.append(
                f"subgraph {name} {{ label={label}; labeljust=l; margin=7; "
                'style="rounded,filled"; fillcolor="#f7f8fa"; color="#aab2bf"; fontcolor="#6b7688"'
            )
        body += [_node(key, spots[key].box) for key in tree[path]]
    g.body += [line + "\n" for line in [*body, *("}" for _ in open_)]]


def _node(key: str, b: Box) -> str:
    paint = style.KINDS[b.kind]
    tip = f" tooltip={graphviz.quoting.quote(graphviz.escape(b.title))}" if b.title else ""
    look = "rounded,filled,dashed" if b.kind == "constant" else "rounded,filled"
    fill = "#ffffff" if b.released else paint.fill
    return (
        f"{key} [label={html_label(b) or _NOTHING} width={b.w / 72:.3f} height={b.h / 72:.3f} "
        f'style="{look}" fillcolor="{fill}" color="{paint.line}"{tip}]'
    )


@dataclass(frozen=True, slots=True)
class Look:
    """What nodes show, and whether the picture is of the backward walk."""

    show: frozenset[str] = frozenset(("shape", "value", "grad"))
    backward: bool = False

    def box(self, item: Item, data: Iterable[tuple[str, str]] = ()) -> Box:
        """Return the box of `item`."""
        if item.kind == "weight" and not self.backward:
            lines = [style.clipped(item.name, 28)]
        else:
            lines = [style.clipped(item.title or item.op, 32)]
        wide = style.text_width(lines[0], bold=bool(item.name)) + 14
        if "shape" in self.show and item.shape and not self.backward:
            lines.append(style.shape_text(item.shape))
            wide = max(wide, style.text_width(lines[-1], style.SMALL) + 16)
        if "value" in self.show and not item.shape and item.value and not self.backward:
            lines.append(item.value)
            wide = max(wide, NUMBER)
        if self.backward:
            lines.append("no gradient" if item.gradient is None else f"g {style.number_text(item.gradient)}")
            wide = max(wide, NUMBER + 16)
        height = 19.0 + 10.5 * (len(lines) - 1)
        size, text, released = max(30.0, wide), self.tooltip(item), bool(item.released)
        return Box(0, 0, size, height, item.kind, tuple(lines), text, released=released, data=tuple(data))

    def chip(
        self, label: str, kind: str, title: str = "", below: str = "", data: Iterable[tuple[str, str]] = ()
    ) -> Box:
        """Return a small box that stands for a value that is shared, or comes from elsewhere."""
        lines = (style.clipped(label, 24), below) if below else (style.clipped(label, 24),)
        wide = max(26.0, style.text_width(lines[0], 9.5) + 16, NUMBER + 14 if below else 0)
        return Box(0, 0, wide, 27.0 if below else 16.0, kind, lines, title, chip=True, data=tuple(data))

    def curve(self, link: Link, model: Model) -> Curve:
        """Return the edge of `link`, not yet routed."""
        wanted = "grad" in self.show or self.backward
        a, b = model.items[link.source], model.items[link.target]
        title = f"{describe(a)} → {describe(b)}"
        if wanted:
            size = "not computed" if link.gradient is None else style.number_text(link.gradient)
            title += f"\ngradient: {size}"
            if link.least is not None:
                title += f" at most, {style.number_text(link.least)} at least over the steps"
        if link.cut:
            title += "\ncut: the value was detached, so that no gradient flows back here"
        missing = link.cut or (wanted and link.gradient is None and model.sizes_known)
        return Curve(
            (),
            gradient=link.gradient if wanted else None,
            missing=missing,
            cut=link.cut,
            title=title,
            data=(("data-e", str(link.number)),),
        )

    def bundle(self, links: Iterable[Link], model: Model) -> Curve:
        """Return one edge for several links that run together: it shows the largest gradient of theirs."""
        ordered = sorted(links, key=lambda link: link.gradient or -1.0, reverse=True)
        if not ordered:
            return Curve((), missing=model.sizes_known)
        curve = self.curve(ordered[0], model)
        curve.cut = all(link.cut for link in ordered)
        if len(ordered) > 1:
            curve.data = (("data-e", " ".join(str(link.number) for link in ordered)),)
            curve.title = "\n\n".join([self.curve(link, model).title for link in ordered[:6]])
        return curve

    def tooltip(self, item: Item) -> str:
        """Return all that is known of `item`, in lines."""
        place = ", ".join(p for p in (item.path, "" if item.step is None else f"t = {item.step}") if p)
        lines = [describe(item) + (f"  ({place})" if place else "")]
        lines.append(f"shape {list(item.shape)}" + (f"; {item.detail}" if item.detail else ""))
        if "value" in self.show and item.value:
            lines.append(f"value {item.value}")
        if "grad" in self.show or self.backward:
            lines.append("gradient: " + ("not computed" if item.gradient is None else style.number_text(item.gradient)))
        if item.released:
            lines.append(f"what it had saved ({', '.join(item.released)}) was released by backward")
        return "\n".join(lines)


def describe(item: Item) -> str:
    """Return name and operation of `item` on one line.

    >>> describe(Item("gate", "sigmoid", "σ", "f", step=3))
    'f = sigmoid, t = 3'
    """
    name = item.name if item.op == "leaf" else f"{item.name} = {item.op}" if item.name else item.op
    when = "" if item.step is None else f", t = {item.step}"
    return f"{name or item.label or item.op}{when}"


def whole(model: Model, look: Look) -> Scene:
    """Return the scene in which every operation is a node, and every use of a shared weight a chip."""
    scene = Scene(backward=look.backward)
    users: dict[int, list[int]] = {}
    for link in model.links:
        users.setdefault(link.source, []).append(link.target)
    paths, shared = _framed(model, users), set(_shared(model))
    for i, item in enumerate(model.items):
        if i not in shared:
            scene.spots[f"n{i}"] = Spot(look.box(item, (("data-n", str(i)),)), paths[i])
    for number, link in enumerate(model.links):
        tail = f"n{link.source}"
        if link.source in shared:
            tail = f"w{number}"
            scene.spots[tail] = Spot(leaf_chip(model, link, number, look), scene.spots[f"n{link.target}"].path)
        scene.wires.append(Wire(tail, f"n{link.target}", look.curve(link, model)))
    return scene


def spots_in(model: Model) -> int:
    """Return how many spots the whole scene has, without making it."""
    return len(model.items) + sum(uses - 1 for uses in _shared(model).values())


def _shared(model: Model) -> dict[int, int]:
    """Return the leaves that are used more than once, and how often."""
    uses = Counter(link.source for link in model.links)
    return {i: n for i, n in uses.items() if n > 1 and model.items[i].op == "leaf"}


def _framed(model: Model, users: Mapping[int, list[int]]) -> list[tuple[str, ...]]:
    """Return the frames around each item: modules, and within the module of a loop one for each time step."""
    items, repeats = model.items, find_loops(model)
    depths = [len(common_path(items[i] for t in loop.tiles for i in t.members)) for loop in repeats.loops]
    paths = []
    for i, item in enumerate(items):
        path = parts(item)
        if i in repeats.where:
            loop = repeats.where[i][0]
            depth, mark = depths[loop], f"{APART}{loop}" if len(depths) > 1 else ""
            frames = (*path[:depth], f"t = {item.step}")
            path = (frames[0] + mark, *frames[1:], *path[depth:])
        elif item.step is not None:
            path = (*path, f"t = {item.step}")
        paths.append(path)
    fed = {link.target for link in model.links}
    for i, uses in users.items():  # what one time step alone is given stands in its frame
        if i not in fed and items[i].step is None and len(uses) == 1 and items[uses[0]].step is not None:
            paths[i] = paths[uses[0]]
    return paths


def parts(item: Item) -> tuple[str, ...]:
    """Return the modules around `item`, the outermost first."""
    return tuple([p for p in item.path.split(".") if p])


def common_path(items: Iterable[Item]) -> tuple[str, ...]:
    """Return the modules that all of `items` stand in."""
    paths = {parts(item) for item in items}
    if not paths:
        return ()
    low, high = min(paths), max(paths)
    same = 0
    while same < min(len(low), len(high)) and low[same] == high[same]:
        same += 1
    return low[:same]


def leaf_chip(model: Model, link: Link, number: int, look: Look) -> Box:
    """Return the chip for one use of a leaf that is used in several places."""
    item = model.items[link.source]
    below = ""
    if look.backward:
        below = "no gradient" if link.gradient is None else f"+= {style.number_text(link.gradient)}"
    data = (("data-n", str(link.source)), ("data-w", str(number)))
    return look.chip(item.name or item.label, item.kind, look.tooltip(item), below, data)
