"""Optimizers and schedules against PyTorch, step by step, and what must not happen silently."""

import copy
import math

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.errors import ArgumentError, DTypeError, StateDictError
from tinyseq.optim import lr_scheduler

SHAPES = ((3, 4), (4,), (2,))
CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"maximize": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True, "maximize": True}),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5, "centered": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-3}),
]


def start():
    return [np.random.default_rng(k).standard_normal(s) for k, s in enumerate(SHAPES)]


def loss(lib, params, step):
    """A loss that leaves the last parameter out at some steps."""
    x = lib.tensor(np.random.default_rng(step).standard_normal((5, 3)))
    out = ((x @ params[0] + params[1]).tanh() ** 2).sum()
    return out if step % 3 else out + (params[2] ** 3).sum()


def groups(params, options):
    """Two groups: the second with a learning rate of its own."""
    return [{"params": params[:1]}, {"params": params[1:], "lr": 0.03}], options


def differ(mine, theirs):
    return max(np.abs(a.detach().numpy() - b.detach().numpy()).max() for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_twenty_steps_match_torch(name, options):
    torch = pytest.importorskip("torch")
    mine = [ts.tensor(v, requires_grad=True) for v in start()]
    theirs = [torch.tensor(v, requires_grad=True) for v in start()]
    own, options = groups(mine, options)
    ours = getattr(optim, name)(own, **options)
    other = getattr(torch.optim, name)(groups(theirs, options)[0], **options)
    for step in range(20):
        if step == 10:  # a change in the middle, and a state that goes through a state dict
            for optimizer in (ours, other):
                optimizer.param_groups[0]["lr"] = 0.02
            saved = copy.deepcopy(ours.state_dict())
            ours = getattr(optim, name)(groups(mine, options)[0], **options)
            ours.load_state_dict(saved)
        for lib, params, optimizer in ((ts, mine, ours), (torch, theirs, other)):
            optimizer.zero_grad()
            loss(lib, params, step).backward()
            optimizer.step()
        assert differ(mine, theirs) < 1e-10, step


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad"])
def test_the_state_of_torch_can_be_taken_over(name):
    torch = pytest.importorskip("torch")
    options = {"lr": 0.05, **({"momentum": 0.9} if name == "SGD" else {})}
    theirs = [torch.tensor(v, requires_grad=True) for v in start()]
    other = getattr(torch.optim, name)(theirs, **options)
    for step in range(6):
        if step == 3:
            mine = [ts.tensor(p.detach().numpy().copy(), requires_grad=True) for p in theirs]
            ours = getattr(optim, name)(mine, **options)
            state = other.state_dict()
            numbers = {
                i: {k: v.numpy() if hasattr(v, "numpy") else v for k, v in s.items()} for i, s in state["state"].items()
            }
            ours.load_state_dict({"state": numbers, "param_groups": state["param_groups"]})
        other.zero_grad()
        loss(torch, theirs, step).backward()
        other.step()
        if step >= 3:
            ours.zero_grad()
            loss(ts, mine, step).backward()
            ours.step()
    assert differ(mine, theirs) < 1e-12


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_float32_stays_float32_and_training_learns(name):
    ts.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = getattr(optim, name)(model.parameters(), lr=0.05)
    x = ts.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = ts.tensor([[0.0], [1.0], [1.0], [0.0]])
    values = []
    for _ in range(150):
        optimizer.zero_grad()
        value = nn.functional.mse_loss(model(x), y)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.6 * values[0]
    assert {p.dtype for p in model.parameters()} == {np.dtype("float32")}
    assert {p.dtype for held in optimizer.state.values() for k, p in held.items() if k != "step"} <= {
        np.dtype("float32")
    }


def test_step_counts_are_shared_while_they_agree():
    params = [ts.ones(2, requires_grad=True) for _ in range(3)]
    optimizer = optim.Adam(params)
    for used in ([0, 1], [0, 1, 2], [0, 2], [0, 1, 2]):
        optimizer.zero_grad()
        sum(params[k].sum() for k in used).backward()
        optimizer.step()
    counts = [optimizer.state[p]["step"] for p in params]
    assert [c.item() for c in counts] == [4, 3, 3]
    assert len({id(c) for c in counts}) == 3
    together = [ts.ones(2, requires_grad=True) for _ in range(3)]
    optimizer = optim.Adam(together)
    sum(p.sum() for p in together).backward()
    optimizer.step()
    assert len({id(optimizer.state[p]["step"]) for p in together}) == 1


def test_gradients_are_dropped_or_zeroed():
    p = ts.ones(2, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1)
    p.sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None
    optimizer.step()  # without gradients nothing changes
    assert p.tolist() == [1, 1]


def test_a_closure_runs_with_gradients():
    p = ts.ones(2, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        value = (p * p).sum()
        value.backward()
        return value

    with ts.no_grad():
        assert optimizer.step(closure).item() == 2
    np.testing.assert_allclose(p.detach().numpy(), 0.8)


def test_groups():
    a, b, c = (ts.ones(1, requires_grad=True) for _ in range(3))
    optimizer = optim.SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": [c], "weight_decay": 0.1})
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5, 0.1]
    (a + b + c).sum().backward()
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item(), c.item()], [0.9, 0.5, 0.89], rtol=1e-6)
    optimizer.param_groups[0]["lr"] = 0.25
    assert optimizer.param_groups[0].rate.item() == 0.25
    assert "group 1: 1 parameters, lr=0.5" in repr(optimizer)
    with pytest.raises(ArgumentError, match="lr"):
        optimizer.param_groups[0]["lr"] = math.nan


