"""Compiled training: layers, cells, optimizers and schedules do for 50 steps what they do uncompiled."""

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import close, new
from tinyseq import nn


def cell_of(name):
    return lambda: nn.Recurrent(getattr(nn, name)(3, 4))


def activation_of(name):
    return lambda: nn.Sequential(nn.Linear(3, 4), getattr(nn, name)())


def is_activation(name):
    kind = getattr(nn, name, None)
    return isinstance(kind, type) and name not in ("Module", "Parameter", "Softmax", "LogSoftmax", "GLU")


CELLS = {
    "RNN": lambda: nn.RNN(3, 4),
    "RNN relu, 2 layers": lambda: nn.RNN(3, 4, num_layers=2, nonlinearity="relu"),
    "LSTM": lambda: nn.LSTM(3, 4),
    "LSTM, bidirectional, dropout": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, dropout=0.3),
    "LSTM, projected": lambda: nn.LSTM(3, 4, proj_size=2),
    "GRU": lambda: nn.GRU(3, 4),
    **{name: cell_of(name) for name in dir(nn) if name.endswith("Cell") and name != "Cell"},
    "Stacked": lambda: nn.Recurrent(nn.StackedCells([nn.GRUCell(3, 4), nn.LSTMCell(4, 5)])),
    "Bidirectional": lambda: nn.Bidirectional(nn.GRUCell(3, 4), nn.GRUCell(3, 4)),
    "Zoneout": lambda: nn.Recurrent(nn.Zoneout(nn.LSTMCell(3, 4), 0.3)),
    "VariationalDropout": lambda: nn.Recurrent(nn.VariationalDropout(nn.LSTMCell(3, 4), 0.3)),
    "Residual": lambda: nn.Recurrent(nn.Residual(nn.GRUCell(4, 4))),
    "reversed": lambda: nn.Recurrent(nn.GRUCell(3, 4), reverse=True),
    "learned start": lambda: nn.Recurrent(nn.LSTMCell(3, 4), learn_initial_state=True),
}

LAYERS = {
    "Linear": lambda: nn.Linear(3, 4),
    "no bias": lambda: nn.Linear(3, 4, bias=False),
    "LayerNorm": lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)),
    "RMSNorm": lambda: nn.Sequential(nn.Linear(3, 4), nn.RMSNorm(4)),
    "Dropout": lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2)),
    "Flatten": lambda: nn.Sequential(nn.Linear(3, 4), nn.Flatten()),
    **{name: activation_of(name) for name in vars(nn.activations) if is_activation(name)},
    "Softmax": lambda: nn.Sequential(nn.Linear(3, 4), nn.Softmax(-1)),
    "LogSoftmax": lambda: nn.Sequential(nn.Linear(3, 4), nn.LogSoftmax(-1)),
    "GLU": lambda: nn.Sequential(nn.Linear(3, 4), nn.GLU()),
}

OPTIMIZERS = {
    "SGD": lambda p: ts.optim.SGD(p, lr=0.1),
    "SGD, momentum": lambda p: ts.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "SGD, Nesterov": lambda p: ts.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: ts.optim.Adam(p, lr=0.01),
    "Adam, AMSGrad": lambda p: ts.optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.01),
    "AdamW": lambda p: ts.optim.AdamW(p, lr=0.01),
    "RMSprop": lambda p: ts.optim.RMSprop(p, lr=0.01),
    "RMSprop, centered": lambda p: ts.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "Adagrad": lambda p: ts.optim.Adagrad(p, lr=0.05),
}

SCHEDULES = {
    "StepLR": lambda o: ts.optim.lr_scheduler.StepLR(o, 7, 0.5),
    "MultiStepLR": lambda o: ts.optim.lr_scheduler.MultiStepLR(o, [3, 11], 0.5),
    "ConstantLR": lambda o: ts.optim.lr_scheduler.ConstantLR(o, 0.5, 10),
    "LinearLR": lambda o: ts.optim.lr_scheduler.LinearLR(o, 0.1, 1.0, 20),
    "PolynomialLR": lambda o: ts.optim.lr_scheduler.PolynomialLR(o, 30),
    "ExponentialLR": lambda o: ts.optim.lr_scheduler.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: ts.optim.lr_scheduler.CosineAnnealingLR(o, 20),
    "OneCycleLR": lambda o: ts.optim.lr_scheduler.OneCycleLR(o, 0.1, 60),
}


