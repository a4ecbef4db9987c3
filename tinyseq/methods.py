"""Operators and methods shared by every traced value: one line each, and no arithmetic here."""

from typing import Any, Self

from tinyseq import ops
from tinyseq.core import dtypes
from tinyseq.ops import arithmetic


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

    def __rfloordiv__(self, other: Any) -> Any:
        return ops.floor_divide(other, self)

    def __rmod__(self, other: Any) -> Any:
        return ops.remainder(other, self)

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

    # Shape

    transpose = swapaxes = swapdims = ops.transpose
    t = ops.t
    permute = ops.permute
    reshape = view = ops.reshape
    squeeze = ops.squeeze
    unsqueeze = ops.unsqueeze
    flatten = ops.flatten
    unflatten = ops.unflatten
    expand = ops.expand
    repeat = ops.repeat
    tile = ops.tile
    flip = ops.flip
    narrow = ops.narrow
    chunk = ops.chunk
    split = ops.split
    unbind = ops.unbind
    tril = ops.tril
    triu = ops.triu

    # Arithmetic

    add = arithmetic.add
    sub = subtract = arithmetic.sub
    mul = multiply = ops.mul
    div = divide = true_divide = arithmetic.div
    pow = ops.pow
    neg = negative = ops.neg
    abs = absolute = ops.abs
    sign = ops.sign
    floor_divide = ops.floor_divide
    remainder = ops.remainder
    maximum = ops.maximum
    minimum = ops.minimum
    clamp = clip = ops.clamp
    lerp = ops.lerp
    matmul = ops.matmul
    floor = ops.floor
    ceil = ops.ceil
    round = ops.round
    trunc = ops.trunc
    reciprocal = ops.reciprocal
    square = ops.square

    # Functions of one number

    exp = ops.exp
    expm1 = ops.expm1
    log = ops.log
    log1p = ops.log1p
    log2 = ops.log2
    log10 = ops.log10
    sqrt = ops.sqrt
    rsqrt = ops.rsqrt
    sin = ops.sin
    cos = ops.cos
    tan = ops.tan
    tanh = ops.tanh
    sigmoid = ops.sigmoid
    relu = ops.relu
    erf = ops.erf
    softmax = ops.softmax
    log_softmax = ops.log_softmax
    isnan = ops.isnan
    isinf = ops.isinf
    isfinite = ops.isfinite

    # Comparison

    eq = ops.eq
    ne = ops.ne
    lt = ops.lt
    le = ops.le
    gt = ops.gt
    ge = ops.ge
    logical_and = ops.logical_and
    logical_or = ops.logical_or
    logical_not = ops.logical_not

    # Reduction

    sum = ops.sum
    mean = ops.mean
    var = ops.var
    std = ops.std
    prod = ops.prod
    max = ops.max
    min = ops.min
    amax = ops.amax
    amin = ops.amin
    argmax = ops.argmax
    argmin = ops.argmin
    logsumexp = ops.logsumexp
    cumsum = ops.cumsum
    cumprod = ops.cumprod
    any = ops.any
    all = ops.all
    sort = ops.sort
    argsort = ops.argsort
    topk = ops.topk
    median = ops.median

    # Selection

    gather = ops.gather
    scatter_add = ops.scatter_add
    masked_fill = ops.masked_fill

    # Copies

    clone = ops.clone

    def contiguous(self) -> Self:
        """Return itself: operations take any layout."""
        return self

    def type_as(self, other: Any) -> Any:
        """Return this tensor in the dtype of `other`."""
        return self._as(other.dtype)

    def float(self) -> Any:
        """Return this tensor as float32."""
        return self._as(dtypes.float32)

    def double(self) -> Any:
        """Return this tensor as float64."""
        return self._as(dtypes.float64)

    def half(self) -> Any:
        """Return this tensor as float16."""
        return self._as(dtypes.float16)

    def long(self) -> Any:
        """Return this tensor as int64."""
        return self._as(dtypes.int64)

    def int(self) -> Any:
        """Return this tensor as int32."""
        return self._as(dtypes.int32)

    def short(self) -> Any:
        """Return this tensor as int16."""
        return self._as(dtypes.int16)

    def byte(self) -> Any:
        """Return this tensor as uint8."""
        return self._as(dtypes.uint8)

    def bool(self) -> Any:
        """Return this tensor as truth values."""
        return self._as(dtypes.bool_)

    def _as(self, dtype: dtypes.DType) -> Any:
        return self if self.dtype == dtype else ops.cast(self, dtype=dtype)
