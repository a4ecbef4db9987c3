"""Gradients that are added up: broadcasting, weights that are used many times, values that are split."""

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import leaf, values
from tinyseq.autograd import engine, grad
from tinyseq.nn import functional


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)), ((4, 1, 3), (2, 1)), ((0, 3), (3,))]
)
@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "pow", "maximum"])
def test_broadcast_gradients_equal_torch(op, a, b):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.5, 2, a), rng.uniform(0.5, 2, b)
    mine, theirs = [leaf(x), leaf(y)], [torch.tensor(v, requires_grad=True) for v in (x, y)]
    out = getattr(ts, op)(*mine)
    cotangent = rng.normal(size=out.shape)
    out.backward(ts.tensor(cotangent))
    getattr(torch, op)(*theirs).backward(torch.tensor(cotangent))
    for m, t in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(values(m.grad), t.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("op", ["maximum", "minimum", "abs", "relu", "pow"])
def test_at_ties_and_kinks_as_torch(op):
    torch = pytest.importorskip("torch")
    x, y = np.array([0.0, 1.0, 2.0, 0.0]), np.array([0.0, 1.0, 1.0, 2.0])
    count = 1 if op in ("abs", "relu") else 2
    mine, theirs = [leaf(v) for v in (x, y)][:count], [torch.tensor(v, requires_grad=True) for v in (x, y)][:count]
    getattr(ts, op)(*mine).sum().backward()
    getattr(torch, op)(*theirs).sum().backward()
    for m, t in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(values(m.grad), t.grad.numpy())


def linear(lib):
    return functional.linear if lib is ts else lib.nn.functional.linear


def use(lib, f, w, x1, x2, x3):
    """Use one weight in every way that the engine adds up late, and mix in dense contributions."""
    out = f(x1 @ w) + f(x2 @ w).sum(0) + f(x3 @ w).sum(0).sum(0)
    out = out + f(linear(lib)(x2, w.T)).sum(0) + (w * w).sum(0) + w[0] + w[1:3].sum(0) + w[-1]
    a, _, c = w.split([2, 3, 1], 0)
    out = out + (a * 2).sum(0) + f(c).sum(0)  # the middle is not used
    p, q = w.chunk(2, 1)
    rows = w.unbind(0)
    return out.sum() + (p * q).sum() + (rows[1] * rows[4]).sum() + f(x1 @ w.T[:, :].T).sum() + (rows[0] @ w.T).sum()


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("repeats", [1, 12])
def test_a_weight_used_in_every_way(create_graph, repeats):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((6, 4), (6,), (5, 6), (2, 3, 6))]
    mine, theirs = [leaf(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]

    def total(lib, w, x1, x2, x3):
        return sum(use(lib, lib.tanh, w, x1, x2, x3) * (k + 1) for k in range(repeats))

    if not create_graph:
        total(ts, *mine).backward()
        total(torch, *theirs).backward()
        found, wanted = [m.grad for m in mine], [t.grad for t in theirs]
    else:

        def second(lib, library_grad, tensors):
            first = library_grad(total(lib, *tensors), tensors, create_graph=True)
            return library_grad(sum((g * g).sum() for g in first), tensors)

        found, wanted = second(ts, grad, mine), second(torch, torch.autograd.grad, theirs)
    for m, t in zip(found, wanted, strict=True):
        np.testing.assert_allclose(values(m), t.numpy(), rtol=1e-10, atol=1e-10)


def test_products_beyond_what_is_stacked_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    w0, xs = rng.normal(size=(3, 2)), rng.normal(size=(40, 5, 3))

    def run():
        w = leaf(w0)
        out = sum((ts.tensor(x) @ w).tanh().sum() for x in xs)
        out.backward()
        return values(w.grad)

    whole = run()
    monkeypatch.setattr(engine, "MOST_ROWS", 17)
    np.testing.assert_allclose(run(), whole, rtol=1e-12)
    t = np.tanh(xs @ w0)
    np.testing.assert_allclose(whole, np.einsum("tbi,tbo->io", xs, 1 - t * t), rtol=1e-12)


def test_a_recurrent_loop_against_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((7, 2, 3), (3, 20), (5, 20), (20,))]

    def run(lib, x, w, u, b):
        h = c = lib.zeros(2, 5, dtype=lib.float64)
        for x_t in x:
            i, f, g, o = (x_t @ w + h @ u + b).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return (h * h).sum()

    mine, theirs = [leaf(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    run(ts, *mine).backward()
    run(torch, *theirs).backward()
    for m, t in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(values(m.grad), t.grad.numpy(), rtol=1e-10, atol=1e-12)
