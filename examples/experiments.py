"""The claims of the article "Introduction to RNN and LSTM", as experiments: what is remembered, and what explodes.

1. The adding problem and the copy task with gaps of 50, 100 and 200 steps, for RNN, LSTM and GRU. S. Hochreiter, J.
   Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997; M. Arjovsky et al., "Unitary evolution
   recurrent neural networks", ICML 2016, sections 5.1 and 5.2. The gates of LSTM and GRU start such that they remember
   over about the whole gap: C. Tallec, Y. Ollivier, "Can recurrent neural networks warp time?", ICLR 2018, equation 16.
2. An exploding gradient, with and without clipping of its norm. R. Pascanu et al., "On the difficulty of training
   recurrent neural networks", ICML 2013.
3. The bias of the forget gate. R. Jozefowicz et al., "An empirical exploration of recurrent network architectures",
   ICML 2015, section 3.

Run: python examples/experiments.py [--short] [--only adding copy clipping forget] [--steps 50 100 200] [--updates 4000]

The normal run does T = 50 in a minute; `--steps 50 100 200` is the whole table, in five. All cells are trained in the
same way: 48 units, Adam with a learning rate of 0.01, gradients clipped at norm 1, 32 new sequences an update.
"""

import argparse
import math
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from tqdm import trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.nn import functional as F

CELLS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
UNITS = 48
SYMBOLS, COPIED = 8, 3  # what is to be copied: 3 of 8 symbols


class Adding:
    """Two of the numbers are marked; the answer is their sum. Always 1 has an error of 1/6."""

    name, inputs, outputs, baseline, solved = "adding", 2, 1, 1 / 6, 0.02
    unit = "mean squared error"

    def __init__(self, steps):
        self.steps = steps

    def batch(self, rng, size):
        """Return sequences (T, B, 2) and sums (B, 1)."""
        numbers, marks = rng.random((self.steps, size), np.float32), np.zeros((self.steps, size), np.float32)
        half = self.steps // 2
        for low, high in ((0, half), (half, self.steps)):
            marks[rng.integers(low, high, size), np.arange(size)] = 1
        return np.stack([numbers, marks], -1), (numbers * marks).sum(0)[:, None]

    def loss(self, output, wanted):
        """Return the mean squared error of the last output."""
        return F.mse_loss(output[-1], wanted)


class Copying:
    """Symbols at the start are to be repeated at the end; knowing none has an entropy of ln 8 each."""

    name, inputs, outputs, baseline, solved = "copying", SYMBOLS + 2, SYMBOLS, math.log(SYMBOLS), 0.1
    unit = "nats a symbol"

    def __init__(self, steps):
        self.steps = steps

    def batch(self, rng, size):
        """Return one-hot sequences (3 + T + 3, B, 10), the last three steps asking, and symbols (3, B)."""
        symbols = rng.integers(0, SYMBOLS, (COPIED, size))
        line = np.full((self.steps + 2 * COPIED, size), SYMBOLS)
        line[:COPIED], line[-COPIED:] = symbols, SYMBOLS + 1
        return np.eye(self.inputs, dtype=np.float32)[line], symbols

    def loss(self, output, wanted):
        """Return the cross entropy of the last three outputs."""
        return F.cross_entropy(output[-COPIED:].flatten(0, 1), wanted.flatten())


def learned(task, cell, updates, seed, *, optimizer=optim.Adam, lr=1e-2, norm=1.0, forget=None, gain=None):
    """Train a layer on a task; return the losses on new sequences and the norms of the gradient, one an update.

    Parameters
    ----------
    task, cell, updates, seed
        What is learned, by which layer, how often its parameters change, and where its random numbers start.
    optimizer, lr
        The class of the optimizer, and its learning rate.
    norm
        The norm at which gradients are clipped; None for not at all.
    forget
        What the bias of an LSTM's forget gate, or of a GRU's update gate, starts with: a number, or one a unit.
    gain
        If given, the recurrent weights of each gate start as an orthogonal matrix times this.
    """
    ts.manual_seed(seed)
    rng = np.random.default_rng(seed)
    rnn, head = CELLS[cell](task.inputs, UNITS), nn.Linear(UNITS, task.outputs)
    with ts.no_grad():
        if forget is not None:
            rnn.bias_ih_l0[UNITS : 2 * UNITS] = ts.as_tensor(forget)
            rnn.bias_hh_l0[UNITS : 2 * UNITS] = 0.0
            if cell == "LSTM" and np.ndim(forget):  # what is kept for long is seldom written
                rnn.bias_ih_l0[:UNITS] = -ts.as_tensor(forget)
        for row in range(0, len(rnn.weight_hh_l0) if gain else 0, UNITS):
            rnn.weight_hh_l0[row : row + UNITS] = nn.init.orthogonal_(ts.empty(UNITS, UNITS), gain)
    parameters = [*rnn.parameters(), *head.parameters()]
    updater = optimizer(parameters, lr=lr)

    @ts.compile
    def step(x, wanted):
        updater.zero_grad()
        loss = task.loss(head(rnn(x)[0]), wanted)
        loss.backward()
        size = nn.utils.clip_grad_norm_(parameters, math.inf if norm is None else norm)
        updater.step()
        return loss.detach(), size

    losses, norms = [], []
    with trange(updates, desc=f"{task.name}, {task.steps} steps, {cell}", disable=None) as bar:
        for _ in bar:
            loss, size = step(*map(ts.tensor, task.batch(rng, 32)))  # every batch is new: its loss is a test
            losses.append(loss.item())
            norms.append(size.item())
            bar.set_postfix(loss=f"{losses[-1]:.4f}")
            if len(losses) >= 50 and np.mean(losses[-50:]) < task.solved / 2:
                break
    return np.array(losses), np.array(norms)


