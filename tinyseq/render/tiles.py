"""The views over time: cells laid out by an engine, set side by side, and joined by lines in the gaps between them.

Lines between cells run where no node stands: below the cells, up in the gap before the next one, and in from above.
What comes from outside of a loop runs along the top, what leaves it along the bottom.
"""

from dataclasses import dataclass, field

from tinyseq.render.cells import Cell, Port, cell, is_chip, lay_out
from tinyseq.render.engines import Engine
from tinyseq.render.loops import Loop, Repeats, find_loops
from tinyseq.render.model import Link, Model
from tinyseq.render.picture import Box, Curve, Frame, Picture, Point
from tinyseq.render.scene import Look, Scene, Spot, Wire, common_path, leaf_chip, parts

TRACK = 8.0  # between lines that run side by side
HEAD = 24.0  # of a cell, for its title
EDGE = 12.0  # between a line and what it passes


@dataclass(slots=True)
class Row:
    """One loop as a picture: it enters the whole as a single large box."""

    loop: Loop
    cells: list[Cell]
    picture: Picture = field(default_factory=Picture)


def unrolled(model: Model, look: Look, program: Engine) -> Picture:
    """Return the picture with all time steps side by side."""
    repeats, outer = _prepared(model)
    rows = [Row(p, [cell(model, repeats, p, t, look, outer) for t in p.tiles]) for p in repeats.loops]
    lay_out([c for row in rows for c in row.cells], program)
    for row in rows:
        _tile(row, model, repeats, outer, look)
    return _compose(model, repeats, outer, rows, look, program)


def rolled(model: Model, look: Look, program: Engine) -> Picture:
    """Return the picture with one time step of each loop, its states returning through a delay."""
    repeats, outer = _prepared(model)
    rows = [Row(p, [cell(model, repeats, p, p.typical(), look, outer)]) for p in repeats.loops]
    lay_out([c for row in rows for c in row.cells], program)
    for row in rows:
        _roll(row, model, repeats, look)
    return _compose(model, repeats, outer, rows, look, program)


def _prepared(model: Model) -> tuple[Repeats, set[int]]:
    """Return the loops, and the items outside of them that are drawn there (others are chips inside)."""
    repeats = find_loops(model)
    fed: dict[int, int] = {}
    elsewhere: set[int] = set(model.results)
    for link in model.links:
        fed[link.target] = fed.get(link.target, 0) + 1
        if link.target not in repeats.where:
            elsewhere.add(link.source)
    outer = {
        i
        for i, item in enumerate(model.items)
        if i not in repeats.where and (i in elsewhere or not is_chip(item, fed.get(i, 0)))
    }
    leaves = {i for i in outer if model.items[i].op == "leaf"}  # used inside as well, they are chips in both places
    inside = {link.source for link in model.links if link.target in repeats.where}
    return repeats, outer - (leaves & inside)


# One loop


def _tracks(cells: list[Cell]) -> tuple[float, float]:
    """Return the room above and below a cell's nodes for the lines of its states."""
    most = max((len([p for p in c.ins.values() if p.role is not None]) for c in cells), default=0)
    return HEAD + TRACK * most + 4, EDGE + TRACK * (most + 1)


