"""A stand-in for CuPy that holds its arrays in NumPy, and is stricter than NumPy where CuPy is.

It has what CuPy has, as far as tinyseq uses it, and nothing else: a name that is not listed here is looked up in
CuPy's documentation before it is added. What CuPy refuses is refused: arrays of NumPy as operands, as values that are
assigned, and implicit conversion to NumPy. Beyond that, also index arrays of NumPy and lists are refused, which CuPy
would copy to the device without a word. Results are never NumPy scalars: reductions and single elements are 0-d arrays.
`transfers` counts what crosses between host and device.
"""

import sys
from collections import Counter
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import numpy as np

from tinyseq import backend
from tinyseq.ops import random

transfers = Counter()


def names(text):
    """Names, as a list."""
    return text.split()


_current = [0]


class ndarray:
    """An array on a device: NumPy's, in a box that does not open by itself."""

    __slots__ = ("__weakref__", "_a", "_device", "base")

    __array_ufunc__ = None  # NumPy's functions do not take it
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, held, device=None, base=None):
        self._a, self.base = held, base
        self._device = _current[0] if device is None else device

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    # What it is

    @property
    def device(self):
        return SimpleNamespace(id=self._device)

    @property
    def T(self):
        return _box(self._a.T, self)

    # To the host

    def get(self):
        transfers["to host"] += 1
        return self._a.copy()

    def item(self):
        transfers["to host"] += 1
        return self._a.item()

    def tolist(self):
        return self.get().tolist()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.item())

    def __len__(self):
        return len(self._a)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        return f"fake{self._a!r}"

    # Indexing

    def __getitem__(self, key):
        return _box(self._a[_key(key)], self)

    def __setitem__(self, key, value):
        self._a[_key(key)] = _operand(value)

    def reshape(self, *shape):
        return _box(self._a.reshape(*shape), self)

    def transpose(self, *axes):
        return _box(self._a.transpose(*axes), self)


class Ufunc:
    """An elementwise function; only what CuPy's has."""

    SCATTER = {"add": "iuf", "maximum": "iuf", "minimum": "iuf"}

    def __init__(self, name):
        self.__name__, self._function = name, getattr(np, name)

    def __call__(self, *args, out=None, dtype=None):
        operands = [_operand(a) for a in args]
        if not any(isinstance(a, ndarray) for a in args):
            raise TypeError(f"{self.__name__}: no array among {[type(a).__name__ for a in args]}")
        _same_device(args)
        held = {} if out is None else {"out": _operand(out)}
        if dtype is not None:
            held["dtype"] = dtype
        result = self._function(*operands, **held)
        if out is None and len(args) > self._function.nin:
            out = args[-1]
        return _box(result, args[0]) if out is None else out

    def at(self, a, indices, b=None):
        if a.dtype.kind not in self.SCATTER.get(self.__name__, "") or a.dtype.itemsize < 2 or a.dtype == np.int16:
            raise NotImplementedError(f"{self.__name__}.at is not there for {a.dtype}")
        self._function.at(a._a, _key(indices), _operand(b))

    def accumulate(self, array, axis=0, dtype=None, out=None):
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"{self.__name__}.accumulate is not supported yet")
        return _box(self._function.accumulate(array._a, axis, dtype), array)


