"""The views over time: cells laid out by an engine, set side by side, and joined by lines in the gaps between them.

Lines between cells run where no node stands: below the cells, up in the gap before the next one, and in from above.
What comes from outside of a loop runs along the top, what leaves it along the bottom.
"""

import math
from dataclasses import dataclass, field, replace

from tinyseq.render.cells import Cell, Port, cell, is_chip, lay_out
from tinyseq.render.engines import Engine
from tinyseq.render.loops import Loop, Repeats, find_loops
from tinyseq.render.model import Link, Model
from tinyseq.render.picture import Box, Curve, Frame, Picture, Point
from tinyseq.render.scene import APART, Look, Scene, Spot, Wire, common_path, leaf_chip, parts
from tinyseq.render.strips import LABEL, add_strips, even_columns
from tinyseq.render.style import Scale

TRACK = 8.0  # between lines that run side by side
HEAD = 24.0  # of a cell, for its title
LANDING = 13.0  # of a line that comes down to a chip: its last piece, with the arrow
AROUND = 20.0  # of each of two pictures side by side
EDGE = 12.0  # between a line and what it passes


@dataclass(slots=True)
class Row:
    """One loop as a picture: it enters the whole as a single large box."""

    loop: Loop
    cells: list[Cell]
    picture: Picture = field(default_factory=Picture)
    columns: list[tuple[float, float]] = field(default_factory=list)  # where each step stands: left edge, width


def unrolled(model: Model, look: Look, program: Engine) -> Picture:
    """Return the picture with all time steps side by side."""
    return _with_strips(*_unrolled(model, look, program), model, look)


def rolled(model: Model, look: Look, program: Engine) -> Picture:
    """Return the picture with one time step of each loop, its states returning through a delay."""
    return _with_strips(*_rolled(model, look, program), model, look)


def both(model: Model, look: Look, program: Engine) -> Picture:
    """Return the picture with the graph rolled at the left and unrolled at the right, strips below its steps."""
    one, (many, rows) = _rolled(model, look, program)[0], _unrolled(model, look, program)
    picture, x, high = Picture(), 0.0, max(one.h, many.h)
    for part, label in ((one, "rolled"), (many, "unrolled")):
        picture.frames.append(Frame(x, 0, part.w + 2 * AROUND, high + 2 * AROUND + 8, label, title=True))
        picture.put(part, x + AROUND, AROUND + 8 + (high - part.h) / 2)
        left, x = x + AROUND, x + part.w + 3 * AROUND
    for row in rows:
        row.columns = [(left + at, wide) for at, wide in row.columns]
    picture.w, picture.h, picture.captions = x - AROUND, high + 2 * AROUND + 8, one.captions
    return _with_strips(picture, rows, model, look)


def _unrolled(model: Model, look: Look, program: Engine) -> tuple[Picture, list[Row]]:
    repeats, outer = prepared(model)
    rows = [Row(p, [cell(model, repeats, p, t, look, outer) for t in p.tiles]) for p in repeats.loops]
    lay_out([c for row in rows for c in row.cells], program)
    for row in rows:
        _tile(row, model, repeats, outer, look)
    return _compose(model, repeats, outer, rows, look, program), rows


def _rolled(model: Model, look: Look, program: Engine) -> tuple[Picture, list[Row]]:
    repeats, outer = prepared(model)
    model = gathered(model, repeats)
    rows = [Row(p, [cell(model, repeats, p, p.typical(), look, outer, typical=True)]) for p in repeats.loops]
    lay_out([c for row in rows for c in row.cells], program)
    for row in rows:
        _roll(row, model, repeats, look)
    picture = _compose(model, repeats, outer, rows, look, program)
    picture.captions = _exceptions(model, repeats)
    return picture, rows


def gathered(model: Model, repeats: Repeats) -> Model:
    """Return `model` with each link of a typical step showing the range of its gradients over all such steps.

    It is cut where it is cut in all of them.
    """
    links, where = list(model.links), repeats.where
    for number, loop in enumerate(repeats.loops):
        typical = loop.typical()
        over: dict[tuple[int, int, bool], list[Link]] = {}  # by item and input, or by item that leaves the loop
        for t in loop.tiles:
            if t.core == typical.core:
                for n in (*t.inner, *t.entering):
                    over.setdefault((where[links[n].target][2], links[n].position, True), []).append(model.links[n])
                for k, i in enumerate(t.members):
                    for link in repeats.leaving.get(i, ()):
                        if where.get(link.target, (-1,))[0] != number:
                            over.setdefault((k, 0, False), []).append(link)
        for alike in over.values():
            sizes = [link.gradient for link in alike if link.gradient is not None]
            most, least = max(sizes, default=None), min(sizes, default=None)
            cut = all(link.cut for link in alike)
            for link in alike:
                links[link.number] = replace(link, gradient=most, least=least, cut=cut)
    for i, leaving in repeats.leaving.items():
        repeats.leaving[i] = [links[link.number] for link in leaving]
    return replace(model, links=links)


