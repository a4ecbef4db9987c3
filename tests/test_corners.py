"""Corners of operations that ordinary inputs do not reach: ties, zeros, infinities, NaN, empty parts, negative indices.

Each call runs under both libraries, eagerly and compiled; PyTorch is the oracle of values and gradients.
"""

import warnings

import numpy as np
import pytest

import tinyseq as ts
from tinyseq.autograd import grad

torch = pytest.importorskip("torch")

inf, nan = float("inf"), float("nan")
TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.5, 0.25, 0.5]])
HOLES = np.array([[nan, 1.0, 4.0, 2.0], [nan, nan, nan, nan], [3.0, 1.0, nan, 2.0]])
ROWS = np.array([[0, 2, 1], [2, 2, 0]])
BATCH = np.random.default_rng(0).integers(-4, 4, (2, 40))  # enough values for the ways of adding that are made for many


def values(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


CORNERS = {
    "amax: ties": (lambda t, x: x.amax(1), [TIES]),
    "amax: ties in two dims": (lambda t, x: t.amax(x, (0, 1)), [TIES]),
    "amin: ties": (lambda t, x: x.amin(0), [TIES]),
    "maximum: ties": (lambda t, x, y: t.maximum(x, y), [TIES, TIES[::-1].copy()]),
    "clamp: at the bounds": (lambda t, x: x.clamp(2.0, 3.0), [TIES]),
    "relu: zero": (lambda t, x: t.relu(x - 2.0), [TIES]),
    "abs and sign: zero": (lambda t, x: abs(x - 2.0) + t.sign(x - 2.0), [TIES]),
    "logsumexp: -inf in a row": (lambda t, x: x.logsumexp(1), [np.array([[-inf, -1.0], [-inf, 0.0], [1.0, 2.0]])]),
    "var: more taken off than there is": (lambda t, x: t.isinf(t.var(x, 1, correction=5)) * x, [TIES]),
    "std: of equal numbers": (lambda t, x: x.std(1)[::2], [TIES]),
    "norm: of order 3 at 0": (lambda t, x: t.linalg.vector_norm(x, 3, 1), [np.array([[0.0, 2.0], [0.0, 0.0]])]),
    "norm: of order 1.5 at 0": (lambda t, x: t.linalg.vector_norm(x, 1.5, 1), [np.array([[0.0, 2.0], [0.0, 0.0]])]),
    "norm: of zeros": (lambda t, x: x.norm(), [np.zeros(3)]),
    "prod: zeros": (lambda t, x: x.prod(1), [np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0], [1.0, 2.0, 3.0]])]),
    "cumprod: zeros": (lambda t, x: x.cumprod(1), [np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0]])]),
    "copysign: zeros": (lambda t, x, y: t.copysign(x, y), [np.array([0.0, -2.0, 3.0]), np.array([-1.0, 1.0, -1.0])]),
    "pow: zero to powers": (lambda t, x: x**2 + x**3.0 + x**0.0 + x**1, [np.array([0.0, 2.0])]),
    "median: NaN": (lambda t, x: t.median(x, 1).values, [HOLES[::2].copy()]),
    "nanmedian": (lambda t, x: t.nanmedian(x, 1).values, [HOLES[::2].copy()]),
    "nanmedian: nothing but NaN": (lambda t, x: t.nanmedian(x, 1).values, [np.array([[nan], [2.0]])]),
    "nansum, nanmean": (lambda t, x: t.nansum(x, 1) + t.nanmean(x[::2], 1).sum(), [HOLES]),
    "nan_to_num": (lambda t, x: t.nan_to_num(x, 0.5, 7.0, -8.0), [np.array([nan, inf, -inf, 1.0])]),
    "cummax: ties": (lambda t, x: t.cummax(x, 1).values, [TIES]),
    "chunk: a smaller last part": (lambda t, x: x.chunk(3, 1)[-1] * 2.0, [values(2, 8)]),
    "split: a smaller last part": (lambda t, x: x.split(3, 1)[-1] * 2.0, [values(2, 8)]),
    "slice: ends before it starts": (lambda t, x: t.cat([x[3:1] * 2.0, x[1:] * 3.0]), [values(4, 2)]),
    "slice: beyond the end": (lambda t, x: x[2:9, -3:] * 2.0, [values(4, 2)]),
    "slice: overlapping parts": (lambda t, x: x[:3] * x[1:] + x[2:].sum(), [values(4, 2)]),
    "slice: parts that leave a gap": (lambda t, x: x[:1] * x[3:], [values(4, 2)]),
    "index: negative": (lambda t, x: x[t.tensor([-1, 0, -3])], [values(3, 2)]),
    "index: negative, along every dim, many": (lambda t, x: x[t.tensor(BATCH), t.tensor(-1)], [values(4, 3)]),
    "index: pairs, many": (lambda t, x: x[t.tensor(BATCH[:, :, None]), t.tensor([-1, 0])], [values(4, 3)]),
    "index: rows, many": (lambda t, x: x[t.tensor(BATCH)], [values(4, 3)]),
    "embedding: rows, many": (lambda t, x: t.nn.functional.embedding(t.tensor(BATCH % 4), x), [values(4, 3)]),
    "embedding: some rows": (
        lambda t, x: t.nn.functional.embedding(t.tensor(BATCH % 2 + 1), x),
        [values(4, 3)],
    ),
    "gather: many": (lambda t, x: x.gather(1, t.tensor(BATCH % 4)), [values(2, 4)]),
    "mask: after an ellipsis": (lambda t, x: x[..., t.tensor([[True, False], [False, True]])], [values(3, 2, 2)]),
    "mask: after a slice": (lambda t, x: x[:, t.tensor([True, False, True])], [values(2, 3)]),
    "scatter: a larger source": (
        lambda t, x, y: x.scatter(1, t.tensor([[1, 0], [2, 1]]), y.detach()),
        [values(2, 3), values(3, 4)],
    ),
    "scatter_add: a larger source": (
        lambda t, x, y: x.scatter_add(1, t.tensor(ROWS), y.detach()),
        [values(2, 3), values(3, 4)],
    ),
    **{
        f"scatter_reduce: {how}, {'with' if own else 'without'} self": (
            lambda t, x, y, how=how, own=own: t.scatter_reduce(x, 1, t.tensor(ROWS[:, :2]), y, how, include_self=own),
            [values(2, 4), values(2, 2)],
        )
        for how in ("sum", "mean", "prod")
        for own in (True, False)
    },
    "scatter_reduce: mean of infinities": (
        lambda t, x, y: t.scatter_reduce(x, 1, t.tensor(ROWS[:, :2]), y, "mean"),
        [values(2, 4), np.array([[inf, 1.0], [inf, 2.0]])],
    ),
    "expand: sizes kept": (lambda t, x: x.expand(3, -1, 2), [values(4, 1)]),
    "roll: negative and beyond": (lambda t, x: t.roll(x, (-1, 7), (0, 1)), [values(3, 4)]),
    "diagonal: below": (lambda t, x: t.diagonal(x, -1), [values(3, 4)]),
    "renorm: some below the bound": (lambda t, x: t.renorm(x, 2, 0, 1.0), [np.array([[3.0, 4.0], [0.1, 0.2]])]),
    "quantile: between two": (lambda t, x: t.quantile(x, 0.3, 1), [values(2, 5)]),
}