def train(build, optimizer, schedule, compiled, steps, shape, inside=True):
    """Return the losses of a training run, and the parameters at its end."""
    ts.manual_seed(0)
    model = build()
    optimizer = optimizer(list(model.parameters()))
    schedule = schedule and schedule(optimizer)

    def step(x):
        optimizer.zero_grad()
        out = model(x)
        out = out[0] if isinstance(out, tuple) else out
        loss = ((out - 0.3) ** 2).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        if schedule and inside:
            schedule.step()
        return loss

    run = ts.compile(step) if compiled else step
    losses = []
    for i in range(steps):
        losses.append(float(run(new(*shape, seed=i % 5))))
        if schedule and not inside:
            schedule.step()
    return losses, [p.detach().numpy().copy() for p in model.parameters()], run


def same_training(build, optimizer=OPTIMIZERS["SGD, momentum"], schedule=None, steps=50, shape=(4, 2, 3), inside=True):
    eager = train(build, optimizer, schedule, False, steps, shape, inside)
    mine = train(build, optimizer, schedule, True, steps, shape, inside)
    np.testing.assert_allclose(mine[0], eager[0], rtol=2e-3, atol=1e-5)
    for a, b in zip(mine[1], eager[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=2e-4)
    assert mine[2]._captures == 1


@pytest.mark.parametrize("name", LAYERS)
def test_training_of_layers(name):
    same_training(LAYERS[name])


@pytest.mark.parametrize("name", CELLS)
def test_training_of_recurrent_models(name):
    same_training(CELLS[name], shape=(4, 2, 4 if name == "Residual" else 3))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    same_training(LAYERS["Linear"], OPTIMIZERS[name])


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name, inside):
    same_training(LAYERS["Linear"], OPTIMIZERS["Adam"], SCHEDULES[name], inside=inside)


def test_a_learning_rate_set_by_hand():
    def run(compiled):
        w = ts.ones(2, requires_grad=True)
        optimizer = ts.optim.SGD([w], lr=0.1)

        def step():
            optimizer.zero_grad()
            (w * w).sum().backward()
            optimizer.step()

        step = ts.compile(step) if compiled else step
        for i in range(6):
            optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
            step()
        return w

    close(run(True), run(False))


def test_forward_and_update_compiled_apart():
    def run(compiled):
        wrap = ts.compile if compiled else (lambda f: f)
        w = new(3, requires_grad=True)
        optimizer = ts.optim.Adam([w], lr=0.1)
        forward = wrap(lambda x: ((w * x - 1.0) ** 2).sum())
        update = wrap(optimizer.step)
        clip = wrap(lambda: nn.utils.clip_grad_norm_([w], 0.5))
        norms = []
        for i in range(9):
            optimizer.zero_grad()
            forward(new(3, seed=i)).backward()
            norms.append(clip().item())
            update()
        return w, norms

    (mine, norms), (wanted, others) = run(True), run(False)
    close(mine, wanted, 1e-4, 1e-5)
    np.testing.assert_allclose(norms, others, rtol=1e-4)


def test_guard_optimizer_state_loaded():
    def run(compiled):
        w = ts.ones(2, requires_grad=True)
        optimizer = ts.optim.Adam([w], lr=0.1)

        def step():
            optimizer.zero_grad()
            ((w - 3.0) ** 2).sum().backward()
            optimizer.step()

        step = ts.compile(step) if compiled else step
        for i in range(9):
            step()
            if i == 2:
                saved = optimizer.state_dict()
                saved["state"] = {k: {n: t.clone() for n, t in v.items()} for k, v in saved["state"].items()}
            if i == 5:
                optimizer.load_state_dict(saved)
            if i == 7:
                optimizer.param_groups[0]["betas"] = (0.5, 0.5)
        return w

    close(run(True), run(False))
