"""Random numbers: generators with an explicit state, and the operations that draw from them.

An operation here has no array inputs: it takes the generator as a parameter, so a captured program draws new numbers
each time that it runs, from the same stream and in the same order as the eager one.
"""

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from tinyseq.backend import CPU, Array, Device, Namespace, as_device, namespace_on, on
from tinyseq.core import dtypes, shapes
from tinyseq.core.define import Operation, op
from tinyseq.core.sample import Sample
from tinyseq.core.shapes import Shape
from tinyseq.errors import ArgumentError, ShapeError

_MASK = (1 << 64) - 1

# Philox4x32-10: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3. Each thread
# makes the four words of one counter.
_PHILOX = """
unsigned int k0 = (unsigned int)seed, k1 = (unsigned int)(seed >> 32);
unsigned long long at = offset + i;
unsigned int c0 = (unsigned int)at, c1 = (unsigned int)(at >> 32), c2 = 0, c3 = 0;
for (int r = 0; r < 10; ++r) {
  unsigned long long p0 = 0xD2511F53ULL * c0, p1 = 0xCD9E8D57ULL * c2;
  unsigned int h0 = (unsigned int)(p0 >> 32), h1 = (unsigned int)(p1 >> 32);
  c0 = h1 ^ c1 ^ k0; c1 = (unsigned int)p1; c2 = h0 ^ c3 ^ k1; c3 = (unsigned int)p0;
  k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
}
low = ((unsigned long long)c1 << 32) | c0; high = ((unsigned long long)c3 << 32) | c2;
"""


class _HostStream:
    """NumPy's Philox generator: the stream of numbers in host memory."""

    def __init__(self, seed: int) -> None:
        self.bits = np.random.Philox(seed)
        self.numpy = np.random.Generator(self.bits)

    def uniform(self, shape: Shape, dtype: dtypes.DType) -> Array:
        if dtype == dtypes.float16:  # 11 bits, so that rounding never gives 1
            return (self.numpy.integers(0, 2048, shape) / 2048).astype(dtype)
        return np.asarray(self.numpy.random(shape, dtype))

    def normal(self, shape: Shape, dtype: dtypes.DType) -> Array:
        wide = dtypes.float32 if dtype == dtypes.float16 else dtype
        return np.asarray(self.numpy.standard_normal(shape, wide)).astype(dtype, copy=False)

    def integers(self, low: int, high: int, shape: Shape) -> Array:
        return np.asarray(self.numpy.integers(low, high, shape))

    def permutation(self, n: int) -> Array:
        return self.numpy.permutation(n)

    @property
    def state(self) -> list[int]:
        held: Any = self.bits.state
        inner = held["state"]
        last = (held["buffer_pos"], held["has_uint32"], held["uinteger"])
        return [int(n) for part in (inner["counter"], inner["key"], held["buffer"], last) for n in part]

    @state.setter
    def state(self, words: list[int]) -> None:
        parts = np.array(words, np.uint64)
        self.bits.state = {
            "bit_generator": "Philox",
            "state": {"counter": parts[:4], "key": parts[4:6]},
            "buffer": parts[6:10],
            "buffer_pos": words[10],
            "has_uint32": words[11],
            "uinteger": words[12],
        }


