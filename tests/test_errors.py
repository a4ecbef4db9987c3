"""Wrong calls: each raises the type that PyTorch raises there, and says which operation, what came, what was wanted.

The same call runs under both libraries, so that PyTorch is the oracle of the type where it is installed.
"""

import re
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinyseq as ts
from tinyseq.errors import TinyseqError

nan = float("nan")


class Wrong(NamedTuple):
    """A call that must fail: under which name, with which builtin type, and what the message must contain."""

    call: Any
    builtin: type[Exception]
    words: tuple[str, ...]
    same_in_torch: bool = True


def wrong(call, builtin, *words, torch=True):
    return Wrong(call, builtin, words, torch)


def f(lib, *shape):
    """Zeros of a floating dtype."""
    return lib.zeros(shape)


def i(lib, *values):
    return lib.tensor(list(values))


def leaf(lib, *shape):
    return lib.zeros(shape, requires_grad=True)


def adam(lib, **options):
    return lib.optim.Adam([lib.nn.Parameter(f(lib, 2))], **options)


def sgd(lib, **options):
    return lib.optim.SGD([lib.nn.Parameter(f(lib, 2))], **{"lr": 0.1, **options})


def twice(lib):
    y = (leaf(lib, 2) * 2).exp().sum()
    y.backward()
    y.backward()


def carried(lib):
    rnn, state = lib.nn.GRU(1, 2), None
    for _ in range(2):
        output, state = rnn(f(lib, 3, 1, 1), state)
        output.sum().backward()


def in_place_on_a_leaf(lib):
    leaf(lib, 2).add_(1.0)


def saved_and_written(lib):
    a = leaf(lib, 2) * 1.0
    y = (a * a).sum()
    with lib.no_grad():
        a.add_(1.0)
    y.backward()


def load(lib, **changes):
    layer = lib.nn.Linear(3, 2)
    values = dict(layer.state_dict())
    for name, value in changes.items():
        if value is None:
            del values[name]
        else:
            values[name] = value
    layer.load_state_dict(values)


def run(lib, model, *inputs, **options):
    return model(*inputs, **options)


