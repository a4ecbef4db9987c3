"""What a function can see besides its arguments: closure, globals, defaults, bound self, and what these lead to.

Plain values found there are part of a plan's key, everything else is known by identity. The walk follows functions,
modules (the trainable and the importable kind), plain containers and the user's own objects; it does not enter other
packages. At each call the objects that were found are compared by identity, which costs about 20 ns each; only when one
differs is the walk repeated.
"""

import builtins
import dis
import functools
import sys
from collections.abc import Callable, Iterable
from operator import is_
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from tinyseq.autograd import Tensor
from tinyseq.backend import is_array
from tinyseq.compile.trees import MOST_BYTES, PLAIN, Key, plain_key

# Packages whose functions and objects are taken to be what they are
_FOREIGN = frozenset({
    *sys.stdlib_module_names, "tinyseq", "numpy", "cupy", "scipy", "numba", "torch", "matplotlib", "pandas", "sklearn",
    "IPython", "pytest", "_pytest", "hypothesis", "tqdm",
}) - {"__main__"}  # fmt: skip
_OPEN = ("types.SimpleNamespace", "argparse.Namespace", "tinyseq.nn.", "tinyseq.optim.", "tinyseq.data.")
# Who mentions these may read any attribute
_BY_NAME = frozenset(["getattr", "vars", "__dict__", "asdict", "astuple", "attrgetter"])
MOST_ENTRIES = 1000  # larger containers are known by identity and length
MOST_OBJECTS = 20000
_NOTHING = object()


def is_foreign(module: Any) -> bool:
    """Tell whether what is defined in `module` (a name) is not the user's own."""
    return not isinstance(module, str) or module.partition(".")[0] in _FOREIGN


def is_ours(kind: type) -> bool:
    """Tell whether tinyseq defines `kind`."""
    return kind.__module__.startswith("tinyseq.")


def is_module(value: Any) -> bool:
    """Tell whether `value` is a trainable module, by what it can do."""
    return hasattr(value, "training") and hasattr(value, "modules") and hasattr(value, "__dict__")


def is_optimizer(value: Any) -> bool:
    """Tell whether `value` is an optimizer, by what it can do."""
    return hasattr(value, "param_groups") and hasattr(value, "state") and hasattr(value, "__dict__")


