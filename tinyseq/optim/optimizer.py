"""What all optimizers share: groups of parameters, their state, and the numbers that change while training.

A captured training step must not freeze the learning rate or the step count, so both are 0-d tensors that operations
read and write. `group["lr"]` is an ordinary number for whoever reads or sets it.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tinyseq.autograd import Tensor, enable_grad, no_grad
from tinyseq.autograd.creation import as_tensor, full, tensor, zeros
from tinyseq.core import dtypes
from tinyseq.core.dispatch import EAGER, describe, override
from tinyseq.errors import ArgumentError, DTypeError, StateDictError


def new_number(value: float, device: Any) -> Tensor:
    """Return a float64 0-d tensor with memory of its own, also while a step is being captured."""
    with override(bottom=EAGER):
        return tensor(value, dtype=dtypes.float64, device=device)


def new_like(parameter: Tensor, value: float = 0.0) -> Tensor:
    """Return a tensor like `parameter` with memory of its own, also while a step is being captured."""
    with override(bottom=EAGER):
        return full(parameter.shape, value, dtype=parameter.dtype, device=parameter.device)


def check(name: str, wanted: str, holds: Callable[[float], bool], **numbers: float) -> None:
    """Raise unless `holds` is true of each number; NaN never passes."""
    for key, value in numbers.items():
        if isinstance(value, str):
            raise DTypeError(f"{name}: got {key} {value!r}, wanted a number")
        if not holds(float(value)):
            raise ArgumentError(f"{name}: got {key} {value}, wanted {wanted}")


def check_not_negative(name: str, **numbers: float) -> None:
    """Raise unless each number is finite and at least 0."""
    check(name, "a finite number that is not negative", lambda v: 0 <= v < math.inf, **numbers)


def check_fraction(name: str, **numbers: float) -> None:
    """Raise unless each number is at least 0 and below 1."""
    check(name, "0 or more and below 1", lambda v: 0 <= v < 1, **numbers)


class Group(dict[str, Any]):
    """Parameters that share hyperparameters: `group["params"]`, `group["lr"]` and what the optimizer adds.

    Attributes
    ----------
    rate
        The learning rate as a 0-d float64 tensor; `group["lr"]` reads and writes it.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self.rate = new_number(float(options["lr"]), options["params"][0].device)

    def __getitem__(self, key: str) -> Any:
        if key == "lr":
            super().__setitem__("lr", self.rate.item())
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if key == "lr":
            check_not_negative("param_groups", lr=value)
            with no_grad():
                self.rate.assign(float(value))

    def options(self) -> dict[str, Any]:
        """Return everything but the parameters."""
        return {key: self[key] for key in self if key != "params"}