def _tile(row: Row, model: Model, repeats: Repeats, outer: set[int], look: Look) -> None:
    """Set the cells of `row` side by side and draw the lines between them."""
    cells, picture, where = row.cells, row.picture, repeats.where
    above, below = _tracks(cells)
    states = max(len([p for p in c.ins.values() if p.role is not None]) for c in cells)
    gap = 2 * EDGE + TRACK * max(1, states)
    bus = sorted({key[1:] for c in cells for key, p in c.ins.items() if p.role is None})
    roof = 20 + TRACK * len(bus) + (6 if bus else 0)
    height = max(c.picture.h for c in cells) + above + below
    x, left = gap, []
    for c in cells:
        left.append(x)
        picture.frames.append(Frame(x, roof, c.picture.w + 8, height, f"t = {c.tile.step}", step=True))
        picture.put(c.picture, x + 4, roof + above)
        x += c.picture.w + 8 + gap
    names = {c.outs[key]: (n, key) for n, c in enumerate(cells) for key in c.outs}
    middle = roof + height / 2
    for n, c in enumerate(cells):
        incoming = sorted((k for k, p in c.ins.items() if p.role is not None), key=lambda k: c.at[k][0])
        for rank, key in enumerate(incoming):
            port = c.ins[key]
            goal = _chip_edge(c, key, left[n] + 4, roof + above, top=True)
            turn = roof + above - 6 - TRACK * rank
            up = left[n] - EDGE - TRACK * rank
            for link in port.sources[:1]:
                source = names.get(link.source)
                if source is not None and where[link.source][0] == where[c.tile.members[0]][0]:
                    start = _chip_edge(cells[source[0]], source[1], left[source[0]] + 4, roof + above, top=False)
                    low = roof + above + max(k.picture.h for k in cells) + EDGE + TRACK * rank
                    points = (start, (start[0], low), (up, low), (up, turn), (goal[0], turn), goal)
                else:
                    points = ((0.0, middle), (up, middle), (up, turn), (goal[0], turn), goal)
                if source is not None or link.source in outer:
                    picture.curves.append(_line(points, port, look, model))
        for key, port in c.ins.items():
            if port.role is None:
                track = 20 + TRACK * bus.index(key[1:])
                goal = _chip_edge(c, key, left[n] + 4, roof + above, top=True)
                points = ((gap / 2, track), (goal[0], track), goal)
                picture.curves.append(_line(points, port, look, model))
    if bus:
        low = 20 + TRACK * (len(bus) - 1)
        picture.curves.append(Curve(((0.0, middle), (gap / 2, middle), (gap / 2, 20.0)), True, arrow=False))
        picture.curves[-1].faint = low < 0
    picture.w, picture.h = x, roof + height
    _leave(row, model, repeats, left, roof + above, look)
    picture.frames.insert(0, Frame(0, 0, picture.w, picture.h + 10, _loop_label(model, row.loop)))
    picture.h += 10


def _leave(row: Row, model: Model, repeats: Repeats, left: list[float], top: float, look: Look) -> None:
    """Draw the lines that run from the cells to what is computed after the loop."""
    picture, where = row.picture, repeats.where
    used: dict[int, Link] = {}
    for link in model.links:
        a, b = where.get(link.source), where.get(link.target)
        if a is not None and (b is None or b[0] != a[0]):
            used.setdefault(link.source, link)
    labels: list[str] = []
    right = picture.w - 8
    middle = picture.h / 2
    floor = picture.h + 10
    for n, c in enumerate(row.cells):
        for key, i in c.outs.items():
            if i in used:
                label = model.items[i].title
                if label not in labels:
                    labels.append(label)
                y = floor + TRACK * labels.index(label)
                start = _chip_edge(c, key, left[n] + 4, top, top=False)
                points = (start, (start[0], y), (right, y))
                curve = _line(points, Port("", None, [used[i]]), look, model)
                curve.arrow = False
                picture.curves.append(curve)
    if labels:
        low = floor + TRACK * (len(labels) - 1)
        picture.curves.append(Curve(((right, low), (right, middle), (picture.w, middle)), True, arrow=False))
        picture.h = low + 6


def _line(points: tuple[Point, ...], port: Port, look: Look, model: Model) -> Curve:
    """Return the line through `points` for the links of `port`."""
    if port.sources:
        curve = look.curve(port.sources[0], model)
    else:
        curve = Curve((), missing=True)
    curve.points = points[::-1] if look.backward else points
    curve.straight = True
    return curve


def _chip_edge(c: Cell, key: str, dx: float, dy: float, *, top: bool) -> Point:
    box = c.scene.spots[key].box
    x, y = c.at[key]
    return x + dx, y + dy + (-box.h / 2 if top else box.h / 2)


def _loop_label(model: Model, loop: Loop) -> str:
    path = ".".join(common_path(model.items[i] for t in loop.tiles[:2] for i in t.members))
    return path or "loop"


