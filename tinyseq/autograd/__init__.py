"""Automatic differentiation: Tensor, the tape and the backward walk."""

from collections.abc import Sequence
from typing import Any

from tinyseq.autograd import engine
from tinyseq.autograd.checks import (
    GradcheckError as GradcheckError,
    gradcheck as gradcheck,
    gradgradcheck as gradgradcheck,
)
from tinyseq.autograd.function import Function as Function
from tinyseq.autograd.modes import (
    detect_anomaly as detect_anomaly,
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    no_grad as no_grad,
    set_detect_anomaly as set_detect_anomaly,
    set_grad_enabled as set_grad_enabled,
)
from tinyseq.autograd.tensor import Tensor as Tensor
from tinyseq.errors import GradientError


def _several(tensors: Any) -> list[Any]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _for_each(roots: Sequence[Any], gradients: Any, name: str) -> list[Any]:
    several = [None] * len(roots) if gradients is None else _several(gradients)
    if len(several) != len(roots):
        raise GradientError(f"{name}: got {len(several)} gradients for {len(roots)} outputs; wanted one (or None) each")
    return several


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of several tensors to the `grad` of the leaves."""
    roots = _several(tensors)
    gradients = _for_each(roots, grad_tensors, "backward")
    engine.backward(roots, gradients, retain_graph, create_graph, inputs, Tensor)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Return the gradients of `outputs` for each of `inputs`, without touching any `grad`.

    Parameters
    ----------
    outputs, inputs
        A tensor or several.
    grad_outputs
        A gradient for each output; may be left out for scalars.
    create_graph
        Record the walk, so that its results can be differentiated again.
    allow_unused
        Return None for an input that the outputs do not depend on, instead of raising.

    Raises
    ------
    GradientError
        If an input does not require gradients, or is not part of the graph.
    """
    roots: Sequence[Any] = _several(outputs)
    wanted = _several(inputs)
    gradients = _for_each(roots, grad_outputs, "grad")
    found = engine.grad(roots, wanted, gradients, retain_graph, create_graph, Tensor)
    if not allow_unused and any(g is None for g in found):
        missing = [i for i, g in enumerate(found) if g is None]
        raise GradientError(
            f"grad: the outputs do not depend on inputs {missing}; pass allow_unused=True for None there"
        )
    return tuple(found)
