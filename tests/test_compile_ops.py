"""Every operation in a compiled function: its results and its gradients are those of the plain one."""

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import close, every_gradient, every_sample, inputs_of
from tinyseq import testing
from tinyseq.autograd import grad


def as_tensor(out):
    return out if isinstance(out, ts.Tensor) else ts.Tensor(out)


@pytest.mark.parametrize("without", [(), ("native",)], ids=["best", "numpy"])
@every_sample
def test_a_step_of_every_operation(op, sample, without):
    weights = ts.Tensor(np.linspace(0.5, 1.5, 1000, dtype=np.float32))

    def step(*inputs):
        for x in inputs:
            x.grad = None
        out = as_tensor(op(*inputs, **sample.params))
        if out.requires_grad:
            (out.reshape(-1) * weights[: out.numel()]).sum().backward()
        return out

    compiled = ts.compile(step, without=without)
    for _ in range(3):
        mine, wanted = inputs_of(op, sample, np.float32), inputs_of(op, sample, np.float32)
        ts.manual_seed(1)
        got = compiled(*mine)
        ts.manual_seed(1)
        close(got, step(*wanted), 2e-5, 2e-6)
        for a, b in zip(mine, wanted, strict=True):
            close(a.grad, b.grad, 2e-5, 2e-6)


@every_gradient
def test_gradients_through_every_operation(op, sample):
    compiled = ts.compile(lambda *inputs: op(*inputs, **sample.params))
    floating = testing.floating_inputs(sample)
    for _ in range(3):
        inputs = inputs_of(op, sample, np.float64)
        out, wanted = compiled(*inputs), op(*inputs, **sample.params)
        assert out.requires_grad
        assert not out.is_leaf
        close(out, wanted, 1e-12, 1e-12)
        cotangent = ts.tensor(np.random.default_rng(0).uniform(0.5, 1.5, out.shape))
        leaves = [inputs[i] for i in floating]
        for a, b in zip(grad(out, leaves, cotangent), grad(wanted, leaves, cotangent), strict=True):
            close(a, b, 1e-11, 1e-12)