@functools.cache
def names_used(code: CodeType) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the global names that `code` and the functions inside of it read, and every name that it mentions."""
    found: dict[str, None] = {}
    mentioned: set[str] = set()
    pending = [code]
    while pending:
        part = pending.pop()
        mentioned.update(part.co_names)
        for step in dis.get_instructions(part):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                found[step.argval] = None
        pending.extend(c for c in part.co_consts if isinstance(c, CodeType))
    return tuple(found), frozenset(mentioned)


@functools.cache
def base_names(kind: type) -> frozenset[str]:
    """Return every name that the methods which `kind` inherits from tinyseq define or mention."""
    found: set[str] = set()
    for base in kind.__mro__:
        if is_ours(base):
            found.update(n for n in vars(base) if not n.startswith("__"))
            for value in vars(base).values():
                inner = value.fget if isinstance(value, property) else value
                if isinstance(inner, FunctionType):
                    found |= names_used(inner.__code__)[1]
    return frozenset(found)


class Open(NamedTuple):
    """An object or class that was found, its attributes, and the names of those that were looked at."""

    path: str
    value: Any
    held: Any
    done: set[str]


class Environment:
    """What `roots` lead to.

    Attributes
    ----------
    key
        What tells this environment from others: plain values, and identities of the rest.
    facts
        The same by name, for messages.
    tensors
        The identities of all tensors found.
    """

    def __init__(self, roots: list[tuple[str, Any]]) -> None:
        self.roots = roots
        self.renew()

    def is_same(self) -> bool:
        """Tell whether everything found is still where it was."""
        now: list[Any] = []
        try:
            for feed in self._feeds:
                now.extend(feed())
        except (ValueError, RuntimeError):  # a cell became empty; a dictionary changed while it was read
            return False
        if len(now) != len(self._seen) or not all(map(is_, now, self._seen)):
            return False
        return all(array.tobytes() == held for array, held in self._arrays)

    def renew(self) -> None:
        """Walk again."""
        self._feeds: list[Callable[[], Iterable[Any]]] = []
        self._arrays: list[tuple[Any, bytes]] = []
        self._visited: dict[int, Any] = {}
        self._pending: list[tuple[str, Any]] = []
        self._open: list[Open] = []
        self._mentioned: set[str] = set()
        self.facts: dict[str, Any] = {}
        self.tensors: set[int] = set()
        parts: list[Any] = []
        for path, value in self.roots:
            self._pending.append((path, value))
        for path, value in self._pending:  # grows while it is walked
            parts.append(self._meet(path, value))
            if len(parts) == len(self._pending):
                for found in self._open:
                    self._look_into(found)
            if len(parts) > MOST_OBJECTS:
                break
        self._feeds += map(self._feed_of, self._open)
        self.key: Key = tuple(parts)
        self.keep = list(self._visited.values())
        self._seen: list[Any] = []
        for feed in self._feeds:
            self._seen.extend(feed())
        self._visited, self._pending, self._open = {}, [], []

    def _meet(self, path: str, value: Any) -> Any:
        """Return what stands for `value` in the key, and put what it leads to on the list."""
        if isinstance(value, PLAIN):
            self.facts[path] = value
            return path, *plain_key(value)
        if isinstance(value, MethodType):  # made anew each time that it is asked for
            self._pending += [(path, value.__func__), (f"{path}.__self__", value.__self__)]
            return path, "method"
        if isinstance(value, functools.partial):
            parts = {"func": value.func, "args": value.args, "keywords": value.keywords}
            self._pending += [(f"{path}.{name}", part) for name, part in parts.items()]
        if isinstance(value, Tensor) and not is_array(value.payload):
            return path, "what an ended capture left there"  # of no use to anyone, so that it does not matter which
        if isinstance(value, tuple) and len(value) <= MOST_ENTRIES:  # an equal one will do
            self._enter(path, value)
            return path, type(value), len(value)
        if id(value) in self._visited:
            return path, id(value)
        self._visited[id(value)] = value
        self._enter(path, value)
        if is_optimizer(value):
            self._visited[id(value.state)] = value.state
            return path, id(value), id(value.state)
        if is_array(value):
            return path, id(value), self._content_of(path, value)
        if not isinstance(value, Tensor):
            self.facts.setdefault(path, f"{type(value).__name__} object number {id(value)}")
        return path, id(value), len(value) if isinstance(value, list | dict | set) else None

    def _content_of(self, path: str, array: Any) -> bytes:
        content = array.tobytes() if isinstance(array, np.ndarray) and array.nbytes <= MOST_BYTES else b""
        if content:
            self._arrays.append((array, content))
        self.facts[f"the elements of {path}"] = hash(content)
        return content

    def _enter(self, path: str, value: Any) -> None:
        if isinstance(value, Tensor):
            self.tensors.add(id(value))
        elif "captured_function" in getattr(value, "__dict__", ()):  # a compiled function
            self._pending.append((path, value.captured_function))
        elif isinstance(value, FunctionType):
            self._enter_function(path, value)
        elif isinstance(value, list | tuple | set | frozenset):
            if len(value) <= MOST_ENTRIES:
                self._pending += [(f"{path}[{i}]", v) for i, v in enumerate(value)]
                if not isinstance(value, tuple | frozenset):
                    self._feeds.append(lambda: value)
            else:
                length = len(value)
                self._feeds.append(lambda: () if len(value) == length else (_NOTHING,))
        elif isinstance(value, dict):
            if len(value) <= MOST_ENTRIES:
                self._pending += [(f"{path}[{k!r}]", v) for k, v in value.items()]
                self._feeds += [value.keys, value.values]
        elif isinstance(value, type):
            if not is_foreign(value.__module__):
                self._enter_class(path, value)
        elif isinstance(value, ModuleType | BuiltinFunctionType):
            pass  # of a module only what functions mention is looked at
        elif is_optimizer(value):
            self._enter_optimizer(path, value)
        elif is_module(value) or self._is_open(type(value)):
            self._enter_object(path, value)

    @staticmethod
    def _is_open(kind: type) -> bool:
        """Tell whether the attributes of objects of this type are looked at."""
        name = f"{kind.__module__}.{kind.__qualname__}"
        return not is_foreign(kind.__module__) or name.startswith(_OPEN)

    def _enter_function(self, path: str, function: FunctionType) -> None:
        if is_foreign(function.__globals__.get("__name__")):
            return
        names, mentioned = names_used(function.__code__)
        self._mentioned |= mentioned
        scope = function.__globals__
        held = [n for n in names if n in scope or not hasattr(builtins, n)]
        for name in held:
            value = scope.get(name, _NOTHING)
            if isinstance(value, ModuleType) and not is_foreign(value.__name__):
                inside = vars(value)
                there = tuple(sorted(n for n in mentioned if n in inside))
                self._pending += [(f"{name}.{n}", inside[n]) for n in there]
                self._feeds.append(functools.partial(map, inside.get, there))
            elif value is not _NOTHING:
                self._pending.append((name, value))
        self._feeds.append(functools.partial(map, scope.get, tuple(held)))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                self._pending.append((name, cell.cell_contents))
            except ValueError:
                continue
            self._feeds.append(lambda cell=cell: (cell.cell_contents,))  # type: ignore[misc]
        defaults = (function.__defaults__, function.__kwdefaults__)
        self._pending += [(f"a default of {path}", d) for d in defaults if d]
        if any(defaults):
            self._feeds.append(lambda: (function.__defaults__, function.__kwdefaults__))
        if vars(function):
            self._pending.append((path, vars(function)))

    def _enter_class(self, path: str, kind: type) -> None:
        for base in kind.__mro__:
            if not is_foreign(base.__module__) and (base is kind or id(base) not in self._visited):
                self._visited[id(base)] = base
                self._open.append(Open(path, kind, vars(base), set()))

    def _enter_object(self, path: str, value: Any) -> None:
        kind = type(value)
        held = getattr(value, "__dict__", None)
        if held is not None:
            self._open.append(Open(path, value, held, set()))
        slots = [n for base in kind.__mro__ for n in getattr(base, "__slots__", ()) if isinstance(n, str)]
        names = tuple([n for n in slots if not n.startswith("__")])
        if names:
            self._pending += [(f"{path}.{n}", getattr(value, n)) for n in names if hasattr(value, n)]
            self._feeds.append(lambda: [getattr(value, n, None) for n in names])
        if not is_foreign(kind.__module__) and id(kind) not in self._visited:
            self._enter_class(kind.__name__, kind)

    def _look_into(self, found: Open) -> None:
        """Put the attributes that some function mentions, and that were not met yet, on the list."""
        path, value, held, done = found
        for name, v in list(held.items()):
            if name not in done and self._is_wanted(name, v, value):
                done.add(name)
                if isinstance(value, type):  # methods as functions
                    v = v.__func__ if isinstance(v, staticmethod | classmethod) else v
                    v = v.fget if isinstance(v, property) else v
                self._pending.append((f"{path}.{name}", v))

    def _feed_of(self, found: Open) -> Callable[[], Iterable[Any]]:
        """Return what yields the attributes that were looked at, and those that may yet hide the ones of a class."""
        kind = found.value if isinstance(found.value, type) else type(found.value)
        if is_ours(kind):
            return found.held.values
        hidden = {n for base in kind.__mro__ for n in vars(base)} & (self._mentioned | base_names(kind))
        return functools.partial(map, found.held.get, tuple(found.done | hidden))

    def _is_wanted(self, name: str, v: Any, value: Any) -> bool:
        """Tell whether an attribute may matter: it is mentioned, or code that is not looked at may use it."""
        kind = value if isinstance(value, type) else type(value)
        if is_ours(kind):
            return not (name.startswith("_") and type(v) is dict)  # private dictionaries are caches
        if name.startswith("_") and type(v) is dict and is_module(value) and name in base_names(kind):
            return False  # a cache as well, of a class that inherits it
        if name in self._mentioned or name in base_names(kind) or not self._mentioned.isdisjoint(_BY_NAME):
            return not (isinstance(value, type) and name in ("__dict__", "__weakref__", "__module__", "__doc__"))
        if isinstance(value, type):
            return name.startswith("__") and isinstance(v, FunctionType) and name != "__init__"
        return is_module(value) and (isinstance(v, Tensor) or is_module(v))

    def _enter_optimizer(self, path: str, value: Any) -> None:
        """Look at the hyperparameters, but for the learning rate, which is a tensor beside what the group says."""
        for i, group in enumerate(value.param_groups):
            names = tuple([n for n in dict.keys(group) if n not in ("lr", "params")])
            at = f"{path}.param_groups[{i}]"
            self._pending += [(f"{at}[{n!r}]", dict.get(group, n)) for n in names]
            self._pending.append((f"{at}['params']", dict.get(group, "params")))
            self._feeds.append(lambda g=group, ns=names: [dict.get(g, n) for n in ns])  # type: ignore[misc]
        self._feeds += [lambda: value.param_groups, lambda: (value.state,)]
        if not is_foreign(type(value).__module__):
            self._enter_class(type(value).__name__, type(value))
