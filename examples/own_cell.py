"""A cell of your own against a plain RNN on the adding problem: long memory from a dozen lines of Python.

Each sequence has two channels: random numbers in [0, 1), and a mark on two of the steps. The task is the sum of the
two marked numbers, known only at the end; always answering 1 has a mean squared error of 0.167. S. Hochreiter and
J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997, experiment 4.

Run: python examples/own_cell.py [--short]
"""

import argparse

from tqdm import trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.nn import functional as F


class LayerNormLSTMCell(nn.Cell):
    """An LSTM whose gates are normalised before they act: Ba et al. 2016, https://arxiv.org/abs/1607.06450."""

    state_names = ("h", "c")

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.ih = nn.Linear(input_size, 4 * hidden_size)
        self.hh = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.norm = nn.LayerNorm(4 * hidden_size)

    def step(self, x, state):
        """Return the output and the new state: x (B, input_size), state.h and state.c (B, hidden_size)."""
        i, f, g, o = self.norm(self.ih(x) + self.hh(state.h)).chunk(4, dim=-1)
        i, f, g, o = self.tap(i=i.sigmoid(), f=(f + 1.0).sigmoid(), g=g.tanh(), o=o.sigmoid())
        c = f * state.c + i * g
        h = o * c.tanh()
        return h, state._replace(h=h, c=c)


def adding_problem(steps, batch_size):
    """Return sequences (T, B, 2) and their sums (B, 1)."""
    numbers, columns = ts.rand(steps, batch_size), ts.arange(batch_size)
    marks = ts.zeros(steps, batch_size)
    half = steps // 2
    marks[ts.randint(0, half, (batch_size,)), columns] = 1.0  # one in each half, so that they differ
    marks[ts.randint(half, steps, (batch_size,)), columns] = 1.0
    return ts.stack([numbers, marks], -1), (numbers * marks).sum(0).unsqueeze(-1)


def train(cell, steps, updates):
    """Train `cell` with a linear layer on its last output; return the mean squared error on new sequences."""
    rnn, head = nn.Recurrent(cell, return_sequences=False), nn.Linear(cell.hidden_size, 1)
    parameters = [*rnn.parameters(), *head.parameters()]
    optimizer = optim.Adam(parameters, lr=5e-3)
    with trange(updates, desc=type(cell).__name__, disable=None) as bar:
        for _ in bar:
            x, target = adding_problem(steps, batch_size=50)
            output, _ = rnn(x)
            loss = F.mse_loss(head(output), target)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            bar.set_postfix(error=f"{loss.item():.4f}")
    with ts.no_grad():
        x, target = adding_problem(steps, batch_size=1000)
        return F.mse_loss(head(rnn(x)[0]), target).item()


def main():
    """Train both, and print their errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates: it runs, but learns nothing")
    parser.add_argument("--steps", type=int, default=50, help="length of the sequences")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    updates = 10 if options.short else 1200
    print(f"mean squared error on new sequences of {options.steps} steps, after {updates} updates")
    print(f"{'always 1':<24}0.1667")
    for cell in (nn.RNNCell, LayerNormLSTMCell):
        ts.manual_seed(options.seed)
        print(f"{cell.__name__:<24}{train(cell(2, 32), options.steps, updates):.4f}", flush=True)
    ts.draw(nn.Recurrent(LayerNormLSTMCell(2, 32)), ts.rand(3, 1, 2), view="unrolled").save("own_cell.svg")
    print("own_cell.svg shows the cell over three time steps")


if __name__ == "__main__":
    main()