P = ts.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("SGD", {"lr": -0.1}, "lr"),
        ("SGD", {"lr": math.nan}, "lr"),
        ("SGD", {"lr": math.inf}, "lr"),
        ("SGD", {"momentum": -1.0}, "momentum"),
        ("SGD", {"nesterov": True}, "nesterov"),
        ("SGD", {"weight_decay": -0.1}, "weight_decay"),
        ("Adam", {"lr": math.nan}, "lr"),
        ("Adam", {"betas": (1.0, 0.9)}, "beta1"),
        ("Adam", {"betas": (0.9, -0.1)}, "beta2"),
        ("AdamW", {"betas": (0.9, math.nan)}, "beta2"),
        ("AdamW", {"eps": -1.0}, "eps"),
        ("RMSprop", {"alpha": -0.5}, "alpha"),
        ("Adagrad", {"lr_decay": -0.5}, "lr_decay"),
    ],
)
def test_bad_hyperparameters(name, options, words):
    with pytest.raises(ArgumentError, match=f"{name}.*{words}"):
        getattr(optim, name)([P], **options)


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ([], ArgumentError, "no parameters"),
        ([{"params": []}], ArgumentError, "without parameters"),
        (P, DTypeError, "list of parameters"),
        ([1.0], DTypeError, "wanted parameters"),
        ([P, P], ArgumentError, "twice"),
        ([P * 2], ArgumentError, "leaf"),
    ],
)
def test_bad_parameters(params, error, words):
    with pytest.raises(error, match=words):
        optim.Adam(params)


def test_states_that_do_not_fit():
    one, two = optim.Adam([P]), optim.Adam([ts.ones(2, requires_grad=True), ts.ones(2, requires_grad=True)])
    with pytest.raises(StateDictError, match="groups hold"):
        two.load_state_dict(one.state_dict())
    P.grad = ts.ones(2)
    one.step()
    other = optim.Adam([ts.ones(3, requires_grad=True)])
    with pytest.raises(StateDictError, match="exp_avg has shape"):
        other.load_state_dict(one.state_dict())


# Schedules

SCHEDULES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 11], "gamma": 0.3}),
    ("ConstantLR", {"factor": 0.4, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 7}),
    ("PolynomialLR", {"total_iters": 8, "power": 2.0}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 6, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": lambda n: 1 / (n + 1) if n < 9 else 0.01}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 16}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 16, "anneal_strategy": "linear", "pct_start": 0.5}),
]


