"""What operations stand on: their definition, shapes, dtypes, devices, the state and who handles a call."""

import inspect
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

import tinyseq as ts
from tinyseq import backend, ops
from tinyseq.core import dtypes, shapes
from tinyseq.core.define import op
from tinyseq.core.dispatch import STATE, State, as_array, bind, describe, override
from tinyseq.core.op import Op
from tinyseq.core.sample import Bools, Ints, Sample
from tinyseq.errors import ArgumentError, DimError, DTypeError, ShapeError, TinyseqError


@pytest.fixture
def define():
    """The decorator `op`, with what it registers forgotten afterwards."""
    before = dict(Op.registry)
    yield op
    Op.registry.clear()
    Op.registry.update(before)


# Operations


def test_an_operation_is_one_block(define):
    @define(shape=shapes.elementwise, samples=(Sample(((2,), (2,))),), elementwise=True, operands="promote")
    def scaled_sum(xp, x, y):
        """Return `2 x + y`."""
        return 2 * x + y

    scaled_sum.defvjp(x=lambda g: g * 2, y=lambda g: g)
    x = ts.tensor([1.0, 2.0], requires_grad=True)
    out = scaled_sum(x, 3.0)
    out.sum().backward()
    np.testing.assert_array_equal(out.detach().numpy(), [5.0, 7.0])
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 2.0])
    np.testing.assert_array_equal(scaled_sum(np.ones(2), np.ones(2)), [3.0, 3.0])
    assert out.grad_fn.label == "scaled_sum"
    assert scaled_sum.__doc__ == "Return `2 x + y`."
    assert str(inspect.signature(scaled_sum)) == "(x, y)"


def test_a_name_is_taken_once(define):
    with pytest.raises(ValueError, match="'tanh' is already defined"):

        @define(shape=shapes.same, samples=())
        def tanh(xp, x):
            """Return nothing new."""


@pytest.mark.parametrize(
    "rules",
    [{"z": lambda g: g}, {"x": lambda g, wrong: g}, {"x": lambda x: x}],
    ids=["no such input", "no such value", "g comes first"],
)
def test_a_rule_may_name_only_what_there_is(define, rules):
    @define(shape=shapes.same, samples=())
    def identity(xp, x):
        """Return `x`."""
        return x

    with pytest.raises(TypeError, match=r"identity.defvjp\(.=...\) may only name"):
        identity.defvjp(**rules)


def test_the_tape_keeps_what_the_rules_name_and_nothing_else():
    x, y = (ts.tensor(np.ones((2, 2)), requires_grad=r) for r in (True, False))
    assert (x + y).grad_fn.kept == ()
    assert [k is y.payload for k in (x * y).grad_fn.kept] == [True]  # x is needed for the gradient of y only
    assert [k is out.payload for out in [x.tanh()] for k in out.grad_fn.kept] == [True]
    assert x.sum().grad_fn.kept[0] == (2, 2)


def test_layouts_are_shared():
    a, b = (ts.tensor([1.0], requires_grad=True) * 2 for _ in range(2))
    assert a.grad_fn.layout is b.grad_fn.layout


def test_nodes_say_what_they_are():
    x = ts.tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2).exp()
    assert repr(y.grad_fn) == "<node exp [2]>"
    assert [n.label for n, _ in y.grad_fn.next_functions] == ["mul"]
    assert repr(y.grad_fn.edges[0].edges[0]) == "<leaf [2]>"


def test_argument_names():
    assert Op.registry["cat"].argument_names(3) == ["xs[0]", "xs[1]", "xs[2]"]
    assert Op.registry["where"].argument_names(3) == ["condition", "x", "y"]


# Shapes


@given(st.lists(st.integers(0, 4), max_size=4), st.lists(st.integers(-1, 6), min_size=1, max_size=4))
@example([0, 3], [0, -1])
def test_resolve_as_numpy_reshape(have, wanted):
    array = np.zeros(have)
    try:
        expected = array.reshape(wanted).shape
    except ValueError:
        with pytest.raises((ShapeError, ArgumentError)):
            shapes.resolve(tuple(wanted), array.size)
    else:
        assert shapes.resolve(tuple(wanted), array.size) == expected


@given(*[st.lists(st.integers(0, 3), max_size=4).map(tuple)] * 2)
def test_shape_of_a_product_as_numpy(a, b):
    try:
        expected = np.matmul(np.zeros(a), np.zeros(b)).shape
    except ValueError:
        with pytest.raises(ShapeError):
            shapes.matmul(a, b)
    else:
        assert shapes.matmul(a, b) == expected


