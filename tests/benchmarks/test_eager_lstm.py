"""An LSTM training step as a Python loop over elementary operations: tinyseq eager beside PyTorch eager.

One step is forward, backward and the gradients of three parameters, float32, one thread.
"""

import numpy as np
import pytest

import tinyseq as ts

torch = pytest.importorskip("torch")

# T, B, I, H and the largest ratio to PyTorch's time
LIMITS = {(100, 1, 32, 32): 0.90, (100, 16, 64, 64): 0.90, (50, 32, 128, 128): 1.00, (128, 64, 512, 512): 0.95}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def training_step(lib, shape):
    """Return a function that makes one step with `lib`, tinyseq or torch, and returns the loss and the gradients."""
    steps, batch_size, input_size, hidden_size = shape
    rng = np.random.default_rng(0)
    scale = hidden_size**-0.5
    x = lib.tensor(rng.standard_normal((steps, batch_size, input_size), np.float32))
    r = lib.tensor(rng.standard_normal((steps, batch_size, hidden_size), np.float32) / (steps * batch_size))
    shapes = ((4 * hidden_size, input_size), (4 * hidden_size, hidden_size), (4 * hidden_size,))
    weights = [lib.tensor(rng.uniform(-scale, scale, s).astype(np.float32)).requires_grad_() for s in shapes]

    def step():
        for w in weights:
            w.grad = None
        ih, hh, bias = weights
        ih_t, hh_t = ih.t(), hh.t()
        h, c = lib.zeros(batch_size, hidden_size), lib.zeros(batch_size, hidden_size)
        outputs = []
        for t in range(steps):
            i, f, g, o = (x[t] @ ih_t + h @ hh_t + bias).chunk(4, 1)
            c = lib.sigmoid(f) * c + lib.sigmoid(i) * lib.tanh(g)
            h = lib.sigmoid(o) * lib.tanh(c)
            outputs.append(h)
        loss = (lib.stack(outputs) * r).sum()
        loss.backward()
        return loss.item(), [np.asarray(w.grad) for w in weights]

    return step


@pytest.mark.parametrize("shape", LIMITS, ids=lambda s: "-".join(map(str, s)))
def test_eager_lstm(shape, pairs, row, benchmark):
    ours, theirs = training_step(ts, shape), training_step(torch, shape)
    (our_loss, our_gradients), (their_loss, their_gradients) = ours(), theirs()
    assert our_loss == pytest.approx(their_loss, abs=1e-5)
    for a, b in zip(our_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    ratio = row(", ".join(map(str, shape)), pairs(ours, theirs), "torch eager loop", LIMITS[shape])
    benchmark.pedantic(ours, rounds=3, warmup_rounds=0)
    assert ratio <= LIMITS[shape]
