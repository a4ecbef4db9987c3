"""Compare gradients with finite differences: for users' own functions, and for every operation of tinyseq.

The derivative of `f` along element `i` is measured as `(f(x + eps e_i) - f(x - eps e_i)) / (2 eps)`, whose error
is of order `eps ** 2` plus the rounding error of `f` divided by `eps`. So inputs should be float64.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyseq.autograd import engine
from tinyseq.autograd.creation import tensor
from tinyseq.autograd.modes import no_grad
from tinyseq.autograd.tensor import Tensor
from tinyseq.backend import Array
from tinyseq.core import dtypes
from tinyseq.errors import GradientError


class GradcheckError(GradientError):
    """A gradient differs from its finite difference."""


def gradcheck(
    function: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Tell whether the gradients of `function` agree with central differences.

    Every element of every output is differentiated for every element of every input that requires gradients, so
    keep the inputs small.

    Parameters
    ----------
    function
        Takes `inputs` and returns a tensor or several. It must be deterministic.
    inputs
        A tensor or several, in float64; other values are passed on as they are.
    eps
        The step of the differences.
    atol, rtol
        An analytic derivative `a` passes if `|a - n| <= atol + rtol |n|`, `n` being the numeric one.
    raise_exception
        Raise instead of returning False.

    Raises
    ------
    GradcheckError
        If a derivative differs, naming the output, the input and the element.
    GradientError
        If no input requires gradients.

    >>> gradcheck(lambda x: x * x, tensor([1.0, -2.0], dtype="float64", requires_grad=True))
    True
    """
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise GradientError("gradcheck: no input requires gradients; make one with requires_grad=True")
    if any(given[i].dtype != dtypes.float64 for i in checked):
        warnings.warn("gradcheck: inputs below float64 are too coarse for finite differences", stacklevel=2)
    try:
        _compare(function, given, checked, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    function: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Tell whether the second derivatives of `function` agree with central differences of its gradients.

    The gradients are also checked as functions of `grad_outputs`, the gradients of the outputs, which are random
    unless given. Parameters and errors are those of `gradcheck`.

    >>> gradgradcheck(lambda x: x.tanh(), tensor([0.5], dtype="float64", requires_grad=True))
    True
    """
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        outputs = differentiable(function(*given))
        seeds = [tensor(rng.uniform(0.5, 1.5, o.shape), dtype=o.dtype, device=o.device) for o in outputs]
    else:
        seeds = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    seeds = [s.detach().requires_grad_() for s in seeds]

    def gradients(*values: Any) -> list[Tensor]:
        arguments, cotangents = values[: len(given)], values[len(given) :]
        wanted = [arguments[i] for i in checked]
        found = engine.grad(differentiable(function(*arguments)), wanted, cotangents, True, True, Tensor)
        return [g for g in found if g is not None]

    if not any(g.requires_grad for g in gradients(*given, *seeds)):
        return True  # the gradients are constants
    return gradcheck(gradients, [*given, *seeds], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)


def differentiable(outputs: Any) -> list[Tensor]:
    """Return those among a function's outputs that have gradients."""
    several = [outputs] if isinstance(outputs, Tensor) else outputs
    return [o for o in several if isinstance(o, Tensor) and o.requires_grad]


def analytic_jacobians(function: Callable[..., Any], given: list[Any], checked: Sequence[int]) -> list[list[Array]]:
    """Return, for each output and checked input, the matrix of derivatives (output size, input size)."""
    outputs = differentiable(function(*given))
    inputs = [given[i] for i in checked]
    found = []
    for output in outputs:
        size = math.prod(output.shape)
        rows = [np.zeros((size, math.prod(x.shape))) for x in inputs]
        for k in range(size):
            one_hot = np.zeros(size)
            one_hot[k] = 1.0
            cotangent = tensor(one_hot.reshape(output.shape), dtype=output.dtype, device=output.device)
            grads = engine.grad([output], inputs, [cotangent], True, False, Tensor)
            for row, g in zip(rows, grads, strict=True):
                row[k] = 0.0 if g is None else _on_host(g).reshape(-1)
        found.append(rows)
    return found


def numeric_jacobian(function: Callable[..., Any], given: list[Any], position: int, eps: float) -> list[Array]:
    """Return, for each output that has gradients, its central differences for one input (output size, input size)."""
    x = given[position]
    start = _on_host(x).reshape(-1)

    def at(k: int, step: float) -> list[Array]:
        moved = start.copy()
        moved[k] += step
        replaced = tensor(moved.reshape(x.shape), device=x.device).requires_grad_()
        return [
            _on_host(o).reshape(-1)
            for o in differentiable(function(*given[:position], replaced, *given[position + 1 :]))
        ]

    columns = [
        [(up - down) / (2 * eps) for up, down in zip(at(k, eps), at(k, -eps), strict=True)] for k in range(start.size)
    ]
    return [np.stack(column, 1) for column in zip(*columns, strict=True)]


def _compare(
    function: Callable[..., Any], given: list[Any], checked: Sequence[int], eps: float, atol: float, rtol: float
) -> None:
    analytic = analytic_jacobians(function, given, checked)
    for j, position in enumerate(checked):
        x = given[position]
        if 0 in x.shape:
            continue
        for k, numeric in enumerate(numeric_jacobian(function, given, position, eps)):
            found = analytic[k][j]
            gap = np.abs(found - numeric) - (atol + rtol * np.abs(numeric))
            bad = ~(gap <= 0)
            if bad.any():
                worst = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape)
                raise GradcheckError(
                    f"gradcheck: the derivative of output {k} (element {worst[0]}) for input {position} of shape "
                    f"{list(x.shape)} (element {worst[1]}) is {found[worst]:.12g}, but its central difference is "
                    f"{numeric[worst]:.12g}; {int(bad.sum())} of {bad.size} derivatives differ"
                )


def _on_host(x: Tensor) -> Array:
    with no_grad():
        return x.detach().cpu().numpy()
