"""In-place methods: what the operation of the same name returns, written to the same memory."""

import numpy as np
import pytest

import tinyseq as ts
from tinyseq.autograd.inplace import InPlace
from tinyseq.errors import DTypeError, GradientError

OTHER = np.array([[0.5, -2.0, 1.5], [3.0, 0.25, -1.0]])
INDEX = np.array([[0, 2, 1], [1, 0, 2]])
ROWS = np.array([1, 0])

CALLS = {
    "add_": (OTHER,),
    "sub_": (OTHER,),
    "mul_": (OTHER,),
    "div_": (OTHER,),
    "pow_": (2.0,),
    "clamp_": (0.3, 0.8),
    "masked_fill_": (OTHER > 0, 7.0),
    "index_fill_": (0, ROWS[:1], 7.0),
    "index_add_": (0, ROWS, OTHER),
    "scatter_": (1, INDEX, OTHER),
    "scatter_add_": (1, INDEX, OTHER),
    "lerp_": (OTHER, 0.25),
    "addcmul_": (OTHER, OTHER),
    "addcdiv_": (OTHER, OTHER),
    "neg_": (),
    "abs_": (),
    "exp_": (),
    "log_": (),
    "sqrt_": (),
    "tanh_": (),
    "sigmoid_": (),
    "relu_": (),
    "triu_": (),
    "tril_": (-1,),
}
every_call = pytest.mark.parametrize(("name", "args"), CALLS.items(), ids=CALLS)
VALUES = np.array([[0.2, 0.4, 0.9], [0.6, 0.1, 0.7]])


def tensors(args):
    return [ts.tensor(a) if isinstance(a, np.ndarray) else a for a in args]


def start():
    """Return a leaf, and a value made of it that may be written to."""
    leaf = ts.tensor(VALUES, requires_grad=True)
    return leaf, leaf * 1.0


def test_every_method_is_here():
    drawn = {"uniform_", "normal_", "random_", "bernoulli_"}  # in test_random.py
    filled = {"copy_", "zero_", "fill_"}
    public = {n for n in vars(InPlace) if n.endswith("_") and not n.startswith("_")}
    assert public == set(CALLS) | drawn | filled


@every_call
def test_the_same_as_out_of_place_in_values_and_gradients(name, args):
    leaf, x = start()
    assert getattr(x, name)(*tensors(args)) is x
    other_leaf, y = start()
    wanted = getattr(y, name[:-1])(*tensors(args))
    np.testing.assert_array_equal(x.detach().numpy(), wanted.detach().numpy())
    x.sum().backward()
    wanted.sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), other_leaf.grad.numpy())


@every_call
def test_the_memory_stays(name, args):
    x = ts.tensor(VALUES)
    values = x.numpy()
    getattr(x, name)(*tensors(args))
    assert x.payload is values.base
    assert x.dtype == ts.float64


@every_call
def test_a_leaf_that_requires_gradients_is_refused_by_name(name, args):
    leaf, _ = start()
    with pytest.raises(GradientError, match=name):
        getattr(leaf, name)(*tensors(args))
    with ts.no_grad():
        getattr(leaf, name)(*tensors(args))
    assert leaf.is_leaf
    assert leaf.requires_grad


@every_call
def test_a_value_saved_for_backward_is_noticed(name, args):
    _, x = start()
    out = (x * x).sum()

    def write_and_walk():
        getattr(x, name)(*tensors(args))
        out.backward()

    with pytest.raises(GradientError, match=f"{name}|in place"):
        write_and_walk()


def test_a_saved_view_is_watched_through_the_memory_that_it_looks_at():
    whole = ts.ones(4)
    x = whole[:2].detach().requires_grad_()
    out = (x * x).sum()
    with ts.no_grad():
        whole.zero_()
    with pytest.raises(GradientError, match="in place"):
        out.backward()


def test_a_view_gets_no_history_that_the_whole_lacks():
    whole, value = ts.ones(4), ts.ones(2).requires_grad_()
    part = whole[1:3]
    with pytest.raises(GradientError, match="shared with a view"):
        part.add_(value)
    assert whole.tolist() == [1.0] * 4


def test_filling_and_copying():
    x = ts.zeros(2, 3)
    assert x.fill_(2).tolist() == [[2.0] * 3] * 2
    assert x.fill_(ts.tensor(4.0)).tolist() == [[4.0] * 3] * 2
    assert x.zero_().tolist() == [[0.0] * 3] * 2
    assert x.copy_(ts.tensor([1, 2, 3])).tolist() == [[1.0, 2.0, 3.0]] * 2
    assert x.dtype == ts.float32
    ints = ts.tensor([1, 2])
    assert ints.copy_(ts.tensor([1.7, -1.2])).tolist() == [1, -1]
    with pytest.raises(DTypeError, match="add_"):
        ints.add_(0.5)
    with pytest.raises(DTypeError, match="div_"):
        ints.div_(2)


@pytest.mark.parametrize(
    ("operator", "name"), [("__iadd__", "add"), ("__isub__", "sub"), ("__imul__", "mul"), ("__itruediv__", "div")]
)
def test_augmented_assignment(operator, name):
    x = ts.tensor(VALUES)
    wanted = getattr(ts, name)(x, ts.tensor(OTHER)).numpy().copy()
    memory = x.payload
    x = getattr(x, operator)(ts.tensor(OTHER))
    assert x.payload is memory
    np.testing.assert_array_equal(x.numpy(), wanted)


def test_new_tensors_take_over_dtype_and_device():
    x = ts.zeros(2, dtype=ts.float64)
    for made, value in ((x.new_zeros(2, 3), 0), (x.new_ones((2, 3)), 1), (x.new_full((2, 3), 5), 5)):
        assert made.dtype == ts.float64
        assert made.device == x.device
        assert made.tolist() == [[value] * 3] * 2
    assert x.new_zeros(1, dtype=ts.int64).dtype == ts.int64


def test_sizes_and_conversions():
    x = ts.zeros(2, 3, 4)
    assert (x.size(), x.size(-1), x.numel(), x.dim(), x.element_size(), x.nbytes) == ((2, 3, 4), 4, 24, 3, 4, 96)
    assert x.is_floating_point()
    assert not x.long().is_floating_point()
    assert x.float() is x
    assert x.is_contiguous()
    assert not x.mT.is_contiguous()
    for name, dtype in (
        ("double", "float64"),
        ("half", "float16"),
        ("long", "int64"),
        ("int", "int32"),
        ("bool", "bool"),
    ):
        assert str(getattr(x, name)().dtype) == dtype
