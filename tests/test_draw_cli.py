"""`python -m tinyseq draw`: what it draws is what the file computes, and wrong calls say what is wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinyseq as ts
from tinyseq.__main__ import main
from tinyseq.cli import draw as command

MODULE = """
import beside
import tinyseq as ts
from tinyseq import nn

w = ts.ones(3, 3, requires_grad=True)
trained = nn.LSTM(beside.WIDTH, 2)
number = 3

class Cell(nn.Cell):
    def __init__(self, input_size=3, hidden_size=2):
        super().__init__(input_size, hidden_size)
        self.ih, self.hh = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def step(self, x, state):
        h = (self.ih(x) + self.tap(own=self.hh(state.h))).tanh()
        return h, state._replace(h=h)

class Sized(nn.Module):
    def __init__(self, width, depth=2):
        super().__init__()

class Bank:
    make = staticmethod(lambda: nn.GRU(3, 2, batch_first=True))

def model():
    return nn.LSTM(3, 2)

def loss(steps=2):
    rnn = nn.RNN(3, 2)
    return (rnn(ts.randn(steps, 1, 3))[0] ** 2.0).sum()

def product(x, y):
    return (x @ w @ y).sum()

def fails():
    raise KeyError("the user's own error")

if __name__ == "__main__":
    raise AssertionError("the file was run as a program")
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """A folder with a module, from which the command is called; what it imports is forgotten."""
    (tmp_path / "module.py").write_text(MODULE)
    (tmp_path / "beside.py").write_text("WIDTH = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in ("beside", command.LOADED):
        sys.modules.pop(name, None)


@pytest.fixture
def drawn(monkeypatch):
    """Draw, and return the drawing; nothing is rendered."""
    made = []
    monkeypatch.setattr(command.Drawing, "save", lambda self, path: made.append(self))

    def run(*arguments):
        assert main(["draw", *arguments]) == 0
        return made.pop()

    return run


def steps_of(drawing):
    return len(drawing.model.steps)


def inputs_of(drawing):
    return {i.name: i.shape for i in drawing.model.items if i.kind == "input"}


@pytest.mark.parametrize(
    ("target", "op", "shape"),
    [
        ("module.py:model", "sigmoid", (4, 1, 3)),
        ("module.py:trained", "sigmoid", (4, 1, 3)),
        ("module.py:Bank.make", "sigmoid", (1, 4, 3)),  # batch_first
        ("module.py:Cell", "tanh", (4, 1, 3)),
        ("module.py:Cell(5, 2)", "tanh", (4, 1, 5)),
        ("tinyseq.nn:LSTM(7, 2)", "sigmoid", (4, 1, 7)),
    ],
)
def test_modules_get_an_input_that_fits(drawn, target, op, shape):
    drawing = drawn(target, "--steps", "4")
    assert steps_of(drawing) == 4
    assert op in {i.op for i in drawing.model.items}
    assert list(inputs_of(drawing).values()) == [shape]
    assert drawing.view == "unrolled"


def test_an_own_cell_keeps_its_names(drawn):
    drawing = drawn("module.py:Cell")
    assert {"own", "cell.ih.weight", "cell.hh.bias"} <= {i.name for i in drawing.model.items}


def test_a_function_gets_the_steps_and_returns_what_is_drawn(drawn):
    assert steps_of(drawn("module.py:loss", "--steps", "5")) == 5
    assert steps_of(drawn("module.py:loss(3)")) == 3
    assert drawn("module.py:loss", "--view", "rolled").view == "rolled"


def test_inputs_have_the_shapes_that_were_asked_for(drawn):
    drawing = drawn("module.py:product", "--input", "2,3", "--input", "3,5")
    assert inputs_of(drawing) == {"x": (2, 3), "y": (3, 5)}
    assert {i.name for i in drawing.model.items if i.kind == "weight"} == {"w"}
    assert inputs_of(drawn("module.py:model", "--input", "2,6,3")) == {"input": (2, 6, 3)}


def test_a_tensor_is_drawn_with_its_history(drawn, tmp_path):
    (tmp_path / "result.py").write_text("import tinyseq as ts\ny = ts.ones(2, requires_grad=True).exp().sum()\n")
    assert [i.op for i in drawn("result.py:y").model.items] == ["leaf", "exp", "sum"]


def test_the_seed_decides_the_numbers(drawn):
    values = [drawn("module.py:loss", "--seed", seed).model.items[-1].value for seed in ("1", "1", "2")]
    assert values[0] == values[1] != values[2]
    ts.manual_seed(3)
    before = drawn("module.py:model", "--seed", "1").model.items[-1].value
    assert drawn("module.py:model", "--seed", "1").model.items[-1].value == before


@pytest.mark.parametrize(
    ("ending", "begin"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("dot", b"digraph"), ("html", b"<!doctype html>")]
)
def test_files(ending, begin, capsys):
    assert main(["draw", "module.py:model", "--steps", "2", "-o", f"g.{ending}"]) == 0
    assert Path(f"g.{ending}").read_bytes().startswith(begin)
    assert re.fullmatch(rf"g\.{ending}: \d+ nodes, \d+ edges, 2 time steps, view unrolled\n", capsys.readouterr().out)


def test_as_a_newcomer_types_it(tmp_path):
    arguments = ["module.py:loss", "--view", "unrolled", "--steps", "3", "-o", "g.html"]
    root = Path(__file__).parents[1]
    subprocess.run(
        [sys.executable, "-m", "tinyseq", "draw", *arguments],
        check=True,
        cwd=tmp_path,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert "t = 2" in (tmp_path / "g.html").read_text(encoding="utf-8")


WRONG = {
    "no such file": (["nowhere.py:f"], r"there is no file 'nowhere\.py'"),
    "an empty name": (["module.py:"], "wanted MODULE:NAME"),
    "no such module": (["nowhere.at.all:f"], r"there is no module 'nowhere\.at\.all'"),
    "a file without its ending": (["tinyseq.nm:f"], r"a file needs its ending, as in tinyseq\.nm\.py:make"),
    "no name": (["module.py"], "wanted MODULE:NAME"),
    "no such name": (["module.py:modell"], r"module\.py has no 'modell'; it has Cell, Sized, Bank, model, loss"),
    "no such name inside": (["module.py:Bank.made"], r"has no 'Bank\.made'"),
    "not something to draw": (["module.py:number"], "got a int, wanted a function, a class, a module or a tensor"),
    "an ending": (["module.py:model", "-o", "g.gif"], r"that work are \.svg, \.png, \.html, \.dot, \.gv, \.pdf"),
    "no ending": (["module.py:model", "-o", "g"], r"that work are \.svg"),
    "no such folder": (["module.py:model", "-o", "no/g.svg"], "there is no folder 'no'"),
    "a view": (["module.py:model", "--view", "sideways"], "invalid choice: 'sideways'"),
    "no steps": (["module.py:model", "--steps", "0"], "got 0, wanted at least 1"),
    "a shape": (["module.py:model", "--input", "2,x"], "got '2,x', wanted sizes such as 6,2,4"),
    "a missing input": (["module.py:product", "--input", "2,3"], "product needs y: give its shape"),
    "a class without sizes": (["module.py:Sized"], r"Sized needs width: give numbers, as in \"...:Sized\(4, 8\)\""),
    "a missing argument": (["tinyseq.nn:LSTM(4)"], r"LSTM\(4\): missing a required argument: 'hidden_size'"),
    "an argument that is computed": (["tinyseq.nn:LSTM(4, f(2))"], r"cannot read the arguments \(4, f\(2\)\)"),
    "an unknown input size": (["module.py:Sized(3)"], "Sized does not tell its input_size"),
    "an input of another size": (["module.py:model", "--input", "2,1,9"], "LSTM: got input"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_what_is_wrong(name, capsys):
    arguments, message = WRONG[name]
    try:
        status = main(["draw", *arguments])
    except SystemExit as stopped:  # argparse
        status = stopped.code
    assert status == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(Path().glob("*.svg"))


def test_errors_of_the_users_code_are_shown_whole(tmp_path):
    with pytest.raises(KeyError, match="the user's own error"):
        main(["draw", "module.py:fails"])
    (tmp_path / "broken.py").write_text("import missing_package\n")
    for target in ("broken.py:f", "broken:f"):
        with pytest.raises(ModuleNotFoundError, match="missing_package"):
            main(["draw", target])
