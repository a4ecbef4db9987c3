"""One operation, written down once."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tinyseq.core.dispatch import bind
from tinyseq.core.dtypes import DType, get_default_dtype
from tinyseq.core.sample import Sample
from tinyseq.core.shapes import Shape

Value: TypeAlias = Any  # array, Tensor or Symbol: whatever the interpreter in charge carries
Rule: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the tape keeps of one call, and how its gradients follow from that.

    It depends on the operation, on how many inputs came and on which of them need gradients, so each layout is
    printed once as two small functions and then shared by every call of the kind.
    """

    op: "Op"
    wanted: tuple[int, ...]  # positions of the inputs that need gradients
    names: tuple[str, ...]  # what is kept: "out", an input, "<input>_shape", "<input>_dtype" or a parameter
    keep: Callable[[Value, Sequence[Value], dict[str, Any]], tuple[Any, ...]]
    pull: Callable[[Value, tuple[Any, ...]], Sequence[Value]]


class Op:
    """A named operation: forward rule, shape and dtype rules, gradient rules, label and samples.

    Calling it hands the arguments to the interpreter in charge, so the same object serves arrays, Tensors and
    captured graphs. Arrays are positional, metadata is keyword-only. Users call the function that `@op` makes of
    it, which does the same and is faster.
    """

    registry: "dict[str, Op]" = {}

    def __init__(
        self,
        forward: Callable[..., Value],
        *,
        shape: Callable[..., Shape],
        dtype: Any = None,
        samples: tuple[Sample, ...],
        label: str | None = None,
        expr: str | None = None,
        elementwise: bool = False,
        operands: str | None = None,
        floating: bool = False,
        quiet: bool = False,
        view: bool = False,
        random: bool = False,
        differentiable: bool = True,
    ) -> None:
        functools.update_wrapper(self, forward)
        signature = inspect.signature(forward)
        _, *params = signature.parameters.values()
        self.__signature__ = signature.replace(parameters=params)
        self.name = forward.__name__.strip("_")
        positional = [p for p in params if p.kind is not p.KEYWORD_ONLY]
        self.variadic = bool(positional) and positional[-1].kind is inspect.Parameter.VAR_POSITIONAL
        self.inputs = tuple(p.name for p in positional)
        self.parameters = tuple(p.name for p in params if p.kind is p.KEYWORD_ONLY)
        self.forward, self.shape, self.dtype, self.samples = forward, shape, dtype, samples
        self.label, self.expr = label or self.name, expr
        self.elementwise, self.operands, self.floating = elementwise, operands, floating
        self.quiet, self.view, self.random, self.differentiable = quiet, view, random, differentiable
        self.rules: dict[str, Rule] = {}
        self.layouts: dict[int, Layout] = {}  # by mask << 16 | count
        if self.name in Op.registry:
            raise ValueError(f"operation {self.name!r} is already defined")
        Op.registry[self.name] = self

    def __call__(self, *args: Value, **params: Any) -> Value:
        """Hand the call to the interpreter in charge."""
        return bind(self, args, params)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def defvjp(self, **rules: Rule) -> None:
        """Give one gradient rule per input; a rule's own parameter names say what it needs.

        A rule may name `g` (the incoming gradient), `out`, any input, `<input>_shape`, `<input>_dtype`, and any
        parameter of the forward rule; nothing else is kept for backward. The rule of a variadic input returns one
        gradient for each of its members.
        """
        of_inputs = {f"{i}_{what}" for i in self.inputs for what in ("shape", "dtype")}
        allowed = {"g", "out", *self.__signature__.parameters, *of_inputs}
        for wrt, rule in rules.items():
            needs = tuple(inspect.signature(rule).parameters)
            if wrt not in self.inputs or needs[:1] != ("g",) or not allowed.issuperset(needs):
                raise TypeError(f"{self.name}.defvjp({wrt}=...) may only name {sorted(allowed)}, got {needs}")
            self.rules[wrt] = rule

    def result_dtype(self, dtypes: Sequence[DType | None], params: dict[str, Any]) -> DType:
        """Return the dtype of the result for inputs of `dtypes` (None for a Python number).

        Without a rule it is the dtype in which the operands meet, or that of the first input.
        """
        if isinstance(self.dtype, np.dtype):
            return self.dtype
        skip = 1 if self.operands == "promote branches" else 0
        met = [d for d in dtypes[skip:] if d is not None]
        first = met[0] if met else get_default_dtype()
        if self.dtype is not None:
            found: DType = self.dtype(*(first if d is None else d for d in dtypes), **params)
            return found
        return np.result_type(*met) if self.operands == "promote" and met.count(first) < len(met) else first

    def argument_names(self, count: int) -> list[str]:
        """Return a name for each of `count` positional arguments."""
        if not self.variadic:
            return list(self.inputs[:count])
        fixed = len(self.inputs) - 1
        return [*self.inputs[:fixed], *(f"{self.inputs[-1]}[{i}]" for i in range(count - fixed))]

    def layout(self, count: int, mask: int) -> Layout:
        """Return the layout for `count` inputs, of which those in the bit set `mask` need gradients."""
        key = mask << 16 | count
        found = self.layouts.get(key)
        if found is None:
            found = self.layouts[key] = self._print_layout(count, mask)
        return found

    def _print_layout(self, count: int, mask: int) -> Layout:
        wanted = tuple(i for i in range(count) if mask >> i & 1 and self._input(i) in self.rules)
        fixed = [i for i in wanted if not self._is_member(i)]
        names: list[str] = []
        calls = [self._print_call(self.inputs[i], names) for i in fixed]
        if len(fixed) < len(wanted):
            first = len(self.inputs) - 1
            members = tuple(i - first for i in wanted if self._is_member(i))
            every = self._print_call(self.inputs[-1], names)
            whole = len(members) == count - first
            calls.append(f"*{every}" if whole else f"*(lambda every: [every[i] for i in {members}])({every})")
        scope = {f"rule_{name}": rule for name, rule in self.rules.items()}
        pull = eval(f"lambda g, kept: ({''.join(c + ', ' for c in calls)})", scope)
        keep = eval(f"lambda out, args, params: ({''.join(self._print_kept(n) + ', ' for n in names)})", {})
        return Layout(self, wanted, tuple(names), keep, pull)

    def _is_member(self, position: int) -> bool:
        return self.variadic and position >= len(self.inputs) - 1

    def _input(self, position: int) -> str:
        return self.inputs[min(position, len(self.inputs) - 1)]

    def _print_call(self, wrt: str, names: list[str]) -> str:
        needs = tuple(inspect.signature(self.rules[wrt]).parameters)[1:]
        names.extend(n for n in needs if n not in names)
        return f"rule_{wrt}({', '.join(['g', *(f'kept[{names.index(n)}]' for n in needs)])})"

    def _print_kept(self, name: str) -> str:
        if name == "out":
            return "out"
        if name in self.parameters:
            return f"params[{name!r}]"
        base, what = (name, "") if name in self.inputs else name.rsplit("_", 1)
        suffix = what and f".{what}"
        position = self.inputs.index(base)
        if self._is_member(position):
            return f"tuple([a{suffix} for a in args[{position}:]])"
        return f"args[{position}]{suffix}"
