"""Depth and memory: what must hold however long the program is."""

import gc
import sys
import tracemalloc
import weakref

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import leaf
from tinyseq.autograd import grad

# Depth


def test_a_chain_of_a_million_additions():
    x = leaf(1.0)
    y = x
    for _ in range(1_000_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0
    last = weakref.ref(y.grad_fn)
    del y
    assert last() is None


def test_a_long_chain_is_freed_without_backward():
    y = leaf(1.0)
    for _ in range(200_000):
        y = y * 1.0
    last = weakref.ref(y.grad_fn)
    del y
    assert last() is None


def test_a_long_chain_through_create_graph():
    x = leaf(0.5)
    y = x
    for _ in range(5000):
        y = y * 1.0001
    (g,) = grad(y * y, x, create_graph=True)
    (h,) = grad(g, x)
    assert h.item() == pytest.approx(2 * 1.0001**10000)


def test_depth_does_not_touch_the_recursion_limit():
    limit = sys.getrecursionlimit()
    y = leaf(1.0)
    for _ in range(3 * limit):
        y = (y * 0.5).tanh()
    y.backward()
    repr(y), repr(y.grad_fn)


# Memory


def test_forward_passes_release_their_memory_without_the_cycle_collector():
    gc.collect()
    gc.disable()
    try:
        x = leaf(np.ones(131072))
        tracemalloc.start()
        base = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            y = (x * 2.0 + 1.0).tanh()
        del y
        left, peak = (n - base for n in tracemalloc.get_traced_memory())
        tracemalloc.stop()
    finally:
        gc.enable()
    assert peak < 10e6
    assert left < 1e5


@pytest.mark.parametrize("create_graph", [False, True])
def test_every_node_dies_with_the_loss(create_graph):
    gc.collect()
    gc.disable()
    try:
        rng = np.random.default_rng(0)
        x, w = leaf(rng.normal(size=(5, 4, 3))), leaf(rng.normal(size=(3, 12)))
        h = ts.zeros(4, 3, dtype=ts.float64)
        for x_t in x:
            i, f, g, o = (x_t @ w + h @ w).chunk(4, -1)
            h = o.sigmoid() * (f * i.sigmoid() + g.tanh()).tanh()
        loss = (h * h).mean() + x.exp().logsumexp(-1).sum()
        nodes, found = [], [loss.grad_fn]
        while found:
            node = found.pop()
            if node.edges and node not in nodes:
                nodes.append(node)
                found.extend(node.edges)
        references = [weakref.ref(n) for n in nodes]
        assert len(references) > 50
        if create_graph:
            grads = grad(loss, [x, w], create_graph=True)
            del grads
        else:
            loss.backward()
        del nodes, found, node, loss, h, i, f, g, o, x_t
        assert [r() for r in references if r() is not None] == []
    finally:
        gc.enable()


def test_backward_releases_what_was_saved():
    x = leaf(np.ones(1000))
    y = x.exp()
    kept = weakref.ref(y.grad_fn.kept[0])
    z = y.sum()
    del y
    assert kept() is not None
    z.backward()
    assert kept() is None


def test_hooks_and_retain_grad_make_no_cycles():
    gc.collect()
    gc.disable()
    try:
        x = leaf([1.0, 2.0])
        y = x * 2
        y.retain_grad()
        y.register_hook(lambda g: g * 2)
        (y * y).sum().backward()
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()
