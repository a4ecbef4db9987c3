"""Fill tensors with initial values, in place; each function returns its tensor.

The formulas of Xavier: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
networks", AISTATS 2010. Those of Kaiming: K. He et al., "Delving deep into rectifiers", ICCV 2015.
"""

import math
from typing import Any

from tinyseq import ops
from tinyseq.autograd import Tensor, no_grad
from tinyseq.autograd.creation import eye, rand, randn
from tinyseq.errors import ArgumentError, ShapeError

_GAINS = {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
_LINEAR = ("linear", "identity", "sigmoid", "conv1d", "conv2d", "conv3d")


def _fill(tensor: Tensor, value: Any) -> Tensor:
    with no_grad():
        return tensor.assign(value)


def _like(tensor: Tensor, generator: Any) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "device": tensor.device, "generator": generator}


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with the number `val`."""
    return _fill(tensor, float(val))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: got shape {list(tensor.shape)}, wanted a matrix")
    return _fill(tensor, eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with numbers uniform in `[a, b)`."""
    return _fill(tensor, rand(*tensor.shape, **_like(tensor, generator)) * float(b - a) + float(a))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with numbers from the normal distribution."""
    return _fill(tensor, randn(*tensor.shape, **_like(tensor, generator)) * float(std) + float(mean))


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Fill with numbers from the normal distribution, those outside of `[a, b]` drawn again.

    Raises
    ------
    ArgumentError
        If `[a, b]` is empty, or so far out that nothing falls into it.
    """
    if not a < b:
        raise ArgumentError(f"trunc_normal_: got a {a} and b {b}, wanted a < b")
    with no_grad():
        normal_(tensor, mean, std, generator)
        for _ in range(1000):
            outside = ops.logical_or(ops.lt(tensor, float(a)), ops.gt(tensor, float(b)))
            if not ops.any(outside).item():
                return tensor
            again = randn(*tensor.shape, **_like(tensor, generator)) * float(std) + float(mean)
            tensor.assign(ops.where(outside, again, tensor))
    raise ArgumentError(f"trunc_normal_: numbers from [{a}, {b}] are too rare for mean {mean} and std {std}")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance through `nonlinearity`; `param` is the slope of leaky_relu."""
    if nonlinearity in _LINEAR:
        return 1.0
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        wanted = ", ".join([*_LINEAR, *_GAINS, "leaky_relu"])
        raise ArgumentError(f"calculate_gain: got {nonlinearity!r}, wanted one of {wanted}")
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs and outputs a weight (out, in, ...) connects."""
    if tensor.ndim < 2:
        raise ShapeError(f"init: got shape {list(tensor.shape)}, wanted at least 2 dimensions (out, in, ...)")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with numbers uniform in ±gain·√(6 / (in + out))."""
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with normal numbers of standard deviation gain·√(2 / (in + out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"kaiming: got mode {mode!r}, wanted 'fan_in' or 'fan_out'")
    return calculate_gain(nonlinearity, a) / math.sqrt(fans(tensor)[mode == "fan_out"])


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fill with numbers uniform in ±gain·√(3 / fan)."""
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fill with normal numbers of standard deviation gain / √fan."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with an orthogonal matrix (rows, or columns if there are fewer), times `gain`.

    Gram and Schmidt's method on normal numbers, twice, which keeps the error at rounding. A. Saxe et al., "Exact
    solutions to the nonlinear dynamics of learning in deep linear neural networks", ICLR 2014, section 3.
    """
    outs = tensor.shape[0]
    ins = fans(tensor)[0]
    with no_grad():
        drawn = randn(max(outs, ins), min(outs, ins), dtype="float64", device=tensor.device, generator=generator)
        columns: list[Tensor] = []
        for column in drawn.unbind(1):
            for _ in range(2 if columns else 0):
                held = ops.stack(columns, 1)
                column = column - held @ (held.t() @ column)
            columns.append(column / ops.sqrt((column * column).sum()))
        whole = ops.stack(columns, 1)
        square = whole if outs >= ins else whole.t()
        return tensor.assign(square.reshape(tensor.shape) * float(gain))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fill a matrix with normal numbers, of which the fraction `sparsity` in each column is 0."""
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_: got shape {list(tensor.shape)}, wanted a matrix")
    like = _like(tensor, generator)
    order = ops.argsort(rand(*tensor.shape, **like), 0)
    zeros = math.ceil(sparsity * tensor.shape[0])
    return _fill(tensor, ops.where(ops.lt(order, zeros), 0.0, randn(*tensor.shape, **like) * float(std)))
