"""Compiled cells beside the peers: PyTorch's LSTM kernel, the same loop in PyTorch, and JAX's compiled scan.

One step is forward, backward and the gradients of all parameters, float32.
"""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

import tinyseq as ts
from tests.benchmarks import cells
from tinyseq.graph import runner, threads

torch = pytest.importorskip("torch")

SHAPES = [(100, 1, 32, 32), (100, 16, 64, 64), (50, 32, 128, 128), (128, 64, 512, 512)]
KERNEL = dict(zip(SHAPES, (0.55, 0.85, 1.00, 0.90), strict=True))
LOOP = dict(zip(SHAPES, (0.10, 0.40, 0.75), strict=False))
TWO_CORES = {SHAPES[2]: 0.80, SHAPES[3]: 0.90}


def named(shape):
    return "-".join(map(str, shape))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(threads, "_threads", 1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", SHAPES, ids=named)
def test_lstm_against_the_kernel(shape, pairs, row, benchmark):
    ours, _ = cells.compiled("lstm", shape)
    times = pairs(ours, cells.torch_kernel(shape))
    ratio = row(f"lstm {named(shape)}", times, "torch nn.LSTM", KERNEL[shape])
    benchmark.pedantic(ours, rounds=3)
    assert ratio <= KERNEL[shape]


@pytest.mark.parametrize("shape", LOOP, ids=named)
@pytest.mark.parametrize("model", cells.MODELS)
def test_cells_against_the_loop(model, shape, pairs, row, benchmark):
    (ours, w), (theirs, v) = cells.compiled(model, shape), cells.torch_loop(model, shape)
    assert ours() == pytest.approx(theirs(), abs=1e-4)
    for a, b in zip(w, v, strict=True):
        if b.grad is not None:
            np.testing.assert_allclose(np.asarray(a.grad), b.grad.numpy(), rtol=2e-3, atol=1e-5)
    ratio = row(f"{model} {named(shape)}", pairs(ours, theirs), "torch loop", LOOP[shape])
    benchmark.pedantic(ours, rounds=3)
    assert ratio <= LOOP[shape]


@pytest.mark.parametrize("shape", SHAPES, ids=named)
@pytest.mark.parametrize("model", cells.MODELS)
def test_cells_against_jax(model, shape, pairs, row, benchmark):
    pytest.importorskip("jax")
    (ours, _), theirs = cells.compiled(model, shape), cells.jax_scan(model, shape)
    assert ours() == pytest.approx(theirs(), abs=1e-4)
    ratio = row(f"{model} {named(shape)}", pairs(ours, theirs), "jax scan", 1.0)
    benchmark.pedantic(ours, rounds=3)
    assert ratio <= 1.0


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
@pytest.mark.parametrize("shape", TWO_CORES, ids=named)
def test_two_cores(shape, pairs, row, benchmark, monkeypatch):
    alone, _ = cells.compiled("lstm", shape)
    alone()
    monkeypatch.setattr(threads, "_threads", 2)
    ours, _ = cells.compiled("lstm", shape)
    torch.set_num_threads(2)
    times = pairs(ours, cells.torch_kernel(shape), apart=True)
    against_kernel = row(f"2 cores {named(shape)}", times, "nn.LSTM, 2 cores", TWO_CORES[shape])
    against_itself = row(f"2 cores {named(shape)}", pairs(ours, alone, apart=True), "itself, 1 core", 0.65)
    benchmark.pedantic(ours, rounds=3)
    assert against_kernel <= TWO_CORES[shape]
    assert against_itself <= 0.65


@pytest.mark.parametrize("shape", SHAPES[:2], ids=named)
def test_without_numba(shape, pairs, row, benchmark, monkeypatch):
    step, inputs, _ = cells.loop_step(ts, "lstm", shape)
    monkeypatch.setattr(runner, "can_run", lambda graph: False)
    plain = ts.compile(step)
    plain(*inputs)
    ratio = row(f"no numba {named(shape)}", pairs(lambda: plain(*inputs), lambda: step(*inputs)), "tinyseq eager", 0.67)
    benchmark.pedantic(lambda: plain(*inputs), rounds=3)
    assert ratio <= 0.67


FIRST = """
import time, sys
import tinyseq as ts
from tests.benchmarks import cells
from tinyseq.graph import compiler
compiler.compiler()
times = []
for steps in map(int, sys.argv[1:]):
    step, inputs, _ = cells.loop_step(ts, "peephole", (steps, 1, 32, 32))
    begin = time.perf_counter()
    ts.compile(step)(*inputs)
    times.append(time.perf_counter() - begin)
print(*times)
"""


def test_first_call():
    """A cold cell at T = 100, then a new T with the known cell, then T = 1000."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST, "100", "90", "1000"], capture_output=True, text=True, check=True
    )
    cold, known, long = map(float, done.stdout.split())
    print(f"first call {cold:.2f} s, new T {known:.2f} s, T = 1000 {long:.2f} s")
    assert cold < 2.0
    assert known < 0.5
    assert long < 3.0


PEAK = """
import sys
import numpy as np, torch
import tinyseq as ts
from tests.benchmarks import cells
from tinyseq.graph import compiler
compiler.compiler()
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
shape = (1000, 32, 256, 256)
torch.set_num_threads(1)
kind = sys.argv[1]
eager, inputs, _ = cells.loop_step(ts, "lstm", shape)
kernel = cells.torch_kernel(shape)
compiled = ts.compile(eager)
step = {"compiled": lambda: compiled(*inputs), "eager": lambda: eager(*inputs), "torch": kernel}[kind]
before = peak()
for _ in range(5):
    step()
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's account of memory")
def test_peak_memory():
    """At T = 1000, B = 32, H = 256, each in a process of its own: what five steps add to what was there before."""
    mb = {}
    for kind in ("compiled", "eager", "torch"):
        done = subprocess.run([sys.executable, "-c", PEAK, kind], capture_output=True, text=True, check=True)
        mb[kind] = float(done.stdout)
    print(", ".join(f"{kind} {size:.0f} MB" for kind, size in mb.items()))
    assert mb["compiled"] <= 1.1 * mb["torch"]
    assert mb["compiled"] <= mb["eager"]


def test_a_call_costs_little():
    step = ts.compile(lambda x: x + 1.0)
    x = ts.zeros(4)
    for _ in range(40):
        step(x)
    begin = time.perf_counter()
    for _ in range(2000):
        step(x)
    assert (time.perf_counter() - begin) / 2000 < 50e-6
