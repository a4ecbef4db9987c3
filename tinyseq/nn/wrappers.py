"""Cells around cells: stacks, and what can be put around any cell."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tinyseq import ops
from tinyseq.autograd.creation import rand
from tinyseq.errors import ArgumentError, DTypeError, ShapeError
from tinyseq.nn import functional as F
from tinyseq.nn.cell import Cell, state_type
from tinyseq.nn.module import Module
from tinyseq.nn.state import map_state, named_leaves, restructured


def check_cell(name: str, cell: Any) -> Cell:
    """Return `cell` if it is one that has a `step` and sizes."""
    if isinstance(cell, type) and issubclass(cell, Cell):
        raise DTypeError(f"{name}: got the class {cell.__name__}, wanted a cell made of it: {cell.__name__}(...)")
    if not isinstance(cell, Cell):
        raise DTypeError(f"{name}: got {type(cell).__name__}, wanted an nn.Cell")
    if type(cell).step is Cell.step:
        raise ArgumentError(f"{name}: {type(cell).__name__} has no step; define step(self, x, state)")
    if not (hasattr(cell, "input_size") and hasattr(cell, "hidden_size")):
        raise ArgumentError(
            f"{name}: {type(cell).__name__} has no sizes; begin its __init__ with "
            "super().__init__(input_size, hidden_size)"
        )
    return cell


class StackedCells(Cell):
    """Several cells as one: each reads the outputs of the one before, at the same time step.

    The state is a named tuple (layer0, layer1, ...) of their states. A context goes to every cell that accepts one.

    >>> import tinyseq
    >>> from tinyseq import nn
    >>> rnn = nn.Recurrent(nn.StackedCells([nn.LSTMCell(4, 5), nn.GRUCell(5, 6)]))
    >>> output, state = rnn(tinyseq.zeros(7, 2, 4))
    >>> output.shape, state.layer0.c.shape, state.layer1.h.shape
    ((7, 2, 6), (2, 5), (2, 6))
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        Module.__init__(self)
        if isinstance(cells, Cell):
            raise DTypeError(f"StackedCells: got the cell {type(cells).__name__}, wanted a list of cells")
        if not cells:
            raise ArgumentError("StackedCells: got no cells, wanted at least one")
        self.state_names = tuple(f"layer{k}" for k in range(len(cells)))
        self.State = state_type("StackedState", self.state_names)
        for name, cell in zip(self.state_names, cells, strict=True):
            self.register_module(name, check_cell("StackedCells", cell))
        for (name, below), (other, above) in itertools.pairwise(zip(self.state_names, cells, strict=True)):
            if below.output_size != above.input_size:
                raise ArgumentError(
                    f"StackedCells: the outputs of {name} ({type(below).__name__}) have size {below.output_size}, but "
                    f"{other} ({type(above).__name__}) takes inputs of size {above.input_size}"
                )
        self.input_size, self.hidden_size = cells[0].input_size, cells[-1].hidden_size
        self._layers = [vars(self)[name] for name in self.state_names]

    @property
    def output_size(self) -> int:
        """The size of the outputs of the last cell."""
        return int(self._layers[-1].output_size)

    @property
    def accepts_context(self) -> bool:
        """Whether any of the cells accepts a context."""
        return any(cell.accepts_context for cell in self._layers)

    def initial_state(self, batch_size: int) -> Any:
        """Return the initial states of all cells."""
        return self.State(*(cell.initial_state(batch_size) for cell in self._layers))

    def prepare(self, context: Any, batch_size: int) -> Any:
        """Return what each cell makes of the context."""
        super().prepare(context, batch_size)
        return tuple(cell.prepare(context if cell.accepts_context else None, batch_size) for cell in self._layers)

    def inputs(self, x: Any, context: Any) -> Any:
        """Return what the first cell makes of the inputs."""
        return self._layers[0].run_inputs(x, context[0])

    def step(self, x: Any, state: Any, context: Any = None) -> tuple[Any, Any]:
        """Return the output of the last cell, and all new states."""
        first, *others = self._layers
        output, new = first.run(x, state[0], context[0])
        states = [new]
        for k, cell in enumerate(others, 1):
            output, new = cell.run_whole(output, state[k], context[k])
            states.append(new)
        return output, self.State(*states)

    def extra_repr(self) -> str:
        """Return nothing: the cells say it."""
        return ""


class Wrapper(Cell):
    """A cell around a cell: as it is, it changes nothing."""

    def __init__(self, cell: Cell) -> None:
        Module.__init__(self)
        self.cell = check_cell(type(self).__name__, cell)
        self.input_size, self.hidden_size = cell.input_size, cell.hidden_size
        self.state_names, self.State = cell.state_names, cell.State

    @property
    def output_size(self) -> int:
        """The size of the outputs of the cell."""
        return self.cell.output_size

    @property
    def accepts_context(self) -> bool:
        """Whether the cell accepts a context."""
        return self.cell.accepts_context

    def initial_state(self, batch_size: int) -> Any:
        """Return the initial state of the cell."""
        return self.cell.initial_state(batch_size)

    def prepare(self, context: Any, batch_size: int) -> Any:
        """Return what the cell makes of the context."""
        return self.cell.prepare(context, batch_size)

    def inputs(self, x: Any, context: Any) -> Any:
        """Return what the cell makes of the inputs."""
        return self.cell.run_inputs(x, context)

    def step(self, x: Any, state: Any, context: Any = None) -> tuple[Any, Any]:
        """Return what the cell does."""
        return self.cell.run(x, state, context)

    def extra_repr(self) -> str:
        """Return nothing: the cell says it."""
        return ""


