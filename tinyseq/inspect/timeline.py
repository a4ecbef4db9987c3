"""The time loops on a tape: which steps they have, and which named values each step made.

Everything recorded by a recurrent layer carries the module's path and the time step, and its states and tapped values
carry their names. So the loops can be read off the tape, whoever wrote the cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyseq.autograd import Tensor, engine
from tinyseq.core.dispatch import as_array
from tinyseq.errors import ArgumentError

Array = np.ndarray
Key = tuple[str, str]  # a module's path and the name of a value

ADVICE = (
    "Time steps come from recurrent layers (nn.Recurrent, nn.LSTM, ...), run as ordinary code: a compiled function is "
    "one operation on the tape"
)


@dataclass(slots=True, eq=False)
class Turn:
    """One time step of one loop: its nodes, oldest first, and those with names."""

    step: int
    nodes: list[Any] = field(default_factory=list)
    named: dict[Key, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Loop:
    """One walk of a cell over time; its turns stand in the order in which they ran."""

    turns: list[Turn] = field(default_factory=list)

    @property
    def steps(self) -> Array:
        """The time step of each turn: falling for a layer that runs backward in time."""
        return np.array([turn.step for turn in self.turns])

    def places(self) -> dict[Any, int]:
        """Return the number of its turn for every node."""
        return {node: k for k, turn in enumerate(self.turns) for node in turn.nodes}

    def keys(self) -> list[Key]:
        """Return the path and name of every named value, in the order in which they were first made."""
        return list(dict.fromkeys(key for turn in self.turns for key in turn.named))

    def states(self) -> list[Key]:
        """Return which of the named values are states: those that the next turn reads.

        A loop of one turn does not show it, so there all names count.
        """
        places = self.places()
        found: set[Key] = set()
        key_of = {node: key for turn in self.turns for key, node in turn.named.items()}
        for node, k in places.items():
            found.update(key_of[edge] for edge in node.edges if edge in key_of and places[edge] == k - 1)
        return [key for key in self.keys() if key in found] if len(self.turns) > 1 else self.keys()


def loops_of(roots: Sequence[Any]) -> list[Loop]:
    """Return the time loops that lead to the nodes `roots`, oldest first."""
    loops: list[Loop] = []
    gap, direction, path = True, 0, ""
    for node in reversed(engine.reachable(roots)):
        scope = getattr(node, "scope", None)  # leaves have none
        if scope is None:
            continue
        if scope.step is None:
            gap = True
            continue
        last = loops[-1].turns[-1].step if loops else None
        move = 0 if last is None else scope.step - last
        if last is None or (move == 0 and gap and scope.path != path) or abs(move) > 1 or move * direction < 0:
            loops.append(Loop())
            last, direction = None, 0
        if last is None or move:
            loops[-1].turns.append(Turn(scope.step))
            direction = move if last is not None else 0
        turn = loops[-1].turns[-1]
        turn.nodes.append(node)
        name = getattr(node, "name", None)
        if name is not None:
            turn.named[scope.path, name] = node
        gap, path = False, scope.path
    return loops


def missing(function: str) -> ArgumentError:
    """Return the error for loops without states."""
    return ArgumentError(
        f"{function}: no step reads a named value of the step before it, so there is no state to speak of; "
        "the drivers of nn name the states that a cell returns"
    )


def start(function: str, tensor: Any, gradient: Any = None) -> dict[Any, Any]:
    """Return the gradient to start from at the node of `tensor`, for `Route.walk`."""
    if not isinstance(tensor, Tensor):
        raise ArgumentError(f"{function}: got {type(tensor).__name__}, wanted a tensor, not yet backpropagated")
    return {tensor.node: engine.seed(tensor, gradient, False, Tensor)}


def loops_behind(function: str, tensor: Tensor) -> list[Loop]:
    """Return the time loops that led to `tensor`; there must be one."""
    found = loops_of([tensor.node])
    if not found:
        raise ArgumentError(f"{function}: nothing on the way to this tensor was recorded with a time step. {ADVICE}")
    return found


def labels(loops: Sequence[Loop], chosen: Sequence[Sequence[Key]]) -> dict[tuple[int, Key], str]:
    """Return short names for the values `chosen` of each loop, with the path and the number of the loop if needed."""
    pairs = [(k, key) for k, keys in enumerate(chosen) for key in keys]
    names = [key[1] for _, key in pairs]
    full = [".".join(filter(None, key)) for _, key in pairs]
    made = {}
    for (k, key), name, long in zip(pairs, names, full, strict=True):
        text = name if names.count(name) == 1 else long
        made[k, key] = text if full.count(long) == 1 else f"{text} (loop {k + 1} of {len(loops)})"
    return made


def pick(function: str, loops: Sequence[Loop], name: str, chosen: Sequence[Sequence[Key]]) -> tuple[Loop, Key]:
    """Return the loop and the key of the value that users call `name`."""
    known = labels(loops, chosen)
    for (k, key), label in known.items():
        if name == label:
            return loops[k], key
    raise ArgumentError(f"{function}: there is no {name!r} on the tape; got {', '.join(map(repr, known.values()))}")


def host(value: Any) -> Array:
    """Return an array as a NumPy array of its own."""
    return np.array(Tensor(as_array(value)).cpu().numpy())


def size(value: Array) -> float:
    """Return the Euclidean norm of all elements."""
    return float(np.linalg.norm(np.asarray(value, np.float64)))