def _roll(row: Row, model: Model, repeats: Repeats, look: Look) -> None:
    """Draw the one cell of `row` with its states returning through a delay."""
    (c,) = row.cells
    picture, steps = row.picture, [t.step for t in row.loop.tiles]
    above, below = _tracks(row.cells)
    back = sorted((k for k, p in c.ins.items() if p.role is not None), key=lambda k: -c.at[k][0])
    bus = [k for k, p in c.ins.items() if p.role is None]
    roof, x0 = 24.0, 24.0
    height = c.picture.h + above + below
    wide, top = c.picture.w + 8, roof + above
    picture.put(c.picture, x0 + 4, top)
    right = x0 + wide
    for rank, key in enumerate(back):
        port = c.ins[key]
        assert port.role is not None
        start = _chip_edge(c, f"o{port.role[0]}", x0 + 4, top, top=False)
        goal = _chip_edge(c, key, x0 + 4, top, top=True)
        low = top + c.picture.h + EDGE + TRACK * rank
        turn = top - 6 - TRACK * rank
        column = right + 34 + 50 * rank
        delay = f"t − {port.role[1]}" if steps[0] < steps[-1] else f"t + {port.role[1]}"
        box = look.chip(delay, "state", f"delay: {port.label} is what the step before has handed over")
        box.x, box.y = column, top + c.picture.h / 2
        first = (start, (start[0], low), (column, low), (column, box.y + box.h / 2))
        second = ((column, box.y - box.h / 2), (column, turn), (goal[0], turn), goal)
        picture.curves += [_line(first, port, look, model), _line(second, port, look, model)]
        picture.boxes.append(box)
    middle = roof + height / 2
    for n, key in enumerate(bus):
        goal = _chip_edge(c, key, x0 + 4, top, top=True)
        y = roof - 6 - TRACK * n
        points = ((0.0, middle), (8.0 + 4 * n, middle), (8.0 + 4 * n, y), (goal[0], y), goal)
        picture.curves.append(_line(points, c.ins[key], look, model))
    picture.frames.insert(0, Frame(x0, roof, wide, height, f"t = {steps[0]} … {steps[-1]}", step=True))
    picture.w = right + 50 * len(back) + 22
    picture.h = roof + height
    _leave(row, model, repeats, [x0], top, look)
    picture.h += 8
    picture.frames.insert(0, Frame(0, 0, picture.w, picture.h, f"{_loop_label(model, row.loop)}  × {len(steps)}"))


# The whole


def _compose(model: Model, repeats: Repeats, outer: set[int], rows: list[Row], look: Look, program: Engine) -> Picture:
    """Place what stands outside of the loops, each loop being one large box, and put all together."""
    scene = Scene(rankdir="LR", backward=look.backward)
    for n, row in enumerate(rows):
        box = Box(0, 0, row.picture.w, row.picture.h, "shape", ())
        scene.spots[f"L{n}"] = Spot(box)
    for i in sorted(outer):
        scene.spots[f"n{i}"] = Spot(look.box(model.items[i], (("data-n", str(i)),)), parts(model.items[i]))
    done = set()
    for number, link in enumerate(model.links):
        a, b = (repeats.where.get(i) for i in (link.source, link.target))
        head = f"n{link.target}" if b is None else f"L{b[0]}"
        if b is None and a is None and link.source not in outer:
            tail = f"w{number}"
            scene.spots[tail] = Spot(leaf_chip(model, link, number, look), scene.spots[head].path)
        elif a is None and link.source not in outer:
            continue
        else:
            tail = f"n{link.source}" if a is None else f"L{a[0]}"
        plain = a is None and b is None
        if tail != head and (plain or (tail, head) not in done):
            done.add((tail, head))
            curve = look.curve(link, model, (("data-e", str(number)),))
            curve.arrow = head[0] != ("L" if not look.backward else "") and (tail[0] != "L" or not look.backward)
            scene.wires.append(Wire(tail, head, curve, ("e" * (tail[0] == "L"), "w" * (head[0] == "L"))))
    picture, at = scene.place(program.layout([scene.source()])[0])
    large = {id(scene.spots[f"L{n}"].box) for n in range(len(rows))}
    picture.boxes = [b for b in picture.boxes if id(b) not in large]
    for n, row in enumerate(rows):
        x, y = at[f"L{n}"]
        picture.put(row.picture, x - row.picture.w / 2, y - row.picture.h / 2)
    return picture


def rolled_source(model: Model, look: Look) -> str:
    """Return the rolled view as DOT text."""
    repeats, outer = _prepared(model)
    scene = Scene(backward=look.backward)
    return scene.source() + str(len(repeats.loops) + len(outer))