TABLE = {
    # shapes
    "add: shapes": wrong(lambda t: f(t, 2, 3) + f(t, 4), RuntimeError, "add", r"\[2, 3\]", r"\[4\]", "broadcast"),
    "mul: shapes": wrong(lambda t: f(t, 2, 3) * f(t, 3, 2), RuntimeError, "mul", r"\[2, 3\]", r"\[3, 2\]"),
    "where: shapes": wrong(lambda t: t.where(f(t, 2) > 0, f(t, 3), f(t, 2)), RuntimeError, "where", r"\[2\]", r"\[3\]"),
    "matmul: inner sizes": wrong(
        lambda t: f(t, 2, 3) @ f(t, 4, 5), RuntimeError, "matmul", r"\[2, 3\]", r"\[4, 5\]", "3 against 4"
    ),
    "matmul: 0-d": wrong(lambda t: t.matmul(f(t), f(t, 2)), RuntimeError, "matmul", "at least one dimension"),
    "matmul: batches": wrong(lambda t: f(t, 2, 3, 4) @ f(t, 5, 4, 3), RuntimeError, "matmul", r"\[2\]", r"\[5\]"),
    "reshape: size": wrong(lambda t: f(t, 2, 3).reshape(4, 2), RuntimeError, "reshape", r"\[4, 2\]", "6"),
    "reshape: two -1": wrong(lambda t: f(t, 2, 3).reshape(-1, -1), RuntimeError, "reshape", r"\[-1, -1\]", "one -1"),
    "view: size": wrong(lambda t: f(t, 6).view(4, -1), RuntimeError, r"\[4, -1\]", "6"),
    "expand: size": wrong(lambda t: f(t, 2, 3).expand(4, 3), RuntimeError, "expand", r"\[2, 3\]", r"\[4, 3\]"),
    "cat: shapes": wrong(lambda t: t.cat([f(t, 2, 3), f(t, 3, 2)]), RuntimeError, "cat", r"\[2, 3\]", r"\[3, 2\]"),
    "cat: ranks": wrong(lambda t: t.cat([f(t, 2, 3), f(t, 2, 3, 1)]), RuntimeError, "cat", r"\[2, 3, 1\]"),
    "cat: nothing": wrong(lambda t: t.cat([]), (RuntimeError, ValueError), "cat", "at least one"),
    "stack: shapes": wrong(lambda t: t.stack([f(t, 2), f(t, 3)]), RuntimeError, "stack", r"\[2\]", r"\[3\]"),
    "cat: tensors one by one": wrong(lambda t: t.cat(f(t, 2), f(t, 2)), TypeError, "cat", "Tensor", r"\[a, b\]"),
    "cat: numbers": wrong(lambda t: t.cat([1, 2]), TypeError, "cat", "list of int", "list or tuple of tensors"),
    "stack: tensors one by one": wrong(lambda t: t.stack(f(t, 2), f(t, 2)), TypeError, "stack", r"\[a, b\]"),
    "stack: nothing": wrong(lambda t: t.stack([]), (RuntimeError, ValueError), "stack", "at least one"),
    "t: rank": wrong(lambda t: f(t, 2, 3, 4).t(), RuntimeError, "t:", "3", "at most 2"),
    "split: sizes": wrong(lambda t: f(t, 5).split([2, 2]), RuntimeError, "split", r"\[2, 2\]", "5"),
    "pad: cuts too much": wrong(
        lambda t: t.nn.functional.pad(f(t, 2, 3), (-2, -2)), RuntimeError, "pad", r"\[-2, -2\]", r"\[2, 3\]"
    ),
    "item: several": wrong(lambda t: f(t, 2).item(), RuntimeError, "item", r"\[2\]", "single element"),
    "masked index": wrong(lambda t: f(t, 3)[f(t, 4) > 0], IndexError, "index", "4", "3"),
    "put: shapes": wrong(lambda t: f(t, 2, 3).__setitem__(0, f(t, 4)), RuntimeError, r"put|setitem", r"\[4\]|4", "3"),
    # dims and indices
    "sum: dim": wrong(lambda t: f(t, 2, 3).sum(2), IndexError, "sum", "dim 2", "-2 to 1"),
    "mean: dim": wrong(lambda t: f(t, 2, 3).mean(-3), IndexError, "mean", "dim -3", "-2 to 1"),
    "softmax: dim": wrong(lambda t: t.softmax(f(t, 2, 3), 5), IndexError, "softmax", "dim 5", "-2 to 1"),
    "argmax: dim": wrong(lambda t: f(t, 2, 3).argmax(4), IndexError, "argmax", "dim 4", "-2 to 1"),
    "logsumexp: dim": wrong(lambda t: t.logsumexp(f(t, 2), 1), IndexError, "logsumexp", "dim 1", "-1 to 0"),
    "sum: a name as dim": wrong(lambda t: f(t, 2).sum("a"), (TypeError, RuntimeError), "sum", "str 'a'", "integer"),
    "softmax: a tensor as dim": wrong(lambda t: t.softmax(f(t, 2), f(t, 2)), TypeError, "softmax", "dim", "integer"),
    "argmax: several dims": wrong(lambda t: f(t, 2, 3).argmax((0, 1)), TypeError, "argmax", r"\(0, 1\)", "an integer"),
    "sum: dim twice": wrong(lambda t: f(t, 2, 3).sum((0, 0)), RuntimeError, "sum", r"\(0, 0\)", "twice"),
    "transpose: dim": wrong(lambda t: f(t, 2, 3).transpose(0, 2), IndexError, "transpose", "dim 2", "-2 to 1"),
    "permute: order": wrong(lambda t: f(t, 2, 3).permute(0, 0), RuntimeError, "permute", r"\(0, 0\)"),
    "permute: count": wrong(lambda t: f(t, 2, 3).permute(0), RuntimeError, "permute", r"\(0,\)", "2 dimensions"),
    "unsqueeze: dim": wrong(lambda t: f(t, 2).unsqueeze(3), IndexError, "unsqueeze", "dim 3", "-2 to 1"),
    "squeeze: dim": wrong(lambda t: f(t, 2).squeeze(3), IndexError, "squeeze", "dim 3", "-1 to 0"),
    "cat: dim": wrong(lambda t: t.cat([f(t, 2), f(t, 2)], 1), IndexError, "cat", "dim 1", "-1 to 0"),
    "stack: dim": wrong(lambda t: t.stack([f(t, 2)], 3), IndexError, "stack", "dim 3", "-2 to 1"),
    "chunk: dim": wrong(lambda t: f(t, 2).chunk(2, 1), IndexError, "chunk", "dim 1", "-1 to 0"),
    "unbind: dim": wrong(lambda t: f(t, 2).unbind(1), IndexError, "unbind", "dim 1", "-1 to 0"),
    "index: out of range": wrong(lambda t: f(t, 2, 3)[2], IndexError, "index 2", "size 2", "dim 0"),
    "index: second": wrong(lambda t: f(t, 2, 3)[0, -4], IndexError, "index -4", "size 3"),
    "index: too many": wrong(lambda t: f(t, 2)[0, 0], IndexError, "index", "2 indices", "1 dimensions"),
    "index: tensor": wrong(lambda t: f(t, 2)[i(t, 5)], IndexError, "index", "5", "size 2"),
    "index: float": wrong(lambda t: f(t, 2)[f(t, 1)], IndexError, "index", "float32", "integers or booleans"),
    "index: string": wrong(lambda t: f(t, 2)["a"], (TypeError, IndexError), "index", "str", "integers"),
    "index: negative step": wrong(lambda t: f(t, 2)[::-1], ValueError, "index", "step", "flip"),
    "gather: out of range": wrong(
        lambda t: f(t, 2).gather(0, i(t, 2)), (RuntimeError, IndexError), "gather", "2", "0 to 1"
    ),
    "gather: rank": wrong(lambda t: f(t, 2, 3).gather(0, i(t, 1)), RuntimeError, "gather", r"\[1\]", r"\[2, 3\]"),
    "gather: floats": wrong(
        lambda t: f(t, 2).gather(0, f(t, 1)), RuntimeError, "gather", "float32", "integers", r"to\('int64'\)"
    ),
    "scatter: out of range": wrong(
        lambda t: f(t, 2).scatter(0, i(t, -1), f(t, 1)), (RuntimeError, IndexError), "scatter", "-1", "0 to 1"
    ),
    "narrow: length": wrong(
        lambda t: f(t, 3).narrow(0, 1, 4), (RuntimeError, ValueError), "narrow", "start 1", "length 4", "size 3"
    ),
    "embedding: out of range": wrong(
        lambda t: t.nn.functional.embedding(i(t, 7), f(t, 5, 2)), IndexError, "embedding", "7", "0 to 4"
    ),
    # dtypes
    "matmul: dtypes": wrong(
        lambda t: f(t, 2, 2) @ f(t, 2, 2).to(t.float64), RuntimeError, "matmul", "float32", "float64", r"\.to\(dtype\)"
    ),
    "requires_grad: integers": wrong(
        lambda t: i(t, 1).requires_grad_(), RuntimeError, "requires_grad_", "int64", "floating"
    ),
    "tensor: unequal": wrong(lambda t: t.tensor([[1, 2], [3]]), ValueError, "tensor", "equal lengths"),
    "tensor: string": wrong(lambda t: t.tensor(["a"]), (ValueError, TypeError), "tensor", "numbers"),
    "dtype: unknown": wrong(lambda t: f(t, 2).to("float99"), (RuntimeError, TypeError), "float99", "float32"),
    "masked_fill: mask": wrong(
        lambda t: f(t, 2).masked_fill(f(t, 2), 1.0), RuntimeError, "masked_fill", "float32", "bool"
    ),
    "embedding: floats": wrong(
        lambda t: t.nn.functional.embedding(f(t, 3), f(t, 5, 2)), RuntimeError, "embedding", "float32", "integers"
    ),
    "add: string": wrong(lambda t: f(t, 2) + "a", TypeError, "add", "str", "tensor or a number"),
    "add_: float into integers": wrong(lambda t: i(t, 1, 2).add_(0.5), RuntimeError, "add_", "float32", "int64"),
    "len of 0-d": wrong(lambda t: len(f(t)), TypeError, "len", "0-d"),
    "iteration over 0-d": wrong(lambda t: list(f(t)), TypeError, "iter", "0-d"),
    "bool of several": wrong(lambda t: bool(f(t, 2)), (RuntimeError, ValueError), r"\[2\]", "single element"),
    # arguments
    "zeros: negative": wrong(lambda t: t.zeros(-1), RuntimeError, r"\[-1\]", "negative"),
    "randn: negative": wrong(lambda t: t.randn(2, -3), RuntimeError, r"\[2, -3\]", "negative"),
    "zeros: float size": wrong(lambda t: t.zeros(1.5), TypeError, "1.5", "integers"),
    "arange: step 0": wrong(lambda t: t.arange(0, 5, 0), RuntimeError, "arange", "step 0"),
    "arange: direction": wrong(lambda t: t.arange(0, 5, -1), RuntimeError, "arange", "step -1", "0 to 5"),
    "chunk: none": wrong(lambda t: f(t, 2).chunk(0), RuntimeError, "chunk", "0", "at least 1"),
    "split: negative": wrong(lambda t: f(t, 2).split(-1), RuntimeError, "split", "-1", "positive"),
    "randint: empty": wrong(lambda t: t.randint(5, 5, (2,)), RuntimeError, "randint", "low 5", "high 5", "low < high"),
    "multinomial: too many": wrong(
        lambda t: t.multinomial(t.ones(3), 4), RuntimeError, "multinomial", "num_samples 4", "3 weights"
    ),
    "device: unknown": wrong(lambda t: t.zeros(2, device="tpu9"), (RuntimeError, ValueError), "tpu9", "'cpu', 'cuda'"),
    "dropout: probability": wrong(lambda t: t.nn.Dropout(1.5), ValueError, "[Dd]ropout", "1.5", "0 to 1"),
    "dropout: NaN": wrong(lambda t: t.nn.functional.dropout(f(t, 2), nan), ValueError, "dropout", "nan", torch=False),
    # gradients
    "backward: not scalar": wrong(
        lambda t: (leaf(t, 2) * 2).backward(), RuntimeError, "backward", "scalar", r"\[2\]", r"\.sum\(\)"
    ),
    "backward: no gradient": wrong(lambda t: f(t).backward(), RuntimeError, "backward", "does not require gradients"),
    "backward: shape": wrong(
        lambda t: (leaf(t, 2) * 2).backward(f(t, 3)), RuntimeError, "backward", r"\[3\]", r"\[2\]"
    ),
    "backward: an array": wrong(
        lambda t: (leaf(t, 2) * 2).backward(np.ones(2)),
        (TypeError, AttributeError),
        "backward",
        "ndarray",
        "a tensor",
        torch=False,
    ),
    "a layer's pair as input": wrong(
        lambda t: t.nn.Sequential(t.nn.LSTM(2, 3), t.nn.Linear(3, 1))(f(t, 5, 1, 2)), TypeError, "tuple of 2", "output"
    ),
    "a state as a tensor": wrong(
        lambda t: f(t, 2) + t.nn.GRUCell(1, 2).State(f(t, 2)), TypeError, r"add: got State\(h\)", r"\.h$", torch=False
    ),
    "to: an unknown device": wrong(lambda t: f(t, 2).to("mps0"), RuntimeError, "mps0", "'cpu' and 'cuda'"),
    "backward: carried state": wrong(carried, RuntimeError, "second time", r"nn\.detach_state", torch=False),
    "backward: twice": wrong(twice, RuntimeError, "exp|mul|sum", "second time", "retain_graph=True"),
    "grad: unused": wrong(lambda t: t.autograd.grad(leaf(t).exp(), leaf(t)), RuntimeError, "grad", "allow_unused=True"),
    "grad: not a leaf of the graph": wrong(
        lambda t: t.autograd.grad(leaf(t).exp(), f(t, 2)), RuntimeError, "grad: input 0", r"\[2\]", "does not require"
    ),
    "grad: count": wrong(
        lambda t: t.autograd.grad([leaf(t).exp()], [leaf(t)], [f(t), f(t)]),
        (RuntimeError, ValueError),
        "grad",
        "2",
        "1",
    ),
    "in place on a leaf": wrong(in_place_on_a_leaf, RuntimeError, "add_", "leaf", "no_grad"),
    "saved value modified": wrong(saved_and_written, RuntimeError, "mul", r"\[2\]", "modified in place", r"clone\(\)"),
    "requires_grad_(False) on a result": wrong(
        lambda t: (leaf(t, 2) * 2).requires_grad_(False), RuntimeError, "requires_grad_", "leaf", "detach"
    ),
    "numpy of what requires gradients": wrong(lambda t: leaf(t, 2).numpy(), RuntimeError, "numpy", r"detach\(\)"),
    "grad of another shape": wrong(
        lambda t: setattr(leaf(t, 2), "grad", f(t, 3)), RuntimeError, "grad", r"\[3\]", r"\[2\]"
    ),
    "grad of an array": wrong(
        lambda t: setattr(leaf(t, 2), "grad", np.zeros(2)), TypeError, "grad", "ndarray", "a tensor"
    ),
    "data of an array": wrong(
        lambda t: setattr(f(t, 2), "data", np.zeros(2)), TypeError, "data", "ndarray", "a tensor"
    ),
    "format of several": wrong(
        lambda t: f"{f(t, 2):.3f}", (TypeError, RuntimeError), "item", r"\[2\]", "single", torch=False
    ),
    "hook without gradient": wrong(
        lambda t: f(t, 2).register_hook(print), RuntimeError, "register_hook", "not require"
    ),
    "retain_grad without gradient": wrong(lambda t: f(t, 2).retain_grad(), RuntimeError, "retain_grad", "not require"),
    # layers
    "Linear: size": wrong(lambda t: t.nn.Linear(3, 2)(f(t, 5, 4)), RuntimeError, "linear", r"\[5, 4\]", r"\[2, 3\]"),
    "Linear: negative": wrong(
        lambda t: t.nn.Linear(-1, 2), (RuntimeError, ValueError), "Linear", "in_features -1", "positive"
    ),
    "Embedding: negative": wrong(lambda t: t.nn.Embedding(0, -2), (RuntimeError, ValueError), "Embedding", "positive"),
    "Embedding: padding": wrong(
        lambda t: t.nn.Embedding(5, 2, padding_idx=7),
        (AssertionError, ValueError),
        "Embedding",
        "padding_idx 7",
        "5 rows",
        torch=False,
    ),
    "LayerNorm: shape": wrong(lambda t: t.nn.LayerNorm(4)(f(t, 2, 3)), RuntimeError, "layer_norm", r"\[2, 3\]", "4"),
    "LSTM: rank": wrong(
        lambda t: t.nn.LSTM(3, 4)(f(t, 2, 2, 2, 3)), (RuntimeError, ValueError), "LSTM", r"\[2, 2, 2, 3\]"
    ),
    "LSTM: input size": wrong(lambda t: t.nn.LSTM(3, 4)(f(t, 5, 2, 6)), RuntimeError, "LSTM", r"\[5, 2, 6\]", "3"),
    "LSTM: state": wrong(
        lambda t: t.nn.LSTM(3, 4)(f(t, 5, 2, 3), (f(t, 1, 2, 9), f(t, 1, 2, 4))),
        RuntimeError,
        "LSTM",
        r"\[1, 2, 9\]",
        r"\[1, 2, 4\]",
    ),
    "LSTM: projection": wrong(lambda t: t.nn.LSTM(3, 4, proj_size=4), ValueError, "LSTM", "proj_size 4", "3"),
    "RNN: nonlinearity": wrong(lambda t: t.nn.RNN(3, 4, nonlinearity="sin"), ValueError, "RNN", "sin", "tanh"),
    "GRUCell: input": wrong(lambda t: t.nn.GRUCell(3, 4)(f(t, 2, 5)), RuntimeError, "GRUCell", r"\[2, 5\]", "3"),
    "cross_entropy: batch": wrong(
        lambda t: t.nn.functional.cross_entropy(f(t, 3, 4), i(t, 0, 1)),
        (RuntimeError, ValueError),
        "cross_entropy",
        r"\[3, 4\]",
        r"\[2\]",
    ),
    "cross_entropy: class": wrong(
        lambda t: t.nn.functional.cross_entropy(f(t, 2, 4), i(t, 0, 9)),
        (RuntimeError, IndexError),
        "cross_entropy",
        "9",
        "0 to 3",
    ),
    "cross_entropy: classes as floats": wrong(
        lambda t: t.nn.functional.cross_entropy(f(t, 3, 4), f(t, 3)),
        RuntimeError,
        "cross_entropy",
        r"\[3, 4\]",
        r"\[3\]",
        r"target\.to\('int64'\)",
    ),
    "clip_grad_norm_: a module": wrong(
        lambda t: t.nn.utils.clip_grad_norm_(t.nn.Linear(2, 2), 1.0),
        TypeError,
        "clip_grad_norm_",
        "Linear",
        r"model\.parameters\(\)",
    ),
    "loss: reduction": wrong(
        lambda t: t.nn.functional.mse_loss(f(t, 2), f(t, 2), reduction="max"),
        ValueError,
        "mse_loss",
        "max",
        "'mean', 'sum' or 'none'",
    ),
    "mse_loss: shapes": wrong(
        lambda t: t.nn.functional.mse_loss(f(t, 2), f(t, 3)), RuntimeError, "mse_loss", r"\[2\]", r"\[3\]", torch=False
    ),
    "a parameter replaced by a tensor": wrong(
        lambda t: setattr(t.nn.Linear(2, 2), "weight", f(t, 2, 2)), TypeError, "Linear.weight", "Parameter"
    ),
    "a module without forward": wrong(
        lambda t: type("Empty", (t.nn.Module,), {})()(1), NotImplementedError, "Empty", "forward"
    ),
    "get_submodule: unknown": wrong(
        lambda t: t.nn.Linear(2, 2).get_submodule("a.b"), (AttributeError, ValueError), "Linear", "a.b", torch=False
    ),
    "Sequential: no module": wrong(lambda t: t.nn.Sequential(3), TypeError, "Sequential", "int", "a Module"),
    "Sequential: index": wrong(lambda t: t.nn.Sequential()[0], IndexError, "Sequential", "index 0", "0 members"),
    # state dicts
    "load_state_dict: missing": wrong(lambda t: load(t, bias=None), RuntimeError, "Linear", "[Mm]issing", "bias"),
    "load_state_dict: unexpected": wrong(
        lambda t: load(t, other=f(t, 2)), RuntimeError, "Linear", "[Uu]nexpected", "other"
    ),
    "load_state_dict: shape": wrong(
        lambda t: load(t, weight=f(t, 3, 3)), RuntimeError, "Linear", "weight", r"\[3, 3\]", r"\[2, 3\]"
    ),
    # optimizers
    "SGD: NaN": wrong(lambda t: sgd(t, lr=nan), ValueError, "SGD", "lr nan", torch=False),
    "SGD: negative": wrong(lambda t: sgd(t, lr=-0.1), ValueError, "SGD", "lr -0.1"),
    "SGD: momentum": wrong(lambda t: sgd(t, momentum=-1.0), ValueError, "SGD", "momentum -1"),
    "SGD: nesterov": wrong(lambda t: sgd(t, nesterov=True), ValueError, "SGD", "nesterov", "momentum"),
    "Adam: NaN": wrong(lambda t: adam(t, lr=nan), ValueError, "Adam", "lr nan"),
    "Adam: betas": wrong(lambda t: adam(t, betas=(0.9, 1.5)), ValueError, "Adam", "1.5"),
    "Adam: eps": wrong(lambda t: adam(t, eps=-1.0), ValueError, "Adam", "eps -1"),
    "optimizer: no parameters": wrong(lambda t: t.optim.SGD([], lr=0.1), ValueError, "SGD", "no parameters"),
    "optimizer: a tensor": wrong(lambda t: t.optim.SGD(f(t, 2), lr=0.1), TypeError, "SGD", "list|iterable|several"),
    "optimizer: not a tensor": wrong(lambda t: t.optim.SGD([1.0], lr=0.1), TypeError, "SGD", "float", "parameter"),
    "optimizer: a module": wrong(
        lambda t: t.optim.SGD(t.nn.Linear(2, 2), lr=0.1), TypeError, "SGD", "Linear", r"model\.parameters\(\)"
    ),
    "optimizer: named parameters": wrong(
        lambda t: t.optim.SGD(t.nn.Linear(2, 2).named_parameters(), lr=0.1),
        TypeError,
        "SGD",
        "name and parameter",
        r"model\.parameters\(\)",
        torch=False,
    ),
    "SGD: text": wrong(lambda t: sgd(t, lr="0.1"), TypeError, "SGD", "lr '0.1'", "a number"),
    "optimizer: a result": wrong(lambda t: t.optim.SGD([leaf(t, 2) * 2], lr=0.1), ValueError, "SGD", "leaf"),
    # files
    "load: no such file": wrong(lambda t: t.load("/no/such/file"), FileNotFoundError, "/no/such/file"),
    "save: no such directory": wrong(
        lambda t: t.save(f(t, 2), "/no/such/directory/file"),
        (FileNotFoundError, RuntimeError),
        "save",
        "no such directory",
        "/no/such/directory'",
    ),
    "save: path first": wrong(
        lambda t: t.save("/no/such/file", f(t, 2)), (TypeError, AttributeError), "save", "Tensor", r"save\(obj, path\)"
    ),
    "StepLR: size": wrong(
        lambda t: t.optim.lr_scheduler.StepLR(sgd(t), 0),
        (ValueError, ZeroDivisionError),
        "StepLR",
        "step_size 0",
        torch=False,
    ),
}


