"""What the tests of drawings share: functions to draw, one for each kind of model, and the functions behind them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import tinyseq as ts
from tinyseq import nn
from tinyseq.core.dispatch import Scope, override
from tinyseq.nn import functional as F

VIEWS = ("rolled", "unrolled", "both", "ops", "backward")


def lstm(steps=4, hidden=5, **more):
    ts.manual_seed(0)
    model = nn.LSTM(3, hidden, **more)
    return model, noise(steps)


def noise(steps, width=3, seed=0):
    return ts.tensor(np.random.default_rng(seed).normal(size=(steps, 2, width)).astype("f"))


def loss_of(model):
    return lambda x: (model(x)[0] ** 2.0).sum()


def recurrence(steps, *, fresh=None):
    """An own loop h = tanh(h @ w) with time steps, whose weight is also cloned for each step if `fresh` is a list."""
    rng = np.random.default_rng(1)
    w = ts.tensor(rng.normal(size=(3, 3)), requires_grad=True)
    h = ts.tensor(rng.normal(size=(2, 3)))
    for t in range(steps):
        with override(scope=Scope("cell", t)):
            used = w
            if fresh is not None:
                used = w.clone()
                used.retain_grad()
                fresh.append(used)
            h = (h @ used).tanh()
            h.node.name = "h"
    return w, (h * h).sum()


def size(t):
    return float(np.linalg.norm(t.detach().numpy()))


class TurningCell(nn.Cell):
    """An own cell that does something else every third time."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.w, self.u = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def step(self, x, state):
        z = self.w(x) + self.u(state.h)
        turned = ts.core.dispatch.STATE.get().scope.step % 3 == 2
        h = self.tap(skip=z.relu()) + state.h if turned else z.tanh()
        return h, self.State(h)


def cut_at(step, steps=6):
    """Return a loop over an LSTM cell that detaches the states on their way into `step`."""
    ts.manual_seed(0)
    cell = nn.LSTMCell(3, 4)

    def run(x):
        state, outputs = (ts.zeros(2, 4), ts.zeros(2, 4)), []
        for t in range(steps):
            with override(scope=Scope("cell", t)):
                state = cell(x[t], nn.detach_state(state) if t == step else state)
            outputs.append(state[0])
        return (ts.stack(outputs) ** 2.0).sum()

    return run, noise(steps)


class Translator(nn.Module):
    """An encoder, and a decoder that begins where it ends, with attention if wanted."""

    def __init__(self, attention, encoder=None):
        super().__init__()
        self.attention = attention
        self.encoder = encoder or nn.Recurrent(nn.GRUCell(3, 4))
        self.decoder = nn.Recurrent(nn.Attend(nn.GRUCell(2 + 4, 4), 4) if attention else nn.GRUCell(2, 4))

    def forward(self, x, y):
        memory, state = self.encoder(x)
        output, _ = self.decoder(y, state, **({"context": memory} if self.attention else {}))
        return (output**2.0).sum()


def translator(attention=False, **more):
    ts.manual_seed(0)
    return Translator(attention, **more), noise(4), noise(3, 2)


def _recurrent(cell, steps=4):
    ts.manual_seed(0)
    return loss_of(nn.Recurrent(cell(3, 4))), noise(steps)


def _layers(**more):
    model, x = lstm(3, 4, **more)
    return loss_of(model), x


def _perceptron():
    ts.manual_seed(0)
    model, target = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), ts.tensor([0, 1])
    return lambda x: F.cross_entropy(model(x), target), noise(1)[0]


def _scalars():
    return lambda a, b, c: ((a * b + c) * 2.0).tanh(), *(ts.tensor(v, requires_grad=True) for v in (0.2, -0.3, 0.1))


ZOO = sorted(n for n in dir(nn) if n.endswith("Cell") and n != "Cell")
SUBJECTS: Mapping[str, Callable[[], tuple[Any, ...]]] = {
    **{name: (lambda name=name: _recurrent(getattr(nn, name))) for name in ZOO},
    "own cell with an if": lambda: _recurrent(TurningCell, 5),
    "stacked cells": lambda: _recurrent(
        lambda i, h: nn.StackedCells([nn.LSTMCell(i, h), nn.Residual(nn.GRUCell(h, h))])
    ),
    "LSTM": _layers,
    "two layers": lambda: _layers(num_layers=2),
    "both directions": lambda: _layers(bidirectional=True),
    "two layers, both directions": lambda: _layers(num_layers=2, bidirectional=True),
    "translator": translator,
    "translator with attention": lambda: translator(True),
    "cut": lambda: cut_at(3),
    "perceptron": _perceptron,
    "scalars": _scalars,
}  # each returns what `draw` is called with
