"""Pictures that stay as they are: each is compared with a file that someone has looked at.

TINYSEQ_GOLDEN=write makes new files, to be looked at before they are kept. Numbers that depend on the arithmetic are
left out, and places are rounded to whole points.
"""

import os
import re
from importlib import metadata
from pathlib import Path

import pytest

from tests.drawings import cut_at, loss_of, lstm, translator
from tinyseq.render import draw

GOLDEN = Path(__file__).parent / "golden"


def small_lstm():
    model, x = lstm(3, 4)
    return loss_of(model), x


PICTURES = [
    *((f"lstm_{view}", small_lstm, view) for view in ("rolled", "unrolled", "both", "ops", "backward")),
    *((f"cut_{view}", lambda: cut_at(2, 3), view) for view in ("unrolled", "ops")),
    ("translator_unrolled", translator, "unrolled"),
]


def essence(svg):
    """Return SVG text without styles, tooltips, strips and numbers that come from arithmetic, places rounded."""
    svg = re.sub(r"<style>.*?</style>|<title>.*?</title>", "", svg, flags=re.S)
    svg = re.sub(r"(g|\+=) [-+.e0-9]+<", r"\1 number<", svg)
    svg = re.sub(r'class="e g\d"', 'class="e"', svg)
    svg = re.sub(r'<rect class="[vh]\d?"[^>]*>(<text[^>]*>[^<]*)?', "", svg)
    return re.sub(r"\d+\.\d+(?=[\", ])", lambda m: f"{float(m[0]):.0f}", svg) + "\n"


@pytest.mark.parametrize(("name", "make", "view"), PICTURES, ids=[p[0] for p in PICTURES])
def test_the_picture_is_the_one_that_was_looked_at(name, make, view):
    if metadata.version("graphviz-pure") != "0.2.2":
        pytest.skip("another version of the engine places nodes elsewhere")
    svg, path = essence(draw(*make(), view=view, show="shape").svg), GOLDEN / f"{name}.svg"
    if os.environ.get("TINYSEQ_GOLDEN") == "write":
        path.write_text(svg, encoding="utf-8")
    assert svg == path.read_text(encoding="utf-8")


def test_a_node_that_moves_is_seen():
    svg = draw(*small_lstm(), view="ops", show="shape").svg
    x = re.search(r'<rect x="(\d+)\.', svg)[1]
    assert essence(svg) != essence(svg.replace(f'<rect x="{x}.', f'<rect x="{int(x) + 1}.', 1))
    assert essence(svg) != essence(svg.replace("tanh<", "tan<", 1))


def test_every_file_has_its_picture():
    assert {p.stem for p in GOLDEN.iterdir()} == {name for name, _, _ in PICTURES}
