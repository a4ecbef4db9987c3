"""What modules, rules of operations and plans keep between calls is neither stale nor a reason to capture anew."""

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import nn


def array(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


@pytest.mark.parametrize("product", ["matmul", "linear"])
@pytest.mark.parametrize("without", [(), ("native",)])
def test_a_weight_that_the_program_changes_is_read_anew(product, without):
    """Products in float64 run through the rule of the operation, which keeps copies of matrices that it meets again."""
    weight = ts.tensor(array(4, 4) * 0.3, requires_grad=True)
    x = ts.tensor(array(3, 4, seed=1))

    def train(x):
        for _ in range(2):
            h = x
            for _ in range(2):
                h = (h @ weight if product == "matmul" else nn.functional.linear(h, weight)).tanh()
            (gradient,) = ts.autograd.grad(((h - 1.0) ** 2).sum(), [weight])
            with ts.no_grad():
                weight.sub_(gradient * 0.05)
        return weight.detach().clone()

    def wanted(w, x):
        w = w.T if product == "linear" else w
        for _ in range(2):
            h1 = np.tanh(x @ w)
            h2 = np.tanh(h1 @ w)
            d2 = 2 * (h2 - 1) * (1 - h2 * h2)
            w = w - 0.05 * (x.T @ ((d2 @ w.T) * (1 - h1 * h1)) + h1.T @ d2)
        return w.T if product == "linear" else w

    compiled, now = ts.compile(train, without=without), weight.detach().numpy().copy()
    for _ in range(6):
        now = wanted(now, x.numpy())
        np.testing.assert_allclose(compiled(x).numpy(), now, rtol=1e-10)
    assert compiled._captures == 1


def test_a_result_kept_for_backward_may_be_any_of_several():
    weight = ts.tensor(array(4, 4), requires_grad=True)

    def run(x):
        a = (x @ weight).tanh()
        b = (a @ weight).tanh()
        return a, b, (b * b).tanh()

    x, compiled = ts.tensor(array(3, 4)), ts.compile(run)
    for _ in range(3):
        found = []
        for function in (run, compiled):
            a, b, c = function(x)
            found.append(ts.autograd.grad((a * b * c).sum(), [weight])[0].numpy())
        np.testing.assert_allclose(found[1], found[0], rtol=1e-10)