def test_the_table_is_long_enough():
    assert len(TABLE) >= 60


@pytest.mark.parametrize("name", TABLE)
def test_wrong_call(name):
    row = TABLE[name]
    with pytest.raises(row.builtin) as caught:
        row.call(ts)
    message = str(caught.value)
    assert isinstance(caught.value, TinyseqError | NotImplementedError | OSError), repr(caught.value)
    for word in row.words:
        assert re.search(word, message), f"{word!r} is not in: {message}"


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.same_in_torch])
def test_torch_raises_the_same_type(name):
    torch = pytest.importorskip("torch")
    with pytest.raises(TABLE[name].builtin):
        TABLE[name].call(torch)


def test_errors_inherit_what_torch_and_numpy_raise():
    for name, builtins in {
        "ShapeError": (RuntimeError, ValueError),
        "DTypeError": (RuntimeError, TypeError),
        "DeviceError": (RuntimeError,),
        "DimError": (IndexError,),
        "ArgumentError": (ValueError,),
        "GradientError": (RuntimeError,),
        "CaptureError": (RuntimeError,),
    }.items():
        for builtin in builtins:
            assert issubclass(getattr(ts.errors, name), builtin)


def test_an_error_leaves_everything_usable():
    x = ts.tensor(np.ones(3), requires_grad=True)
    y = x * 2
    with pytest.raises(TinyseqError):
        y + ts.zeros(2)
    with pytest.raises(TinyseqError):
        y.backward()
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 2.0, 2.0])