@given(st.integers(-6, 6), st.integers(0, 4))
def test_dims_as_numpy(dim, ndim):
    try:
        expected = np.lib.array_utils.normalize_axis_index(dim, ndim or 1)  # PyTorch lets a scalar have dim 0 and -1
    except np.exceptions.AxisError:
        with pytest.raises(DimError, match=f"dim {dim} is out of range for {ndim} dimensions"):
            shapes.dim_of(dim, ndim)
    else:
        assert shapes.dim_of(dim, ndim) == expected


def test_messages_name_the_function_that_the_user_called():
    for call, name in (
        (lambda: ts.zeros(2).sum(3), "sum"),
        (lambda: ts.zeros(2).std(3), "std"),
        (lambda: ts.zeros(-2), "zeros"),
        (lambda: ts.nn.functional.softmax(ts.zeros(2), 3), "softmax"),
    ):
        with pytest.raises(TinyseqError, match=rf"^{name}: "):
            call()


# Dtypes

KINDS = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


@pytest.mark.parametrize("b", [*KINDS, True, 2, 2.5])
@pytest.mark.parametrize("a", KINDS)
@pytest.mark.parametrize("ranks", [(1, 1), (0, 1), (1, 0), (0, 0)], ids=str)
def test_promotion_as_torch(a, b, ranks):
    torch = pytest.importorskip("torch")

    def make(lib, kind, rank):
        return lib.zeros((2,) * rank, dtype=getattr(lib, kind)) if isinstance(kind, str) else kind

    mine = ts.add(make(ts, a, ranks[0]), make(ts, b, ranks[1]))
    theirs = torch.add(make(torch, a, ranks[0]), make(torch, b, ranks[1]))
    assert str(mine.dtype) == str(theirs.dtype).removeprefix("torch.")


def test_the_rule_of_a_result_dtype():
    f32, f64, i64 = (np.dtype(n) for n in ("float32", "float64", "int64"))
    assert Op.registry["add"].result_dtype([f32, f64], {}) == f64
    assert Op.registry["add"].result_dtype([None, f64], {}) == f64
    assert Op.registry["eq"].result_dtype([f32, f32], {}) == np.dtype(bool)
    assert Op.registry["div"].result_dtype([i64, i64], {}) == f32
    assert Op.registry["where"].result_dtype([np.dtype(bool), None, f64], {}) == f64
    assert Op.registry["cast"].result_dtype([f32], {"dtype": i64}) == i64
    assert Op.registry["embedding"].result_dtype([f64, i64], {}) == f64


def test_default_dtype():
    ts.set_default_dtype(ts.float64)
    assert ts.tensor([1.5]).dtype == ts.zeros(2).dtype == ts.tensor([1, 2]).sigmoid().dtype == np.float64
    ts.set_default_dtype("float32")
    assert ts.tensor([1.5]).dtype == np.float32
    with pytest.raises(DTypeError, match="int64"):
        ts.set_default_dtype(ts.int64)


@pytest.mark.parametrize("wrong", ["complex128", "float99", "object", "datetime64[s]"])
def test_unknown_dtypes(wrong):
    with pytest.raises(DTypeError, match="wanted one of"):
        dtypes.as_dtype(wrong)


def test_float16_float32_and_integers_stay_what_they_are():
    for kind in ("float16", "float32", "int8", "int64"):
        x = ts.ones(3, dtype=getattr(ts, kind))
        assert (x * 2 + 1 - x).dtype == kind
    assert ts.ones(3, dtype=ts.int8).sum().dtype == np.int64


# Devices and state


def test_devices():
    assert backend.as_device(None) == backend.as_device("cpu:0") == backend.CPU
    assert backend.as_device("cuda") == backend.as_device("cuda:0") == backend.Device("cuda", 0)
    for wrong in ("gpu", "cuda:x", "cpu:1", "mps"):
        with pytest.raises(ArgumentError, match=rf"device: got '{wrong}'"):
            backend.as_device(wrong)


def test_owner_is_the_array_that_holds_the_memory():
    a = np.zeros((4, 4))
    assert backend.owner(a[1:].T[0]) is a
    assert backend.owner(a) is a