def prepared(model: Model) -> tuple[Repeats, set[int]]:
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

HALF = math.nan  # stands for half of the height of a loop's picture, which is known last


def _tracks(cells: list[Cell]) -> tuple[float, float, int]:
    """Return the room above and below a cell's nodes for the lines of its states, and how many there are."""
    most = max((len(_states(c)) for c in cells), default=0)
    return HEAD + TRACK * most + LANDING - 1, EDGE + TRACK * (most + 1), most


def _states(c: Cell) -> list[str]:
    """Return the chips through which states enter, from left to right."""
    return sorted((k for k, p in c.ins.items() if p.role is not None), key=lambda k: c.at[k][0])


def _tile(row: Row, model: Model, repeats: Repeats, outer: set[int], look: Look) -> None:
    """Set the cells of `row` side by side and draw the lines between them."""
    cells, picture, where = row.cells, row.picture, repeats.where
    above, below, most = _tracks(cells)
    gap = 2 * EDGE + TRACK * max(1, most)
    roof = _roof(row)
    height = max(c.picture.h for c in cells) + above + below
    x, left = gap, []
    for c in cells:
        left.append(x)
        title = _free_for_title(c)
        picture.frames.append(Frame(x, roof, c.picture.w + 8, height, f"t = {c.tile.step}", True, inset=title))
        picture.put(c.picture, x + 4, roof + above)
        row.columns.append((x, c.picture.w + 8))
        x += c.picture.w + 8 + gap
    names = {c.outs[key]: (n, key) for n, c in enumerate(cells) for key in c.outs}
    floor = roof + above + max(c.picture.h for c in cells)
    for n, c in enumerate(cells):
        for rank, key in enumerate(_states(c)):
            port = c.ins[key]
            goal = _chip_edge(c, key, left[n] + 4, roof + above, top=True)
            turn, up = roof + above - LANDING - TRACK * rank, left[n] - EDGE - TRACK * rank
            first = port.sources[0].source if port.sources else -1
            end = ((up, turn), (goal[0], turn), goal)
            if first in names and where[first][0] == where[c.tile.members[0]][0]:
                k, out = names[first]
                start = _chip_edge(cells[k], out, left[k] + 4, roof + above, top=False)
                low = floor + EDGE + TRACK * rank
                picture.curves.append(_line((start, (start[0], low), (up, low), *end), port, look, model))
                picture.curves[-1].free = (up, (low + turn) / 2 + 24.0 * rank)
            elif first in outer or first in where:
                picture.curves.append(_line(((0.0, HALF), (up, HALF), *end), port, look, model))
    picture.w, picture.h = x, roof + height
    _enter(row, left, roof + above, look, model)
    _leave(row, model, repeats, left, roof + above, look)
    _settle(row, loop_label(model, row.loop))


