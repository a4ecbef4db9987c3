"""The decorator that makes an operation of a forward rule."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

from tinyseq.core.op import Op, Rule, Value
from tinyseq.core.tape import shortcut


class Operation(Protocol):
    """The function that users call, with the operation's definition riding along as `op`."""

    op: Op
    __name__: str

    def __call__(self, *args: Value, **params: Any) -> Any:
        """Run the operation on arrays, Tensors or Symbols."""

    def defvjp(self, **rules: Rule) -> None:
        """Give one gradient rule per input; see `Op.defvjp`."""


def op(**definition: Any) -> Callable[[Callable[..., Value]], Operation]:
    """Turn `def name(xp, x, *, param)` into an operation called as `name(x, param=...)`.

    Parameters
    ----------
    shape
        From the inputs' shapes and the parameters to the result's shape.
    dtype
        `None` (that of the first input), a dtype, or a function of the inputs' dtypes and the parameters.
    samples
        Inputs on which every interpreter is tested.
    label
        What a drawing prints; the name if left out.
    expr
        The formula for one element, for code generation: `"tanh({x})"`.
    elementwise
        Inputs broadcast against each other, and gradients are summed back to their shapes.
    operands
        `"promote"`: mixed dtypes are cast to a common one, as PyTorch does; `"same"`: mixed dtypes are refused.
    floating
        Integer inputs are cast to the default dtype first.
    quiet
        NumPy's floating-point warnings are off: infinities and NaNs are results here, as on a GPU.
    view
        The result may look at the memory of the first input.
    random
        Each call draws new numbers, so it is never merged with another or kept as a constant.
    differentiable
        False where no gradient exists; otherwise every input needs a rule.
    """

    def define(forward: Callable[..., Value]) -> Operation:
        made = Op(forward, **definition)
        call: Any = functools.update_wrapper(shortcut(made), made)
        call.op, call.defvjp = made, made.defvjp
        operation: Operation = call
        return operation

    return define
