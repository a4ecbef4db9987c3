"""Everything on a GPU: on the stand-in for CuPy wherever the tests run, on the real one where there is a device."""

import sys

import numpy as np
import pytest

import tinyseq as ts
from tests import fake_cupy
from tests.helpers import every_sample
from tinyseq import backend, nn, testing
from tinyseq.autograd import grad
from tinyseq.errors import DeviceError, TinyseqError


def host(t):
    """The values of a tensor, as an array of NumPy."""
    return t.detach().cpu().numpy()


@pytest.mark.gpu
def test_there_is_a_gpu():
    assert ts.cuda.device_count() > 0


# Every operation


@every_sample
def test_operation_equals_numpy(op, sample, cuda):
    testing.check_op(op, sample, device=cuda)


@every_sample
def test_nothing_is_transferred_in_secret(op, sample, fake):
    where = backend.Device("cuda", 0)
    arrays, params = testing.on_device(sample, where)
    inputs = [ts.Tensor(a) for a in arrays]
    leaves = [x.requires_grad_() for x in inputs if x.dtype.kind == "f"]
    fake_cupy.transfers.clear()
    out = op(*inputs, **params)
    if op.differentiable and leaves:
        grads = grad(out, leaves, ts.ones_like(out), create_graph=True)
        again = [g for g in grads if g.requires_grad]
        if again:
            grad(again, leaves, [ts.ones_like(g) for g in again], allow_unused=True)
    assert not fake_cupy.transfers


def test_selftest_on_the_device(cuda):
    results = list(testing.check_all(cuda, names=["add", "tanh", "matmul", "uniform"]))
    assert len(results) > 5
    assert [r for r in results if not r.ok] == []


# Creation, randomness, moving


CREATION = {
    "zeros": lambda d: ts.zeros(2, 3, device=d),
    "ones": lambda d: ts.ones(2, 3, device=d),
    "full": lambda d: ts.full((2, 3), 1.5, device=d),
    "arange": lambda d: ts.arange(2, 9, 2, device=d),
    "arange of floats": lambda d: ts.arange(0.0, 1.0, 0.25, device=d),
    "linspace": lambda d: ts.linspace(0, 1, 5, device=d),
    "eye": lambda d: ts.eye(3, device=d),
    "tensor": lambda d: ts.tensor([[1.0, 2.0]], device=d),
    "as_tensor": lambda d: ts.as_tensor([1, 2], device=d),
    "zeros_like": lambda d: ts.zeros_like(ts.ones(2, device=d)),
    "full_like": lambda d: ts.full_like(ts.ones(2, device=d), 3),
    "one_hot": lambda d: nn.functional.one_hot(ts.tensor([0, 2], device=d), 3),
    "tril_indices": lambda d: ts.tril_indices(3, 3, device=d),
    "clone": lambda d: ts.ones(2, device=d).clone(),
    "new_zeros": lambda d: ts.ones(2, device=d).new_zeros(3),
}
RANDOM = {
    "rand": lambda d: ts.rand(100, device=d),
    "rand of float64": lambda d: ts.rand(100, dtype=ts.float64, device=d),
    "rand of float16": lambda d: ts.rand(100, dtype=ts.float16, device=d),
    "randn": lambda d: ts.randn(100, device=d),
    "randint": lambda d: ts.randint(3, 9, (100,), device=d),
    "randperm": lambda d: ts.randperm(100, device=d),
    "rand_like": lambda d: ts.rand_like(ts.zeros(100, device=d)),
    "bernoulli": lambda d: ts.bernoulli(ts.full((100,), 0.5, device=d)),
    "multinomial": lambda d: ts.multinomial(ts.ones(100, device=d), 50),
    "normal_": lambda d: ts.empty(100, device=d).normal_(),
    "uniform_": lambda d: ts.empty(100, device=d).uniform_(-1, 1),
    "dropout": lambda d: nn.functional.dropout(ts.ones(100, device=d), 0.5),
}


