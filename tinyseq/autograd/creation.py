"""Functions that make new tensors: from data, filled, counted or drawn at random.

All take `dtype` (the default dtype if left out), `device` ("cpu" if left out) and `requires_grad`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyseq import ops
from tinyseq.autograd.tensor import Tensor
from tinyseq.backend import as_device, device_of, is_array, to_device
from tinyseq.core import dtypes, shapes
from tinyseq.core.dispatch import STATE
from tinyseq.errors import ArgumentError, DTypeError, ShapeError
from tinyseq.ops.random import Generator, generator_for


def _made(payload: Any, requires_grad: bool = False) -> Tensor:
    """Return a tensor that holds what an operation without inputs returned."""
    out = Tensor(payload)
    return out.requires_grad_() if requires_grad else out


def _settled(dtype: Any, device: Any) -> dict[str, Any]:
    """Return the dtype and device of a new floating-point tensor, as operations take them."""
    wanted = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    return {"dtype": wanted, "device": as_device(device)}


# From data


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a new tensor that holds a copy of `data`: numbers, nested lists, an array or a tensor.

    Floating-point Python numbers become the default dtype; arrays keep theirs.

    >>> tensor([[1, 2], [3, 4]]).dtype, tensor([0.5]).dtype
    (dtype('int64'), dtype('float32'))

    Raises
    ------
    ShapeError
        If nested lists have unequal lengths.
    DTypeError
        If the values are not numbers, or tinyseq has no such dtype.
    """
    if isinstance(data, Tensor):
        out = ops.clone(data.detach()).to(dtype=dtype, device=device)
        return out.requires_grad_() if requires_grad else out
    if is_array(data):
        array = data.copy()
    else:
        try:
            array = np.array(data)
        except ValueError as error:
            raise ShapeError(f"tensor: wanted nested lists of equal lengths; {error}") from None
        if dtype is None and not hasattr(data, "dtype") and (array.dtype.kind == "f" or not array.size):
            array = array.astype(dtypes.get_default_dtype())
    if dtype is not None:
        array = array.astype(dtypes.as_dtype(dtype), copy=False)
    elif array.dtype not in dtypes.SUPPORTED:
        raise DTypeError(f"tensor: got values of dtype {array.dtype}; wanted real numbers, or pass dtype=")
    if device is not None:
        array = to_device(array, as_device(device))
    STATE.get().bottom.bear(array)
    return _made(array, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `data` itself if it is a tensor of this dtype and device, else a new tensor that holds a copy."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array: Any) -> Tensor:
    """Return a tensor that holds a copy of a NumPy array.

    The memory is not shared, so that a write to the array cannot change what was saved for backward.

    Raises
    ------
    DTypeError
        If `array` is no NumPy array, or of a dtype that tinyseq does not have.
    """
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy: got {type(array).__name__}, wanted a NumPy array")
    return tensor(array)


def is_tensor(value: Any) -> bool:
    """Tell whether `value` is a tensor."""
    return isinstance(value, Tensor)


# Filled


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of shape `size` filled with a number, whose type decides the dtype if none is given."""
    shape = shapes.resolve((size,) if hasattr(size, "__index__") else tuple(size))
    if isinstance(fill_value, Tensor):
        filled = ops.broadcast_to(fill_value.to(dtype=dtype, device=device), shape=shape)
        return ops.clone(filled)
    wanted = dtypes.of_scalar(fill_value) if dtype is None else dtypes.as_dtype(dtype)
    return _made(ops.full_(shape=shape, value=fill_value, dtype=wanted, device=as_device(device)), requires_grad)


def _filled(size: tuple[Any, ...], value: float, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    return _made(ops.full_(shape=shapes.resolve(size), value=value, **_settled(dtype, device)), requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of zeros."""
    return _filled(size, 0, dtype, device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of ones."""
    return _filled(size, 1, dtype, device, requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor whose contents nobody relies on; here they are zeros."""
    return _filled(size, 0, dtype, device, requires_grad)


def full_like(
    input: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor with the shape, dtype and device of `input`, filled with a number."""
    like = _like(input, dtype, device)
    return full(input.shape, fill_value, requires_grad=requires_grad, **like)


def zeros_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return zeros with the shape, dtype and device of `input`."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return ones with the shape, dtype and device of `input`."""
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)


def empty_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor like `input` whose contents nobody relies on; here they are zeros."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def _like(input: Any, dtype: Any, device: Any) -> dict[str, Any]:
    return {
        "dtype": input.dtype if dtype is None else dtypes.as_dtype(dtype),
        "device": device_of(input) if device is None else as_device(device),
    }


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a matrix (n, m) with ones on its diagonal and zeros elsewhere."""
    rows, columns = shapes.resolve((n, n if m is None else m))
    return _made(ops.eye_(shape=(rows, columns), **_settled(dtype, device)), requires_grad)


# Counted


def arange(
    start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return the numbers from `start` (0 if one argument is given) up to but not including `end`, `step` apart.

    >>> arange(2, 8, 2)
    tensor([2, 4, 6])

    Raises
    ------
    ArgumentError
        If `step` is 0, or leads away from `end`.
    """
    first, last, by = (_number(v) for v in ((0, start, step) if end is None else (start, end, step)))
    if by == 0 or (last - first) / by < 0:
        raise ArgumentError(f"arange: step {by} does not lead from {first} to {last}")
    if dtype is not None:
        wanted = dtypes.as_dtype(dtype)
    else:
        floating = any(isinstance(v, float) for v in (first, last, by))
        wanted = dtypes.get_default_dtype() if floating else dtypes.int64
    made = ops.arange_(start=first, stop=last, step=by, dtype=wanted, device=as_device(device))
    return _made(made, requires_grad)


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def linspace(
    start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return `steps` numbers, equally far apart, from `start` to `end` inclusive."""
    (count,) = shapes.resolve((steps,))
    made = ops.linspace_(start=float(start), stop=float(end), shape=(count,), **_settled(dtype, device))
    return _made(made, requires_grad)


def logspace(
    start: float,
    end: float,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `base` to the power of `steps` numbers from `start` to `end` inclusive."""
    out: Tensor = ops.pow(float(base), linspace(start, end, steps, dtype=dtype, device=device))
    return out.requires_grad_() if requires_grad else out


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return the indices (2, N) of the lower triangle of a matrix (row, col)."""
    return _triangle(np.tril_indices(row, offset, col), dtype, device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return the indices (2, N) of the upper triangle of a matrix (row, col)."""
    return _triangle(np.triu_indices(row, offset, col), dtype, device)


def _triangle(indices: Any, dtype: Any, device: Any) -> Tensor:
    return tensor(np.stack(indices), dtype=dtypes.int64 if dtype is None else dtype, device=device)


# Drawn at random


def _random(
    draw: Callable[..., Any],
    size: tuple[Any, ...],
    generator: Generator | None,
    requires_grad: bool,
    settled: dict[str, Any],
    **params: Any,
) -> Tensor:
    source = generator_for(generator, settled["device"])
    return _made(draw(generator=source, shape=shapes.resolve(size), **settled, **params), requires_grad)


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn uniformly from `[0, 1)`."""
    return _random(ops.uniform_, size, generator, requires_grad, _settled(dtype, device), low=0.0, high=1.0)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn from the standard normal distribution."""
    return _random(ops.normal_, size, generator, requires_grad, _settled(dtype, device), mean=0.0, std=1.0)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = dtypes.int64,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return integers drawn uniformly from `[low, high)`; `randint(high, size)` starts at 0.

    Raises
    ------
    ArgumentError
        If there is no integer in that range.
    """
    if size is None:
        low, high, size = 0, low, high
    if high is None or size is None or not low < high:
        raise ArgumentError(f"randint: got low {low}, high {high}, size {size}; wanted low < high and a size")
    settled = _settled(dtype, device)
    return _random(ops.randint_, (tuple(size),), generator, requires_grad, settled, low=int(low), high=int(high))


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = dtypes.int64, device: Any = None) -> Tensor:
    """Return the numbers from 0 to `n - 1` in random order."""
    return _random(ops.randperm_, (n,), generator, False, _settled(dtype, device))


def rand_like(input: Any, *, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """Return numbers uniform in `[0, 1)` with the shape, dtype and device of `input`."""
    return rand(*input.shape, generator=generator, **_like(input, dtype, device))


def randn_like(input: Any, *, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """Return standard normal numbers with the shape, dtype and device of `input`."""
    return randn(*input.shape, generator=generator, **_like(input, dtype, device))


def randint_like(
    input: Any, low: int, high: int | None = None, *, generator: Generator | None = None, dtype: Any = None
) -> Tensor:
    """Return integers drawn uniformly from `[low, high)` with the shape, dtype and device of `input`."""
    first, last = (0, low) if high is None else (low, high)
    return randint(first, last, input.shape, generator=generator, **_like(input, dtype, None))


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """Return numbers drawn from normal distributions; `mean` and `std` are numbers, or tensors that broadcast."""
    like = next((v for v in (mean, std) if isinstance(v, Tensor)), None)
    if like is None:
        return randn(() if size is None else size, generator=generator, dtype=dtype, device=device) * std + mean
    shape = shapes.elementwise(*(tuple(v.shape) for v in (mean, std) if isinstance(v, Tensor)))
    out: Tensor = randn(shape, generator=generator, **_like(like, dtype, device)) * std + mean
    return out


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Return 1 with the probability that stands in `input`, else 0; no gradient flows."""
    drawn = rand(*input.shape, generator=generator, dtype=input.dtype, device=device_of(input))
    return ops.cast(ops.lt(drawn, input.detach()), dtype=input.dtype)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Return `num_samples` indices for each row of weights `input` (..., K), drawn in proportion to them.

    Without replacement they are the largest of `log(weight) + Gumbel noise`. W. Kool et al., "Stochastic beams and
    where to find them", ICML 2019, section 2.3.

    Raises
    ------
    ArgumentError
        If more samples are asked for than there are weights, without replacement.
    """
    weights = input.detach()
    count, lead = weights.shape[-1], weights.shape[:-1]
    if num_samples < 1 or (not replacement and num_samples > count):
        raise ArgumentError(f"multinomial: got num_samples {num_samples} for {count} weights without replacement")
    settled: dict[str, Any] = {"generator": generator, "dtype": weights.dtype, "device": device_of(weights)}
    if replacement:
        ladder = ops.unsqueeze(ops.cumsum(weights, -1), -2)
        drawn = ops.unsqueeze(rand(*lead, num_samples, **settled), -1) * ladder[..., -1:]
        return ops.clamp(ops.sum(ops.ge(drawn, ladder), -1), max=count - 1)
    noise = ops.log(-ops.log(rand(*lead, count, **settled)))
    return ops.narrow(ops.argsort(noise - ops.log(weights), -1), -1, 0, num_samples)


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """Return int64 vectors with a 1 at the class that stands in `input`: (...) to (..., num_classes).

    Raises
    ------
    DTypeError
        If `input` does not hold integers.
    """
    if input.dtype.kind not in "iu":
        raise DTypeError(f"one_hot: got dtype {input.dtype}, wanted integers")
    if num_classes == -1:
        num_classes = int(ops.amax(input).item()) + 1 if math.prod(input.shape) else 0
    classes = arange(num_classes, device=device_of(input))
    return ops.cast(ops.eq(ops.unsqueeze(input, -1), classes), dtype=dtypes.int64)
