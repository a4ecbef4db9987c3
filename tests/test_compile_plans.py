"""Compiled functions keep several plans, a limited number of them; they are freed, and may be called from threads."""

import gc
import threading
import weakref

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import close, new
from tinyseq import nn


def test_plans_are_limited_and_one_warning_names_what_changes():
    compiled = ts.compile(lambda x: x * 2.0)

    def run():
        for n in range(1, 30):
            close(compiled(ts.ones(n)), np.full(n, 2, np.float32))

    with pytest.warns(UserWarning, match="the shape of argument 0") as seen:
        run()
    assert len(seen) == 1
    assert sum(map(len, compiled._plans.values())) == 8


def test_the_warning_names_a_scalar():
    k = {"temperature": 0.0}

    def function(x):
        k["temperature"] += 1.0
        return x * k["temperature"]

    compiled = ts.compile(function)

    def run():
        for n in range(1, 20):
            close(compiled(ts.ones(2)), np.full(2, n, np.float32))

    with pytest.warns(UserWarning, match="temperature"):
        run()


def test_plans_live_side_by_side():
    compiled = ts.compile(lambda x: (x * 2.0).sum())
    for _ in range(4):
        for n in (1, 2, 3):
            close(compiled(ts.ones(n)), np.float32(2 * n))
    assert compiled._captures == 3


def test_dropped_functions_are_freed():
    w = new(1000)
    compiled = ts.compile(lambda x: x * w)
    compiled(new(1000))
    last = weakref.ref(compiled)
    del compiled
    gc.collect()
    assert last() is None


def test_threads():
    ts.manual_seed(0)
    model = nn.GRU(3, 4)
    compiled = ts.compile(model)
    xs = [new(t, 2, 3, seed=t) for t in (2, 3, 4, 5)]
    wanted = [model(x)[0].detach().numpy() for x in xs]
    wrong = []

    def work(i):
        for k in range(20):
            j = (i + k) % len(xs)
            got = compiled(xs[j])[0].detach().numpy()
            if not np.allclose(got, wanted[j], rtol=1e-5, atol=1e-6):
                wrong.append((i, k))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
