"""Recurrent cells against the operators of ONNX, run by onnxruntime with random weights."""

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import nn

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

T, B, D, H = 6, 3, 4, 5
LENGTHS = [6, 2, 4]
FLOAT = onnx.TensorProto.FLOAT


def array(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32) * np.float32(0.7)


def run(kind, inputs, outputs, **attributes):
    """Run a model of one node on named arrays; what is None is left out."""
    given = {k: v for k, v in inputs.items() if v is not None}
    node = onnx.helper.make_node(kind, [k if v is not None else "" for k, v in inputs.items()], outputs, **attributes)
    kinds = {np.dtype("float32"): FLOAT, np.dtype("int32"): onnx.TensorProto.INT32}
    graph = onnx.helper.make_graph(
        [node],
        "one node",
        [onnx.helper.make_tensor_value_info(k, kinds[v.dtype], v.shape) for k, v in given.items()],
        [onnx.helper.make_tensor_value_info(k, FLOAT, None) for k in outputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, given)


def reordered(parts, order):
    """Return the rows of a weight whose gates stand one below the other, in another order."""
    pieces = np.split(parts, len(order), 0)
    return np.concatenate([pieces[k] for k in order], 0)


def weights(cell, order, names=("weight_ih", "weight_hh", "bias_ih", "bias_hh")):
    """Return W, R and B of a cell as ONNX wants them, with its gates in the order of ONNX."""
    held = {k: v.numpy() for k, v in cell.state_dict().items()}
    w, r, *biases = [reordered(held[n], order) if n in held else None for n in names]
    blank = np.zeros(len(order) * H, np.float32)
    return w, r, np.concatenate([blank if b is None else b for b in biases])


def filled(cell):
    with ts.no_grad():
        for k, p in enumerate(cell.parameters()):
            p.copy_(ts.tensor(array(*p.shape, seed=k + 1)))
    return cell


def compare(kind, cells, order, direction, ends, initial, names=None, peepholes=None, **attributes):
    """Run the cells, one for each direction, in both libraries."""
    options = {} if names is None else {"names": names}
    stacked = [np.stack(parts) for parts in zip(*(weights(c, order, **options) for c in cells), strict=True)]
    x = array(T, B, D)
    inputs = {"X": x, "W": stacked[0], "R": stacked[1], "B": stacked[2]}
    inputs["sequence_lens"] = np.array(LENGTHS, np.int32) if ends else None
    states = [array(len(cells), B, H, seed=9 + k) if initial else None for k in range(len(cells[0].state_names))]
    inputs |= {f"initial_{n}": s for n, s in zip("hc", states, strict=False)}
    if peepholes is not None:
        inputs["P"] = np.stack(peepholes)
    if cells[0].clip is not None:
        attributes["clip"] = cells[0].clip
    outputs = ["Y", "Y_h", "Y_c"][: 1 + len(states)]
    wanted = run(kind, inputs, outputs, hidden_size=H, direction=direction, **attributes)
    for k, cell in enumerate(cells):
        reverse = direction == "reverse" or k == 1
        start = None if not initial else tuple(ts.tensor(s[k]) for s in states)
        rnn = nn.Recurrent(cell, reverse=reverse)
        output, state = rnn(ts.tensor(x), start, lengths=LENGTHS if ends else None)
        np.testing.assert_allclose(output.detach().numpy(), wanted[0][:, k], rtol=1e-5, atol=1e-5)
        for mine, theirs in zip(state, wanted[1:], strict=True):
            np.testing.assert_allclose(mine.detach().numpy(), theirs[k], rtol=1e-5, atol=1e-5)
        if cell.clip is not None:
            cell.clip = None
            assert not np.allclose(rnn(ts.tensor(x), start)[0].detach().numpy(), wanted[0][:, k], atol=1e-2)


WALKS = pytest.mark.parametrize(
    ("direction", "ends", "initial"),
    [
        ("forward", False, False),
        ("forward", True, True),
        ("reverse", True, True),
        ("bidirectional", True, True),
        ("bidirectional", False, False),
    ],
)
CLIPS = pytest.mark.parametrize("clip", [None, 0.3])


def directions(test):
    """Run a test with every direction, lengths and initial states, with and without a bound that bites."""
    return WALKS(CLIPS(test))


def several(make, direction):
    return [filled(make()) for _ in range(2 if direction == "bidirectional" else 1)]


@directions
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_rnn(activation, direction, ends, initial, clip):
    cells = several(lambda: nn.RNNCell(D, H, nonlinearity=activation, clip=clip), direction)
    names = ["Relu" if activation == "relu" else "Tanh"] * len(cells)
    compare("RNN", cells, [0], direction, ends, initial, activations=names)


IOFC = [0, 3, 1, 2]  # where ONNX's gates i, o, f, c stand among ours: i, f, g, o


@directions
def test_lstm(direction, ends, initial, clip):
    compare("LSTM", several(lambda: nn.LSTMCell(D, H, clip=clip), direction), IOFC, direction, ends, initial)


LINEAR = ("ih.weight", "hh.weight", "ih.bias", "hh.bias")


@directions
def test_peephole_lstm(direction, ends, initial, clip):
    cells = several(lambda: nn.PeepholeLSTMCell(D, H, clip=clip), direction)
    peepholes = [np.concatenate([p.detach().numpy() for p in (c.peep_i, c.peep_o, c.peep_f)]) for c in cells]
    compare("LSTM", cells, IOFC, direction, ends, initial, LINEAR, peepholes)


@directions
def test_coupled_lstm(direction, ends, initial, clip):
    class AsOnnx(nn.CoupledLSTMCell):
        """The weights in ONNX's form: i, o, f, c, where f is not used."""

        def state_dict(self, prefix=""):
            held = super().state_dict(prefix)
            for name, value in held.items():
                i, g, o = np.split(value.numpy(), 3, 0)
                held[name] = ts.tensor(np.concatenate([i, o, np.zeros_like(i), g]))
            return held

    cells = several(lambda: AsOnnx(D, H, clip=clip), direction)
    compare("LSTM", cells, [0, 1, 2, 3], direction, ends, initial, LINEAR, input_forget=1)


ZRN = [1, 0, 2]  # where ONNX's gates z, r, h stand among ours: r, z, n


@directions
def test_gru_with_the_reset_gate_after_the_product(direction, ends, initial, clip):
    cells = several(lambda: nn.ResetAfterGRUCell(D, H, clip=clip), direction)
    compare("GRU", cells, ZRN, direction, ends, initial, linear_before_reset=1)


@directions
def test_gru_with_the_reset_gate_before_the_product(direction, ends, initial, clip):
    class AsOnnx(nn.ResetBeforeGRUCell):
        """The recurrent weights as one."""

        def state_dict(self, prefix=""):
            held = super().state_dict(prefix)
            both = [held["gates_hh.weight"].numpy(), held["new_hh.weight"].numpy()]
            return held | {"hh.weight": ts.tensor(np.concatenate(both))}

    cells = several(lambda: AsOnnx(D, H, clip=clip), direction)
    compare("GRU", cells, ZRN, direction, ends, initial, LINEAR, linear_before_reset=0)


@CLIPS
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("kind", "order"), [("RNN", [0]), ("LSTM", IOFC), ("GRU", ZRN)])
def test_layers(kind, order, bidirectional, clip):
    layer = filled(getattr(nn, kind)(D, H, bidirectional=bidirectional, clip=clip))
    held = {k: v.numpy() for k, v in layer.state_dict().items()}
    suffixes = ["", "_reverse"] if bidirectional else [""]
    stacked = {
        name: np.stack([reordered(held[f"{key}_l0{s}"], order) for s in suffixes])
        for name, key in {"W": "weight_ih", "R": "weight_hh", "Bi": "bias_ih", "Bh": "bias_hh"}.items()
    }
    bias = np.concatenate([stacked.pop("Bi"), stacked.pop("Bh")], 1)
    x = array(T, B, D)
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    more |= {} if clip is None else {"clip": clip}
    direction = "bidirectional" if bidirectional else "forward"
    inputs = {"X": x, **stacked, "B": bias}
    wanted, *_ = run(kind, inputs, ["Y", "Y_h"], hidden_size=H, direction=direction, **more)
    output, _ = layer(ts.tensor(x))
    joined = np.concatenate([wanted[:, k] for k in range(len(suffixes))], -1)
    np.testing.assert_allclose(output.detach().numpy(), joined, rtol=1e-5, atol=1e-5)
