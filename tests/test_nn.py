"""Modules, layers, losses and clipping against PyTorch, and what no other library can tell by hand."""

import copy
import inspect
import math
import re
from pathlib import Path

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import nodes_of
from tinyseq import nn, optim
from tinyseq.errors import ArgumentError, DTypeError, ShapeError, StateDictError
from tinyseq.nn import functional as F

RNG = np.random.default_rng(0)


def array(*shape, low=-1.0, high=1.0):
    return np.random.default_rng(sum(shape) + 7 * len(shape)).uniform(low, high, shape)


def agree(ours, theirs, arrays, *constants, tol=1e-12):
    """Check the result and the gradient of every array, in float64, against PyTorch."""
    torch = pytest.importorskip("torch")
    a = [ts.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    mine = ours(*a, *[ts.tensor(c) for c in constants])
    other = theirs(*b, *[torch.tensor(c) for c in constants])
    weight = np.random.default_rng(3).uniform(0.5, 1.5, tuple(mine.shape))
    np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=tol, atol=tol)
    (mine * ts.tensor(weight)).sum().backward()
    (other * torch.tensor(weight)).sum().backward()
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=tol, atol=tol)


# Losses

SAME_SHAPE = [
    ("mse_loss", {}),
    ("l1_loss", {}),
    ("smooth_l1_loss", {"beta": 0.3}),
    ("smooth_l1_loss", {"beta": 0.0}),
    ("huber_loss", {"delta": 0.4}),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "options"), SAME_SHAPE)
def test_losses_of_two_tensors(name, options, reduction):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.functional, name)
    agree(
        lambda x, y: getattr(F, name)(x, y, reduction=reduction, **options),
        lambda x, y: theirs(x, y, reduction=reduction, **options),
        [array(4, 3), array(3, 4).T.copy()],
    )


@pytest.mark.filterwarnings("ignore:reduction. 'mean'")
@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
def test_kl_div(reduction, log_target):
    torch = pytest.importorskip("torch")
    target = array(4, 3, low=0.1, high=1.0)
    target[0, 0] = 0.0 if not log_target else -2.0
    options = {"reduction": reduction, "log_target": log_target}
    agree(
        lambda x, t: F.kl_div(x, t, **options),
        lambda x, t: torch.nn.functional.kl_div(x, t, **options),
        [array(4, 3)],
        target,
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy(reduction, weighted):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional
    target = (array(5, 3) > 0).astype(np.float64)
    w, pos = array(3, low=0.5, high=2.0), array(3, low=0.5, high=3.0)
    mine = {"weight": ts.tensor(w)} if weighted else {}
    other = {"weight": torch.tensor(w)} if weighted else {}
    agree(
        lambda x, t: F.binary_cross_entropy(x, t, reduction=reduction, **mine),
        lambda x, t: theirs.binary_cross_entropy(x, t, reduction=reduction, **other),
        [array(5, 3, low=0.05, high=0.95)],
        target,
    )
    mine |= {"pos_weight": ts.tensor(pos)} if weighted else {}
    other |= {"pos_weight": torch.tensor(pos)} if weighted else {}
    agree(
        lambda x, t: F.binary_cross_entropy_with_logits(x * 50, t, reduction=reduction, **mine),
        lambda x, t: theirs.binary_cross_entropy_with_logits(x * 50, t, reduction=reduction, **other),
        [array(5, 3)],
        target,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (3, 5, 2), (2, 5, 3, 2)])
def test_cross_entropy_of_classes(shape, weighted, reduction, smoothing):
    torch = pytest.importorskip("torch")
    classes = RNG.integers(0, 5, shape[:1] + shape[2:] if len(shape) > 1 else ())
    if len(shape) > 1:
        classes.reshape(-1)[0] = -100
    weight = array(5, low=0.5, high=2.0)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    agree(
        lambda x, t: F.cross_entropy(x, t, ts.tensor(weight) if weighted else None, **options),
        lambda x, t: torch.nn.functional.cross_entropy(x, t, torch.tensor(weight) if weighted else None, **options),
        [array(*shape) * 4],
        classes,
    )
    agree(
        lambda x, t: F.nll_loss(x, t, ts.tensor(weight) if weighted else None, reduction=reduction),
        lambda x, t: torch.nn.functional.nll_loss(
            x, t, torch.tensor(weight) if weighted else None, reduction=reduction
        ),
        [array(*shape)],
        classes,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (3, 5, 2)])