class _DeviceStream:
    """Philox by counter on a GPU: the state is the seed and how many counters were used."""

    def __init__(self, seed: int, device: Device) -> None:
        self.seed, self.offset, self.device, self.xp = seed, 0, device, namespace_on(device)
        self.kernel = self.xp.ElementwiseKernel(
            "uint64 seed, uint64 offset", "uint64 low, uint64 high", _PHILOX, "tinyseq_philox"
        )

    def words(self, n: int) -> tuple[Array, Array]:
        with on(self.device) as xp:
            low, high = xp.empty(n, np.uint64), xp.empty(n, np.uint64)
            self.kernel(np.uint64(self.seed), np.uint64(self.offset), low, high)
        self.offset = (self.offset + n) & _MASK
        return low, high

    def uniform(self, shape: Shape, dtype: dtypes.DType) -> Array:
        bits = {2: 11, 4: 24, 8: 53}[dtype.itemsize]
        word, _ = self.words(math.prod(shape))
        return ((word >> np.uint64(64 - bits)).astype(np.float64) * 2.0**-bits).astype(dtype).reshape(shape)

    def normal(self, shape: Shape, dtype: dtypes.DType) -> Array:
        """Box and Muller's transform of two uniform numbers, one of them in (0, 1]."""
        low, high = self.words(math.prod(shape))
        radius = self.xp.sqrt(-2 * self.xp.log(((low >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53))
        angle = (high >> np.uint64(11)).astype(np.float64) * (2 * math.pi * 2.0**-53)
        return (radius * self.xp.cos(angle)).astype(dtype).reshape(shape)

    def integers(self, low: int, high: int, shape: Shape) -> Array:
        word, _ = self.words(math.prod(shape))
        return ((word % np.uint64(high - low)).astype(np.int64) + low).reshape(shape)

    def permutation(self, n: int) -> Array:
        return self.xp.argsort(self.words(n)[0])

    @property
    def state(self) -> list[int]:
        return [self.seed, self.offset]

    @state.setter
    def state(self, words: list[int]) -> None:
        self.seed, self.offset = words


class Generator:
    """A stream of random numbers with a state of its own, that can be saved and restored.

    Parameters
    ----------
    device
        Where its numbers are made: "cpu" (NumPy's Philox) or "cuda".

    >>> g = Generator().manual_seed(0)
    >>> state = g.get_state()
    >>> first = g.stream.uniform((2,), dtypes.float32)
    >>> bool((g.set_state(state).stream.uniform((2,), dtypes.float32) == first).all())
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = as_device(device)
        self.seed()

    def manual_seed(self, seed: int) -> Self:
        """Start the stream that belongs to `seed`, an integer; returns the generator."""
        try:
            self._seed = seed.__index__() & _MASK
        except AttributeError:
            raise ArgumentError(f"manual_seed: got {seed!r}, wanted an integer") from None
        self.stream = _HostStream(self._seed) if self.device == CPU else _DeviceStream(self._seed, self.device)
        return self

    def seed(self) -> int:
        """Start a stream of which nobody knows the seed in advance, and return the seed."""
        self.manual_seed(int(np.random.SeedSequence().generate_state(1, np.uint64)[0]))
        return self._seed

    def initial_seed(self) -> int:
        """Return the seed that the stream started from."""
        return self._seed

    def get_state(self) -> Array:
        """Return the position in the stream as a NumPy array of uint64."""
        return np.array(self.stream.state, np.uint64)

    def set_state(self, state: Any) -> Self:
        """Go to a position that `get_state` returned.

        Raises
        ------
        ShapeError
            If `state` is not of the length that this generator has.
        """
        words = [int(n) for n in np.asarray(state).reshape(-1)]
        if len(words) != len(self.stream.state):
            raise ShapeError(f"set_state: got {len(words)} numbers, wanted {len(self.stream.state)} for {self.device}")
        self.stream.state = words
        return self

    def __repr__(self) -> str:
        return f"<Generator {self.device}>"


# The default generators are made when first used, from the last seed that manual_seed was given.
_defaults: dict[Device, Generator] = {}
_seed: int | None = None


def default_generator(device: Any = None) -> Generator:
    """Return the generator that random functions use on `device` if they are given none."""
    where = as_device(device)
    found = _defaults.get(where)
    if found is None:
        found = _defaults[where] = Generator(where)
        if _seed is not None:
            found.manual_seed(_seed)
    return found


def manual_seed(seed: int) -> Generator:
    """Seed the default generators of all devices, and return that of the CPU."""
    global _seed
    default_generator().manual_seed(seed)
    _seed = seed
    for generator in _defaults.values():
        generator.manual_seed(seed)
    return default_generator()


def get_rng_state() -> Array:
    """Return the position of the CPU's default generator, which `save` can keep in a checkpoint.

    >>> state = get_rng_state()
    >>> set_rng_state(state)
    """
    return default_generator().get_state()


def set_rng_state(new_state: Array) -> None:
    """Let the CPU's default generator go on from a position that `get_rng_state` returned.

    Raises
    ------
    ShapeError
        If it is no such position.
    """
    default_generator().set_state(new_state)


def generator_for(generator: Generator | None, device: Any) -> Generator:
    """Return `generator`, or the default one of `device`.

    Raises
    ------
    ArgumentError
        If it makes its numbers on another device.
    """
    where = as_device(device)
    if generator is None:
        return default_generator(where)
    if generator.device != where:
        raise ArgumentError(f"generator: got one for {generator.device}, wanted one for {where}")
    return generator


def _named(**params: Any) -> dtypes.DType:
    return params["dtype"]


def _drawn(**more: Any) -> Sample:
    return Sample(
        params={"generator": default_generator(), "shape": (2, 3), "dtype": dtypes.float32, "device": CPU, **more}
    )


def _draw(sample: Sample) -> Callable[[Callable[..., Any]], Operation]:
    return op(shape=shapes.given, dtype=_named, samples=(sample,), random=True, differentiable=False)


@_draw(_drawn(low=0.0, high=1.0))
def uniform_(
    xp: Namespace, *, generator: Generator, shape: Shape, low: float, high: float, dtype: dtypes.DType, device: Device
) -> Array:
    """Draw floating-point numbers uniform in `[low, high)`."""
    out = generator.stream.uniform(shape, dtype)
    return out if low == 0 and high == 1 else out * dtype.type(high - low) + dtype.type(low)


@_draw(_drawn(mean=0.0, std=1.0))
def normal_(
    xp: Namespace, *, generator: Generator, shape: Shape, mean: float, std: float, dtype: dtypes.DType, device: Device
) -> Array:
    """Draw floating-point numbers from the normal distribution."""
    out = generator.stream.normal(shape, dtype)
    return out if mean == 0 and std == 1 else out * dtype.type(std) + dtype.type(mean)


@_draw(_drawn(low=0, high=5, dtype=dtypes.int64))
def randint_(
    xp: Namespace, *, generator: Generator, shape: Shape, low: int, high: int, dtype: dtypes.DType, device: Device
) -> Array:
    """Draw integers uniform in `[low, high)`."""
    return generator.stream.integers(low, high, shape).astype(dtype, copy=False)


@_draw(_drawn(shape=(5,), dtype=dtypes.int64))
def randperm_(xp: Namespace, *, generator: Generator, shape: Shape, dtype: dtypes.DType, device: Device) -> Array:
    """Draw an order of the numbers from 0 to `shape[0] - 1`."""
    return generator.stream.permutation(shape[0]).astype(dtype, copy=False)


@_draw(_drawn(p=0.5))
def dropout_mask_(
    xp: Namespace, *, generator: Generator, shape: Shape, p: float, dtype: dtypes.DType, device: Device
) -> Array:
    """Draw zeros with probability `p`, and `1 / (1 - p)` otherwise: what dropout multiplies by.

    N. Srivastava et al., "Dropout", JMLR 15 (2014), with the scaling at training time.
    """
    kept = generator.stream.uniform(shape, dtypes.float32) >= p
    return kept.astype(dtype) * dtype.type(1 / (1 - p) if p < 1 else 0)


__all__ = [
    "Generator", "default_generator", "dropout_mask_", "generator_for", "get_rng_state", "manual_seed", "normal_",
    "randint_", "randperm_", "set_rng_state", "uniform_",
]  # fmt: skip