def _operand(value):
    """Return what is inside of a box, or a number; refuse arrays of NumPy and everything else."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, bool | int | float | complex | np.generic):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _key(key):
    """Return an index with its boxes opened; refuse what CuPy would have to copy to the device."""
    if isinstance(key, tuple):
        return tuple(_key(k) for k in key)
    if key is None or key is Ellipsis or isinstance(key, slice | int | np.integer):
        return key
    if isinstance(key, ndarray):
        return key._a
    raise TypeError(f"an index of type {type(key)} would be copied to the device")


def _same_device(values):
    found = {v._device for v in values if isinstance(v, ndarray)}
    if len(found) > 1:
        raise ValueError(f"Array device must be same as the current device: array devices = {sorted(found)}")


def _box(result, like=None):
    """Put a result into a box; one that looks at the memory of `like` is its view."""
    if isinstance(result, tuple | list):
        return type(result)(_box(r, like) for r in result)
    if not isinstance(result, np.ndarray | np.generic):
        return result
    held = np.asarray(result)
    device, base = None, None
    if isinstance(like, ndarray):
        device = like._device
        if held.base is not None and np.may_share_memory(held, like._a):
            base = like if like.base is None else like.base
    return ndarray(held, device, base)


def _open(value):
    if isinstance(value, tuple | list):
        return type(value)(_open(v) for v in value)
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return value._a if isinstance(value, ndarray) else value


def _first(values):
    for v in values:
        if isinstance(v, ndarray):
            return v
        if isinstance(v, tuple | list) and (found := _first(v)) is not None:
            return found
    return None


def _function(name, where=np):
    """Return NumPy's function `name`, on boxes."""
    inner = getattr(where, name)

    def call(*args, **kwargs):
        values = [*args, *kwargs.values()]
        _same_device([v for a in values for v in (a if isinstance(a, tuple | list) else [a])])
        return _box(inner(*map(_open, args), **{k: _open(v) for k, v in kwargs.items()}), _first(values))

    call.__name__ = name
    return call


def _method(name):
    def call(self, *args, **kwargs):
        result = getattr(self._a, name)(*map(_open, args), **{k: _open(v) for k, v in kwargs.items()})
        return _box(result, self)

    return call


def _operator(name):
    def call(self, *others):
        if any(isinstance(o, np.ndarray) for o in others):
            raise TypeError(f"Unsupported type {type(others[0])}")
        if not all(isinstance(o, ndarray | bool | int | float | complex | np.generic) for o in others):
            return NotImplemented
        _same_device((self, *others))
        result = getattr(self._a, name)(*map(_operand, others))
        if name.startswith("__i") and name != "__invert__":
            return self
        return result if result is NotImplemented else _box(result, self)

    return call


for _name in names("shape dtype ndim size itemsize nbytes strides flags"):
    setattr(ndarray, _name, property(lambda self, name=_name: getattr(self._a, name)))
for _name in names(
    "copy astype sum prod mean var max min argmax argmin any all cumsum cumprod nonzero argsort ravel flatten "
    "squeeze swapaxes diagonal trace repeat clip take dot fill view round"
):
    setattr(ndarray, _name, _method(_name))
for _name in names(
    "add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv floordiv rfloordiv mod rmod pow rpow "
    "matmul rmatmul neg pos abs invert and or xor lshift rlshift rshift rrshift eq ne lt le gt ge"
):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))

UFUNCS = names(
    "add subtract multiply true_divide divide floor_divide remainder fmod power negative absolute sign exp exp2 "
    "expm1 log log2 log10 log1p sqrt square cbrt reciprocal sin cos tan arcsin arccos arctan arctan2 sinh cosh "
    "tanh arcsinh arccosh arctanh maximum minimum fmax fmin hypot logaddexp floor ceil trunc rint copysign "
    "signbit isnan isinf isfinite equal not_equal less less_equal greater greater_equal logical_and logical_or "
    "logical_not logical_xor bitwise_and bitwise_or bitwise_xor invert left_shift right_shift"
)
FUNCTIONS = names(
    "where clip around dot matmul tensordot einsum vdot inner outer concatenate stack broadcast_to "
    "broadcast_arrays moveaxis swapaxes transpose reshape ravel expand_dims squeeze flip roll rot90 tile repeat "
    "take take_along_axis tril triu diag diagonal trace sum prod mean var std amax amin max min argmax argmin any "
    "all cumsum cumprod diff nonzero flatnonzero searchsorted sort unique bincount zeros_like ones_like full_like "
    "empty_like copyto ascontiguousarray isclose allclose kron cross argsort put_along_axis partition "
    "argpartition"
)
CREATION = names("zeros ones full empty arange linspace eye identity tri")
LINALG = names("solve inv det slogdet cholesky qr svd eigh norm matrix_power lstsq pinv")