def test_cross_entropy_of_probabilities(shape, reduction, smoothing):
    torch = pytest.importorskip("torch")
    weight = array(5, low=0.5, high=2.0)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    agree(
        lambda x, t: F.cross_entropy(x, t, ts.tensor(weight), **options),
        lambda x, t: torch.nn.functional.cross_entropy(x, t, torch.tensor(weight), **options),
        [array(*shape), array(*shape, low=0.0) + 0.1],
    )


def test_an_ignored_class_may_have_any_scores():
    x = ts.tensor(np.array([[0.0, 1.0], [math.nan, math.inf]]), requires_grad=True)
    loss = F.cross_entropy(x, ts.tensor([1, -100]))
    loss.backward()
    assert math.isclose(loss.item(), math.log(1 + math.exp(-1)), rel_tol=1e-6)
    assert np.isfinite(x.grad.numpy()[0]).all()


# Layers as functions

LAYERS = {
    "linear": ([(2, 5, 3), (4, 3), (4,)], {}),
    "bilinear": ([(5, 2), (5, 3), (4, 2, 3), (4,)], {}),
    "normalize": ([(4, 3)], {"dim": 1}),
    "cosine_similarity": ([(4, 3), (4, 3)], {"dim": 1}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_as_functions(name):
    torch = pytest.importorskip("torch")
    shapes, options = LAYERS[name]
    arrays = [array(*s) + 0.01 * i for i, s in enumerate(shapes)]
    theirs = getattr(torch.nn.functional, name)
    agree(lambda *a: getattr(F, name)(*a, **options), lambda *a: theirs(*a, **options), arrays)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(3,), (4, 3)])
def test_normalisation(shape, affine):
    torch = pytest.importorskip("torch")
    x, w, b = array(2, 4, 3), array(*shape) + 2, array(*shape) - 1
    theirs = torch.nn.functional
    arrays = [x, w, b] if affine else [x]
    agree(lambda x, *p: F.layer_norm(x, shape, *p), lambda x, *p: theirs.layer_norm(x, shape, *p), arrays, tol=1e-10)
    agree(lambda x, *p: F.rms_norm(x, shape, *p), lambda x, *p: theirs.rms_norm(x, shape, *p), arrays[:2], tol=1e-10)


@pytest.mark.parametrize("mask", [None, "bool", "number", "causal"])
def test_attention(mask):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.scaled_dot_product_attention
    q, k, v = array(2, 3, 4, 5), array(2, 3, 6, 5), array(2, 3, 6, 2)
    extra = {"bool": [array(4, 6) > -0.5], "number": [array(4, 6)]}.get(mask, [])
    agree(
        lambda q, k, v, *m: F.scaled_dot_product_attention(q, k, v, *m, is_causal=mask == "causal"),
        lambda q, k, v, *m: theirs(q, k, v, *m, is_causal=mask == "causal"),
        [q, k, v],
        *extra,
        tol=1e-10,
    )


@pytest.mark.parametrize("pads", [(1, 2), (0, 1, 2, 0), (-1, 1), (-1, -1, 1, 1, 0, 2), ()])
def test_pad(pads):
    torch = pytest.importorskip("torch")
    agree(
        lambda x: F.pad(x, pads, value=1.5),
        lambda x: torch.nn.functional.pad(x, pads, value=1.5),
        [array(2, 3, 4)],
    )


def test_embedding():
    torch = pytest.importorskip("torch")
    index = np.array([[0, 2, 1], [2, 2, 3]])
    for padding in (None, 2, -2):
        agree(
            lambda w, i, p=padding: F.embedding(i, w, p),
            lambda w, i, p=padding: torch.nn.functional.embedding(i, w, p),
            [array(4, 3)],
            index,
        )
    layer = nn.Embedding(4, 3, padding_idx=1)
    assert not layer.weight.detach().numpy()[1].any()
    with pytest.raises(DTypeError, match="integers"):
        layer(ts.tensor([0.5]))