class Zoneout(Wrapper):
    """In training each element of the state stays as it was with probability `p`; in evaluation it moves by 1 - p.

    D. Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations", ICLR 2017, equation 2.

    Parameters
    ----------
    cell
        Any cell.
    p
        The probability, or one for each name of the state, as {"h": 0.05, "c": 0.5}; names left out have 0.
    """

    def __init__(self, cell: Cell, p: float | Mapping[str, float] = 0.1) -> None:
        super().__init__(cell)
        for value in p.values() if isinstance(p, Mapping) else [p]:
            F.check_probability("Zoneout", value)
        names = [name for name, _ in named_leaves(self.initial_state(1))]
        self.chances = [_chance(p, name) for name in names]
        if isinstance(p, Mapping) and not {name.rpartition(".")[2] for name in names} | set(names) >= set(p):
            raise ArgumentError(f"Zoneout: got probabilities for {', '.join(p)}, but the state is {', '.join(names)}")

    def step(self, x: Any, state: Any, context: Any = None) -> tuple[Any, Any]:
        """Return the cell's output, and a mixture of the old and the new state."""
        output, new = self.cell.run(x, state, context)
        chances = iter(self.chances)
        replaced: dict[int, Any] = {}

        def mixed(after: Any, before: Any) -> Any:
            p = next(chances)
            if p == 0:
                return after
            if self.training:
                stays = ops.lt(rand(*after.shape, dtype=after.dtype, device=after.device), p)
                out = ops.where(stays, before, after)
            else:
                out = after + (before - after) * p
            replaced[id(after)] = out
            return out

        state = map_state(mixed, restructured(new, state), state)
        return replaced.get(id(output), output), state  # an output that is part of the state is mixed with it

    def extra_repr(self) -> str:
        """Return the probabilities: one, or one for each part of the state."""
        return "p=" + ", ".join(map(str, dict.fromkeys(self.chances) if len(set(self.chances)) == 1 else self.chances))


def _chance(p: Any, name: str) -> float:
    if not isinstance(p, Mapping):
        return float(p)
    return float(p.get(name, p.get(name.rpartition(".")[2], 0.0)))


class Masks(NamedTuple):
    """What `VariationalDropout` multiplies by during one sequence; None for nothing."""

    input: Any
    state: Any
    output: Any
    context: Any


class VariationalDropout(Wrapper):
    """Dropout with one mask for all time steps of a sequence, drawn anew for each sequence.

    Y. Gal, Z. Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", NIPS 2016.

    Parameters
    ----------
    cell
        Any cell.
    input, state, output
        The probabilities for the inputs, the state that the step reads, and the outputs.
    names
        The parts of the state to which `state` applies.
    """

    def __init__(
        self, cell: Cell, input: float = 0.0, state: float = 0.0, output: float = 0.0, names: Sequence[str] = ("h",)
    ) -> None:
        super().__init__(cell)
        for p in (input, state, output):
            F.check_probability("VariationalDropout", p)
        self.p_input, self.p_state, self.p_output = input, state, output
        leaves = [name for name, _ in named_leaves(self.initial_state(1))]
        self.dropped = [name.rpartition(".")[2] in names or name in names for name in leaves]
        if state and not any(self.dropped):
            raise ArgumentError(f"VariationalDropout: got names {tuple(names)}, but the state is {', '.join(leaves)}")

    def prepare(self, context: Any, batch_size: int) -> Any:
        """Draw the masks of one sequence."""
        inner = self.cell.prepare(context, batch_size)
        if not self.training:
            return Masks(None, None, None, inner)
        like = self.zeros(1)

        def drawn(p: float, size: int) -> Any:
            return F.dropout_mask((batch_size, size), p, like) if p else None

        state = None
        if self.p_state:
            chosen = iter(self.dropped)
            state = map_state(
                lambda leaf: F.dropout_mask(leaf.shape, self.p_state, leaf) if next(chosen) else None,
                self.initial_state(batch_size),
            )
        return Masks(drawn(self.p_input, self.input_size), state, drawn(self.p_output, self.output_size), inner)

    def inputs(self, x: Any, context: Any) -> Any:
        """Return what the cell makes of the inputs that are left."""
        return self.cell.run_inputs(x if context.input is None else x * context.input, context.context)

    def step(self, x: Any, state: Any, context: Any = None) -> tuple[Any, Any]:
        """Return what the cell does with what is left of the state."""
        if not isinstance(context, Masks):
            raise ArgumentError(
                "VariationalDropout: no masks; make them with prepare(context, batch_size), once a sequence"
            )
        if context.state is not None:
            state = map_state(lambda s, mask: s if mask is None else s * mask, state, context.state)
        output, new = self.cell.run(x, state, context.context)
        return output if context.output is None else output * context.output, new

    def extra_repr(self) -> str:
        """Return the probabilities."""
        return f"input={self.p_input}, state={self.p_state}, output={self.p_output}"


class Residual(Wrapper):
    """Adds the input to the output: `output + x`, both of one size.

    K. He et al., "Deep residual learning for image recognition", CVPR 2016, around each step, as in Y. Wu et al.,
    "Google's neural machine translation system", arXiv:1609.08144, equation 6.
    """

    def inputs(self, x: Any, context: Any) -> Any:
        """Return the inputs, and what the cell makes of them."""
        return x, self.cell.run_inputs(x, context)

    def step(self, x: Any, state: Any, context: Any = None) -> tuple[Any, Any]:
        """Return the cell's output plus the input."""
        given, made = x
        output, new = self.cell.run(made, state, context)
        if output.shape != given.shape:
            raise ShapeError(
                f"Residual: input {list(given.shape)} and output {list(output.shape)} differ; wanted input_size equal "
                "to the size of the outputs"
            )
        return output + given, new
