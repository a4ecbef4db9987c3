"""The commands as a newcomer runs them: results, messages, exit statuses."""

import json
import re
import signal
import tomllib
from pathlib import Path

import pytest

import tinyseq as ts
from tinyseq.__main__ import main
from tinyseq.cli import demo, info, selftest
from tinyseq.cli.characters import LAYERS, CharacterModel, Corpus, held_out_bits
from tinyseq.data import english_text
from tinyseq.errors import RenderError
from tinyseq.testing import Result

TIMES = ("seconds", "chars_per_second")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(english_text()[:4000], encoding="utf-8")
    return path


@pytest.fixture
def run_demo(text, tmp_path):
    """Run a small demo; returns its exit status and folder."""

    def run(*options, out="out"):
        folder = tmp_path / out
        small = ["--text", str(text), "--steps", "6", "--hidden-size", "16", "--out", str(folder)]
        return main(["demo", *small, *options]), folder

    return run


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("cell", LAYERS)
def test_the_demo_saves_what_it_says(cell, run_demo, capsys):
    status, folder = run_demo("--cell", cell)
    out = capsys.readouterr().out
    assert status == 0
    assert (folder / "graph.svg").read_text().count("<svg") == 1
    rows = metrics(folder)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(list(row) == ["step", "seconds", "train_bpc", "val_bpc", "chars_per_second"] for row in rows)
    saved = ts.load(folder / "model.safetensors")
    model = CharacterModel(len(saved["config"]["characters"]), saved["config"]["hidden_size"], saved["config"]["cell"])
    model.load_state_dict(saved["model"])
    corpus = Corpus.of(english_text()[:4000])
    assert held_out_bits(model, corpus, 64, "cpu") == pytest.approx(rows[-1]["val_bpc"], abs=1e-5)
    for said in ("SHA-256", "unigram", "4-gram", "untrained", "after 6 steps", "graph.svg", "model.safetensors"):
        assert said in out


def test_the_demo_learns(run_demo):
    _, folder = run_demo("--steps", "60", "--hidden-size", "32")
    bits = [row["val_bpc"] for row in metrics(folder)]
    assert bits[-1] < 4.6 < bits[0]


def test_the_same_seed_gives_the_same_numbers(run_demo, capsys):
    runs = []
    for i, seed in enumerate(("3", "3", "4")):
        _, folder = run_demo("--seed", seed, out=str(i))
        printed = [line for line in capsys.readouterr().out.splitlines() if "per second" not in line]
        rows = [{key: value for key, value in row.items() if key not in TIMES} for row in metrics(folder)]
        runs.append((rows, [line.replace(str(folder), "") for line in printed]))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]


def test_every_held_out_character_counts(text):
    corpus = Corpus.of(text.read_text())
    model = CharacterModel(len(corpus.vocabulary), 8, "gru")
    with ts.no_grad():
        model.head.weight.assign(0.0)  # so that every prediction is the same, known one
        bias = model.head.bias
        bias.assign(ts.tensor([float(i % 3) for i in range(len(corpus.vocabulary))]))
        chances = bias.softmax(-1).tolist()
    held_out = corpus.codes[corpus.split :]
    wanted = -sum(float(ts.tensor(chances[c]).log2()) for c in held_out) / len(held_out)
    assert held_out_bits(model, corpus, 7, "cpu") == pytest.approx(wanted, rel=1e-5)