class ElementwiseKernel:
    """Only tinyseq's Philox kernel is known here; this is another way to compute the same numbers."""

    def __init__(self, in_params, out_params, operation, name):
        if name != "tinyseq_philox":
            raise NotImplementedError(f"no stand-in for the kernel {name!r}")

    def __call__(self, seed, offset, low, high):
        for n in range(low.size):
            c0, c1, c2, c3 = philox4x32((int(offset) + n) % 2**64, int(seed))
            low._a[n], high._a[n] = c0 | c1 << 32, c2 | c3 << 32


def philox4x32(counter, key):
    """Return four words: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3."""
    word = 2**32 - 1
    c = [counter & word, counter >> 32 & word, counter >> 64 & word, counter >> 96]
    k = [key & word, key >> 32]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & word, (p >> 32) ^ c[3] ^ k[1], p & word]
        k = [(k[0] + 0x9E3779B9) & word, (k[1] + 0xBB67AE85) & word]
    return c


class _Device:
    """`cupy.cuda.Device`: the device on which arrays are made inside a `with` block."""

    def __init__(self, device=None):
        self.id = _current[0] if device is None else device
        self._before = []

    def __enter__(self):
        self._before.append(_current[0])
        _current[0] = self.id
        return self

    def __exit__(self, *error):
        _current[0] = self._before.pop()

    def use(self):
        _current[0] = self.id

    def synchronize(self):
        pass


def asarray(value, dtype=None):
    """Copy to the device what is not there."""
    if isinstance(value, ndarray):
        return value if dtype is None or value.dtype == dtype else value.astype(dtype)
    if not isinstance(value, np.generic | bool | int | float):
        transfers["to device"] += 1
    return ndarray(np.array(value, dtype))


def asnumpy(value):
    """Copy to the host."""
    return value.get() if isinstance(value, ndarray) else np.asarray(value)


def fake_cupy(devices=1):
    """Return a new module that pretends to be CuPy on a machine with so many GPUs."""
    module = ModuleType("cupy")
    module.__version__ = "14.0.0+fake"
    for name in UFUNCS:
        setattr(module, name, Ufunc(name))
    module.abs = module.absolute
    for name in FUNCTIONS + CREATION:
        setattr(module, name, _function(name))
    module.linalg = ModuleType("cupy.linalg")
    for name in LINALG:
        setattr(module.linalg, name, _function(name, np.linalg))
    for name in names("float16 float32 float64 int8 int16 int32 int64 uint8 uint32 uint64 bool_ newaxis inf nan pi"):
        setattr(module, name, getattr(np, name))
    module.ndarray, module.asarray, module.array, module.asnumpy = ndarray, asarray, asarray, asnumpy
    module.ElementwiseKernel = ElementwiseKernel
    runtime = SimpleNamespace(
        getDeviceCount=lambda: devices, getDevice=lambda: _current[0], runtimeGetVersion=lambda: 13000
    )
    module.cuda = SimpleNamespace(runtime=runtime, Device=_Device)
    return module


@contextmanager
def installed(devices=1):
    """Let `import cupy` find the stand-in inside a `with` block, and leave no trace of it."""
    module, before = fake_cupy(devices), sys.modules.get("cupy")
    sys.modules["cupy"] = module
    forget()
    transfers.clear()
    try:
        yield module
    finally:
        forget()
        del sys.modules["cupy"]
        if before is not None:
            sys.modules["cupy"] = before


def forget():
    """Make tinyseq look for CuPy again, and drop the generators that were made on it."""
    backend.cupy.cache_clear()
    backend.NAMESPACES.pop(ndarray, None)
    for device in [d for d in random._defaults if d.type == "cuda"]:
        del random._defaults[device]
