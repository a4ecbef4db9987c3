"""Recurrent and Bidirectional: any cell over a sequence."""

from collections import namedtuple
from typing import Any

from tinyseq import ops
from tinyseq.autograd import Tensor, no_grad
from tinyseq.autograd.creation import zeros
from tinyseq.core.dispatch import EAGER, override
from tinyseq.errors import ArgumentError, ShapeError
from tinyseq.nn.cell import Cell
from tinyseq.nn.module import Module
from tinyseq.nn.parameter import Parameter
from tinyseq.nn.state import conform, describe_state, map_state, named_leaves
from tinyseq.nn.unroll import Recorder, time_first, unroll
from tinyseq.nn.wrappers import check_cell


def initial_state_of(cell: Cell, batch: int) -> Any:
    """Return the cell's own initial state, checked."""
    try:
        made = cell.initial_state(batch)
    except Exception as error:
        error.add_note(f"in {type(cell).__name__}.initial_state(batch_size={batch}); the state is {cell.state_names}")
        raise
    if isinstance(made, Tensor):
        made = (made,)
    if not isinstance(made, tuple) or (not hasattr(made, "_fields") and len(made) != len(cell.state_names)):
        raise ShapeError(
            f"{type(cell).__name__}.initial_state: returned {describe_state(made)}, "
            f"wanted ({', '.join(cell.state_names)})"
        )
    made = made if hasattr(made, "_fields") else cell.State(*made)
    for name, leaf in named_leaves(made):
        if not isinstance(leaf, Tensor) or leaf.shape[:1] != (batch,):
            raise ShapeError(
                f"{type(cell).__name__}.initial_state: {name} is {describe_state(leaf)}, "
                f"wanted ({batch}, ...) for a batch of {batch}"
            )
    return made


class Recurrent(Module):
    """Runs a cell over time: `output, state = rnn(x)`.

    Parameters
    ----------
    cell
        What one step computes.
    batch_first
        Sequences are (B, T, ...) instead of (T, B, ...), on both sides.
    reverse
        Walk from each sequence's last step to its first. Outputs stay at the place of their inputs.
    return_sequences
        Return the outputs of all steps, or only that at the end of each walk, (B, ...).
    learn_initial_state
        The state before the first step is a parameter, which starts at the cell's own initial state.
    stateful
        Each call starts from the state in which the last one ended, without its history, until `reset_state()`.

    >>> import tinyseq
    >>> from tinyseq import nn
    >>> rnn = nn.Recurrent(nn.GRUCell(3, 4), batch_first=True)
    >>> output, state = rnn(tinyseq.zeros(2, 7, 3), lengths=[7, 5])
    >>> output.shape, state.h.shape
    ((2, 7, 4), (2, 4))
    """

    def __init__(
        self,
        cell: Cell,
        *,
        batch_first: bool = False,
        reverse: bool = False,
        return_sequences: bool = True,
        learn_initial_state: bool = False,
        stateful: bool = False,
    ) -> None:
        super().__init__()
        self.cell = check_cell("Recurrent", cell)
        self.batch_first, self.reverse, self.return_sequences = batch_first, reverse, return_sequences
        self.learn_initial_state, self.stateful = learn_initial_state, stateful
        self._carried: Any = None
        if learn_initial_state:
            for name, leaf in named_leaves(initial_state_of(cell, 1)):
                self.register_parameter(self._initial_name(name), Parameter(leaf[0].detach().clone()))

    def _initial_name(self, name: str) -> str:
        return f"initial_{name.replace('.', '_')}"

    def forward(
        self,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        mask: Any = None,
        context: Any = None,
        record: bool = False,
    ) -> Any:
        """Run the cell over `x`.

        Parameters
        ----------
        x
            (T, B, ...), or (B, T, ...) with `batch_first`.
        state
            The state to start from; nested tuples of tensors (B, ...).
        lengths
            How many steps of each sequence count: B integers.
        mask
            Which steps count: booleans of the first two dimensions of `x`. Steps that do not count change no state,
            give zeros, and neither their inputs nor their gradients reach anything.
        context
            Handed to every step; the memory of `nn.Attend`.
        record
            Return, as a third value, a dictionary of every state and tapped value for all steps, each (T, B, ...).

        Returns
        -------
        output, state
            The outputs (T, B, ...), or (B, T, ...) with `batch_first`; the state after each sequence's last step.

        Raises
        ------
        ShapeError, DTypeError, ArgumentError
            If shapes, lengths or masks do not fit, or the cell's `step` returns something else than it should.
        """
        x, valid = time_first("Recurrent", x, lengths, mask, self.batch_first)
        if x.ndim == 2 and x.shape[1] == self.cell.input_size > 1 and x.dtype.kind == "f":
            raise ShapeError(
                f"Recurrent: got shape {list(x.shape)}, a sequence of vectors without a batch; wanted (T, B, "
                f"{x.shape[1]}), or (B, T, {x.shape[1]}) with batch_first: x.unsqueeze({1 - self.batch_first})"
            )
        steps, batch = x.shape[:2]
        recorder = Recorder(self.cell) if record else None
        start = self._start(batch, state)
        output, end = unroll(self.cell, x, start, context, valid, self.reverse, self.return_sequences, recorder)
        if self.stateful:
            self._carry(end)
        if self.batch_first and self.return_sequences:
            output = ops.transpose(output, 0, 1)
        return (output, end) if recorder is None else (output, end, recorder.stacked(valid, steps))

    def _start(self, batch: int, state: Any) -> Any:
        if state is not None:
            wanted = initial_state_of(self.cell, batch)
            return conform(state, wanted, f"Recurrent({type(self.cell).__name__}) for a batch of {batch}")
        if self._carried is not None and self.stateful:
            held = next(named_leaves(self._carried))[1].shape[0]
            if held != batch:
                raise ShapeError(
                    f"Recurrent: the state kept from the last call has a batch of {held}, got {batch}; "
                    "call reset_state()"
                )
            return map_state(lambda leaf: leaf.clone(), self._carried)
        start = initial_state_of(self.cell, batch)
        if not self.learn_initial_state:
            return start
        learned = iter([vars(self)[self._initial_name(name)] for name, _ in named_leaves(start)])
        return map_state(lambda leaf: ops.broadcast_to(next(learned), shape=leaf.shape), start)

    def _carry(self, end: Any) -> None:
        """Keep the state for the next call: in the same memory each time, so that a captured program finds it."""
        if self._carried is None:
            with override(bottom=EAGER):
                self.__dict__["_carried"] = map_state(
                    lambda leaf: zeros(*leaf.shape, dtype=leaf.dtype, device=leaf.device), end
                )
        with no_grad():
            map_state(lambda held, leaf: held.assign(leaf.detach()), self._carried, end)

    def reset_state(self) -> None:
        """Forget the state kept from the last call."""
        self.__dict__["_carried"] = None

    def extra_repr(self) -> str:
        """Return what is switched on."""
        names = ("batch_first", "reverse", "learn_initial_state", "stateful")
        return ", ".join(f"{name}=True" for name in names if vars(self)[name])


