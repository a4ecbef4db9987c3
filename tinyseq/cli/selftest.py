"""Check every operation's samples on this machine: shape and dtype rules, gradients of first and second order."""

import argparse
import sys
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from tinyseq import ops
from tinyseq.autograd.creation import randn, zeros
from tinyseq.autograd.tensor import Tensor
from tinyseq.backend import Device, as_device, namespace_on
from tinyseq.compile import compile
from tinyseq.core.op import Op
from tinyseq.ops.random import Generator
from tinyseq.testing import check_all

BENCH_SHAPES = ((100, 1, 32, 32), (100, 16, 64, 64), (50, 32, 128, 128), (128, 64, 512, 512))
BENCH_SECONDS = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<index>")
    parser.add_argument("--bench", action="store_true", help="time an LSTM training step as well")


def run(options: argparse.Namespace) -> int:
    """Run the checks, and return 0 if all hold."""
    device = as_device(options.device)
    namespace_on(device)
    total = sum(len(op.samples) for op in Op.registry.values())
    start = time.perf_counter()
    failed = []
    for result in tqdm(check_all(device), total=total, unit="sample", disable=None):
        if not result.ok:
            failed.append(result)
            print(f"FAILED {result.name}: {result.message}", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - start
    if options.bench:
        _bench(device)
    print(f"{len(Op.registry)} operations on {device}, {seconds:.0f} s")
    print(f"{total - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _bench(device: Device) -> None:
    """Print the time of an LSTM training step, written as a Python loop over operations, as it is and compiled."""
    print(f"LSTM training step on {device}, float32: forward, backward, gradients of three parameters")
    print(f"{'T, B, I, H':<20}{'eager':>10}{'compiled':>13}")
    for shape in BENCH_SHAPES:
        step = LSTMStep(*shape, device)
        eager, compiled = _median_ms(step, device), _median_ms(compile(lambda step=step: step()), device)
        print(f"{', '.join(map(str, shape)):<20}{eager:>7.2f} ms{compiled:>10.2f} ms", flush=True)


class LSTMStep:
    """One training step of an LSTM (gates in the order i, f, g, o) with random inputs and weights."""

    def __init__(self, steps: int, batch_size: int, input_size: int, hidden_size: int, device: Any) -> None:
        generator = Generator(device).manual_seed(0)
        self.state_shape = batch_size, hidden_size

        def drawn(*shape: int, scale: float) -> Tensor:
            return randn(*shape, generator=generator, device=device) * scale

        self.x = drawn(steps, batch_size, input_size, scale=1.0)
        self.r = drawn(steps, batch_size, hidden_size, scale=1 / (steps * batch_size))
        shapes = ((4 * hidden_size, input_size), (4 * hidden_size, hidden_size), (4 * hidden_size,))
        self.weights = [drawn(*s, scale=hidden_size**-0.5).requires_grad_() for s in shapes]

    def __call__(self) -> Tensor:
        """Return the loss; the gradients are in `weights`."""
        for w in self.weights:
            w.grad = None
        ih, hh, bias = self.weights
        ih_t, hh_t = ih.t(), hh.t()
        h = c = zeros(*self.state_shape, device=self.x.device)
        outputs = []
        for x in self.x:
            i, f, g, o = (x @ ih_t + h @ hh_t + bias).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        loss: Tensor = (ops.stack(outputs) * self.r).sum()
        loss.backward()
        return loss


def _median_ms(step: Any, device: Device) -> float:
    """Return the median time of `step` in milliseconds, of at least three runs after one to warm up."""
    step()
    times: list[float] = []
    end = time.perf_counter() + BENCH_SECONDS
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            namespace_on(device).cuda.Device(device.index or 0).synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3
