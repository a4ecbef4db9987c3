"""Re-checks: run the Python of a captured function again, without computing, and see that it still does the same."""

from typing import Any

import numpy as np

from tinyseq.backend import Array, is_array
from tinyseq.compile.plan import Plan, outline
from tinyseq.compile.record import Recorded
from tinyseq.core.op import Op
from tinyseq.errors import CaptureError
from tinyseq.graph import Capture, Const, Line, Symbol

_ADVICE = (
    "A Python value or branch that the function depends on has changed where the guards cannot see it. Pass it as an "
    "argument, make it a tensor, or use where(condition, x, y)"
)


class Recheck(Capture):
    """A capture that compares every operation with the one that a plan has in its place."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.same: dict[Symbol, Symbol] = {}

    def argument(self, array: Array) -> Symbol:
        """Return the input for `array`, and note which one of the plan it should be."""
        new = id(array) not in self.inputs
        symbol = super().argument(array)
        known = self.plan.found.inputs
        if new and len(self.inputs) <= len(known):
            self.same[symbol] = known[len(self.inputs) - 1][1]
        return symbol

    def cotangent(self, tensor: Any) -> Symbol:
        """Return what stands for the gradient of `tensor`, and note which one of the plan it should be."""
        symbol = super().cotangent(tensor)
        known = self.plan.found.capture.cotangents
        if len(self.cotangents) <= len(known):
            self.same[symbol] = known[len(self.cotangents) - 1]
        return symbol

    def apply(self, op: Op, args: Any, params: dict[str, Any]) -> Symbol:
        """Take one operation, if it is the one that was expected; its shape and dtype are known from then."""
        number, lines = len(self.lines), self.plan.lines
        if number >= len(lines):
            raise self.refusal(f"the function now goes on with {op.name}, where it ended when captured. {_ADVICE}")
        old, same = lines[number], self.same
        operands = tuple([Const(a) if is_array(a) else a for a in args])
        agrees = op is old.op and len(operands) == len(old.args) and same_params(params, old.params)
        if agrees:
            for a, b in zip(operands, old.args, strict=True):
                if same.get(a) is not b if type(a) is Symbol else not same_value(a, b):
                    agrees = False
        out = Symbol(old.out.shape, old.out.dtype, None, self, old.out.device)
        line = out.line = Line(op, operands, params, out)
        if not agrees:
            self._refuse(line, old)
        same[out] = old.out
        self.lines.append(line)
        return out

    def forget(self) -> None:
        """Let go of everything, without leaving the work to the cycle collector."""
        for line in self.lines:
            line.out.line = None
        self.lines, self.same = [], {}

    def _refuse(self, line: Line, old: Line) -> None:
        raise self.refusal(
            f"operation {len(self.lines)} of the function has changed since it was captured: it was {shown(old)}, and "
            f"is {shown(line)} now. {_ADVICE}"
        )

    def finish(self, found: Recorded) -> None:
        """Raise unless the rest of what was recorded agrees with the plan too."""
        plan = self.plan
        if len(self.lines) != len(plan.lines):
            raise CaptureError(
                f"the function now ends before its operation {len(self.lines)}, which was "
                f"{shown(plan.lines[len(self.lines)])} when it was captured. {_ADVICE}"
            )
        arguments = {k for k, _ in plan.of_arguments} | {k for k, _ in plan.of_grads}
        changed = len(found.inputs) != len(plan.found.inputs)
        for k, ((array, _), (old, _)) in enumerate(zip(found.inputs, plan.found.inputs, strict=False)):
            if k in arguments or array is old:
                continue
            if not (plan.born[k] and id(array) in self.born and equal(array, old)):
                changed = True
        if changed:
            raise CaptureError(
                "the function now reads other tensors, or makes other constants, than when it was captured. " + _ADVICE
            )
        if outline(found) != plan.outline:
            raise CaptureError(
                f"the function now returns or modifies something else than when it was captured. {_ADVICE}"
            )


def equal(a: Array, b: Array) -> bool:
    """Tell whether two arrays are the same in dtype, shape and every element."""
    return a is b or (a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def same_value(a: Any, b: Any) -> bool:
    """Tell whether two operands that are no Symbols agree."""
    if isinstance(a, Const):
        return isinstance(b, Const) and equal(a.array, b.array)
    return type(a) is type(b) and (a == b or (a != a and b != b)) and str(a) == str(b)


def same_params(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Tell whether the parameters of two operations agree."""
    return a == b or repr(a) == repr(b)


def shown(line: Line) -> str:
    """Return one operation as text, without numbering its inputs."""

    def show(a: Any) -> str:
        if isinstance(a, Symbol):
            return f"{a.dtype}{list(a.shape)}"
        return f"const{np.array2string(a.array, threshold=4)}" if isinstance(a, Const) else repr(a)

    params = ", ".join(f"{k}={v}" for k, v in line.params.items())
    return f"`{line.op.name}({', '.join(map(show, line.args))}{'; ' if params else ''}{params})`"
