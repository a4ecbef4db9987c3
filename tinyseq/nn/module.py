"""Module: parameters, buffers and other modules under names, and the function that they compute.

Everything that is registered stands in the module's own `__dict__`, so that reading `self.weight` costs what reading
any attribute costs. Whatever is recorded while a module runs carries the module's path and the time step.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from tinyseq.autograd import Tensor, no_grad
from tinyseq.autograd.creation import as_tensor
from tinyseq.autograd.engine import HookHandle
from tinyseq.core import dtypes
from tinyseq.core.dispatch import EAGER, STATE, Scope, State, describe
from tinyseq.errors import ArgumentError, DTypeError, StateDictError
from tinyseq.nn.hooks import Hooks, add_hook
from tinyseq.nn.parameter import Parameter

# A module remembers which state it made of which (the scope differs), for so many states.
MOST_STATES = 2048


class IncompatibleKeys(NamedTuple):
    """The names in which a state dict and a module differ."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """The base of layers and models: assign parameters and other modules to attributes, and define `forward`.

    >>> class Scale(Module):
    ...     def __init__(self, size):
    ...         self.factor = Parameter(tinyseq.ones(size))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> import tinyseq
    >>> dict(Scale(2).named_parameters())
    {'factor': tensor([1., 1.], requires_grad=True)}
    """

    training: bool = True
    _owner: "Callable[[], Module | None] | None" = None
    _label: str = ""
    _hooks: Hooks | None = None
    _buffers: dict[str, bool]  # the names of the buffers, and whether state_dict lists them
    _states: dict[int, tuple[State, State]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the module ready before `__init__`, so that subclasses need not call the base's."""
        self = super().__new__(cls)
        self.__dict__.update(_buffers={}, _states={})
        return self

    def __init__(self) -> None:
        pass

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's function; called through the module itself, `module(x)`."""
        raise NotImplementedError(f"{type(self).__name__}: define forward(self, ...)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` and the hooks, with everything recorded under this module's path."""
        state = STATE.get()
        known = self._states.get(id(state))
        token = STATE.set(known[1] if known is not None and known[0] is state else self._entered(state))
        try:
            if self._hooks is None:
                return self.forward(*args, **kwargs)
            args = self._hooks.arguments(self, args)
            return self._hooks.output(self, args, self.forward(*args, **kwargs))
        finally:
            STATE.reset(token)

    # Names and scopes

    def _path(self) -> str:
        """Return this module's name in the state dict of the outermost module that holds it."""
        labels: list[str] = []
        module: Module | None = self
        while module is not None and module._owner is not None:
            labels.append(module._label)
            module = module._owner()
        return ".".join(reversed(labels))

    def _entered(self, state: State) -> State:
        """Return `state` with this module as its scope, and remember it."""
        known = self._states.get(id(state))
        if known is not None and known[0] is state:
            return known[1]
        inside = state.change(scope=Scope(self._path(), state.scope.step))
        if state.bottom is EAGER:  # a capture must not be kept alive
            if len(self._states) >= MOST_STATES:
                self._states.clear()
            self._states[id(state)] = state, inside
        return inside

    def _adopt(self, name: str, child: "Module") -> None:
        child.__dict__.update(_owner=weakref.ref(self), _label=name)
        child._forget_path()

    def _forget_path(self) -> None:
        self._states.clear()
        for child in self.children():
            child._forget_path()

    # Registration

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
            return
        if isinstance(self.__dict__.get(name), Parameter) and value is not None:
            raise DTypeError(
                f"{type(self).__name__}.{name}: got {describe(value)}, wanted a Parameter or None; "
                f"to change its values, use `with no_grad(): module.{name}.copy_(...)`"
            )
        object.__setattr__(self, name, value)
        if isinstance(value, Module):
            self._adopt(name, value)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` an attribute that `parameters()` lists; None keeps the name free."""
        self._check_name(name)
        if param is not None and not isinstance(param, Parameter):
            raise DTypeError(f"register_parameter: {name!r}: got {describe(param)}, wanted a Parameter or None")
        self.__dict__[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make `tensor` an attribute that moves with the module and, if `persistent`, is saved, but not trained."""
        self._check_name(name)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise DTypeError(f"register_buffer: {name!r}: got {describe(tensor)}, wanted a tensor or None")
        self._buffers[name] = persistent
        self.__dict__[name] = tensor

    def register_module(self, name: str, module: "Module | None") -> None:
        """Make `module` a child under `name`."""
        self._check_name(name)
        self.__dict__[name] = module
        if module is not None:
            self._adopt(name, module)

    add_module = register_module

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not name or "." in name or callable(getattr(type(self), name, None)):
            raise ArgumentError(
                f"{type(self).__name__}: the name {name!r} cannot be registered; wanted a string without dots "
                "that is not the name of a method"
            )

    # Looking through it

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield the modules that are attributes of this one, with their names."""
        for name, value in list(vars(self).items()):
            if isinstance(value, Module):
                yield name, value

    def children(self) -> "Iterator[Module]":
        """Yield the modules that are attributes of this one."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, "Module"]]:
        """Yield this module and all modules below it, each after the one that holds it, with their paths."""
        pending: list[tuple[str, Module]] = [(prefix, self)]
        seen: set[int] = set()
        while pending:
            path, module = pending.pop()
            if remove_duplicate and id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            below = [(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]
            pending.extend(reversed(below))

    def modules(self) -> "Iterator[Module]":
        """Yield this module and all modules below it."""
        return (module for _, module in self.named_modules())

    def get_submodule(self, path: str) -> "Module":
        """Return the module at `path`, names joined by dots."""
        for name, module in self.named_modules(remove_duplicate=False):
            if name == path:
                return module
        raise ArgumentError(f"get_submodule: {type(self).__name__} has no module {path!r}")

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters with their paths, each once although it may have several names."""
        seen: set[int] = set()
        for path, value in self._named_values(
            prefix, recurse, lambda module, name, value: isinstance(value, Parameter)
        ):
            if not (remove_duplicate and id(value) in seen):
                seen.add(id(value))
                yield path, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters of this module and of all below it."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers with their paths."""
        return self._named_values(
            prefix, recurse, lambda module, name, value: name in module._buffers and value is not None
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers of this module and of all below it."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _named_values(
        self, prefix: str, recurse: bool, wanted: "Callable[[Module, str, Any], bool]"
    ) -> Iterator[tuple[str, Any]]:
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in list(vars(module).items()):
                if wanted(module, name, value):
                    yield f"{path}.{name}" if path else name, value

    # Changing all of it

    def apply(self, function: "Callable[[Module], Any]") -> Self:
        """Call `function` on every module below this one, then on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch to training (dropout acts), or to evaluation with `mode=False`."""
        self.__dict__["training"] = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Switch to evaluation: dropout does nothing."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Start or stop collecting gradients in every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of every parameter, or fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                with no_grad():
                    parameter.grad.assign(0.0)

    def to(self, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False) -> Self:
        """Move parameters and buffers to a device, and floating-point ones to a dtype as well; in place.

        `non_blocking` is taken for programs that pass it, and changes nothing.
        """

        def moved(value: Tensor) -> Tensor:
            out = value.to(*args, dtype=dtype, device=device)
            return out if dtypes.is_floating(value.dtype) else out.to(dtype=value.dtype)

        return self._convert(moved)

    def cuda(self, index: int = 0) -> Self:
        """Move parameters and buffers to GPU `index`, in place."""
        return self._convert(lambda value: value.cuda(index))

    def cpu(self) -> Self:
        """Move parameters and buffers to host memory, in place."""
        return self._convert(lambda value: value.cpu())

    def double(self) -> Self:
        """Make floating-point parameters and buffers float64, in place."""
        return self.to(dtypes.float64)

    def float(self) -> Self:
        """Make floating-point parameters and buffers float32, in place."""
        return self.to(dtypes.float32)

    def half(self) -> Self:
        """Make floating-point parameters and buffers float16, in place."""
        return self.to(dtypes.float16)

    def _convert(self, change: Callable[[Tensor], Tensor]) -> Self:
        with no_grad():
            for value in [*self.parameters(), *self.buffers()]:
                gradient = value.grad
                value.data = change(value.detach())
                if gradient is not None:
                    value.grad = change(gradient)
        return self

    # Its values as a dictionary

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Return every parameter and persistent buffer by path; they share the module's memory."""
        found: dict[str, Tensor] = {}
        for path, module in self.named_modules(remove_duplicate=False):
            own = vars(module).items()
            names = [n for n, v in own if isinstance(v, Parameter)]
            names += [n for n, v in own if v is not None and module._buffers.get(n)]
            found.update({prefix + (f"{path}.{n}" if path else n): vars(module)[n].detach() for n in names})
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values into the parameters and buffers of the same path; dtype and device stay as they are.

        Parameters
        ----------
        state_dict
            Tensors or NumPy arrays by path.
        strict
            Whether names must be the same on both sides; if not, what differs is returned.

        Raises
        ------
        StateDictError
            If shapes differ, or names do and `strict`. Nothing is copied then.
        """
        own = self.state_dict()
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        given = {name: as_tensor(state_dict[name]).detach() for name in own if name in state_dict}
        wrong = [
            f"{name} has shape {list(value.shape)}, wanted {list(own[name].shape)}"
            for name, value in given.items()
            if value.shape != own[name].shape
        ]
        complaints = [f"shapes differ: {'; '.join(wrong)}"] if wrong else []
        if strict and missing:
            complaints.append(f"missing: {', '.join(missing)}")
        if strict and unexpected:
            complaints.append(f"unexpected: {', '.join(unexpected)}")
        if complaints:
            raise StateDictError(f"load_state_dict: does not fit {type(self).__name__}: {'. '.join(complaints)}")
        with no_grad():
            for name, value in given.items():
                own[name].assign(value.to(device=own[name].device))
        return IncompatibleKeys(missing, unexpected)

    # Hooks

    def register_forward_pre_hook(self, hook: "Callable[[Module, tuple[Any, ...]], Any]") -> HookHandle:
        """Call `hook(module, args)` before `forward`; what it returns replaces the arguments."""
        return add_hook(self._own_hooks().before, hook)

    def register_forward_hook(self, hook: "Callable[[Module, tuple[Any, ...], Any], Any]") -> HookHandle:
        """Call `hook(module, args, output)` after `forward`; what it returns replaces the output."""
        return add_hook(self._own_hooks().after, hook)

    def _own_hooks(self) -> Hooks:
        if self._hooks is None:
            self.__dict__["_hooks"] = Hooks()
        assert self._hooks is not None
        return self._hooks

    # Copying and printing

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_owner", "_label", "_states")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name, child in self.named_children():
            self._adopt(name, child)

    def extra_repr(self) -> str:
        """Return what `repr` prints between the parentheses."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        return "\n  ".join([f"{type(self).__name__}(", *([extra] if extra else []), *lines]) + "\n)"
