"""Layers without time: linear maps, embeddings, normalisation, dropout."""

import math
from collections.abc import Sequence
from typing import Any, SupportsIndex

from tinyseq.autograd import no_grad
from tinyseq.autograd.creation import empty
from tinyseq.errors import ArgumentError
from tinyseq.nn import functional as F, init
from tinyseq.nn.module import Module
from tinyseq.nn.parameter import Parameter


def new_parameter(*shape: int, dtype: Any = None, device: Any = None) -> Parameter:
    """Return a parameter whose values are still to be filled in."""
    return Parameter(empty(*shape, dtype=dtype, device=device))


def check_sizes(layer: str, **sizes: Any) -> None:
    """Raise if a size is not a positive integer."""
    for name, size in sizes.items():
        if not hasattr(size, "__index__") or size < 1:
            raise ArgumentError(f"{layer}: got {name} {size!r}, wanted a positive integer")


class Identity(Module):
    """Returns its input; takes any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return `input`."""
        return input


class Flatten(Module):
    """Merges the dimensions from `start_dim` to `end_dim` into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Any) -> Any:
        """Return `input` with fewer dimensions."""
        n = len(input.shape)
        first, last = self.start_dim % n, self.end_dim % n
        return input.reshape(*input.shape[:first], math.prod(input.shape[first : last + 1]), *input.shape[last + 1 :])


class Linear(Module):
    """`y = x Wᵀ + b`: (..., in_features) to (..., out_features).

    Parameters start uniform in ±1 / √in_features.

    >>> import tinyseq
    >>> Linear(3, 2)(tinyseq.ones(5, 3)).shape
    (5, 2)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = new_parameter(out_features, in_features, dtype=dtype, device=device)
        self.bias = new_parameter(out_features, dtype=dtype, device=device) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values."""
        bound = 1 / math.sqrt(self.in_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input: Any) -> Any:
        """Return `input @ weightᵀ + bias`."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """`y = x1ᵀ W x2 + b`: (..., in1_features), (..., in2_features) to (..., out_features)."""

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_sizes("Bilinear", in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        self.weight = new_parameter(out_features, in1_features, in2_features, dtype=dtype, device=device)
        self.bias = new_parameter(out_features, dtype=dtype, device=device) if bias else None
        for parameter in self.parameters():
            init.uniform_(parameter, -1 / math.sqrt(in1_features), 1 / math.sqrt(in1_features))

    def forward(self, input1: Any, input2: Any) -> Any:
        """Return one number for each of the `out_features` matrices."""
        return F.bilinear(input1, input2, self.weight, self.bias)


class Embedding(Module):
    """A table of vectors: integers of any shape to (*shape, embedding_dim).

    Parameters
    ----------
    num_embeddings
        How many rows the table has; they start standard normal.
    padding_idx
        The row that starts at zero and gets no gradient.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ArgumentError(f"Embedding: padding_idx {padding_idx} is out of range for {num_embeddings} rows")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = new_parameter(num_embeddings, embedding_dim, dtype=dtype, device=device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    def forward(self, input: Any) -> Any:
        """Return the rows that `input` names."""
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


class Normalisation(Module):
    """What the layers that normalise over the last dimensions share: the shape, and parameters of that shape."""

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None, scale: bool, shift: bool, **made: Any
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, SupportsIndex) else tuple(normalized_shape)
        self.normalized_shape: tuple[int, ...] = shape
        self.eps: Any = eps
        self.weight = new_parameter(*shape, **made) if scale else None
        self.bias = new_parameter(*shape, **made) if shift else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with the weight at 1 and the bias at 0."""
        for parameter, value in ((self.weight, 1.0), (self.bias, 0.0)):
            if parameter is not None:
                init.constant_(parameter, value)

    def extra_repr(self) -> str:
        """Return the shape."""
        return f"{self.normalized_shape}, eps={self.eps}"


class LayerNorm(Normalisation):
    """Normalises over the last dimensions, then scales by `weight` and shifts by `bias`.

    `y = (x - mean) / √(var + eps) · weight + bias`. J. L. Ba et al., "Layer normalization", arXiv:1607.06450.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shift = elementwise_affine and bias
        super().__init__(normalized_shape, eps, elementwise_affine, shift, device=device, dtype=dtype)

    def forward(self, input: Any) -> Any:
        """Return the normalised `input`."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(Normalisation):
    """Divides by the root mean square over the last dimensions, and scales by `weight`.

    B. Zhang, R. Sennrich, "Root mean square layer normalization", NeurIPS 2019.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, False, device=device, dtype=dtype)

    def forward(self, input: Any) -> Any:
        """Return the normalised `input`."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)


class Dropout(Module):
    """In training sets elements to zero with probability `p` and scales the others by `1 / (1 - p)`."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        F.check_probability("Dropout", p)
        self.p = p

    def forward(self, input: Any) -> Any:
        """Return `input` with some elements dropped, in training."""
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"
