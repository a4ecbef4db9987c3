"""Operators and methods shared by every traced value: one line each, and no arithmetic here."""

from typing import Any, Self

from tinyseq import ops


class ArrayMethods:
    """Python operators and methods for Tensor and Symbol."""

    __slots__ = ()
    __array_priority__ = 1000  # so that `ndarray * Tensor` reaches __rmul__
    __array_ufunc__ = None

    shape: Any
    dtype: Any

    def __add__(self, other: Any) -> Any:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Any:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return ops.div(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return ops.floor_divide(self, other)

    def __mod__(self, other: Any) -> Any:
        return ops.remainder(self, other)

    def __pow__(self, other: Any) -> Any:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Any:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Any:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return ops.matmul(other, self)

    def __neg__(self) -> Any:
        return ops.neg(self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Any:
        return ops.abs(self)

    def __invert__(self) -> Any:
        return ops.logical_not(self)

    def __and__(self, other: Any) -> Any:
        return ops.logical_and(self, other)

    def __or__(self, other: Any) -> Any:
        return ops.logical_or(self, other)

    def __eq__(self, other: Any) -> Any:
        return ops.eq(self, other)

    def __ne__(self, other: Any) -> Any:
        return ops.ne(self, other)

    def __lt__(self, other: Any) -> Any:
        return ops.lt(self, other)

    def __le__(self, other: Any) -> Any:
        return ops.le(self, other)

    def __gt__(self, other: Any) -> Any:
        return ops.gt(self, other)

    def __ge__(self, other: Any) -> Any:
        return ops.ge(self, other)

    def __getitem__(self, key: Any) -> Any:
        return ops.getitem(self, key)

    __hash__ = object.__hash__

    @property
    def T(self) -> Any:
        """The dimensions in reverse order."""
        return ops.permute(self, *reversed(range(len(self.shape))))

    @property
    def mT(self) -> Any:
        """The last two dimensions swapped."""
        return ops.transpose(self, -2, -1)

    swapaxes = ops.transpose
    transpose = ops.transpose
    t = ops.t
    permute = ops.permute
    reshape = ops.reshape
    view = ops.reshape
    squeeze = ops.squeeze
    unsqueeze = ops.unsqueeze
    narrow = ops.narrow
    chunk = ops.chunk
    split = ops.split
    unbind = ops.unbind
    sum = ops.sum
    mean = ops.mean
    var = ops.var
    exp = ops.exp
    log = ops.log
    sqrt = ops.sqrt
    tanh = ops.tanh
    sigmoid = ops.sigmoid
    relu = ops.relu
    abs = ops.abs
    pow = ops.pow
    add = ops.add
    sub = ops.sub
    mul = ops.mul
    div = ops.div
    matmul = ops.matmul
    clone = ops.clone
    gather = ops.gather
    scatter_add = ops.scatter_add
    masked_fill = ops.masked_fill
