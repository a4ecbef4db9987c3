"""Clipping of gradients."""

import math
from collections.abc import Iterable
from typing import Any

from tinyseq import ops
from tinyseq.autograd import Tensor, no_grad
from tinyseq.autograd.creation import tensor
from tinyseq.errors import ArgumentError, DTypeError, GradientError


def _gradients(name: str, parameters: Any) -> list[Any]:
    if not isinstance(parameters, Iterable):
        raise DTypeError(f"{name}: got {type(parameters).__name__}, wanted parameters, as model.parameters()")
    several = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in several if p.grad is not None]


def get_total_norm(tensors: Iterable[Any], norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """Return the norm of all tensors together, as if they were one vector: 0-d.

    `norm_type` is a positive number, or infinity for the largest absolute value.

    Raises
    ------
    GradientError
        If `error_if_nonfinite` and the norm is infinite or NaN. This needs its value, so it cannot be captured.
    """
    order = float(norm_type)
    if not order > 0:
        raise ArgumentError(f"clip_grad_norm_: got norm_type {norm_type}, wanted a positive number or inf")
    several = list(tensors)
    norm = _norm(several, order) if several else tensor(0.0)
    if error_if_nonfinite and not math.isfinite(norm.item()):
        raise GradientError(f"clip_grad_norm_: the norm of the gradients is {norm.item()}")
    return norm


def _norm(tensors: list[Any], order: float) -> Any:
    if order == math.inf:
        return ops.amax(ops.stack([ops.amax(ops.abs(g)) for g in tensors]))
    parts = [ops.sum(g * g if order == 2 else ops.pow(ops.abs(g), order)) for g in tensors]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return ops.sqrt(whole) if order == 2 else ops.pow(whole, 1 / order)


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients so that their norm together is at most `max_norm`; return the norm before, 0-d.

    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013,
    section 3.2.

    Raises
    ------
    GradientError
        If `error_if_nonfinite` and the norm is infinite or NaN.
    """
    if not float(max_norm) >= 0:
        raise ArgumentError(f"clip_grad_norm_: got max_norm {max_norm}, wanted a number that is not negative")
    gradients = _gradients("clip_grad_norm_", parameters)
    with no_grad():
        norm = get_total_norm(gradients, norm_type, error_if_nonfinite)
        factor = ops.clamp(float(max_norm) / (norm + 1e-6), max=1.0)
        for g in gradients:
            g.assign(g * factor)
    return norm


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Cut every element of the gradients off at ±`clip_value`."""
    limit = float(clip_value)
    if not limit >= 0:
        raise ArgumentError(f"clip_grad_value_: got clip_value {clip_value}, wanted a number that is not negative")
    with no_grad():
        for g in _gradients("clip_grad_value_", parameters):
            g.assign(ops.clamp(g, -limit, limit))