def test_one_hot():
    assert F.one_hot(ts.tensor([0, 2]), 3).tolist() == [[1, 0, 0], [0, 0, 1]]


ACTIVATIONS = {
    "ReLU": (), "Tanh": (), "Sigmoid": (), "LeakyReLU": (0.2,), "ELU": (0.7,), "SELU": (), "CELU": (0.5,), "GELU": (),
    "SiLU": (), "Mish": (), "Softplus": (2.0,), "Softsign": (), "LogSigmoid": (), "Hardtanh": (-0.4, 0.6), "ReLU6": (),
    "Hardsigmoid": (), "Hardswish": (), "Softmax": (1,), "LogSoftmax": (1,), "GLU": (1,), "Identity": (), "Flatten": (),
}  # fmt: skip


@pytest.mark.parametrize("scale", [3, 5000])  # also where e ** x is infinite
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_modules(name, scale):
    torch = pytest.importorskip("torch")
    options = ACTIVATIONS[name]
    tol = 1e-7 if name == "Hardsigmoid" else 1e-10  # PyTorch's gradient there is 1/6 in float32
    agree(getattr(nn, name)(*options), getattr(torch.nn, name)(*options), [array(3, 4, 2) * scale], tol=tol)


def test_activation_options_are_checked():
    with pytest.raises(TypeError, match="negative_slope"):
        nn.LeakyReLU(slope=1.0)
    with pytest.raises(TypeError, match="no options"):
        nn.Tanh(1)


LOSSES = {
    "MSELoss": {}, "L1Loss": {}, "SmoothL1Loss": {"beta": 0.2}, "HuberLoss": {"delta": 0.3}, "KLDivLoss": {},
    "BCEWithLogitsLoss": {}, "CosineSimilarity": {"dim": 0}, "CrossEntropyLoss": {"label_smoothing": 0.1},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:reduction. 'mean'")
@pytest.mark.parametrize("name", LOSSES)
def test_loss_modules(name):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(**LOSSES[name]), getattr(torch.nn, name)(**LOSSES[name])
    agree(ours, theirs, [array(4, 3)], array(3, 4, low=0.1).T.copy(), tol=1e-10)


def test_loss_modules_of_classes():
    torch = pytest.importorskip("torch")
    w, t = array(3, low=0.5, high=1.5), np.array([0, 2, 1, 2])
    agree(nn.NLLLoss(ts.tensor(w)), torch.nn.NLLLoss(torch.tensor(w)), [array(4, 3)], t)
    bce, target = nn.BCELoss(), (array(4, 3) > 0).astype(float)
    agree(bce, torch.nn.BCELoss(), [array(4, 3, low=0.1, high=0.9)], target)
    assert "weight" in nn.NLLLoss(ts.tensor(w)).state_dict()


@pytest.mark.parametrize(
    ("name", "args", "inputs"),
    [
        ("Linear", (3, 4), [(2, 5, 3)]),
        ("Linear", (3, 4, False), [(3,)]),
        ("Bilinear", (3, 4, 2), [(5, 3), (5, 4)]),
        ("LayerNorm", ((4, 3),), [(2, 4, 3)]),
        ("RMSNorm", (3,), [(2, 4, 3)]),
        ("PReLU", (1,), [(2, 3)]),
        ("PReLU", (3,), [(2, 3, 2)]),
    ],
)
def test_layer_modules_with_the_weights_of_torch(name, args, inputs):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*args).double()
    ours = getattr(nn, name)(*args).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    agree(ours, theirs, [array(*s) for s in inputs], tol=1e-10)
    for (k, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-10, err_msg=k)


