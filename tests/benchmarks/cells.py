"""Recurrent cells written once, over functions that tinyseq, PyTorch and JAX all have, and training steps of each."""

import os

import numpy as np

import tinyseq as ts

try:
    import torch
except ImportError:
    torch = None
os.environ.setdefault("NPROC", "1")  # or XLA takes every core there is, whatever OMP_NUM_THREADS says
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
try:
    import jax
    from jax import numpy as jnp
except ImportError:
    jax = None


class Loop:
    """tinyseq or PyTorch: a Python loop over time steps."""

    def __init__(self, lib):
        self.sigmoid, self.tanh, self.cat = lib.sigmoid, lib.tanh, lib.cat
        self.zeros, self.stack, self.lib = lib.zeros, lib.stack, lib

    def chunk(self, z, count):
        return z.chunk(count, 1)

    def normalised(self, z):
        centred = z - z.mean(-1, keepdim=True)
        return centred / ((centred * centred).mean(-1, keepdim=True) + 1e-5).sqrt()

    def unroll(self, cell, x, w, size, reverse=False):
        h = c = self.zeros(x.shape[1], size)
        steps = range(x.shape[0])
        outputs = []
        for t in reversed(steps) if reverse else steps:
            h, c = cell(self, x[t], h, c, w)
            outputs.append(h)
        return self.stack(outputs[::-1] if reverse else outputs)


class Scan:
    """JAX: the loop as a scan."""

    def __init__(self):
        self.sigmoid, self.tanh = jax.nn.sigmoid, jnp.tanh

    def cat(self, parts, dim):
        return jnp.concatenate(parts, dim)

    def chunk(self, z, count):
        return jnp.split(z, count, 1)

    def normalised(self, z):
        centred = z - z.mean(-1, keepdims=True)
        return centred / jnp.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)

    def unroll(self, cell, x, w, size, reverse=False):
        def step(state, x_t):
            h, c = cell(self, x_t, *state, w)
            return (h, c), h

        zeros = jnp.zeros((x.shape[1], size))
        return jax.lax.scan(step, (zeros, zeros), x, reverse=reverse)[1]


def lstm(m, x, h, c, w):
    i, f, g, o = m.chunk(x @ w[0] + h @ w[1] + w[2], 4)
    c = m.sigmoid(f) * c + m.sigmoid(i) * m.tanh(g)
    return m.sigmoid(o) * m.tanh(c), c


def peephole(m, x, h, c, w):
    i, f, g, o = m.chunk(x @ w[0] + h @ w[1] + w[2], 4)
    i, f = m.sigmoid(i + w[3] * c), m.sigmoid(f + w[4] * c)
    c = f * c + i * m.tanh(g)
    return m.sigmoid(o + w[5] * c) * m.tanh(c), c


def layer_norm_lstm(m, x, h, c, w):
    i, f, g, o = m.chunk(m.normalised(x @ w[0] + h @ w[1]) * w[2] + w[2], 4)
    c = m.sigmoid(f) * c + m.sigmoid(i) * m.tanh(g)
    return m.sigmoid(o) * m.tanh(c), c


def gru(m, x, h, c, w):
    r, z, n, _ = m.chunk(x @ w[0] + w[2], 4)
    hr, hz, hn, _ = m.chunk(h @ w[1], 4)
    n = m.tanh(n + m.sigmoid(r + hr) * hn)
    z = m.sigmoid(z + hz)
    h = (1.0 - z) * n + z * h
    return h, c


def minimal(m, x, h, c, w):
    z, u, _, _ = m.chunk(x @ w[0] + h @ w[1] + w[2], 4)
    u = m.sigmoid(u)
    h = u * h + (1.0 - u) * m.tanh(z)
    return h, c


def one_layer(cell):
    return lambda m, x, w, size: m.unroll(cell, x, w, size)


def two_layers_both_ways(m, x, w, size):
    for layer in (0, 1):
        forward, backward = (w[6 * (2 * layer + d) : 6 * (2 * layer + d) + 6] for d in (0, 1))
        x = m.cat((m.unroll(lstm, x, forward, size), m.unroll(lstm, x, backward, size, reverse=True)), 2)
    return x


MODELS = {
    "lstm": one_layer(lstm),
    "peephole": one_layer(peephole),
    "layer-norm lstm": one_layer(layer_norm_lstm),
    "gru": one_layer(gru),
    "minimal rnn": one_layer(minimal),
    "2-layer bidirectional": two_layers_both_ways,
}


def arrays(model, shape):
    """Return the inputs, the weights of the loss and the parameters of a model, as NumPy arrays."""
    steps, batch, inputs, size = shape
    rng = np.random.default_rng(0)
    both = model == "2-layer bidirectional"
    x = rng.standard_normal((steps, batch, inputs), np.float32)
    r = rng.standard_normal((steps, batch, size * (2 if both else 1)), np.float32) / (steps * batch)
    weights = []
    for first in (inputs, inputs, 2 * size, 2 * size) if both else (inputs,):
        for s in ((first, 4 * size), (size, 4 * size), (4 * size,), (size,), (size,), (size,)):
            weights.append(rng.uniform(-(size**-0.5), size**-0.5, s).astype(np.float32))
    return x, r, weights


def loop_step(lib, model, shape):
    """Return a training step with tinyseq or PyTorch, its two arguments, and the parameters."""
    x, r, weights = arrays(model, shape)
    m, forward = Loop(lib), MODELS[model]
    w = [lib.tensor(v).requires_grad_() for v in weights]

    def step(x, r):
        for p in w:
            p.grad = None
        loss = (forward(m, x, w, shape[3]) * r).sum()
        loss.backward()
        return loss

    return step, (lib.tensor(x), lib.tensor(r)), w


def compiled(model, shape):
    """Return a compiled training step, and its parameters."""
    step, inputs, w = loop_step(ts, model, shape)
    fast = ts.compile(step)
    return lambda: float(fast(*inputs)), w


def torch_loop(model, shape):
    """Return a training step as a loop in PyTorch, and its parameters."""
    step, inputs, w = loop_step(torch, model, shape)
    return lambda: step(*inputs).item(), w


def jax_scan(model, shape):
    """Return a compiled training step in JAX."""
    x, r, weights = arrays(model, shape)
    m, forward = Scan(), MODELS[model]

    def loss(w, x, r):
        return (forward(m, x, w, shape[3]) * r).sum()

    step = jax.jit(jax.value_and_grad(loss))
    w, x, r = [jnp.asarray(v) for v in weights], jnp.asarray(x), jnp.asarray(r)
    return lambda: float(jax.block_until_ready(step(w, x, r))[0])


def torch_kernel(shape):
    """Return a training step with PyTorch's own LSTM."""
    model = torch.nn.LSTM(shape[2], shape[3])
    x, r, _ = arrays("lstm", shape)
    x, r = torch.tensor(x), torch.tensor(r)

    def step():
        model.zero_grad()
        loss = (model(x)[0] * r).sum()
        loss.backward()
        return loss.item()

    return step
