"""A picture with every place decided: boxes, frames, curves and strips.

Coordinates are points, x to the right and y down.
"""

import html
import math
from dataclasses import dataclass, field, replace
from itertools import pairwise

from tinyseq.render import style
from tinyseq.render.style import KINDS, MARKS, Scale

Point = tuple[float, float]
MARGIN = 14.0
CORNER = 6.0  # radius of the corners of lines
LINE = 15.0  # between lines of the caption


@dataclass(slots=True)
class Box:
    """A node: its centre and size, its lines of text (the first is bold up to a tab), and its kind."""

    x: float
    y: float
    w: float
    h: float
    kind: str
    lines: tuple[str, ...]
    title: str = ""
    chip: bool = False
    released: bool = False  # what was saved for its gradient is gone: it is hollow and has a badge
    data: tuple[tuple[str, str], ...] = ()  # attributes for the page's script


@dataclass(slots=True)
class Curve:
    """An edge: the points of cubic Bézier pieces (or of a polyline with rounded corners), ending in an arrow."""

    points: tuple[Point, ...]
    straight: bool = False
    arrow: bool = True
    gradient: float | None = None
    missing: bool = False  # a gradient that was not computed
    cut: bool = False  # a value that was detached: a double bar across the line, and a word beside it
    free: Point | None = None  # where the word has room: on a straight line, beside another
    title: str = ""
    data: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Frame:
    """A module, or a time step: a rounded rectangle with a title."""

    x: float
    y: float
    w: float
    h: float
    label: str
    step: bool = False
    title: bool = False  # the label is one
    inset: float = 7.0  # of the title, from the left


@dataclass(frozen=True, slots=True)
class Cell:
    """One time step in a strip: coloured by the `level` of a gradient, or by a `share` from 0 to 1."""

    x: float
    w: float
    text: str
    title: str
    level: int | None
    share: float | None


@dataclass(slots=True)
class Strip:
    """A row of cells below the picture, with its name on the left."""

    label: str
    y: float
    cells: list[Cell]


@dataclass(slots=True)
class Picture:
    """All that is drawn, in the order in which it is painted."""

    w: float = 0.0
    h: float = 0.0
    frames: list[Frame] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    gradients: bool = False  # edges are coloured by the size of their gradients
    scale: Scale = field(default_factory=Scale)

    def put(self, other: "Picture", dx: float, dy: float) -> None:
        """Draw `other` as a part of this one, moved by (`dx`, `dy`)."""
        self.frames += [replace(f, x=f.x + dx, y=f.y + dy) for f in other.frames]
        self.boxes += [replace(b, x=b.x + dx, y=b.y + dy) for b in other.boxes]
        for c in other.curves:
            free = c.free and (c.free[0] + dx, c.free[1] + dy)
            self.curves.append(replace(c, points=tuple([(x + dx, y + dy) for x, y in c.points]), free=free))


def least_width(picture: Picture) -> float:
    """Return the room that what stands below the picture needs at least."""
    return 540.0 if picture.gradients else 320.0


def used(picture: Picture) -> list[str]:
    """Return the kinds of nodes that occur, in the order of the legend."""
    found = {b.kind for b in picture.boxes}
    return [k for k in KINDS if k in found]


def marks(picture: Picture) -> list[str]:
    """Return the marks that occur, in the order of the legend."""
    found = {"cut": any(c.cut for c in picture.curves), "released": any(b.released for b in picture.boxes)}
    return [name for name in MARKS if found[name]]


def legend(picture: Picture) -> list[tuple[str, str, float]]:
    """Return kinds and marks that occur, what the legend says of each, and where it stands there."""
    x, entries = 0.0, []
    texts = [(kind, KINDS[kind].meaning) for kind in used(picture)] + [(mark, MARKS[mark]) for mark in marks(picture)]
    for name, meaning in texts:
        entries.append((name, meaning, x))
        x += style.text_width(meaning, 10.8) + 36
    return entries