class Optimizer:
    """The base of optimizers: subclasses define `update(group, params)`.

    Parameters
    ----------
    params
        Parameters, or dictionaries with `params` and hyperparameters of their own.
    defaults
        The hyperparameters of groups that name none.

    Raises
    ------
    ArgumentError, DTypeError
        If there are no parameters, one is given twice or is no leaf, or a hyperparameter is out of range.
    """

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[Group] = []
        if isinstance(params, Tensor | Mapping) or not isinstance(params, Iterable):
            raise DTypeError(
                f"{self._name}: got {type(params).__name__}, wanted a list of parameters, as model.parameters()"
            )
        groups = list(params)
        if not groups:
            raise ArgumentError(f"{self._name}: got no parameters")
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def check(self, options: dict[str, Any]) -> None:
        """Raise if a hyperparameter is out of range."""
        check_not_negative(self._name, lr=options["lr"], weight_decay=options["weight_decay"])

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own."""
        given = param_group["params"]
        params = [given] if isinstance(given, Tensor) else list(given)
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if not params:
            raise ArgumentError(f"{self._name}: got a group without parameters")
        for p in params:
            if not isinstance(p, Tensor):
                what = "a pair of name and parameter" if isinstance(p, tuple) else describe(p)
                raise DTypeError(f"{self._name}: got {what}, wanted parameters, as model.parameters()")
            if not p.is_leaf:
                raise ArgumentError(f"{self._name}: got the result of an operation ({p!r}), wanted a leaf")
            if id(p) in known:
                raise ArgumentError(f"{self._name}: a parameter of shape {list(p.shape)} is given twice")
            known.add(id(p))
        options = {**self.defaults, **param_group, "params": params}
        self.check(options)
        self.param_groups.append(Group(options))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if set_to_none:
                        p.grad = None
                    elif p.grad is not None:
                        p.grad.assign(0.0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; return what `closure` does, which is called first if given."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                if params:
                    self.update(group, params)
        return loss

    def update(self, group: Group, params: list[Tensor]) -> None:
        """Change `params`, all of which have gradients."""
        raise NotImplementedError(f"{self._name}: define update(self, group, params)")

    def slope(self, group: Group, p: Tensor) -> Any:
        """Return the gradient of `p`, or its opposite to maximise."""
        g: Any = p.grad
        return -g if group["maximize"] else g

    def gradient(self, group: Group, p: Tensor) -> Any:
        """Return the slope of `p` with the weight decay added."""
        g = self.slope(group, p)
        return g + p * float(group["weight_decay"]) if group["weight_decay"] else g

    def slot(self, p: Tensor, name: str, value: float = 0.0) -> Tensor:
        """Return the tensor that is kept for `p` under `name`; it starts filled with `value`."""
        held = self.state.setdefault(p, {})
        if name not in held:
            held[name] = new_like(p, value)
        found: Tensor = held[name]
        return found

    def counted(self, params: list[Tensor]) -> list[tuple[Tensor, list[Tensor]]]:
        """Advance the step counts of `params`; return each count with the parameters that share it.

        Parameters that have always been updated together share one 0-d tensor, so that what follows from the count is
        computed once for all of them.
        """
        fresh = None
        for p in params:
            held = self.state.setdefault(p, {})
            if "step" not in held:
                fresh = new_number(0.0, p.device) if fresh is None else fresh
                held["step"] = fresh
        users = Counter(id(held["step"]) for held in self.state.values() if "step" in held)
        sharing: dict[int, list[Tensor]] = {}
        for p in params:
            sharing.setdefault(id(self.state[p]["step"]), []).append(p)
        found = []
        for key, together in sharing.items():
            count: Tensor = self.state[together[0]]["step"]
            if users[key] > len(together):  # others stay behind, so these go on with a count of their own
                count = new_number(count.item(), count.device)
                for p in together:
                    self.state[p]["step"] = count
            count.assign(count + 1.0)
            found.append((count, together))
        return found

    # Its values as a dictionary

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each parameter by its number, and the groups with numbers for parameters."""
        params = [p for group in self.param_groups for p in group["params"]]
        number = {id(p): i for i, p in enumerate(params)}
        state = {i: {k: v.detach() for k, v in self.state[p].items()} for i, p in enumerate(params) if p in self.state}
        groups = [
            {**group.options(), "params": [number[id(p)] for p in group["params"]]} for group in self.param_groups
        ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over hyperparameters and a copy of the state from another optimizer's `state_dict`.

        Raises
        ------
        StateDictError
            If groups, or the shapes of parameters and state, differ.
        """
        groups, state = state_dict["param_groups"], state_dict["state"]
        sizes, wanted = [len(g["params"]) for g in groups], [len(g["params"]) for g in self.param_groups]
        if sizes != wanted:
            raise StateDictError(f"load_state_dict: groups hold {sizes} parameters, wanted {wanted}")
        loaded: dict[Tensor, dict[str, Any]] = {}
        for own, other in zip(self.param_groups, groups, strict=True):
            counts: dict[float, Tensor] = {}
            for p, key in zip(own["params"], other["params"], strict=True):
                held = state.get(key, state.get(str(key)))
                if held is not None:
                    loaded[p] = self._loaded(p, held, counts)
        for own, other in zip(self.param_groups, groups, strict=True):
            for name, value in other.items():
                if name != "params":
                    own[name] = value
        self.state = loaded

    def _loaded(self, p: Tensor, held: Mapping[str, Any], counts: dict[float, Tensor]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in held.items():
            if name == "step":
                at = float(value)
                counts.setdefault(at, new_number(at, p.device))
                made[name] = counts[at]
                continue
            if value is None:
                continue
            given = as_tensor(value).detach()
            if given.shape != p.shape:
                raise StateDictError(
                    f"load_state_dict: {name} has shape {list(given.shape)}, its parameter {list(p.shape)}"
                )
            made[name] = zeros(*p.shape, dtype=p.dtype, device=p.device).assign(given.to(device=p.device))
        return made

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            count = len(group["params"])
            lines.append(
                f"  group {i}: {count} parameters, " + ", ".join(f"{k}={v}" for k, v in group.options().items())
            )
        return "\n".join([f"{self._name}(", *lines, ")"])
