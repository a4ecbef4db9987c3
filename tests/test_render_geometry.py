"""Where things stand in pictures, over every view and many models: no overlaps, no cut labels, no line through a node.

The widths of letters are Adobe's own, from the metric files that matplotlib brings; tinyseq estimates them.
"""

import copy
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.drawings import SUBJECTS, VIEWS
from tinyseq.render import draw
from tinyseq.render.picture import cut_mark
from tinyseq.render.style import SIZE, SMALL

matplotlib = pytest.importorskip("matplotlib")
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "pdfcorefonts"
GLYPHS = {"×": "multiply", "−": "minus", "÷": "divide", "σ": "sigma", "Σ": "summation", "∂": "partialdiff"} | {
    "√": "radical",
    "…": "ellipsis",
    "→": "arrowright",
    "·": "periodcentered",
    "ᵀ": "T",
}
CASES = [pytest.param(s, v, id=f"{s}-{v}") for s in SUBJECTS for v in VIEWS]
every_picture = pytest.mark.parametrize(("subject", "view"), CASES)


@cache
def picture_of(subject, view):
    return draw(*SUBJECTS[subject](), view=view).picture


@cache
def metrics(font):
    """Return the widths of a font's letters in thousandths of its size, by character and by name."""
    found = {}
    for line in (FONTS / f"{font}.afm").read_text(encoding="latin-1").splitlines():
        if line.startswith("C "):
            code, width, name = (part.split()[-1] for part in line.split(";")[:3])
            found[name] = float(width)
            if int(code) > 0:
                found[chr(int(code))] = float(width)
    return found


def width(text, size, bold=False):
    known = metrics("Helvetica-Bold" if bold else "Helvetica") | {"minus": 584.0, "multiply": 584.0}
    total = 0.0
    for c in text:
        name = GLYPHS.get(c, c)
        total += known.get(name, 0.0) or metrics("Symbol").get(name, 0.0) or 600.0
    return total * size / 1000


def corners(boxes):
    return np.array([(b.x - b.w / 2, b.y - b.h / 2, b.x + b.w / 2, b.y + b.h / 2) for b in boxes])


def along(curve, fine=24):
    """Return points on a curve, close together."""
    if curve.straight:
        parts = [np.linspace(a, b, fine) for a, b in pairwise(np.array(curve.points))]
        return np.concatenate(parts)
    points, t = np.array(curve.points), np.linspace(0, 1, fine)[:, None]
    pieces = [points[k : k + 4] for k in range(0, len(points) - 1, 3)]
    return np.concatenate(
        [(1 - t) ** 3 * p + 3 * t * (1 - t) ** 2 * q + 3 * t * t * (1 - t) * r + t**3 * s for p, q, r, s in pieces]
    )


def test_the_widths_of_letters_are_those_of_the_font():
    assert width("W", 1000) == 944
    assert width("W", 1000, bold=True) == 944
    assert width("b", 1000, bold=True) == 611
    assert width("×−σ", 1000) == 584 + 584 + 603


def overlaps(picture):
    boxes = corners(picture.boxes)
    left, top = np.maximum(boxes[:, None, :2], boxes[None, :, :2]).transpose(2, 0, 1)
    right, bottom = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]).transpose(2, 0, 1)
    overlap = np.triu((right - left > 0.5) & (bottom - top > 0.5), 1)
    return [(picture.boxes[i].lines, picture.boxes[j].lines) for i, j in np.argwhere(overlap)]


def outside(picture):
    far = corners(picture.boxes) - (-0.5, -0.5, picture.w + 0.5, picture.h + 0.5)
    return [b.lines for b, (x0, y0, x1, y1) in zip(picture.boxes, far, strict=True) if min(x0, y0, -x1, -y1) < 0]


def too_long(picture):
    found = []
    for box in picture.boxes:
        first, *others = box.lines or ("",)
        name, _, rest = first.partition("\t")
        size = 9.5 if box.chip else SIZE
        wide = width(name, size, bold=bool(rest)) + width(rest, size)
        high = size + sum(SMALL for line in others if line)
        if max(wide, *(width(line, SMALL) for line in others), 0) > box.w - 4 or high > box.h + 1:
            found.append(box.lines)
    return found


def crossings(picture):
    """Return lines and the nodes that they run through; a line may end at a node's border."""
    found, inner = [], corners(picture.boxes) + np.array([2.5, 2.5, -2.5, -2.5])
    for c in picture.curves:
        points = along(c)[:, None]
        inside = ((points > inner[:, :2]) & (points < inner[:, 2:])).all(axis=2).any(axis=0)
        found += [(c.title.partition("\n")[0], picture.boxes[i].lines) for i in np.flatnonzero(inside)]
    return found


@every_picture
def test_nodes_labels_and_lines_keep_to_their_places(subject, view):
    picture = picture_of(subject, view)
    assert overlaps(picture) == []
    assert outside(picture) == []
    assert too_long(picture) == []
    assert crossings(picture) == []


def test_the_checks_find_what_they_look_for():
    picture = copy.deepcopy(picture_of("LSTM", "unrolled"))
    state = next(c for c in picture.curves if c.straight and len(c.points) == 6)
    box = next(b for b in picture.boxes if not b.chip and len(b.lines) == 2)
    was = (box.x, box.y)
    box.x, box.y = state.points[2][0], (state.points[1][1] + state.points[2][1]) / 2
    assert {lines for _, lines in crossings(picture)} == {box.lines}
    box.x = -20.0
    assert outside(picture) == [box.lines]
    box.x, box.y = was
    other = picture.boxes[picture.boxes.index(box) - 1]
    other.x, other.y = was
    assert overlaps(picture) != []
    box.lines = (box.lines[0] * 3, box.lines[1])
    assert too_long(picture) == [box.lines]


@every_picture
def test_frames_hold_whole_nodes(subject, view):
    picture = picture_of(subject, view)
    boxes = corners(picture.boxes)
    for f in picture.frames:
        x, y = (boxes[:, 2] > f.x) & (boxes[:, 0] < f.x + f.w), (boxes[:, 3] > f.y) & (boxes[:, 1] < f.y + f.h)
        touched = x & y
        held = (boxes[:, 0] >= f.x) & (boxes[:, 2] <= f.x + f.w) & (boxes[:, 1] >= f.y) & (boxes[:, 3] <= f.y + f.h)
        assert [picture.boxes[i].lines for i in np.flatnonzero(touched & ~held)] == [], f.label


@pytest.mark.parametrize("view", ["unrolled", "both", "backward"])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_strips_stand_under_their_columns(subject, view):
    picture = picture_of(subject, view)
    columns = {(f.label, round(f.x, 3)): f for f in picture.frames if f.step and "…" not in f.label}
    lowest = max(b.y + b.h / 2 for b in picture.boxes)
    for strip in picture.strips:
        assert strip.y > lowest
        for cell in strip.cells:
            step = cell.title.partition("t = ")[2].partition(":")[0] or cell.text.removeprefix("t=")
            frame = columns[f"t = {step}", round(cell.x, 3)]
            assert cell.w == pytest.approx(frame.w)


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_cut_says_so_where_no_node_is(view):
    picture = picture_of("cut", view)
    words = [cut_mark(c)[1] for c in picture.curves if c.cut]
    assert bool(words) == (view != "rolled")
    for x, y in words:
        assert not [b.lines for b in picture.boxes if abs(b.x - x) < b.w / 2 + 6 and abs(b.y - y) < b.h / 2 + 3]
