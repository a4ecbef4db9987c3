"""Grad modes: what they switch, that they are restored, and that threads and tasks do not see those of others."""

import asyncio
import threading

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import leaf, values


def test_no_grad_records_nothing():
    x = leaf(1.0)
    with ts.no_grad():
        y = x * 2
        assert not ts.is_grad_enabled()
        with ts.enable_grad():
            assert (x * 2).requires_grad
    assert not y.requires_grad
    assert (x * 2).requires_grad


def test_modes_are_restored_after_an_exception():
    with pytest.raises(ValueError, match="out"), ts.no_grad():
        raise ValueError("out")
    assert ts.is_grad_enabled()


def test_inference_mode():
    x = leaf(1.0)
    with ts.inference_mode():
        assert ts.is_inference_mode_enabled()
        assert not (x * 2).requires_grad
        with ts.inference_mode(False):
            assert (x * 2).requires_grad
    assert not ts.is_inference_mode_enabled()


@pytest.mark.parametrize("decorate", [ts.no_grad(), ts.no_grad, ts.inference_mode()], ids=["()", "bare", "inference"])
def test_modes_decorate(decorate):
    @decorate
    def double(x):
        """Twice."""
        return x * 2

    assert double.__name__ == "double"
    assert not double(leaf(1.0)).requires_grad
    assert ts.is_grad_enabled()


def test_modes_decorate_generators():
    @ts.no_grad()
    def steps(x):
        given = yield x * 2
        try:
            yield given * 2
        except KeyError:
            yield x * 3
        return "end"

    x = leaf(1.0)
    source = steps(x)
    first = next(source)
    assert ts.is_grad_enabled()
    second = source.send(x)
    third = source.throw(KeyError("k"))
    assert not any(t.requires_grad for t in (first, second, third))
    assert ts.is_grad_enabled()
    with pytest.raises(StopIteration, match="end"):
        next(source)


def test_set_grad_enabled():
    x = leaf(1.0)
    with ts.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    ts.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    ts.set_grad_enabled(True)
    assert (x * 2).requires_grad

    @ts.set_grad_enabled(False)
    def double(x):
        return x * 2

    assert ts.is_grad_enabled()
    assert not double(x).requires_grad


def test_detach_shares_memory_and_has_no_history():
    x = leaf([1.0, 2.0])
    y = (x * 2).detach()
    assert not y.requires_grad
    assert x.detach().requires_grad_().grad_fn is None
    with ts.no_grad():
        x.detach().mul_(10.0)
    np.testing.assert_array_equal(values(x), [10.0, 20.0])


def test_threads_with_overlapping_no_grad():
    inside, leave, left = threading.Event(), threading.Event(), threading.Event()
    seen = {}

    def one():
        with ts.no_grad():
            inside.set()
            leave.wait(10)
        left.set()
        seen["one"] = ts.is_grad_enabled()

    def two():
        inside.wait(10)
        seen["fresh thread"] = ts.is_grad_enabled()
        with ts.no_grad():
            leave.set()
            left.wait(10)
            seen["inside two"] = ts.is_grad_enabled()
        seen["two"] = ts.is_grad_enabled()

    threads = [threading.Thread(target=f) for f in (one, two)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(10)
    assert seen == {"one": True, "fresh thread": True, "inside two": False, "two": True}
    assert ts.is_grad_enabled()


def test_tasks_with_overlapping_no_grad():
    async def off(ready, go):
        with ts.no_grad():
            ready.set()
            await go.wait()
            assert not ts.is_grad_enabled()

    async def on(ready, go):
        await ready.wait()
        assert ts.is_grad_enabled()
        with ts.no_grad():
            go.set()
            await asyncio.sleep(0)
        return ts.is_grad_enabled()

    async def main():
        ready, go = asyncio.Event(), asyncio.Event()
        return (await asyncio.gather(off(ready, go), on(ready, go)))[1]

    assert asyncio.run(main())
    assert ts.is_grad_enabled()


def test_backward_in_several_threads_at_once():
    w = np.random.default_rng(0).normal(size=(8, 8))
    found = {}

    def run(k):
        x = leaf(w * k)
        for _ in range(20):
            x.grad = None
            (x @ x).tanh().sum().backward()
        found[k] = values(x.grad)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    for k in range(1, 5):
        x = leaf(w * k)
        (x @ x).tanh().sum().backward()
        np.testing.assert_array_equal(found[k], values(x.grad))


def test_enable_grad_ends_inference_mode_for_its_block():
    x = leaf(1.0)
    with ts.inference_mode():
        with ts.enable_grad():
            assert not ts.is_inference_mode_enabled()
            assert (x * 2).requires_grad
        assert ts.is_inference_mode_enabled()
        assert not (x * 2).requires_grad


@pytest.mark.parametrize("requires_grad", [True, False])
def test_parts_come_in_order_whether_they_are_recorded_or_not(requires_grad):
    x = ts.tensor(np.arange(6.0), requires_grad=requires_grad)
    for parts in (x.chunk(3), x.split(2), x.split([2, 2, 2]), x.reshape(3, 2).unbind(0)):
        assert [p.tolist() for p in parts] == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    with ts.no_grad():
        assert [p.tolist() for p in x.chunk(2)] == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