def _roll(row: Row, model: Model, repeats: Repeats, look: Look) -> None:
    """Draw the one cell of `row` with its states returning through a delay."""
    (c,) = row.cells
    picture, steps = row.picture, [t.step for t in row.loop.tiles]
    above, below, most = _tracks(row.cells)
    roof, x0 = _roof(row), 24.0
    top, right = roof + above, x0 + c.picture.w + 8
    height = c.picture.h + above + below
    picture.frames.append(
        Frame(x0, roof, right - x0, height, f"t = {steps[0]} … {steps[-1]}", True, inset=_free_for_title(c))
    )
    picture.put(c.picture, x0 + 4, top)
    for rank, key in enumerate(reversed(_states(c))):
        port = c.ins[key]
        assert port.role is not None
        if f"o{port.role[0]}" not in c.outs:
            continue  # the steps differ so much that this one hands over nothing of the kind
        start = _chip_edge(c, f"o{port.role[0]}", x0 + 4, top, top=False)
        goal = _chip_edge(c, key, x0 + 4, top, top=True)
        low, turn = top + c.picture.h + EDGE + TRACK * rank, top - LANDING - TRACK * rank
        delay = f"t − {port.role[1]}" if steps[0] < steps[-1] else f"t + {port.role[1]}"
        box = look.chip(delay, "state", f"delay: {port.label} is what the step before has handed over")
        box.x, box.y = right + 34 + 50 * rank, top + c.picture.h / 2
        first = (start, (start[0], low), (box.x, low), (box.x, box.y + box.h / 2))
        second = ((box.x, box.y - box.h / 2), (box.x, turn), (goal[0], turn), goal)
        picture.curves += [_line(first, port, look, model), _line(second, port, look, model)]
        picture.boxes.append(box)
    picture.w, picture.h = right + 50 * most + 22, roof + height
    _enter(row, [x0], top, look, model)
    _leave(row, model, repeats, [x0], top, look)
    _settle(row, f"{loop_label(model, row.loop)}  × {len(steps)}")
    drawn: list[Box | Curve] = [*picture.boxes, *picture.curves]
    for part in drawn:
        if part.data:
            part.data = (*part.data, ("data-all", ""))  # it stands for the same in every step


def _free_for_title(c: Cell) -> float:
    """Return where the title of a cell may begin: right of the lines that come down near its left edge."""
    lines = [c.at[k][0] + 4 for k, p in c.ins.items() if p.role is None]
    return max((x + 10 for x in lines if x < 60), default=9.0)


def _outside(row: Row) -> list[str]:
    """Return the chips through which values from outside of the loop enter, each with a line of its own on top."""
    return sorted({key for c in row.cells for key, p in c.ins.items() if p.role is None})


def _roof(row: Row) -> float:
    lines = len(_outside(row))
    return 22 + TRACK * lines + (4 if lines else 0)


def _enter(row: Row, left: list[float], top: float, look: Look, model: Model) -> None:
    """Draw the lines on top of the cells, which bring what was computed before the loop."""
    curves = row.picture.curves
    for n, key in enumerate(_outside(row)):
        y, x, last = 22 + TRACK * n, 8.0 + 4 * n, 0.0
        for c, dx in zip(row.cells, left, strict=True):
            if key in c.ins:
                goal = _chip_edge(c, key, dx + 4, top, top=True)
                curves.append(_line(((goal[0], y), goal), c.ins[key], look, model))
                last = goal[0]
        curves.append(Curve(((0.0, HALF), (x, HALF), (x, y), (last, y)), True, arrow=False))


def _leave(row: Row, model: Model, repeats: Repeats, left: list[float], top: float, look: Look) -> None:
    """Draw the lines below the cells, which collect what is used after the loop."""
    picture, where = row.picture, repeats.where
    lines: dict[str, float] = {}  # what leaves, and where its line begins
    floor, right = picture.h + 10, picture.w
    for c, dx in zip(row.cells, left, strict=True):
        loop = where[c.tile.members[0]][0]
        for key, i in c.outs.items():
            links = [k for k in repeats.leaving.get(i, ()) if where.get(k.target, (-1,))[0] != loop]
            if links:
                label = model.items[i].title
                start = _chip_edge(c, key, dx + 4, top, top=False)
                lines.setdefault(label, start[0])
                y = floor + TRACK * list(lines).index(label)
                picture.curves.append(_line((start, (start[0], y)), Port("", None, links), look, model))
                picture.curves[-1].arrow = look.backward
                picture.curves[-1].cut = False  # the line from the loop to the node has the mark
    for n, x in enumerate(lines.values()):
        y, out = floor + TRACK * n, right - 8 - 4 * n
        points = ((x, y), (out, y), (out, HALF), (right, HALF))
        picture.curves.append(Curve(points, True, arrow=False))
    picture.h = floor + TRACK * len(lines) if lines else picture.h + 10


def _settle(row: Row, label: str) -> None:
    """Put the frame around the loop, and what was to be at half of its height there."""
    picture = row.picture
    picture.frames.insert(0, Frame(0, 0, picture.w, picture.h, label))
    half = picture.h / 2
    for c in picture.curves:
        c.points = tuple([(x, half if y != y else y) for x, y in c.points])


def _line(points: tuple[Point, ...], port: Port, look: Look, model: Model) -> Curve:
    """Return the line through `points` for the links of `port`."""
    curve = look.bundle(port.sources, model)
    curve.points = points[::-1] if look.backward else points
    curve.straight = True
    return curve


