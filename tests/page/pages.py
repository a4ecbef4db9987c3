"""What the tests of the page share: models whose pages are looked at, and how a page is read."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import nn
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
        return (self.model(self.x)[0] ** 2.0).sum()

    @property
    def items(self):
        return self.drawing.model.items


def make(folder, view, steps=STEPS):
    ts.manual_seed(0)
    model = nn.LSTM(3, HIDDEN)
    x = ts.tensor(np.random.default_rng(0).normal(size=(steps, 2, 3)).astype("f"))
    case = Case(model, x, None, folder / f"{view}{steps}.html")
    case.drawing = draw(lambda x: (model(x)[0] ** 2.0).sum(), x, view=view, title="LSTM <i>&amp;</i>")
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