def legend_width(picture: Picture) -> float:
    """Return how wide the legend of kinds and marks is."""
    return max((x + style.text_width(meaning, 10.8) + 36 for _, meaning, x in legend(picture)), default=0.0)


def wrapped(captions: list[str], width: float) -> list[str]:
    """Break the captions into lines of at most `width` points."""
    lines = []
    for caption in captions:
        line = ""
        for word in caption.split():
            if line and style.text_width(f"{line} {word}", 10) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
    return lines


def towards(a: Point, b: Point, most: float) -> Point:
    """Return the point `most` away from `a` on the way to `b`, half of the way at the farthest."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = (dx * dx + dy * dy) ** 0.5
    part = min(0.5, most / length) if length else 0.0
    return a[0] + dx * part, a[1] + dy * part


def cut_mark(c: Curve) -> tuple[list[tuple[Point, Point]], Point]:
    """Return the two bars across a curve that is cut, and the middle of the word that goes with them."""
    (x, y), (ux, uy) = _middle(c)
    if c.straight:  # the word stands on the line, the bars before it
        word = c.free or (x, y)
        ahead = 8.0 if abs(uy) > abs(ux) else 13.0
        x, y = word[0] - ahead * ux, word[1] - ahead * uy
    else:
        word = c.free or (x + 13.0 * abs(uy), y - 10.0 * abs(ux))
    bars = []
    for along in (-1.5, 1.5):
        a, b = x + along * ux, y + along * uy
        bars.append(((a - 5.0 * uy, b + 5.0 * ux), (a + 5.0 * uy, b - 5.0 * ux)))
    return bars, word


def _middle(c: Curve) -> tuple[Point, Point]:
    """Return a point about half of the way along a curve, and the direction of the curve there."""
    points = c.points
    if c.straight:
        a, b = max(pairwise(points), key=lambda s: math.dist(*s))
        middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    else:  # one cubic piece
        k = (len(points) - 1) // 3 // 2 * 3
        p, q, r, s = points[k : k + 4]
        middle = ((p[0] + 3 * q[0] + 3 * r[0] + s[0]) / 8, (p[1] + 3 * q[1] + 3 * r[1] + s[1]) / 8)
        a, b = ((p[0] + q[0]), (p[1] + q[1])), ((r[0] + s[0]), (r[1] + s[1]))
    length = math.dist(a, b) or 1.0
    return middle, ((b[0] - a[0]) / length, (b[1] - a[1]) / length)


def find_room(picture: Picture) -> None:
    """Put the words of what is cut where no node is, if there is such a place beside the bars."""
    for c in picture.curves:
        if c.cut and not c.straight:
            (x, y), (ux, uy) = _middle(c)
            places = [(x + s * 13.0 * abs(uy), y - s * 10.0 * abs(ux)) for s in (1, -1)]
            c.free = next((p for p in places if not any(_covers(b, p) for b in picture.boxes)), places[0])


def _covers(b: Box, word: Point) -> bool:
    return abs(b.x - word[0]) < b.w / 2 + 8 and abs(b.y - word[1]) < b.h / 2 + 5


def badge(b: Box) -> tuple[Point, float]:
    """Return middle and radius of the badge of a node whose saved values are gone."""
    return (b.x + b.w / 2 - 2.5, b.y - b.h / 2 + 2.5), 4.0


def html_label(b: Box) -> str:
    """Return the lines of `b` as Graphviz's HTML-like label."""
    lines = [_html(line, i == 0, b.chip) for i, line in enumerate(b.lines) if line]
    return f"<{'<br/>'.join(lines)}>" if lines else ""


def _html(line: str, main: bool, chip: bool) -> str:
    """Return a line of a label as Graphviz's HTML-like text."""
    name, _, rest = line.partition("\t")
    size = (9.5 if chip else style.SIZE) if main else style.SMALL
    text = f"<b>{html.escape(name)}</b>{html.escape(rest)}" if rest else html.escape(name)
    color = "#1c2430" if main else "#535c6a"
    return f'<font point-size="{size}" color="{color}">{text or " "}</font>'