def test_dropout():
    ts.manual_seed(0)
    layer, x = nn.Dropout(0.25), ts.ones(200, 100, requires_grad=True)
    out = layer(x)
    values = out.detach().numpy()
    assert set(np.unique(values).round(5)) == {0.0, np.float32(1 / 0.75).round(5)}
    assert abs((values == 0).mean() - 0.25) < 0.01
    out.sum().backward()
    assert np.array_equal(x.grad.numpy(), values)
    assert layer.eval()(x) is x
    assert not nn.Dropout(1.0)(x).detach().numpy().any()
    ts.manual_seed(0)
    assert np.array_equal(nn.Dropout(0.25)(x).detach().numpy(), values)
    with pytest.raises(ArgumentError, match="probability"):
        nn.Dropout(1.5)


# Modules


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.register_buffer("seen", ts.zeros(2))
        self.register_buffer("scratch", ts.zeros(1), persistent=False)
        self.rest = nn.Sequential(nn.Tanh(), nn.Linear(4, 2, bias=False))
        self.scale = nn.Parameter(ts.ones(1))

    def forward(self, x):
        return self.rest(self.first(x)) * self.scale


def test_names():
    model = Block()
    names = ["scale", "first.weight", "first.bias", "rest.1.weight"]
    assert [name for name, _ in model.named_parameters()] == names
    assert [name for name, _ in model.named_buffers()] == ["seen", "scratch"]
    assert [name for name, _ in model.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert list(model.state_dict()) == ["scale", "seen", *names[1:]]
    assert model.get_submodule("rest.1") is model.rest[1]


def test_state_dict_lists_all_that_does_not_fit():
    model = Block()
    saved = model.state_dict()
    saved["rest.1.weight"] = ts.zeros(5, 4)
    saved["extra"] = ts.zeros(1)
    del saved["scale"]
    with pytest.raises(StateDictError, match=r"rest.1.weight has shape \[5, 4\].*missing: scale.*unexpected: extra"):
        model.load_state_dict(saved)
    del saved["rest.1.weight"]
    missing, unexpected = model.load_state_dict(saved, strict=False)
    assert (missing, unexpected) == (["scale", "rest.1.weight"], ["extra"])


def test_state_dict_round_trip_keeps_memory_and_dtype():
    ts.manual_seed(1)
    a, b = Block(), Block().double()
    weight = b.first.weight
    b.load_state_dict(a.state_dict())
    assert b.first.weight is weight
    assert weight.dtype == np.float64
    np.testing.assert_array_equal(weight.detach().numpy(), a.first.weight.detach().numpy().astype(float))
    a.load_state_dict({k: v.numpy() * 0 for k, v in a.state_dict().items()})
    assert not any(p.detach().numpy().any() for p in a.parameters())


def test_shared_parameters_are_listed_once_and_saved_twice():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert len(list(model.parameters())) == 3
    assert "1.weight" in model.state_dict()


def test_train_eval_apply_requires_grad_zero_grad():
    model = Block()
    model.eval()
    assert not any(m.training for m in model.modules())
    model.train()
    seen = []
    model.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "Tanh", "Linear", "Sequential", "Block"]
    model(ts.ones(1, 3)).sum().backward()
    model.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not p.grad.numpy().any() for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(False)
    assert not model(ts.ones(1, 3)).requires_grad


def test_conversion_keeps_parameters_and_gradients():
    model = Block()
    model.register_buffer("count", ts.tensor([3]))
    parameters = list(model.parameters())
    model(ts.ones(1, 3)).sum().backward()
    model.double()
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert {p.dtype for p in parameters} | {p.grad.dtype for p in parameters} == {np.dtype("float64")}
    assert model.seen.dtype == np.float64
    assert model.count.dtype == np.int64
    assert model.half().scale.dtype == np.float16
    assert model.float().to("cpu").scale.dtype == np.float32


def test_a_parameter_is_not_lost_silently():
    model = nn.Linear(2, 2)
    with pytest.raises(DTypeError, match="Parameter"):
        model.weight = ts.zeros(2, 2)
    model.bias = None
    assert [n for n, _ in model.named_parameters()] == ["weight"]
    for name in ("a.b", "", "forward"):
        with pytest.raises(ArgumentError, match="name"):
            model.register_parameter(name, None)
    with pytest.raises(DTypeError, match="Parameter"):
        model.register_parameter("w", ts.zeros(1))
    with pytest.raises(DTypeError, match="tensor"):
        model.register_buffer("w", np.zeros(1))
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(1)


