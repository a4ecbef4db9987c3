"""Layers, losses and attention as functions, with PyTorch's signatures."""

import math
from collections.abc import Sequence
from typing import Any

from tinyseq import ops
from tinyseq.autograd import Tensor
from tinyseq.autograd.creation import arange, one_hot
from tinyseq.core import dtypes
from tinyseq.errors import ArgumentError, DTypeError, ShapeError
from tinyseq.nn.losses_functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from tinyseq.ops import (
    celu,
    elu,
    gelu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """Return `input @ weightᵀ + bias`: (..., in), (out, in), (out) to (..., out)."""
    out = ops.linear_(input, weight)
    return out if bias is None else ops.add(out, bias)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """Return `x1ᵀ W x2 + b` for each of `out` matrices W: (..., in1), (..., in2), (out, in1, in2) to (..., out)."""
    outs, first, second = weight.shape
    rows = ops.reshape(input1, -1, first)
    halves = ops.reshape(
        ops.matmul(rows, ops.reshape(ops.permute(weight, 1, 0, 2), first, outs * second)), -1, outs, second
    )
    out = ops.matmul(halves, ops.reshape(input2, -1, second, 1))
    out = ops.reshape(out, *input1.shape[:-1], outs)
    return out if bias is None else out + bias


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """Return the rows of `weight` (N, D) that the integers `input` name: shape (*input, D).

    Parameters
    ----------
    input
        Integers from 0 to N - 1, of any shape.
    padding_idx
        The row that gets no gradient.

    Raises
    ------
    DTypeError
        If `input` does not hold integers.
    DimError
        If an integer is out of range.
    """
    if input.dtype.kind not in "iu":
        raise DTypeError(f"embedding: got indices of dtype {input.dtype}; wanted integers, as input.to('int64')")
    if padding_idx is None:
        return ops.embedding_(weight, input)
    rows = weight.shape[0]
    if not -rows <= padding_idx < rows:
        raise ArgumentError(f"embedding: padding_idx {padding_idx} is out of range for {rows} rows")
    out = ops.embedding_(weight, input)
    return ops.where(ops.unsqueeze(ops.eq(input, padding_idx % rows), -1), out.detach(), out)


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Any:
    """Set elements to zero with probability `p`, and scale the others by `1 / (1 - p)`.

    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014).
    """
    check_probability("dropout", p)
    if not training or p == 0:
        return input
    return input * dropout_mask(input.shape, p, input)


def check_probability(name: str, p: float) -> None:
    """Raise if `p` is no probability."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"{name}: got probability {p}, wanted a number from 0 to 1")


def dropout_mask(shape: Sequence[int], p: float, like: Any) -> Tensor:
    """Return zeros with probability `p` and `1 / (1 - p)` otherwise, of the dtype and device of `like`."""
    generator = ops.default_generator(like.device)
    mask = ops.dropout_mask_(generator=generator, shape=tuple(shape), p=float(p), dtype=like.dtype, device=like.device)
    return Tensor(mask)


def layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Return `(x - mean) / √(var + eps) · weight + bias`, over the last dimensions.

    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", 2016, arXiv:1607.06450.
    """
    dims = _last_dims("layer_norm", input, normalized_shape)
    centred = input - ops.mean(input, dims, True)
    out = centred / ops.sqrt(ops.mean(centred * centred, dims, True) + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def rms_norm(input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """Return `x / √(mean(x²) + eps) · weight`, over the last dimensions.

    B. Zhang, R. Sennrich, "Root mean square layer normalization", NeurIPS 2019. `eps` is by default the spacing of
    floating-point numbers at 1.
    """
    dims = _last_dims("rms_norm", input, normalized_shape)
    spacing = 2.0 ** -{2: 10, 4: 23, 8: 52}[input.dtype.itemsize] if eps is None else eps
    out = input / ops.sqrt(ops.mean(input * input, dims, True) + spacing)
    return out if weight is None else out * weight


def _last_dims(name: str, input: Any, normalized_shape: Sequence[int]) -> tuple[int, ...]:
    wanted = tuple(normalized_shape)
    if not wanted or tuple(input.shape[-len(wanted) :]) != wanted:
        raise ShapeError(f"{name}: got input {list(input.shape)}, wanted (..., {', '.join(map(str, wanted))})")
    return tuple(range(-len(wanted), 0))


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """Return `input` divided by its p-norm along `dim`, or by `eps` where that is larger."""
    return input / ops.clamp(ops.vector_norm(input, p, dim, True), min=eps)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Return the cosine of the angle between `x1` and `x2` along `dim`: x1·x2 / (max(|x1|, eps) max(|x2|, eps))."""
    x1, x2 = ops.broadcast_tensors(x1, x2)
    lengths = ops.clamp(ops.vector_norm(x1, 2, dim), min=eps) * ops.clamp(ops.vector_norm(x2, 2, dim), min=eps)
    return ops.sum(x1 * x2, dim) / lengths


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """Return `softmax(query keyᵀ · scale + mask) value`.

    A. Vaswani et al., "Attention is all you need", NeurIPS 2017, equation 1.

    Parameters
    ----------
    query, key, value
        (..., L, E), (..., S, E), (..., S, V).
    attn_mask
        Broadcasts to (..., L, S): true where attention is allowed, or numbers that are added to the scores.
    is_causal
        Each position sees itself and those before it.
    scale
        1 / √E by default.

    Returns
    -------
    Tensor
        (..., L, V)
    """
    if is_causal and attn_mask is not None:
        raise ArgumentError("scaled_dot_product_attention: got attn_mask and is_causal=True; wanted one of them")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = ops.matmul(query, ops.transpose(key, -2, -1)) * factor
    if is_causal:
        rows = arange(query.shape[-2], device=query.device)
        attn_mask = ops.unsqueeze(rows, 1) >= arange(key.shape[-2], device=query.device)
    if attn_mask is not None and attn_mask.dtype == dtypes.bool_:
        scores = ops.where(attn_mask, scores, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return ops.matmul(dropout(ops.softmax(scores, -1), dropout_p, dropout_p > 0), value)


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Any:
    """Add `value` before and after, along the last dimension first: pad = (left, right, top, bottom, ...).

    Negative numbers cut.
    """
    if mode != "constant":
        raise ArgumentError(f"pad: got mode {mode!r}, wanted 'constant'")
    return ops.constant_pad(input, pad, value)


__all__ = [
    "bilinear", "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu", "cosine_similarity",
    "cross_entropy", "dropout", "elu", "embedding", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "huber_loss", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "linear", "log_softmax",
    "logsigmoid", "mish", "mse_loss", "nll_loss", "normalize", "one_hot", "pad", "prelu", "relu", "relu6",
    "rms_norm", "scaled_dot_product_attention", "selu", "sigmoid", "silu", "smooth_l1_loss", "softmax", "softmin",
    "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold",
]  # fmt: skip