BidirectionalState = namedtuple("BidirectionalState", ("forward", "backward"))

MERGES = {
    "concat": lambda a, b: ops.cat([a, b], -1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) * 0.5,
}


class Bidirectional(Module):
    """Runs one cell forward and one backward over each sequence, and merges their outputs.

    M. Schuster, K. K. Paliwal, "Bidirectional recurrent neural networks", IEEE Trans. Signal Processing 45 (1997).

    Parameters
    ----------
    forward, backward
        The cells of the two directions; the backward walk starts at each sequence's own end.
    merge
        "concat" (along the last dimension), "sum", "mul" or "ave" (the mean).
    options
        As for `Recurrent`.
    """

    def __init__(self, forward: Cell, backward: Cell, merge: str = "concat", **options: Any) -> None:
        super().__init__()
        if merge not in MERGES:
            raise ArgumentError(f"Bidirectional: got merge {merge!r}, wanted one of {', '.join(map(repr, MERGES))}")
        self.merge = merge
        self.forward_layer = Recurrent(forward, reverse=False, **options)
        self.backward_layer = Recurrent(backward, reverse=True, **options)

    def forward(
        self,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        mask: Any = None,
        context: Any = None,
        record: bool = False,
    ) -> Any:
        """Run both directions over `x`; see `Recurrent.forward`.

        Returns
        -------
        output, state
            The merged outputs; the named tuple (forward, backward) of both states. With `record`, also a dictionary
            whose names start with "forward." and "backward.".
        """
        if state is not None and (not isinstance(state, tuple | list) or len(state) != 2):
            raise ShapeError(f"Bidirectional: got a state {describe_state(state)}, wanted (forward, backward)")
        starts = (None, None) if state is None else state
        layers = (self.forward_layer, self.backward_layer)
        results = [layer(x, start, lengths, mask, context, record) for layer, start in zip(layers, starts, strict=True)]
        output = MERGES[self.merge](results[0][0], results[1][0])
        end = BidirectionalState(results[0][1], results[1][1])
        if not record:
            return output, end
        names = BidirectionalState._fields
        return output, end, {f"{d}.{k}": v for d, r in zip(names, results, strict=True) for k, v in r[2].items()}

    def reset_state(self) -> None:
        """Forget the states kept from the last call."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()