def test_deepcopy_is_independent():
    model = Block()
    twin = copy.deepcopy(model)
    with ts.no_grad():
        twin.first.weight.zero_()
    assert model.first.weight.detach().numpy().any()
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in model.named_parameters()]
    out = twin(ts.ones(1, 3))
    assert {n.scope.path for n in nodes_of(out)} == {"", "first", "rest.0", "rest.1"}


def test_hooks():
    model = nn.Linear(2, 2)
    seen = []
    before = model.register_forward_pre_hook(lambda m, args: (args[0] * 0.0,))
    after = model.register_forward_hook(lambda m, args, out: seen.append(args) or out + 1.0)
    out = model(ts.ones(1, 2))
    np.testing.assert_allclose(out.detach().numpy()[0], model.bias.detach().numpy() + 1)
    assert not seen[0][0].numpy().any()
    before.remove()
    after.remove()
    assert not np.allclose(model(ts.ones(1, 2)).detach().numpy(), out.detach().numpy())
    assert len(seen) == 1


def test_every_node_carries_the_path_of_its_module():
    model = nn.Sequential(Block(), nn.ModuleList([nn.Linear(2, 2)])[0])
    outer = nn.ModuleDict({"all": model})
    out = outer["all"](ts.ones(1, 3))
    paths = {(n.label, n.scope.path) for n in nodes_of(out)}
    assert {("linear", "all.0.first"), ("tanh", "all.0.rest.0"), ("mul", "all.0"), ("linear", "all.1")} <= paths
    outer.register_module("other", model[1])  # the last name counts
    out = outer["all"](ts.ones(1, 3))
    assert ("linear", "other") in {(n.label, n.scope.path) for n in nodes_of(out)}


def test_containers():
    layers = nn.ModuleList([nn.Linear(2, 3)]).append(nn.Linear(3, 4))
    layers[-1] = nn.Linear(3, 5)
    assert (len(layers), layers[1].out_features, len(layers[:1])) == (2, 5, 1)
    with pytest.raises(IndexError, match="out of range"):
        layers[2]
    row = nn.Sequential({"a": nn.Linear(2, 3), "b": nn.Tanh()})
    assert row[0] is row.a
    assert row(ts.zeros(1, 2)).shape == (1, 3)
    named = nn.ModuleDict({"x": nn.Tanh()})
    del named["x"]
    assert "x" not in named
    assert named.keys() == []
    weights = nn.ParameterList([ts.ones(2), nn.Parameter(ts.ones(3))])
    assert [n for n, _ in weights.named_parameters()] == ["0", "1"]


def test_repr_shows_the_tree():
    text = repr(Block())
    assert "(first): Linear(in_features=3, out_features=4, bias=True)" in text
    assert "\n    (1): Linear" in text
    assert repr(nn.Recurrent(nn.RNNCell(3, 4))) == "Recurrent(\n  (cell): RNNCell(3, 4)\n)"
    assert repr(nn.Zoneout(nn.RNNCell(3, 4), 0.5)).splitlines()[1:] == ["  p=0.5", "  (cell): RNNCell(3, 4)", ")"]
    assert "\n  p=0.0, 0.5\n" in repr(nn.Zoneout(nn.LSTMCell(3, 4), {"c": 0.5}))
    assert "\n  input=0.5, state=0.0, output=0.0\n" in repr(nn.VariationalDropout(nn.RNNCell(3, 4), input=0.5))


def test_an_activation_says_which_options_it_lacks():
    with pytest.raises(TypeError, match="ReLU: got inplace=True, wanted no options"):
        nn.ReLU(inplace=True)


# Initial values

INITIALISERS = {
    "xavier_uniform_": (lambda i, o: math.sqrt(2 / (i + o)), {}),
    "xavier_normal_": (lambda i, o: 2 * math.sqrt(2 / (i + o)), {"gain": 2.0}),
    "kaiming_uniform_": (lambda i, o: math.sqrt(2 / i), {"nonlinearity": "relu"}),
    "kaiming_normal_": (lambda i, o: math.sqrt(2 / o), {"mode": "fan_out", "nonlinearity": "relu"}),
    "uniform_": (lambda i, o: 3 / math.sqrt(12), {"a": -1.0, "b": 2.0}),
    "normal_": (lambda i, o: 0.3, {"std": 0.3}),
}


