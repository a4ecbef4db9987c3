"""Layers, losses, optimizers and training on a GPU equal those on the host, and transfer nothing in secret."""

import numpy as np
import pytest

import tinyseq as ts
from tests import fake_cupy
from tinyseq import nn, optim


def host(t):
    """The values of a tensor, as an array of NumPy."""
    return t.detach().cpu().numpy()


T, B, D, H = 5, 3, 4, 6
SEQUENCE = (T, B, D)
LAYERS = {
    "Linear": (lambda: nn.Linear(D, H), SEQUENCE),
    "Bilinear": (lambda: nn.Bilinear(D, D, 2), (B, D), (B, D)),
    "LayerNorm": (lambda: nn.LayerNorm(D), SEQUENCE),
    "RMSNorm": (lambda: nn.RMSNorm(D), SEQUENCE),
    "Dropout": (lambda: nn.Dropout(0.5).eval(), SEQUENCE),
    "Flatten": (lambda: nn.Flatten(), SEQUENCE),
    "Sequential": (lambda: nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, 2)), (B, D)),
    "RNN": (lambda: nn.RNN(D, H), SEQUENCE),
    "RNN relu, two layers": (lambda: nn.RNN(D, H, 2, nonlinearity="relu"), SEQUENCE),
    "LSTM": (lambda: nn.LSTM(D, H), SEQUENCE),
    "LSTM in both directions": (lambda: nn.LSTM(D, H, 2, bidirectional=True, batch_first=True), SEQUENCE),
    "LSTM projected": (lambda: nn.LSTM(D, H, proj_size=2), SEQUENCE),
    "GRU": (lambda: nn.GRU(D, H), SEQUENCE),
    "RNNCell": (lambda: nn.RNNCell(D, H), (B, D)),
    "LSTMCell": (lambda: nn.LSTMCell(D, H), (B, D)),
    "GRUCell": (lambda: nn.GRUCell(D, H), (B, D)),
    **{
        f"Recurrent {name}": (lambda name=name: nn.Recurrent(getattr(nn, name)(D, H)), SEQUENCE)
        for name in dir(nn)
        if name.endswith("Cell") and name != "Cell" and isinstance(getattr(nn, name), type)
    },
    "Zoneout": (lambda: nn.Recurrent(nn.Zoneout(nn.LSTMCell(D, H), 0.1)).eval(), SEQUENCE),
    "StackedCells": (lambda: nn.Recurrent(nn.StackedCells([nn.GRUCell(D, H), nn.LSTMCell(H, 2)])), SEQUENCE),
    **{
        name: (getattr(nn, name), SEQUENCE)
        for name in [
            "ReLU",
            "Tanh",
            "Sigmoid",
            "GELU",
            "SiLU",
            "ELU",
            "SELU",
            "CELU",
            "LeakyReLU",
            "Softplus",
            "Softsign",
            "Mish",
            "Hardtanh",
            "PReLU",
            "LogSigmoid",
        ]
    },
    "Softmax": (lambda: nn.Softmax(-1), SEQUENCE),
    "LogSoftmax": (lambda: nn.LogSoftmax(-1), SEQUENCE),
}


def tensors_in(result):
    if isinstance(result, ts.Tensor):
        return [result]
    return [t for part in result for t in tensors_in(part)] if isinstance(result, tuple | list) else []


@pytest.mark.parametrize("name", LAYERS)
def test_layer_equals_its_twin_on_the_host(name, cuda):
    make, *shapes = LAYERS[name]
    ts.manual_seed(0)
    layer, twin = make(), make()
    twin.load_state_dict(layer.state_dict())
    layer = layer.to(cuda)
    assert all(p.is_cuda for p in layer.parameters())
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(-1, 1, s).astype(np.float32) for s in shapes]
    results = []
    for model, where in ((layer, cuda), (twin, "cpu")):
        inputs = [ts.tensor(a, device=where, requires_grad=True) for a in arrays]
        outputs = tensors_in(model(*inputs))
        assert all(str(o.device).startswith(where) for o in outputs)
        sum((o * o).sum() for o in outputs).backward()
        results.append([host(t) for t in (*outputs, *(x.grad for x in inputs), *(p.grad for p in model.parameters()))])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


LOSSES = {
    "cross_entropy": lambda x, k: nn.functional.cross_entropy(x, k),
    "nll_loss": lambda x, k: nn.functional.nll_loss(x, k),
    "mse_loss": lambda x, k: nn.functional.mse_loss(x, ts.zeros_like(x)),
    "l1_loss": lambda x, k: nn.functional.l1_loss(x, ts.zeros_like(x)),
    "huber_loss": lambda x, k: nn.functional.huber_loss(x, ts.zeros_like(x)),
    "bce": lambda x, k: nn.functional.binary_cross_entropy_with_logits(x, ts.ones_like(x)),
    "kl_div": lambda x, k: nn.functional.kl_div(x, ts.ones_like(x), reduction="sum"),
    "embedding": lambda x, k: (nn.functional.embedding(k, x) ** 2).sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_equals_its_value_on_the_host(name, cuda):
    found = []
    for where in (cuda, "cpu"):
        x = ts.tensor(np.random.default_rng(0).normal(size=(4, 5)), device=where, requires_grad=True)
        loss = LOSSES[name](x, ts.tensor([0, 3, 3, 2], device=where))
        loss.backward()
        found.append((host(loss), host(x.grad)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "SGD with momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.1),
}


def train(where, make_optimizer, steps=4):
    """Train a small LSTM for some steps; return its losses and parameters."""
    ts.manual_seed(0)
    lstm, head = nn.LSTM(D, H), nn.Linear(H, 3)
    model = nn.ModuleList([lstm, head]).to(where)
    optimizer = make_optimizer(model.parameters())
    rng = np.random.default_rng(0)
    x = ts.tensor(rng.normal(size=SEQUENCE).astype(np.float32), device=where)
    y = ts.tensor(rng.integers(0, 3, (T * B,)), device=where)
    losses = []
    for k in range(steps):
        if k == 1:  # the first step makes the optimizer's state
            fake_cupy.transfers.clear()
        optimizer.zero_grad()
        output, _ = lstm(x)
        loss = nn.functional.cross_entropy(head(output.reshape(T * B, H)), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
    crossed = dict(fake_cupy.transfers)
    return [loss.item() for loss in losses], [host(p) for p in model.parameters()], crossed


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_equals_training_on_the_host(name, cuda):
    losses, parameters, _ = train(cuda, OPTIMIZERS[name])
    wanted, reference, _ = train("cpu", OPTIMIZERS[name])
    np.testing.assert_allclose(losses, wanted, rtol=1e-4)
    assert losses[-1] < losses[0]
    for a, b in zip(parameters, reference, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_step_transfers_nothing(name, fake):
    assert train("cuda", OPTIMIZERS[name])[2] == {}
