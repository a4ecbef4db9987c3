"""Methods that only Tensor has: in-place arithmetic, conversions, and what else torch users reach for.

Every in-place method ends in `assign`, which knows what is saved for backward.
"""

import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tinyseq import ops
from tinyseq.backend import Device, as_device
from tinyseq.core import dtypes, shapes
from tinyseq.core.shapes import Shape
from tinyseq.errors import ArgumentError, DTypeError
from tinyseq.ops.composite import clamp
from tinyseq.ops.random import Generator, generator_for


class InPlace:
    """In-place methods, each of them the assignment of what the operation of the same name returns."""

    __slots__ = ()

    if TYPE_CHECKING:  # what Tensor has
        plain: ClassVar[Any]
        payload: Any

        @property
        def shape(self) -> Shape:
            """The size of each dimension."""

        @property
        def dtype(self) -> dtypes.DType:
            """The dtype of the elements."""

        @property
        def device(self) -> Device:
            """Where the elements live."""

    def assign(self, value: Any, *, operation: str = "assign") -> Self:
        """Replace the contents: given by `Tensor`."""
        raise NotImplementedError

    def _store(self, value: Any, operation: str) -> Self:
        """Assign what an operation returned, unless it is of a kind that the elements cannot hold."""
        if value.dtype.kind == "f" and self.dtype.kind != "f":
            raise DTypeError(
                f"{operation}: the result is {value.dtype}, which {self.dtype} cannot hold; cast one first"
            )
        return self.assign(value, operation=operation)

    def add_(self, other: Any, *, alpha: float = 1) -> Self:
        """Add `alpha * other`."""
        return self._store(ops.add(self, other if alpha == 1 else ops.mul(other, alpha)), "add_")

    def sub_(self, other: Any, *, alpha: float = 1) -> Self:
        """Subtract `alpha * other`."""
        return self._store(ops.sub(self, other if alpha == 1 else ops.mul(other, alpha)), "sub_")

    def mul_(self, other: Any) -> Self:
        """Multiply by `other`."""
        return self._store(ops.mul(self, other), "mul_")

    def div_(self, other: Any) -> Self:
        """Divide by `other`."""
        return self._store(ops.div(self, other), "div_")

    def pow_(self, exponent: Any) -> Self:
        """Raise to the power of `exponent`."""
        return self._store(ops.pow(self, exponent), "pow_")

    def __iadd__(self, other: Any) -> Self:
        return self._store(ops.add(self, other), "+=")

    def __isub__(self, other: Any) -> Self:
        return self._store(ops.sub(self, other), "-=")

    def __imul__(self, other: Any) -> Self:
        return self._store(ops.mul(self, other), "*=")

    def __itruediv__(self, other: Any) -> Self:
        return self._store(ops.div(self, other), "/=")

    def copy_(self, other: Any) -> Self:
        """Take over the values of `other`, broadcast and cast to fit, from any device."""
        moved = other.to(device=self.device) if hasattr(other, "to") else other
        return self.assign(moved, operation="copy_")

    def zero_(self) -> Self:
        """Fill with zeros."""
        return self.assign(ops.full_like_(self.detach(), value=0), operation="zero_")

    def fill_(self, value: Any) -> Self:
        """Fill with a number, or with the value of a 0-d tensor."""
        if hasattr(value, "shape"):
            return self.assign(ops.broadcast_to(value, shape=self.shape), operation="fill_")
        return self.assign(ops.full_like_(self.detach(), value=value), operation="fill_")

    def detach(self) -> Any:
        """Return a tensor on the same memory without history: given by `Tensor`."""
        raise NotImplementedError

    def clamp_(self, min: Any = None, max: Any = None) -> Self:
        """Keep between `min` and `max`."""
        return self._store(clamp(self, min, max), "clamp_")

    def masked_fill_(self, mask: Any, value: Any) -> Self:
        """Write `value` where `mask` is true."""
        return self._store(ops.masked_fill(self, mask, value), "masked_fill_")

    def index_fill_(self, dim: int, index: Any, value: Any) -> Self:
        """Write `value` at the indices `index` along `dim`."""
        return self._store(ops.index_fill(self, dim, index, value), "index_fill_")

    def index_add_(self, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Self:
        """Add `alpha * source` at the indices `index` along `dim`."""
        return self._store(ops.index_add(self, dim, index, source, alpha=alpha), "index_add_")

    def scatter_(self, dim: int, index: Any, src: Any) -> Self:
        """Write the elements of `src` where `index` says along `dim`."""
        return self._store(ops.scatter(self, dim, index, src), "scatter_")

    def scatter_add_(self, dim: int, index: Any, src: Any) -> Self:
        """Add the elements of `src` where `index` says along `dim`."""
        return self._store(ops.scatter_add(self, dim, index, src), "scatter_add_")

    def lerp_(self, end: Any, weight: Any) -> Self:
        """Go the part `weight` of the way to `end`."""
        return self._store(ops.lerp(self, end, weight), "lerp_")

    def addcmul_(self, tensor1: Any, tensor2: Any, *, value: float = 1) -> Self:
        """Add `value * tensor1 * tensor2`."""
        return self._store(ops.addcmul(self, tensor1, tensor2, value=value), "addcmul_")

    def addcdiv_(self, tensor1: Any, tensor2: Any, *, value: float = 1) -> Self:
        """Add `value * tensor1 / tensor2`."""
        return self._store(ops.addcdiv(self, tensor1, tensor2, value=value), "addcdiv_")

    def neg_(self) -> Self:
        """Change the sign."""
        return self._store(ops.neg(self), "neg_")

    def abs_(self) -> Self:
        """Drop the sign."""
        return self._store(ops.abs(self), "abs_")

    def exp_(self) -> Self:
        """Take `e` to the power of each element."""
        return self._store(ops.exp(self), "exp_")

    def log_(self) -> Self:
        """Take the natural logarithm."""
        return self._store(ops.log(self), "log_")

    def sqrt_(self) -> Self:
        """Take the square root."""
        return self._store(ops.sqrt(self), "sqrt_")

    def tanh_(self) -> Self:
        """Take the hyperbolic tangent."""
        return self._store(ops.tanh(self), "tanh_")

    def sigmoid_(self) -> Self:
        """Take the logistic function."""
        return self._store(ops.sigmoid(self), "sigmoid_")

    def relu_(self) -> Self:
        """Write 0 where negative."""
        return self._store(ops.relu(self), "relu_")

    def triu_(self, diagonal: int = 0) -> Self:
        """Write 0 below the diagonal numbered `diagonal`."""
        return self._store(ops.triu(self, diagonal), "triu_")

    def tril_(self, diagonal: int = 0) -> Self:
        """Write 0 above the diagonal numbered `diagonal`."""
        return self._store(ops.tril(self, diagonal), "tril_")

    # Drawn at random

    def _draw(self, draw: Any, operation: str, generator: Generator | None, **params: Any) -> Self:
        source = generator_for(generator, self.device)
        drawn = draw(generator=source, shape=self.shape, dtype=self.dtype, device=self.device, **params)
        return self.assign(drawn, operation=operation)

    def uniform_(self, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Self:
        """Fill with numbers uniform in `[from_, to)`."""
        if not from_ <= to:
            raise ArgumentError(f"uniform_: got from {from_} to {to}, wanted from <= to")
        return self._draw(ops.uniform_, "uniform_", generator, low=float(from_), high=float(to))

    def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Self:
        """Fill with numbers from the normal distribution."""
        if not std >= 0:
            raise ArgumentError(f"normal_: got std {std}, wanted at least 0")
        return self._draw(ops.normal_, "normal_", generator, mean=float(mean), std=float(std))

    def random_(self, from_: int = 0, to: int | None = None, *, generator: Generator | None = None) -> Self:
        """Fill with integers from `[from_, to)`; `random_(to)` starts at 0."""
        low, high = (from_, to) if to is not None else (0, from_ or 1 << 24)
        return self._draw(ops.randint_, "random_", generator, low=int(low), high=int(high))

    def bernoulli_(self, p: float = 0.5, *, generator: Generator | None = None) -> Self:
        """Fill with 1 with probability `p`, else 0."""
        source = generator_for(generator, self.device)
        drawn = ops.uniform_(
            generator=source, shape=self.shape, low=0.0, high=1.0, dtype=dtypes.float32, device=self.device
        )
        return self.assign(ops.cast(ops.lt(drawn, float(p)), dtype=self.dtype), operation="bernoulli_")

    # New tensors of the same dtype on the same device

    def new_full(self, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
        """Return a tensor filled with `fill_value`, of this dtype and device unless said otherwise."""
        wanted = self.dtype if dtype is None else dtypes.as_dtype(dtype)
        where = self.device if device is None else as_device(device)
        return self.plain(ops.full_(shape=shapes.resolve((size,)), value=fill_value, dtype=wanted, device=where))

    def new_zeros(self, *size: Any, dtype: Any = None, device: Any = None) -> Any:
        """Return zeros, of this dtype and device unless said otherwise."""
        return self.new_full(shapes.resolve(size), 0, dtype=dtype, device=device)

    def new_ones(self, *size: Any, dtype: Any = None, device: Any = None) -> Any:
        """Return ones, of this dtype and device unless said otherwise."""
        return self.new_full(shapes.resolve(size), 1, dtype=dtype, device=device)

    def new_empty(self, *size: Any, dtype: Any = None, device: Any = None) -> Any:
        """Return a tensor whose contents nobody relies on; here they are zeros."""
        return self.new_full(shapes.resolve(size), 0, dtype=dtype, device=device)

    # Size

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the size of dimension `dim`."""
        return self.shape if dim is None else self.shape[shapes.dim_of(dim, len(self.shape))]

    def numel(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    def nelement(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    def dim(self) -> int:
        """Return the number of dimensions."""
        return len(self.shape)

    def element_size(self) -> int:
        """Return the size of an element in bytes."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The size of all elements in bytes."""
        return self.numel() * self.dtype.itemsize

    def is_floating_point(self) -> bool:
        """Tell whether the elements are floating-point numbers."""
        return self.dtype.kind == "f"

    def is_contiguous(self) -> bool:
        """Tell whether the elements lie in memory in order."""
        return bool(self.payload.flags.c_contiguous) if hasattr(self.payload, "flags") else True