@pytest.mark.parametrize("name", INITIALISERS)
def test_initialisers_have_the_spread_of_their_formula(name):
    ts.manual_seed(0)
    spread, options = INITIALISERS[name]
    w = getattr(nn.init, name)(ts.zeros(300, 200), **options)
    assert abs(w.numpy().std() / spread(200, 300) - 1) < 0.02


def test_initialisers_of_structure():
    ts.manual_seed(0)
    for shape in ((5, 8), (8, 5), (6, 2, 3)):
        w = nn.init.orthogonal_(ts.zeros(*shape, dtype="float64"), gain=2.0).numpy().reshape(shape[0], -1)
        gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)
    w = nn.init.trunc_normal_(ts.zeros(1000), std=2.0, a=-1.0, b=1.0).numpy()
    assert np.abs(w).max() <= 1
    assert w.std() > 0.4
    assert (nn.init.sparse_(ts.zeros(10, 6), 0.3).numpy() == 0).sum(0).tolist() == [3] * 6
    assert nn.init.eye_(ts.zeros(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert nn.init.constant_(ts.zeros(2), 3).tolist() == [3, 3]
    with pytest.raises(ShapeError, match="at least 2"):
        nn.init.xavier_uniform_(ts.zeros(3))
    with pytest.raises(ArgumentError, match="calculate_gain"):
        nn.init.calculate_gain("cubic")


def test_gains_match_torch():
    torch = pytest.importorskip("torch")
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert math.isclose(nn.init.calculate_gain(name), torch.nn.init.calculate_gain(name))


# Clipping


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clipping_of_the_norm(norm_type, limit):
    torch = pytest.importorskip("torch")
    grads = [array(3, 2), array(4) * 3]
    mine, theirs = (
        [ts.zeros(*g.shape, dtype="float64").requires_grad_() for g in grads],
        [torch.zeros(g.shape) for g in grads],
    )
    for p, q, g in zip(mine, theirs, grads, strict=True):
        p.grad, q.grad = ts.tensor(g), torch.tensor(g, dtype=torch.float32)
    got = nn.utils.clip_grad_norm_(mine, limit, norm_type)
    wanted = torch.nn.utils.clip_grad_norm_(theirs, limit, norm_type)
    assert math.isclose(got.item(), wanted.item(), rel_tol=1e-5)
    for p, q in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-5)


def test_clipping_of_values_and_bad_limits():
    p = ts.zeros(3, requires_grad=True)
    p.grad = ts.tensor([-2.0, 0.1, 5.0])
    nn.utils.clip_grad_value_([p], 0.5)
    np.testing.assert_allclose(p.grad.numpy(), [-0.5, 0.1, 0.5])
    p.grad = ts.tensor([math.inf, 0.0, 0.0])
    with pytest.raises(RuntimeError, match="norm of the gradients"):
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    for bad in (-1.0, math.nan):
        with pytest.raises(ArgumentError, match="max_norm"):
            nn.utils.clip_grad_norm_([p], bad)
        with pytest.raises(ArgumentError, match="clip_value"):
            nn.utils.clip_grad_value_([p], bad)
    assert nn.utils.clip_grad_norm_([ts.zeros(1, requires_grad=True)], 1.0).item() == 0


def test_parameters_as_a_vector():
    model = Block()
    vector = nn.utils.parameters_to_vector(model.parameters())
    nn.utils.vector_to_parameters(vector.detach() * 2.0, model.parameters())
    twice = nn.utils.parameters_to_vector(model.parameters())
    np.testing.assert_allclose(twice.detach().numpy(), 2 * vector.detach().numpy())
    with pytest.raises(ShapeError, match="vector_to_parameters"):
        nn.utils.vector_to_parameters(ts.zeros(3), model.parameters())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.Linear(0, 3), ArgumentError, "in_features"),
        (lambda: nn.Linear(3, 2)(ts.zeros(2, 4)), ShapeError, "linear"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), ArgumentError, "padding_idx"),
        (lambda: nn.Embedding(3, 2)(ts.tensor([3])), IndexError, "embedding"),
        (lambda: nn.LayerNorm(3)(ts.zeros(2, 4)), ShapeError, "layer_norm"),
        (lambda: F.mse_loss(ts.zeros(2), ts.zeros(2, 1)), ShapeError, "mse_loss"),
        (lambda: F.mse_loss(ts.zeros(2), ts.zeros(2), reduction="avg"), ArgumentError, "reduction"),
        (lambda: F.cross_entropy(ts.zeros(2, 3), ts.tensor([0, 1, 2])), ShapeError, "cross_entropy"),
        (lambda: F.cross_entropy(ts.zeros(2, 3), ts.tensor([0, 3])), IndexError, "cross_entropy: .*0 to 3"),
        (lambda: F.cross_entropy(ts.zeros(2, 3), ts.tensor([0, 1]), label_smoothing=2.0), ArgumentError, "smoothing"),
        (lambda: F.huber_loss(ts.zeros(2), ts.zeros(2), delta=0.0), ArgumentError, "huber"),
        (lambda: F.pad(ts.zeros(2), (1,)), ArgumentError, "pad"),
        (lambda: F.dropout(ts.zeros(2), -0.1), ArgumentError, "probability"),
    ],
)
def test_wrong_calls(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("package", [nn, nn.functional, nn.utils])
def test_the_star_takes_what_is_public(package):
    """Nothing that users write is left out, and no module that only the library imports gets in."""
    kinds = (type, type(test_the_star_takes_what_is_public))
    ours = [n for n, v in vars(package).items() if isinstance(v, kinds) and v.__module__.startswith("tinyseq.nn.")]
    hidden, modules = {"check_probability", "dropout_mask"}, {"decode", "functional", "init", "rnn", "utils"}
    assert {n for n in ours if n[0] != "_"} - hidden <= set(package.__all__)
    assert {n for n in package.__all__ if isinstance(getattr(package, n), type(nn))} <= modules
    assert package.__all__ == sorted(package.__all__)


def test_options_of_torch_that_are_missing_are_told():
    """Every option that a layer, function, optimizer or schedule lacks stands on the page of differences."""
    torch = pytest.importorskip("torch")
    page = (Path(__file__).parents[1] / "docs" / "differences.md").read_text()
    told = {word for quoted in re.findall(r"`([^`]+)`", page) for word in re.findall(r"\w+", quoted)}
    pairs = [
        (nn, torch.nn), (nn.functional, torch.nn.functional), (nn.init, torch.nn.init), (nn.utils, torch.nn.utils),
        (optim, torch.optim), (optim.lr_scheduler, torch.optim.lr_scheduler),
    ]  # fmt: skip
    missing = set()
    for ours, theirs in pairs:
        for name in set(dir(ours)) & set(dir(theirs)):
            mine, other = (getattr(module, name) for module in (ours, theirs))
            if not getattr(mine, "__module__", "").startswith(("tinyseq.nn", "tinyseq.optim")):
                continue
            if inspect.isbuiltin(other):
                continue  # what torch writes in C++ has no signature
            if getattr(nn.activations, name, None) is mine:
                continue  # these name their options in a table
            here, there = (list(inspect.signature(f).parameters.values()) for f in (mine, other))
            named = {p.name for p in there[1:] if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name[0] != "_"}
            missing |= named - {p.name for p in here}
    assert {"fused", "max_norm", "three_phase", "inplace"} <= missing
    assert missing - told == set()


def test_to_may_copy():
    x = ts.ones(3, requires_grad=True)
    assert x.to("cpu", non_blocking=True) is x
    y = x.to("cpu", copy=True)
    (y * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    y.detach().zero_()
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert x.to(ts.float64, copy=True).dtype == ts.float64
    assert nn.Linear(2, 2).to("cpu", non_blocking=True).weight.device == ts.device("cpu")