@pytest.mark.parametrize("name", CREATION)
def test_creation(name, cuda):
    made, wanted = CREATION[name](cuda), CREATION[name]("cpu")
    assert str(made.device) == "cuda:0"
    assert made.is_cuda
    assert made.dtype == wanted.dtype
    np.testing.assert_array_equal(host(made), host(wanted))


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers(name, cuda):
    ts.manual_seed(3)
    first, second = RANDOM[name](cuda), RANDOM[name](cuda)
    ts.manual_seed(3)
    again = RANDOM[name](cuda)
    assert str(first.device) == "cuda:0"
    wanted = RANDOM[name]("cpu")
    assert (first.shape, first.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_array_equal(host(first), host(again))
    assert not np.array_equal(host(first), host(second))


def test_uniform_numbers_are_uniform_and_normal_ones_normal(cuda):
    ts.manual_seed(0)
    stats = pytest.importorskip("scipy.stats")
    assert stats.kstest(host(ts.rand(3000, dtype=ts.float64, device=cuda)), "uniform").pvalue > 1e-3
    assert stats.kstest(host(ts.randn(3000, dtype=ts.float64, device=cuda)), "norm").pvalue > 1e-3
    counts = np.bincount(host(ts.randint(0, 6, (3000,), device=cuda)), minlength=6)
    assert stats.chisquare(counts).pvalue > 1e-3
    np.testing.assert_array_equal(np.sort(host(ts.randperm(50, device=cuda))), np.arange(50))


def test_a_generator_is_saved_and_restored(cuda):
    generator = ts.Generator(cuda).manual_seed(5)
    ts.rand(7, generator=generator, device=cuda)
    state = generator.get_state()
    first = host(ts.rand(7, generator=generator, device=cuda))
    generator.set_state(state)
    np.testing.assert_array_equal(host(ts.rand(7, generator=generator, device=cuda)), first)
    with pytest.raises(TinyseqError, match=r"cuda:0.*cpu"):
        ts.rand(7, generator=generator)


def test_the_stand_in_computes_philox_as_published():
    """Known answers: Random123, kat_vectors, philox4x32-10."""
    ones = 2**128 - 1
    assert [f"{w:08x}" for w in fake_cupy.philox4x32(0, 0)] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    assert [f"{w:08x}" for w in fake_cupy.philox4x32(ones, 2**64 - 1)] == [
        "408f276d", "41c83b0e", "a20bc7c6", "6d5451fd",
    ]  # fmt: skip


def test_moving(cuda):
    x = ts.tensor([1.0, 2.0])
    y = x.to(cuda)
    assert (str(x.device), str(y.device), str(y.cpu().device)) == ("cpu", "cuda:0", "cpu")
    assert y.to(cuda) is y
    assert y.cuda() is y
    assert y.to("cuda:0") is y
    assert x.cpu() is x
    assert x.to(y).is_cuda
    assert x.to(cuda, ts.float64).dtype == np.float64
    assert "device='cuda:0'" in repr(y)
    np.testing.assert_array_equal(host(y), [1.0, 2.0])


def test_gradients_cross_devices(cuda):
    x = ts.tensor([1.0, 2.0], requires_grad=True)
    (x.to(cuda) * ts.tensor([3.0, 4.0], device=cuda)).cpu().sum().backward()
    assert str(x.grad.device) == "cpu"
    np.testing.assert_array_equal(host(x.grad), [3.0, 4.0])


def test_values_come_to_the_host_only_when_asked_for(cuda):
    x = ts.tensor([1.0, 2.0], device=cuda)
    with pytest.raises(DeviceError, match=r"numpy: the tensor is on cuda:0; use t.cpu\(\) first"):
        x.numpy()
    with pytest.raises(DeviceError, match=r"cuda:0"):
        np.asarray(x)
    assert x.tolist() == [1.0, 2.0]
    assert x[1].item() == 2.0
    assert float(x.sum()) == 3.0
    assert bool((x > 0).all())


# Indexing


KEYS = {
    "integer": 1,
    "negative": -1,
    "slice": slice(1, 3),
    "stride": slice(None, None, 2),
    "new dimension": (None, 0),
    "ellipsis": (..., 1),
    "pair": (slice(None), 1),
    "list": [0, 2],
    "list and slice": ([0, 2], slice(0, 2)),
}


@pytest.mark.parametrize("name", KEYS)
def test_indexing(name, cuda):
    values = np.arange(12.0).reshape(4, 3)
    x, y = ts.tensor(values, device=cuda, requires_grad=True), ts.tensor(values, requires_grad=True)
    np.testing.assert_array_equal(host(x[KEYS[name]]), host(y[KEYS[name]]))
    (x[KEYS[name]] ** 2).sum().backward()
    (y[KEYS[name]] ** 2).sum().backward()
    np.testing.assert_array_equal(host(x.grad), host(y.grad))
    with ts.no_grad():
        x[KEYS[name]] = 7.0
        y[KEYS[name]] = 7.0
    np.testing.assert_array_equal(host(x), host(y))


def test_indexing_with_tensors_and_masks(cuda):
    values = np.arange(12.0).reshape(4, 3)
    x, y = ts.tensor(values, device=cuda), ts.tensor(values)
    rows = ts.tensor([[0, 3], [1, 0]])
    np.testing.assert_array_equal(host(x[rows.to(cuda)]), host(y[rows]))
    np.testing.assert_array_equal(host(x[x > 4]), host(y[y > 4]))
    np.testing.assert_array_equal(host(x[x[:, 0] > 2]), host(y[y[:, 0] > 2]))
    x[x > 4], y[y > 4] = 0.0, 0.0
    np.testing.assert_array_equal(host(x), host(y))
    x[rows.to(cuda)[0]], y[rows[0]] = ts.ones(2, 3, dtype=ts.float64, device=cuda), ts.ones(2, 3, dtype=ts.float64)
    np.testing.assert_array_equal(host(x), host(y))


# Mixing


MIXED = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: b - a,
    "maximum": lambda a, b: ts.maximum(a, b),
    "eq": lambda a, b: a == b,
    "where": lambda a, b: ts.where(a > 0, a, b),
    "matmul": lambda a, b: a @ b,
    "linear": lambda a, b: nn.functional.linear(a, b),
    "cat": lambda a, b: ts.cat([a, b]),
    "stack": lambda a, b: ts.stack([b, a]),
    "gather": lambda a, b: a.gather(0, b.to(ts.int64)),
    "embedding": lambda a, b: nn.functional.embedding(b.to(ts.int64), a),
    "masked_fill": lambda a, b: a.masked_fill(b > 0, 1.0),
    "add_": lambda a, b: a.add_(b),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("swapped", [False, True])
def test_mixing_devices_is_refused(name, swapped, cuda):
    a, b = ts.ones(2, 2, device=cuda), ts.ones(2, 2)
    with pytest.raises(DeviceError, match=r"cpu and cuda:0.*\.to\(device\)"):
        MIXED[name](*((b, a) if swapped else (a, b)))


def test_setitem_from_another_device_is_refused(cuda):
    x = ts.zeros(2, device=cuda)
    with pytest.raises(DeviceError, match="cpu and cuda:0"):
        x[0] = ts.ones(())
    x.copy_(ts.ones(2))
    assert x.tolist() == [1.0, 1.0]


def test_a_gradient_from_another_device_is_refused(cuda):
    x = ts.ones(2, device=cuda, requires_grad=True)
    with pytest.raises(DeviceError, match=r"backward: got a gradient on cpu for a tensor on cuda:0.*\.to\(device\)"):
        (x * 2.0).backward(ts.ones(2))


def test_numbers_mix_with_everything(cuda):
    x = ts.tensor([1.0, 2.0], device=cuda)
    np.testing.assert_array_equal(host(2 * x + 1 - x / 2), [2.5, 4.0])


def test_two_gpus_do_not_mix_either():
    with fake_cupy.installed(devices=2):
        a, b = ts.ones(2, device="cuda:0"), ts.ones(2, device="cuda:1")
        assert str(b.device) == "cuda:1"
        with pytest.raises(DeviceError, match="cuda:0 and cuda:1"):
            a + b
        assert str((b * b).device) == "cuda:1"


# What is missing


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    fake_cupy.forget()
    assert not ts.cuda.is_available()
    assert ts.cuda.device_count() == 0
    for ask in (lambda: ts.zeros(2, device="cuda"), lambda: ts.ones(2).cuda(), lambda: ts.ones(2).to("cuda")):
        with pytest.raises(DeviceError, match="needs CuPy: pip install cupy"):
            ask()
    with pytest.raises(DeviceError, match="needs CuPy"):
        nn.Linear(2, 2).to("cuda")
    fake_cupy.forget()


def test_cupy_without_a_gpu():
    with fake_cupy.installed(devices=0):
        assert not ts.cuda.is_available()
        with pytest.raises(DeviceError, match="needs an NVIDIA GPU; CuPy finds none"):
            ts.zeros(2, device="cuda")


def test_cupy_without_a_driver():
    with fake_cupy.installed() as module:

        def fail():
            raise RuntimeError("cudaErrorInsufficientDriver: driver is too old")

        module.cuda.runtime.getDeviceCount = fail
        assert not ts.cuda.is_available()
        with pytest.raises(DeviceError, match=r"NVIDIA GPU and its driver; CuPy says: cudaErrorInsufficientDriver"):
            ts.zeros(2, device="cuda")


def test_the_stand_in_leaves_no_trace():
    with fake_cupy.installed():
        assert ts.cuda.is_available()
        ts.rand(2, device="cuda")
    assert fake_cupy.ndarray not in backend.NAMESPACES
    assert sys.modules.get("cupy") is None or sys.modules["cupy"].__version__ != "14.0.0+fake"


def test_the_stand_in_is_as_strict_as_cupy(fake):
    x = fake.asarray(np.ones(3))
    for wrong in (
        lambda: x + np.ones(3),
        lambda: np.ones(3) + x,
        lambda: np.add(x, x),
        lambda: np.asarray(x),
        lambda: x.__setitem__(0, np.ones(())),
        lambda: x[np.array([0])],
        lambda: fake.add(np.ones(3), x),
        lambda: fake.where(x > 0, x, np.ones(3)),
        lambda: fake.concatenate([x, np.ones(3)]),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(NotImplementedError):
        fake.maximum.accumulate(x)
    assert type(x.sum()) is fake.ndarray
    assert type(x[0]) is fake.ndarray
    assert x[1:].base is x


def test_a_write_with_history_is_watched_on_the_device_too(cuda):
    x = ts.tensor([1.0, 2.0], device=cuda, requires_grad=True)
    a = x * 1.0
    y = (a * a).sum()
    with ts.no_grad():
        a.detach()[0] = 5.0
    with pytest.raises(TinyseqError, match="modified in place"):
        y.backward()
    b = x * 2.0
    view = b[:1]
    with pytest.raises(TinyseqError, match="cannot give this tensor a new history"):
        b.mul_(x)
    del view
    b.mul_(x)
    b.sum().backward()
    np.testing.assert_array_equal(host(x.grad), [4.0, 8.0])