@pytest.fixture
def heeds_ctrl_c():
    """Listen to SIGINT as a terminal's Python does; in the background a shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_saves_what_there_is(run_demo, monkeypatch, capsys):
    original = demo.Training.train_step
    calls = []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return original(self, *args)

    monkeypatch.setattr(demo.Training, "train_step", interrupted)
    status, folder = run_demo("--steps", "100000", "--eager")
    assert status == 0
    assert [row["step"] for row in metrics(folder)] == [3]
    assert ts.load(folder / "model.safetensors")["config"]["cell"] == "lstm"
    assert "after 3 steps" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_a_second_ctrl_c_stops_at_once(run_demo, monkeypatch, capsys):
    def interrupted(self, *args):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(demo.Training, "train_step", interrupted)
    status, _ = run_demo("--eager")
    assert status == 130
    assert capsys.readouterr().err.endswith("stopped\n")


WRONG = {
    "a short text": (["--text", "{short}"], "has 100 characters; training needs at least 2,278"),
    "an empty text": (["--text", "{empty}"], "has 0 characters"),
    "no such file": (["--text", "{folder}/nowhere.txt"], "cannot read the text .*nowhere.txt': No such file"),
    "a folder": (["--text", "{folder}"], "cannot read the text .*: Is a directory"),
    "not text": (["--text", "{binary}"], "is not UTF-8: .* at byte 3"),
    "an unknown device": (["--device", "tpu"], "got 'tpu', wanted 'cpu', 'cuda' or 'cuda:<index>'"),
    "an unknown cell": (["--cell", "transformer"], "invalid choice: 'transformer'"),
    "no steps": (["--steps", "0"], "got 0, wanted at least 1"),
    "negative units": (["--hidden-size", "-4"], "got -4, wanted at least 1"),
    "a file in the way": (["--out", "{binary}"], "File exists"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_are_refused_before_training(name, tmp_path, monkeypatch, capsys):
    files = {"short": "x" * 100, "empty": "", "binary": b"abc\xff"}
    for file, content in files.items():
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.Training, "run", lambda self: pytest.fail("training began"))
    options, message = WRONG[name]
    names = {file: str(tmp_path / file) for file in files}
    try:
        status = main(["demo", *(o.format(folder=tmp_path, **names) for o in options)])
    except SystemExit as stopped:  # argparse
        status = stopped.code
    assert status == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "tinyseq-demo").exists()


@pytest.mark.skipif(ts.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(capsys):
    assert main(["demo", "--device", "cuda"]) == 2
    assert main(["selftest", "--device", "cuda"]) == 2
    assert capsys.readouterr().err.count("device 'cuda' needs") == 2


def test_without_a_renderer_the_graph_is_saved_as_text(run_demo, monkeypatch, capsys):
    def none(wanted=None):
        raise RenderError('draw: no engine; pip install "tinyseq[viz]"')

    monkeypatch.setattr("tinyseq.render.engines.find", none)
    status, folder = run_demo()
    assert status == 0
    assert "digraph" in (folder / "graph.dot").read_text()
    assert 'pip install "tinyseq[viz]"' in capsys.readouterr().out


def test_info_names_everything(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for name in ("tinyseq", "Python", "NumPy", "BLAS", "threads", "numba", "renderer", "GPU"):
        assert re.search(rf"^{name} +\S", out, re.MULTILINE)


def test_info_says_how_to_get_what_is_missing(monkeypatch, capsys):
    def missing(name):
        raise ImportError(name)

    def none(wanted=None):
        raise RenderError('pip install "tinyseq[viz]"')

    monkeypatch.setattr(info.importlib, "import_module", missing)
    monkeypatch.setattr(info.engines, "find", none)
    main(["info"])
    out = capsys.readouterr().out
    named = set(re.findall(r'pip install "tinyseq\[(\w+)\]"', out))
    assert {"fast", "viz"} <= named <= {"fast", "viz", "cuda"}
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert named <= set(project["optional-dependencies"])


def test_selftest_counts_what_it_ran(monkeypatch, capsys):
    monkeypatch.setattr(selftest, "check_all", lambda device: [Result("add[0]", True, ""), Result("mul[0]", True, "")])
    assert main(["selftest"]) == 0
    assert capsys.readouterr().out.endswith(" passed, 0 failed\n")


def test_selftest_fails_when_an_operation_does(monkeypatch, capsys):
    monkeypatch.setattr(selftest, "check_all", lambda device: [Result("tanh[1]", False, "wrong gradient")])
    assert main(["selftest"]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith(", 1 failed\n")
    assert captured.err == "FAILED tanh[1]: wrong gradient\n"


def test_the_step_that_selftest_times_has_gradients():
    step = selftest.LSTMStep(3, 2, 4, 5, "cpu")
    step()
    assert [w.grad.shape for w in step.weights] == [(20, 4), (20, 5), (20,)]


def test_selftest_times_a_step_as_it_is_and_compiled(cuda, monkeypatch, capsys):
    monkeypatch.setattr(selftest, "check_all", lambda device: [])
    monkeypatch.setattr(selftest, "BENCH_SHAPES", ((3, 2, 4, 5),))
    monkeypatch.setattr(selftest, "BENCH_SECONDS", 0.0)
    main(["selftest", "--device", cuda, "--bench"])
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("3, 2, 4, 5"))
    assert row.count(" ms") == 2
    assert all(float(word) > 0 for word in row.split() if "." in word)


def test_a_command_is_needed(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "draw", "info", "selftest"])
def test_help(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert "usage: python -m tinyseq" in capsys.readouterr().out
