"""Activation functions as modules, for `Sequential`."""

from collections.abc import Callable
from typing import Any, ClassVar

from tinyseq.autograd.creation import full
from tinyseq.nn import functional as F
from tinyseq.nn.module import Module
from tinyseq.nn.parameter import Parameter


class _Activation(Module):
    """A function of one tensor whose options, with their defaults, are `options`."""

    function: ClassVar[Callable[..., Any]]
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__()
        named = dict(zip(self.options, args, strict=False)) | given
        unknown = [name for name in named if name not in self.options]
        if unknown or len(args) > len(self.options):
            told = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in given.items())])
            raise TypeError(f"{type(self).__name__}: got {told}, wanted {', '.join(self.options) or 'no options'}")
        self.chosen = self.options | named

    def forward(self, input: Any) -> Any:
        """Return the function of `input`, elementwise unless it has a `dim`."""
        return type(self).function(input, **self.chosen)

    def extra_repr(self) -> str:
        """Return the options."""
        return ", ".join(f"{name}={value}" for name, value in self.chosen.items())


class ReLU(_Activation):
    """max(x, 0)."""

    function = F.relu


class Tanh(_Activation):
    """The hyperbolic tangent."""

    function = F.tanh


class Sigmoid(_Activation):
    """1 / (1 + e⁻ˣ)."""

    function = F.sigmoid


class LeakyReLU(_Activation):
    """x above 0 and `negative_slope` · x below."""

    function = F.leaky_relu
    options = {"negative_slope": 0.01}


class ELU(_Activation):
    """x above 0 and `alpha` (eˣ - 1) below."""

    function = F.elu
    options = {"alpha": 1.0}


class SELU(_Activation):
    """ELU scaled so that mean 0 and variance 1 are kept."""

    function = F.selu


class CELU(_Activation):
    """x above 0 and `alpha` (e^(x / alpha) - 1) below."""

    function = F.celu
    options = {"alpha": 1.0}


class GELU(_Activation):
    """x times the normal distribution function of x."""

    function = F.gelu
    options = {"approximate": "none"}


class SiLU(_Activation):
    """x · sigmoid(x)."""

    function = F.silu


class Mish(_Activation):
    """x · tanh(softplus(x))."""

    function = F.mish


class Softplus(_Activation):
    """log(1 + e^(beta x)) / beta; x itself above `threshold` / beta."""

    function = F.softplus
    options = {"beta": 1.0, "threshold": 20.0}


class Softsign(_Activation):
    """x / (1 + |x|)."""

    function = F.softsign


class LogSigmoid(_Activation):
    """log sigmoid(x)."""

    function = F.logsigmoid


class Hardtanh(_Activation):
    """x cut off at `min_val` and `max_val`."""

    function = F.hardtanh
    options = {"min_val": -1.0, "max_val": 1.0}


class ReLU6(_Activation):
    """min(max(x, 0), 6)."""

    function = F.relu6


class Hardsigmoid(_Activation):
    """x / 6 + 1 / 2, cut off at 0 and 1."""

    function = F.hardsigmoid


class Hardswish(_Activation):
    """x · hardsigmoid(x)."""

    function = F.hardswish


class Softmax(_Activation):
    """e^x divided by its sum along `dim`."""

    function = F.softmax
    options = {"dim": -1}


class LogSoftmax(_Activation):
    """The logarithm of the softmax along `dim`."""

    function = F.log_softmax
    options = {"dim": -1}


class GLU(_Activation):
    """The first half along `dim`, times the sigmoid of the second."""

    function = F.glu
    options = {"dim": -1}


class PReLU(Module):
    """x above 0 and `weight` · x below, with a slope that is learned: one, or one for each index of dim 1."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.weight = Parameter(full((num_parameters,), float(init), dtype=dtype, device=device))

    def forward(self, input: Any) -> Any:
        """Return the function of `input`."""
        return F.prelu(input, self.weight)
