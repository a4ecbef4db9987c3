"""Losses as functions, with PyTorch's signatures; `tinyseq.nn.functional` exports them.

`reduction` is "mean", "sum" or "none" everywhere.
"""

import math
from typing import Any

from tinyseq import ops
from tinyseq.errors import ArgumentError, ShapeError


def reduced(name: str, values: Any, reduction: str, divisor: Any = None) -> Any:
    """Return the sum of `values`, their mean (or the sum divided by `divisor`), or `values`."""
    if reduction == "mean":
        return ops.mean(values) if divisor is None else ops.sum(values) / divisor
    if reduction == "sum":
        return ops.sum(values)
    if reduction == "none":
        return values
    raise ArgumentError(f"{name}: got reduction {reduction!r}, wanted 'mean', 'sum' or 'none'")


def _same_shape(name: str, input: Any, target: Any, advice: str = "") -> None:
    if input.shape != target.shape:
        raise ShapeError(
            f"{name}: input {list(input.shape)} and target {list(target.shape)} differ; wanted equal shapes{advice}"
        )


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """Return `(input - target)²`."""
    _same_shape("mse_loss", input, target)
    apart = input - target
    return reduced("mse_loss", apart * apart, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """Return `|input - target|`."""
    _same_shape("l1_loss", input, target)
    return reduced("l1_loss", ops.abs(input - target), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """Return `d² / (2 beta)` where `d = |input - target|` is below `beta`, else `d - beta / 2`."""
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: got beta {beta}, wanted 0 or more")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return reduced("smooth_l1_loss", _huber("smooth_l1_loss", input, target, beta, 1 / beta), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """Return `d² / 2` where `d = |input - target|` is below `delta`, else `delta (d - delta / 2)`.

    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35 (1964).
    """
    if delta <= 0:
        raise ArgumentError(f"huber_loss: got delta {delta}, wanted a positive number")
    return reduced("huber_loss", _huber("huber_loss", input, target, delta, 1.0), reduction)


def _huber(name: str, input: Any, target: Any, delta: float, scale: float) -> Any:
    """Return `scale` times the loss of each element."""
    _same_shape(name, input, target)
    d = ops.abs(input - target)
    return ops.where(d < delta, d * d * (0.5 * scale), (d - 0.5 * delta) * (delta * scale))


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """Return `target · (log target - input)`: `input` holds log-probabilities, `target` probabilities or their logs.

    "batchmean" divides the sum by the size of the first dimension, which is the divergence as it is defined.
    """
    if log_target:
        values = ops.exp(target) * (target - input)
    else:
        safe = ops.where(target > 0, target, 1.0)
        values = ops.where(target > 0, target * (ops.log(safe) - input), 0.0)
    if reduction == "batchmean":
        return ops.sum(values) / values.shape[0]
    return reduced("kl_div", values, reduction)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """Return `-(t log p + (1 - t) log(1 - p))` for probabilities p; the logarithms are cut off at -100."""
    _same_shape("binary_cross_entropy", input, target)
    values = -(
        target * ops.clamp(ops.log(input), min=-100.0) + (1 - target) * ops.clamp(ops.log(1 - input), min=-100.0)
    )
    return reduced("binary_cross_entropy", values if weight is None else values * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """Return the binary cross entropy of `sigmoid(input)`, computed as `(1 - t) x + w softplus(-x)`.

    `w = 1 + (pos_weight - 1) t` weighs the positive targets.
    """
    _same_shape("binary_cross_entropy_with_logits", input, target)
    scaled = ops.softplus(-input)
    if pos_weight is not None:
        scaled = scaled * (1 + (pos_weight - 1) * target)
    values = (1 - target) * input + scaled
    return reduced("binary_cross_entropy_with_logits", values if weight is None else values * weight, reduction)


def _class_dim(name: str, input: Any) -> int:
    if not input.shape:
        raise ShapeError(f"{name}: got a 0-d input, wanted (C) or (N, C, ...)")
    return 0 if len(input.shape) == 1 else 1


def _picked(name: str, input: Any, target: Any, weight: Any, ignore_index: int) -> tuple[Any, Any, Any]:
    """Return -input at the target classes times their weight, the weights (0 where ignored), and what is valid."""
    dim = _class_dim(name, input)
    wanted = input.shape[:dim] + input.shape[dim + 1 :]
    if target.shape != wanted:
        raise ShapeError(
            f"{name}: target {list(target.shape)} does not fit input {list(input.shape)}; "
            f"wanted {list(wanted)}, with classes along dim {dim} of the input"
        )
    valid = ops.ne(target, ignore_index)
    safe = ops.where(valid, target, 0)
    values = -ops.squeeze(ops.gather(input, dim, ops.unsqueeze(safe, dim)), dim)
    factor = (
        ops.cast(valid, dtype=input.dtype) if weight is None else ops.where(valid, ops.embedding_(weight, safe), 0.0)
    )
    return ops.where(valid, values * factor, 0.0), factor, valid


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """Return the negative log-likelihood of the `target` classes, given log-probabilities.

    Parameters
    ----------
    input
        Log-probabilities (C) or (N, C, ...).
    target
        Class indices () or (N, ...), each from 0 to C - 1 or `ignore_index`.
    weight
        A factor for each class (C); the mean divides by the sum of the factors.

    Raises
    ------
    ShapeError
        If `target` does not fit `input`.
    DimError
        If a class is out of range.
    """
    values, factor, _ = _picked("nll_loss", input, target, weight, ignore_index)
    return reduced("nll_loss", values, reduction, ops.sum(factor) if reduction == "mean" else None)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Return `-log softmax(input)` at the target.

    Parameters
    ----------
    input
        Unnormalised scores (C) or (N, C, ...).
    target
        Class indices () or (N, ...), or probabilities of the shape of `input`.
    weight
        A factor for each class (C).
    ignore_index
        The index that adds nothing to the loss or the gradient.
    label_smoothing
        How much of the target is spread evenly over all classes. C. Szegedy et al., "Rethinking the Inception
        architecture for computer vision", CVPR 2016, section 7.

    Raises
    ------
    ShapeError, DimError, ArgumentError
        If `target` does not fit, a class is out of range, or a parameter is.
    """
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"cross_entropy: got label_smoothing {label_smoothing}, wanted 0 to 1")
    dim = _class_dim("cross_entropy", input)
    classes = input.shape[dim]
    log_p = ops.log_softmax(input, dim)
    if weight is not None:
        weight = weight.to(dtype=input.dtype)
        spread = ops.reshape(weight, (-1, *[1] * (len(input.shape) - dim - 1)))
    if target.dtype.kind == "f":
        advice = f", as {target.dtype} targets are probabilities; for classes pass integers, as target.to('int64')"
        _same_shape("cross_entropy", input, target, advice)
        if label_smoothing:
            target = target * (1 - label_smoothing) + label_smoothing / classes
        values = -ops.sum(target * log_p if weight is None else target * log_p * spread, dim)
        return reduced("cross_entropy", values, reduction, max(math.prod(input.shape) // classes, 1))
    values, factor, valid = _picked("cross_entropy", log_p, target, weight, ignore_index)
    if label_smoothing:
        even = -ops.sum(log_p if weight is None else log_p * spread, dim) / classes
        values = values * (1 - label_smoothing) + ops.where(valid, even, 0.0) * label_smoothing
    return reduced("cross_entropy", values, reduction, ops.sum(factor) if reduction == "mean" else None)
