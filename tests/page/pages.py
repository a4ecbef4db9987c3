"""What the tests of the page share: models whose pages are looked at, and how a page is read."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import nn
from tinyseq.core.dispatch import Scope, override
from tinyseq.render import draw

STEPS, HIDDEN = 4, 5
ROUNDED = {"rel": 5.1e-3, "abs": 1e-9}  # numbers are shown with three digits


@dataclass
class Case:
    """A model whose page is looked at, and the page as a file."""

    model: Any
    x: Any
    drawing: Any
    path: Path

    def loss(self):
        return plain(self.model, self.x)

    @property
    def items(self):
        return self.drawing.model.items


def plain(model, x):
    return (model(x)[0] ** 2.0).sum()


def detached(model, x):
    """Return the loss of a sequence whose state is detached half of the way through."""
    cell, state, outputs = model.cell, None, []
    for t, x_t in enumerate(x):
        with override(scope=Scope("cell", t)):
            state = cell(x_t, nn.detach_state(state) if t == len(x) // 2 else state)
        for name, value in zip("hc", state, strict=True):
            value.node.name = name
        outputs.append(state[0])
    return (ts.stack(outputs) ** 2.0).sum()


def truncated(model, x):
    """Return the losses of two pieces of a sequence; the first has gone through backward."""
    losses = [(p.output**2.0).sum() for p in nn.truncated_bptt(model, x, k1=len(x) // 2)]
    losses[0].backward()
    return losses[-1]


def spent(model, x):
    """Return a loss that has gone through backward."""
    loss = plain(model, x)
    loss.backward()
    return loss


SUBJECTS = {"plain": plain, "detached": detached, "truncated": truncated, "spent": spent}


def make(folder, view, steps=STEPS, subject="plain"):
    ts.manual_seed(0)
    model = nn.LSTM(3, HIDDEN) if subject == "plain" else nn.Recurrent(nn.LSTMCell(3, HIDDEN))
    x = ts.tensor(np.random.default_rng(0).normal(size=(steps, 2, 3)).astype("f"))
    case = Case(model, x, None, folder / f"{subject}{view}{steps}.html")
    case.drawing = draw(lambda x: SUBJECTS[subject](model, x), x, view=view, title="LSTM <i>&amp;</i>")
    case.drawing.save(case.path)
    return case


def text(page, place):
    return page.locator(place).inner_text()


def state(page):
    """Return what the counter and the panel say now."""
    return page.evaluate(
        """() => ({count: document.getElementById("count").textContent,
        slider: +document.getElementById("slider").value,
        title: document.querySelector("#panel h2")?.textContent, said: document.getElementById("panel").innerText,
        rows: [...document.querySelectorAll("#panel tr")].map((r) => [r.cells[0].textContent, r.cells[1].textContent]),
        fresh: [...document.querySelectorAll("#panel tr.new")].map((r) => r.cells[0].textContent)})"""
    )


def wait(page, expression):
    """Wait until `expression` holds; Playwright's own waiting is forbidden by the page's policy."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"never came true: {expression}")


def number(said):
    """Return the number after +=, : or the like."""
    return float(re.search(r"[-+0-9.e]+$", said)[0])


def ends(case):
    """Return how many nodes there are forward, and how many backward: those behind the loss on its tape."""
    found, waiting = set(), [case.loss().node]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [n for n, _ in node.next_functions]
    return sum(item.op != "leaf" for item in case.items), len(found)


def called(item):
    """Return how the panel calls a node: its name, the symbol in the picture, and the operation's name in words."""
    what = f"{item.label} ({item.op})" if item.label != item.op else item.op
    return f"{item.name} = {what}" if item.name else what


def size(t):
    return float(np.linalg.norm(t.detach().numpy()))