def weighted(lib, out):
    """Return a sum in which no two elements count the same, so that no gradient cancels."""
    shape = tuple(out.shape)
    return (out * lib.tensor(np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape))).sum()


@pytest.mark.parametrize("name", CORNERS)
def test_corner_as_torch(name):
    call, arrays = CORNERS[name]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the variance of too few
        wanted = call(torch, *theirs)
    slopes = torch.autograd.grad(weighted(torch, wanted), theirs, allow_unused=True)
    compiled = ts.compile(lambda *xs: call(ts, *xs))
    for run in (call, call if name.startswith("mask") else lambda _, *xs: compiled(*xs)):
        mine = [ts.tensor(a, requires_grad=True) for a in arrays]
        with np.errstate(all="ignore"):
            got = run(ts, *mine)
        np.testing.assert_allclose(got.detach().numpy(), wanted.detach().numpy(), rtol=1e-10)
        for g, slope in zip(grad(weighted(ts, got), mine, allow_unused=True), slopes, strict=True):
            assert (g is None) == (slope is None)
            if g is not None:
                np.testing.assert_allclose(g.numpy(), slope.numpy(), rtol=1e-8, atol=1e-12)


def test_the_gradient_of_a_logsumexp_of_nothing_but_minus_infinity_is_0():
    x = ts.tensor(np.array([[-inf, -inf], [0.0, 0.0]]), requires_grad=True)
    x.logsumexp(1).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[0.0, 0.0], [0.5, 0.5]])
