"""Programs that lay graphs out: found without a PATH, stopped when slow, explained when missing."""

import os
import sys

import pytest

import tinyseq as ts
from tinyseq.errors import RenderError
from tinyseq.render import draw, engines


@pytest.fixture(autouse=True)
def _bare_path(monkeypatch, tmp_path):
    """No program is on the PATH: the wheel's must be found by its own list of files."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(engines.VARIABLE, raising=False)


def program(tmp_path, body):
    path = tmp_path / "engine"
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_wheel_is_found_without_a_path():
    found = engines.find()
    assert found.name == "graphviz-pure"
    assert os.path.isabs(found.program)


def test_without_any_engine_the_error_names_the_extra_and_dot_works(monkeypatch, tmp_path):
    monkeypatch.setattr(engines, "WHEEL", "graphviz-nowhere")
    monkeypatch.setattr(engines.util, "find_spec", lambda name: None)
    drawing = draw(lambda a: a.sum(), ts.ones(2))
    with pytest.raises(RenderError, match=r'pip install "tinyseq\[viz\]"'):
        drawing.save(tmp_path / "g.svg")
    assert not list(tmp_path.iterdir())
    assert drawing.save(tmp_path / "g.dot").read_text().startswith("digraph")


def test_an_engine_that_is_asked_for_must_be_there(monkeypatch):
    with pytest.raises(RenderError, match=r"'/no/dot' is not there"):
        draw(lambda a: a.sum(), ts.ones(2), engine="/no/dot")._repr_svg_()
    monkeypatch.setenv(engines.VARIABLE, "nowhere")
    with pytest.raises(RenderError, match="TINYSEQ_DOT"):
        engines.find()
    assert engines.find("graphviz-pure").name == "graphviz-pure"


def test_an_override_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv(engines.VARIABLE, program(tmp_path, "print('{\"bb\": 1}')"))
    assert engines.find().layout(["digraph{}"]) == [{"bb": 1}]


def test_a_slow_engine_is_stopped(tmp_path):
    slow = engines.Engine("slow", program(tmp_path, "time.sleep(30)"))
    with pytest.raises(RenderError, match=r"longer than 0\.2 s.*rolled"):
        slow.run("digraph{}", "svg", seconds=0.2)


def test_code_1_with_a_picture_is_a_picture_and_complaints_are_capped(tmp_path):
    loud = program(tmp_path, "sys.stderr.write('x' * 10_000_000); print('<svg/>'); sys.exit(1)")
    assert engines.Engine("loud", loud).run("digraph{}", "svg") == b"<svg/>\n"
    broken = program(tmp_path, "sys.stderr.write('x' * 10_000_000); sys.exit(1)")
    with pytest.raises(RenderError, match="ended with code 1") as caught:
        engines.Engine("broken", broken).run("digraph{}", "svg")
    assert len(str(caught.value)) < 2 * engines.MOST_STDERR


def test_an_unknown_format_is_explained(tmp_path):
    with pytest.raises(RenderError, match="cannot write 'pdf'"):
        draw(lambda a: a.sum(), ts.ones(2)).save(tmp_path / "g.pdf")
