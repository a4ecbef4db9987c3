"""Modules that hold modules or parameters: in a row, in a list, in a dictionary."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tinyseq.errors import DimError, DTypeError
from tinyseq.nn.module import Module
from tinyseq.nn.parameter import Parameter


class _Numbered(Module):
    """What containers share that call their members "0", "1", ..."""

    _kind: type = Module

    def __init__(self, members: Iterable[Any] = ()) -> None:
        super().__init__()
        for member in members:
            self.append(member)

    def _keys(self) -> list[str]:
        return [name for name in vars(self) if name.isdigit()]

    def append(self, member: Any) -> Any:
        """Add a member at the end."""
        setattr(self, str(len(self)), self._checked(member))
        return self

    def extend(self, members: Iterable[Any]) -> Any:
        """Add several members at the end."""
        for member in members:
            self.append(member)
        return self

    def __len__(self) -> int:
        return len(self._keys())

    def __iter__(self) -> Iterator[Any]:
        return iter([vars(self)[key] for key in self._keys()])

    def _position(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise DimError(f"{type(self).__name__}: index {index} is out of range for {len(self)} members")
        return str(index % len(self))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return vars(self)[self._position(index)]

    def __setitem__(self, index: int, member: Any) -> None:
        setattr(self, self._position(index), self._checked(member))

    def _checked(self, member: Any) -> Any:
        if not isinstance(member, self._kind):
            raise DTypeError(f"{type(self).__name__}: got {type(member).__name__}, wanted a {self._kind.__name__}")
        return member


class ModuleList(_Numbered):
    """A list of modules.

    >>> from tinyseq.nn.layers import Linear
    >>> layers = ModuleList([Linear(2, 3), Linear(3, 1)])
    >>> [name for name, _ in layers.named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """


class ParameterList(_Numbered):
    """A list of parameters; plain tensors become parameters."""

    _kind = Parameter

    def append(self, member: Any) -> Any:
        """Add a parameter at the end."""
        return super().append(member if isinstance(member, Parameter) else Parameter(member))


class Sequential(_Numbered):
    """Modules that run one after the other, each on the result of the one before."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.register_module(name, module)
        elif len(modules) == 1 and isinstance(modules[0], list):
            self.extend(modules[0])
        else:
            self.extend(modules)

    def _keys(self) -> list[str]:
        return [name for name, _ in self.named_children()]

    def _position(self, index: int) -> str:
        super()._position(index)
        return self._keys()[index]

    def forward(self, x: Any) -> Any:
        """Return the result of the last module."""
        for module in self.children():
            x = module(x)
        return x


class ModuleDict(Module):
    """A dictionary of modules."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add or replace several members."""
        for name, module in modules.items():
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        found = vars(self).get(name)
        if not isinstance(found, Module):
            raise KeyError(name)
        return found

    def __setitem__(self, name: str, module: Module) -> None:
        self.register_module(name, module)

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: str) -> bool:
        return isinstance(vars(self).get(name), Module)

    def keys(self) -> list[str]:
        """Return the names of the members."""
        return [name for name, _ in self.named_children()]

    def values(self) -> list[Module]:
        """Return the members."""
        return list(self.children())

    def items(self) -> list[tuple[str, Module]]:
        """Return the members with their names."""
        return list(self.named_children())