def test_importing_needs_neither_cupy_nor_torch():
    code = (
        "import sys; sys.modules.update(cupy=None, torch=None); import tinyseq as ts; "
        "assert ts.tensor([1.0]).sum().item() == 1; assert not ts.cuda.is_available()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_override_restores_the_state():
    before = STATE.get()
    with override(grad=False):
        assert not STATE.get().grad
    with pytest.raises(KeyError), override(grad=False):
        raise KeyError
    assert STATE.get() is before
    assert State().change(grad=False).grad is False


def test_a_call_goes_to_the_highest_interpreter_among_its_arguments():
    tanh, x = Op.registry["tanh"], np.array([0.5])
    assert type(bind(tanh, (x,), {})) is np.ndarray
    assert type(bind(tanh, (ts.tensor(x),), {})) is ts.Tensor
    assert type(bind(Op.registry["add"], (x, ts.tensor(x)), {})) is ts.Tensor


def test_a_subclass_gives_plain_tensors():
    class Named(ts.Tensor):
        __slots__ = ("name",)

    x = Named(np.ones(2))
    assert type(x + 1) is ts.Tensor
    assert type(ts.cat([x, x])) is ts.Tensor


def test_numpy_arrays_and_tensors_mix_on_the_host():
    x = ts.tensor([1.0, 2.0], dtype=ts.float64)
    for mixed in (x + np.ones(2), np.ones(2) + x, np.float64(1.0) + x, x + np.float64(1.0)):
        assert type(mixed) is ts.Tensor
        np.testing.assert_array_equal(mixed.numpy(), [2.0, 3.0])


def test_describe_and_as_array():
    assert describe(np.zeros((2, 3), np.float32)) == "float32[2, 3]"
    assert describe("a") == "str 'a'"
    assert as_array(np.float64(1.0)).shape == ()


def test_samples_make_what_they_say():
    ints, bools, listed, floats = Sample((Ints((4,), 9, 5), Bools((3,)), [1, 2], (2, 2)), low=2.0, high=3.0).arrays()
    assert ints.min() >= 5
    assert ints.max() < 9
    assert bools.dtype == bool
    np.testing.assert_array_equal(listed, [1, 2])
    assert floats.min() >= 2.0
    assert floats.max() < 3.0


@pytest.mark.parametrize("name", [n for n, o in Op.registry.items() if o.floating and o.differentiable])
def test_floating_results_of_integers_have_the_default_dtype(name):
    operation = Op.registry[name]
    call = getattr(ops, operation.forward.__name__)
    for sample in operation.samples:
        inputs = [ts.ones(a.shape, dtype=ts.int64) for a in sample.arrays()]
        with np.errstate(all="ignore"):
            assert call(*inputs, **sample.params).dtype == ts.float32


@pytest.mark.parametrize("spec", ["", ".3f", "8.2e", "+g"])
def test_a_tensor_of_one_element_is_formatted_as_its_value(spec):
    x = ts.tensor([1.25], dtype=ts.float64, requires_grad=True)
    assert f"{x.sum():{spec}}" == (f"{1.25:{spec}}" if spec else str(x.sum()))
    assert f"{ts.tensor([7])[0]:03d}" == "007"


# The public face


def test_every_public_name_is_there_and_documented():
    assert len(ts.__all__) == len(set(ts.__all__)) > 100
    for name in ts.__all__:
        thing = getattr(ts, name)
        if callable(thing) and not isinstance(thing, np.dtype):
            assert thing.__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("name", Op.registry)
def test_no_function_hides_an_operation_of_its_name(name):
    forward = Op.registry[name].forward
    home = sys.modules[forward.__module__]
    assert getattr(ops, forward.__name__) is getattr(home, forward.__name__)


HOMES = [sys.modules[f"tinyseq.ops.{m.name}"] for m in pkgutil.iter_modules(ops.__path__) if m.name != "signatures"]
HELPERS = {"unary", "binary", "function", "comparison", "rounding", "kept", "scan", "along", "add_at", "row_major"}


@pytest.mark.parametrize("home", HOMES, ids=lambda home: home.__name__)
def test_a_module_of_operations_offers_all_of_its_own_and_nothing_else(home):
    own = {n for n, f in vars(home).items() if inspect.isroutine(f) and f.__module__ == home.__name__ and n[0] != "_"}
    offered = [n for n in home.__all__ if inspect.isroutine(getattr(home, n))]
    assert sorted(own - HELPERS) == sorted(offered)
    for name in home.__all__:
        assert getattr(ops, name) is getattr(home, name), f"{name} is hidden by another module"
        assert [other.__name__ for other in HOMES if name in other.__all__] == [home.__name__]


@pytest.mark.parametrize("name", ["autograd", "nn", "nn.functional", "optim", "testing"])
def test_public_modules_are_documented(name):
    __import__(f"tinyseq.{name}")
    module = sys.modules[f"tinyseq.{name}"]
    for key, thing in vars(module).items():
        if callable(thing) and not key.startswith("_") and getattr(thing, "__module__", "").startswith("tinyseq"):
            assert thing.__doc__, f"{name}.{key} has no docstring"