def _chip_edge(c: Cell, key: str, dx: float, dy: float, *, top: bool) -> Point:
    box = c.scene.spots[key].box
    x, y = c.at[key]
    return x + dx, y + dy + (-box.h / 2 if top else box.h / 2)


def loop_label(model: Model, loop: Loop) -> str:
    """Return the path of the module that a loop is of."""
    path = ".".join(common_path(model.items[i] for t in loop.tiles[:2] for i in t.members))
    return path or "loop"


def _exceptions(model: Model, repeats: Repeats) -> list[str]:
    """Return what to say of time steps that do something else than the one that the rolled view shows."""
    said = []
    for loop in repeats.loops:
        core = loop.typical().core
        others = [str(t.step) for t in loop.tiles if t.core != core]
        if others:
            shown = ", ".join(others[:12]) + (", …" if len(others) > 12 else "")
            said.append(
                f"{loop_label(model, loop)}: {len(others)} of {len(loop.tiles)} time steps do something else (t = "
                f"{shown}) than the one drawn once."
            )
    return said


# The whole


def _compose(model: Model, repeats: Repeats, outer: set[int], rows: list[Row], look: Look, program: Engine) -> Picture:
    """Place what stands outside of the loops, each loop being one large box, and put all together."""
    scene = Scene(rankdir="LR", backward=look.backward, apart=0.26 if len(rows) < 2 else 0.6)
    paths = outer_paths(model, repeats, outer)
    for n, row in enumerate(rows):
        box = Box(0, 0, row.picture.w, row.picture.h, "shape", ())
        scene.spots[f"L{n}"] = Spot(box)
    for i in sorted(outer):
        scene.spots[f"n{i}"] = Spot(look.box(model.items[i], (("data-n", str(i)),)), paths[i])
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
            curve = look.curve(link, model)
            curve.cut = link.cut and head[0] != "L"  # the line to the cell has the mark
            curve.arrow = head[0] != ("L" if not look.backward else "") and (tail[0] != "L" or not look.backward)
            scene.wires.append(Wire(tail, head, curve, ("e" * (tail[0] == "L"), "w" * (head[0] == "L"))))
    picture, at = scene.place(program.layout([scene.source()])[0])
    large = {id(scene.spots[f"L{n}"].box) for n in range(len(rows))}
    picture.boxes = [b for b in picture.boxes if id(b) not in large]
    for n, row in enumerate(rows):
        x, y = at[f"L{n}"]
        x -= row.picture.w / 2
        picture.put(row.picture, x, y - row.picture.h / 2)
        row.columns = [(x + left, wide) for left, wide in row.columns]
    return picture


def _with_strips(picture: Picture, rows: list[Row], model: Model, look: Look) -> Picture:
    """Return the picture with the strips of each loop below it, under their columns where it has those."""
    missing = max((LABEL - row.columns[0][0] for row in rows if row.columns), default=0.0)
    out = picture
    if missing > 0:
        out = Picture(w=picture.w + missing, h=picture.h, captions=picture.captions)
        out.put(picture, missing, 0)
    out.scale = Scale.of(model.sizes)
    for row in rows:
        columns = [(x + max(0.0, missing), w) for x, w in row.columns]
        if not columns:
            columns = even_columns(len(row.loop.tiles), max(picture.w, 900.0))
        add_strips(out, model, row.loop, columns, look)
        out.w = max(out.w, columns[-1][0] + columns[-1][1])
    return out


def outer_paths(model: Model, repeats: Repeats, outer: set[int]) -> dict[int, tuple[str, ...]]:
    """Return the frames around items outside of the loops: one for what a module does before a loop, one for after."""
    behind: dict[int, frozenset[int]] = {}  # the loops that an item depends on
    inside = [frozenset((n,)) for n in range(len(repeats.loops))]
    before: list[frozenset[int]] = [frozenset() for _ in repeats.loops]
    for link in model.links:  # in the order of execution of their targets
        a, b = repeats.where.get(link.source), repeats.where.get(link.target)
        known = behind.get(link.source, frozenset()) if a is None else inside[a[0]] | before[a[0]]
        if b is not None:
            before[b[0]] |= known
        elif known:
            behind[link.target] = behind.get(link.target, frozenset()) | known
    paths = {}
    for i in outer:
        mark = "".join(f"{APART}{n}" for n in sorted(behind.get(i, ())))
        paths[i] = tuple([part + mark for part in parts(model.items[i])])
    return paths