def smooth(losses):
    """Return numbers of updates, and the mean of the 20 losses up to each."""
    window = min(20, len(losses))
    return np.arange(window, len(losses) + 1), np.convolve(losses, np.ones(window) / window, "valid")


def memory(kind, lengths, updates, seed, axis, **options):
    """Run a kind of task for each length and cell, with options of `learned`; print the losses at the end."""
    print(f"\n{kind.name}: {kind.unit} at the end (knowing nothing: {kind.baseline:.3f}; solved: {kind.solved})")
    print(f"{'steps':<8}" + "".join(f"{cell:>24}" for cell in CELLS))
    for steps, style in zip(lengths, cycle(("-", "--", ":")), strict=False):
        row = []
        # For how many steps each unit remembers at first: a gate with bias ln(s) keeps the share s / (s + 1) a step
        spans = np.random.default_rng(seed).uniform(1, steps, UNITS).astype(np.float32)
        for cell, color in zip(CELLS, ("C0", "C1", "C2"), strict=True):
            forget = None if cell == "RNN" else np.log(spans)
            losses, _ = learned(kind(steps), cell, updates, seed, forget=forget, **options)
            end = losses[-50:].mean()
            row.append(f"{end:.4f} " + (f"solved at {len(losses):>5}" if end < kind.solved else f"{'not':>15}"))
            axis.plot(*smooth(losses), style, color=color, label=f"{cell}, {steps} steps")
        print(f"{steps:<8}" + "".join(f"{text:>24}" for text in row), flush=True)
    axis.axhline(kind.baseline, color="0.7", zorder=0)
    axis.set(title=kind.name, xlabel="update", ylabel=kind.unit, xscale="log", ylim=(0, 1.5 * kind.baseline))
    axis.legend(fontsize="small")


def clipping(updates, seed, axis):
    """Train an RNN with large recurrent weights with and without clipping; print what becomes of it."""
    print("\nexploding gradient: an RNN with recurrent weights of gain 1.5 on the adding problem of 50 steps, SGD")
    print(f"{'':<16}{'largest norm':>16}{'mean loss':>14}{'loss at the end':>18}")
    for label, norm in (("not clipped", None), ("clipped at 1", 1.0)):
        losses, norms = learned(Adding(50), "RNN", updates, seed, optimizer=optim.SGD, lr=0.1, norm=norm, gain=1.5)
        finite = np.isfinite(losses) & np.isfinite(norms)
        lost = "" if finite.all() else f"   not a number from update {finite.argmin()} on"
        largest, mean = norms[finite].max(), losses[finite].mean()
        print(f"{label:<16}{largest:>16.3g}{mean:>14.3g}{losses[-50:].mean():>18.3g}{lost}", flush=True)
        axis.semilogy(losses, label=f"{label}: loss", linewidth=1)
    axis.set(title="exploding gradient", xlabel="update", ylabel="mean squared error")
    axis.legend(fontsize="small")


def forgetting(updates, seed, axis):
    """Train LSTMs whose forget gates start shut, half open and open; print how long they take."""
    print("\nforget bias: LSTM on the adding problem of 100 steps")
    print(f"{'bias':<8}{'gate':>8}{'loss at the end':>18}{'updates':>10}")
    for bias in (-2.0, 0.0, 3.0):
        losses, _ = learned(Adding(100), "LSTM", updates, seed, lr=3e-3, forget=bias)
        gate = 1 / (1 + math.exp(-bias))
        print(f"{bias:<8}{gate:>8.2f}{losses[-50:].mean():>18.4f}{len(losses):>10}", flush=True)
        axis.plot(*smooth(losses), label=f"bias {bias:g}")
    axis.set(title="forget bias", xlabel="update", ylabel="mean squared error")
    axis.legend(fontsize="small")


def main():
    """Run the experiments, print their tables, and draw the losses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates and short sequences")
    parser.add_argument("--only", nargs="+", choices=("adding", "copy", "clipping", "forget"), help="which of them")
    parser.add_argument("--steps", nargs="+", type=int, default=[50], help="lengths for the adding and the copy task")
    parser.add_argument("--updates", type=int, default=4000, help="at most so many for each training")
    parser.add_argument("--lr", type=float, default=1e-2, help="learning rate of the adding and the copy task")
    parser.add_argument("--orthogonal", action="store_true", help="start them with orthogonal recurrent weights")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = options.only or ["adding", "copy", "clipping", "forget"]
    lengths, updates = ([10], 8) if options.short else (options.steps, options.updates)
    start = {"lr": options.lr, "gain": 1.0 if options.orthogonal else None}
    figure, axes = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
    if "adding" in chosen:
        memory(Adding, lengths, updates, options.seed, axes[0, 0], **start)
    if "copy" in chosen:
        memory(Copying, lengths, updates, options.seed, axes[0, 1], **start)
    if "clipping" in chosen:
        clipping(min(updates, 300), options.seed, axes[1, 0])
    if "forget" in chosen:
        forgetting(min(updates, 2500), options.seed, axes[1, 1])
    figure.savefig("experiments.png", dpi=100)
    print("\nexperiments.png shows the losses")


if __name__ == "__main__":
    main()
