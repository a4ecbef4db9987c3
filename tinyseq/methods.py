"""Operators and methods shared by every traced value: one line each, and no arithmetic here."""

from typing import Any, Self

from tinyseq import ops
from tinyseq.core import dtypes
from tinyseq.ops import signatures


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
    reshape_as = view_as = ops.reshape_as
    squeeze = ops.squeeze
    unsqueeze = ops.unsqueeze
    flatten = ops.flatten
    ravel = ops.ravel
    unflatten = ops.unflatten
    movedim = moveaxis = ops.movedim
    expand = ops.expand
    expand_as = ops.expand_as
    broadcast_to = ops.broadcasted
    sum_to_size = ops.sum_to_size
    repeat = ops.repeat
    repeat_interleave = ops.repeat_interleave
    tile = ops.tile
    flip = ops.flip
    fliplr = ops.fliplr
    flipud = ops.flipud
    roll = ops.roll
    rot90 = ops.rot90
    narrow = ops.narrow
    select = ops.select
    chunk = ops.chunk
    split = ops.split
    tensor_split = ops.tensor_split
    hsplit = ops.hsplit
    vsplit = ops.vsplit
    dsplit = ops.dsplit
    unbind = ops.unbind
    unfold = ops.unfold
    tril = ops.tril
    triu = ops.triu
    diagonal = ops.diagonal
    diag = ops.diag
    diag_embed = ops.diag_embed
    diagflat = ops.diagflat
    trace = ops.trace

    # Arithmetic

    add = signatures.add
    sub = subtract = signatures.sub
    mul = multiply = ops.mul
    div = divide = true_divide = signatures.div
    pow = ops.pow
    float_power = ops.float_power
    neg = negative = ops.neg
    positive = ops.positive
    abs = absolute = ops.abs
    sign = ops.sign
    floor_divide = ops.floor_divide
    remainder = ops.remainder
    fmod = ops.fmod
    maximum = ops.maximum
    minimum = ops.minimum
    fmax = ops.fmax
    fmin = ops.fmin
    clamp = clip = ops.clamp
    clamp_min = ops.clamp_min
    clamp_max = ops.clamp_max
    lerp = ops.lerp
    addcmul = ops.addcmul
    addcdiv = ops.addcdiv
    floor = ops.floor
    ceil = ops.ceil
    round = ops.round
    trunc = fix = ops.trunc
    frac = ops.frac
    reciprocal = ops.reciprocal
    square = ops.square

    # Products

    matmul = ops.matmul
    mm = ops.mm
    bmm = ops.bmm
    mv = ops.mv
    dot = ops.dot
    outer = ops.outer
    inner = ops.inner
    addmm = ops.addmm
    addmv = ops.addmv
    baddbmm = ops.baddbmm
    addbmm = ops.addbmm
    addr = ops.addr
    cross = ops.cross
    kron = ops.kron
    matrix_power = ops.matrix_power

    # Functions of one or two numbers

    exp = ops.exp
    exp2 = ops.exp2
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
    asin = arcsin = ops.asin
    acos = arccos = ops.acos
    atan = arctan = ops.atan
    atan2 = arctan2 = ops.atan2
    sinh = ops.sinh
    cosh = ops.cosh
    tanh = ops.tanh
    asinh = ops.asinh
    acosh = ops.acosh
    atanh = ops.atanh
    sigmoid = ops.sigmoid
    relu = ops.relu
    erf = ops.erf
    erfc = ops.erfc
    logit = ops.logit
    sinc = ops.sinc
    xlogy = ops.xlogy
    hypot = ops.hypot
    logaddexp = ops.logaddexp
    logaddexp2 = ops.logaddexp2
    copysign = ops.copysign
    heaviside = ops.heaviside
    ldexp = ops.ldexp
    deg2rad = ops.deg2rad
    rad2deg = ops.rad2deg
    softmax = ops.softmax
    log_softmax = ops.log_softmax
    nan_to_num = ops.nan_to_num

    # Comparison

    eq = ops.eq
    ne = not_equal = ops.ne
    lt = less = ops.lt
    le = less_equal = ops.le
    gt = greater = ops.gt
    ge = greater_equal = ops.ge
    equal = ops.equal
    isclose = ops.isclose
    allclose = ops.allclose
    isnan = ops.isnan
    isinf = ops.isinf
    isposinf = ops.isposinf
    isneginf = ops.isneginf
    isfinite = ops.isfinite
    isreal = ops.isreal
    signbit = ops.signbit
    logical_and = ops.logical_and
    logical_or = ops.logical_or
    logical_not = ops.logical_not
    logical_xor = ops.logical_xor

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
    aminmax = ops.aminmax
    argmax = ops.argmax
    argmin = ops.argmin
    logsumexp = ops.logsumexp
    norm = ops.norm
    dist = ops.dist
    quantile = ops.quantile
    nanquantile = ops.nanquantile
    median = ops.median
    nanmedian = ops.nanmedian
    mode = ops.mode
    nansum = ops.nansum
    nanmean = ops.nanmean
    count_nonzero = ops.count_nonzero
    any = ops.any
    all = ops.all
    cumsum = ops.cumsum
    cumprod = ops.cumprod
    logcumsumexp = ops.logcumsumexp
    cummax = ops.cummax
    cummin = ops.cummin
    diff = ops.diff
    sort = ops.sort
    argsort = ops.argsort
    msort = ops.msort
    topk = ops.topk
    kthvalue = ops.kthvalue
    cov = ops.cov
    corrcoef = ops.corrcoef
    renorm = ops.renorm

    # Selection

    gather = ops.gather
    scatter = ops.scatter
    scatter_add = ops.scatter_add
    scatter_reduce = ops.scatter_reduce
    take = ops.take
    take_along_dim = ops.take_along_dim
    put = ops.put_flat
    index_select = ops.index_select
    index_add = ops.index_add
    index_copy = ops.index_copy
    index_fill = ops.index_fill
    index_put = ops.index_put
    masked_fill = ops.masked_fill
    masked_select = ops.masked_select
    masked_scatter = ops.masked_scatter
    nonzero = ops.nonzero
    select_scatter = ops.select_scatter
    slice_scatter = ops.slice_scatter
    diagonal_scatter = ops.diagonal_scatter

    def where(self, condition: Any, other: Any) -> Any:
        """Return this tensor where `condition` is true and `other` elsewhere."""
        return ops.where(condition, self, other)

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