@pytest.mark.filterwarnings("ignore:Detected call of")
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedules_match_torch(name, options):
    torch = pytest.importorskip("torch")
    ours = optim.SGD(
        [{"params": [ts.ones(1, requires_grad=True)]}, {"params": [ts.ones(2, requires_grad=True)], "lr": 0.3}], lr=0.5
    )
    theirs = torch.optim.SGD([{"params": [torch.ones(1)]}, {"params": [torch.ones(2)], "lr": 0.3}], lr=0.5)
    mine = getattr(lr_scheduler, name)(ours, **options)
    more = {"cycle_momentum": False} if name == "OneCycleLR" else {}
    other = getattr(torch.optim.lr_scheduler, name)(theirs, **options, **more)
    for n in range(16):
        np.testing.assert_allclose(mine.get_last_lr(), other.get_last_lr(), rtol=1e-9, atol=1e-12, err_msg=str(n))
        assert mine.last_epoch == n
        if n == 7:  # goes on after a restart
            saved = mine.state_dict()
            mine = getattr(lr_scheduler, name)(ours, **options)
            mine.load_state_dict(saved)
        if n < 15:
            mine.step()
            other.step()


@pytest.mark.filterwarnings("ignore")
def test_one_schedule_after_the_other():
    torch = pytest.importorskip("torch")
    ours, theirs = optim.SGD([P], lr=0.5), torch.optim.SGD([torch.ones(1)], lr=0.5)

    def build(lib, optimizer):
        warm = lib.LinearLR(optimizer, start_factor=0.1, total_iters=4)
        return lib.SequentialLR(optimizer, [warm, lib.ExponentialLR(optimizer, 0.8)], milestones=[4])

    mine, other = build(lr_scheduler, ours), build(torch.optim.lr_scheduler, theirs)
    for _ in range(10):
        np.testing.assert_allclose(mine.get_last_lr(), other.get_last_lr(), rtol=1e-9)
        mine.step()
        other.step()


@pytest.mark.parametrize(
    "options",
    [
        {"factor": 0.5, "patience": 1},
        {"mode": "max", "factor": 0.5, "patience": 0, "cooldown": 2},
        {"patience": 0, "threshold": 0.3, "threshold_mode": "abs", "min_lr": 0.01},
        {"patience": 0, "threshold": 0.2, "mode": "max"},
    ],
)
@pytest.mark.parametrize("start", [0.0, -9.0])  # also where the best value is negative from the start
def test_plateaus_match_torch(options, start):
    torch = pytest.importorskip("torch")
    ours, theirs = optim.SGD([P], lr=0.5), torch.optim.SGD([torch.ones(1)], lr=0.5)
    mine = lr_scheduler.ReduceLROnPlateau(ours, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for value in (3.0, 2.0, 1.9, 2.1, 1.0, -1.0, -1.1, -2.0, 0.5, 0.4, 0.3, 0.2, 5.0, 5.1, 6.0):
        mine.step(start + value)
        other.step(start + value)
        assert math.isclose(mine.get_last_lr()[0], other.get_last_lr()[0]), value


@pytest.mark.parametrize(
    "build",
    [
        lambda o: lr_scheduler.StepLR(o, 0),
        lambda o: lr_scheduler.LinearLR(o, start_factor=0.0),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 0),
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, 10, anneal_strategy="log"),
        lambda o: lr_scheduler.LambdaLR(o, [abs, abs]),
        lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="best"),
        lambda o: lr_scheduler.SequentialLR(o, [], [1]),
    ],
)
def test_bad_schedules(build):
    with pytest.raises(ArgumentError, match=r"wanted|groups"):
        build(optim.SGD([P], lr=0.1))


def test_a_schedule_wants_an_optimizer():
    with pytest.raises(DTypeError, match="optimizer"):
        lr_scheduler.StepLR([P], 1)


def test_numbers_of_parameters_may_have_become_text():
    def one_step(optimizer, p):
        (p * p).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        return p.detach().numpy().copy()

    first, second = (ts.ones(2, requires_grad=True) for _ in range(2))
    ours, theirs = optim.Adam([first], lr=0.1), optim.Adam([second], lr=0.1)
    one_step(ours, first)
    saved = ours.state_dict()
    theirs.load_state_dict({**saved, "state": {str(k): v for k, v in saved["state"].items()}})
    with ts.no_grad():
        second.copy_(first)
    np.testing.assert_array_equal(one_step(theirs, second), one_step(ours, first))


def test_a_cycle_may_turn_at_its_first_step():
    optimizer = optim.SGD([ts.ones(1, requires_grad=True)], lr=0.5)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.7, total_steps=5, pct_start=0.2)
    rates = []
    for _ in range(5):
        rates += schedule.get_last_lr()
        schedule.step()
    assert rates[0] == pytest.approx(0.7)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.7 / 25 / 1e4)
