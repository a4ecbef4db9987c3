"""Attention of a recurrent cell over a memory, such as the outputs of an encoder."""

from typing import Any, NamedTuple

from tinyseq import ops
from tinyseq.autograd import Tensor
from tinyseq.errors import ArgumentError, ShapeError
from tinyseq.nn.cell import Cell
from tinyseq.nn.layers import Linear, check_sizes
from tinyseq.nn.unroll import valid_steps
from tinyseq.nn.wrappers import Wrapper


class Memory(NamedTuple):
    """What `Attend` looks at.

    Attributes
    ----------
    values
        (S, B, memory_size), or (B, S, memory_size) with `batch_first`.
    lengths, mask
        Which of them count; see `Recurrent`.
    """

    values: Any
    lengths: Any = None
    mask: Any = None


class Prepared(NamedTuple):
    """A memory as the steps use it: values (B, S, M), keys (B, S, A), and what counts, (B, S) or None."""

    values: Any
    keys: Any
    valid: Any
    context: Any


class Attend(Wrapper):
    """Gives a cell a weighted mean of a memory at each step: `rnn(x, context=memory)`.

    Parameters
    ----------
    cell
        Any cell. For "bahdanau" its inputs are `x` followed by the mean, so its `input_size` counts both.
    memory_size
        The size of the memory's vectors m_j.
    kind
        "bahdanau": before the step, with the query q = h of the step before, the weights are the softmax of
        `vᵀ tanh(W q + U m_j)`. D. Bahdanau et al., "Neural machine translation by jointly learning to align and
        translate", ICLR 2015, section 3.1.
        "luong": after the step, with the query q = its output, they are the softmax of `qᵀ W m_j`, and the output is
        `tanh(W_c [mean; q])`. M.-T. Luong et al., "Effective approaches to attention-based neural machine
        translation", EMNLP 2015, equations 5 to 8 ("general").
    attention_size
        The size of v; that of the query by default.
    batch_first
        The memory is (B, S, memory_size).

    The weights are tapped as `attention`, (B, S).

    >>> import tinyseq
    >>> from tinyseq import nn
    >>> decoder = nn.Recurrent(nn.Attend(nn.GRUCell(4 + 6, 5), memory_size=6))
    >>> output, state = decoder(tinyseq.zeros(7, 2, 4), context=tinyseq.zeros(9, 2, 6))
    >>> output.shape
    (7, 2, 5)
    """

    def __init__(
        self,
        cell: Cell,
        memory_size: int,
        kind: str = "bahdanau",
        attention_size: int | None = None,
        batch_first: bool = False,
    ) -> None:
        super().__init__(cell)
        check_sizes("Attend", memory_size=memory_size)
        if kind not in ("bahdanau", "luong"):
            raise ArgumentError(f"Attend: got kind {kind!r}, wanted 'bahdanau' or 'luong'")
        self.memory_size, self.kind, self.batch_first = memory_size, kind, batch_first
        if kind == "bahdanau":
            if cell.input_size <= memory_size:
                raise ArgumentError(
                    f"Attend: the cell's input_size {cell.input_size} must count the inputs "
                    f"and the memory's {memory_size}"
                )
            self.input_size = cell.input_size - memory_size
            query_size = query_of(cell.initial_state(1)).shape[-1]
            size = attention_size or query_size
            self.query = Linear(query_size, size, bias=False)
            self.key = Linear(memory_size, size)
            self.score = Linear(size, 1, bias=False)
        else:
            self.key = Linear(memory_size, cell.output_size, bias=False)
            self.mix = Linear(memory_size + cell.output_size, cell.output_size, bias=False)

    @property
    def accepts_context(self) -> bool:
        """Whether it takes a context: always, it is the memory."""
        return True

    def prepare(self, context: Any, batch_size: int) -> Any:
        """Return the memory with its keys, which are the same for all steps."""
        if context is None:
            raise ArgumentError("Attend: got no memory; pass it as context, as rnn(x, context=memory)")
        memory = context if isinstance(context, Memory) else Memory(context)
        values = memory.values
        wanted = "(B, S, M)" if self.batch_first else "(S, B, M)"
        size = (batch_size, self.memory_size)
        if (
            not isinstance(values, Tensor)
            or values.ndim != 3
            or (values.shape[0 if self.batch_first else 1], values.shape[2]) != size
        ):
            raise ShapeError(
                f"Attend: got a memory {list(getattr(values, 'shape', []))}, "
                f"wanted {wanted} with B = {size[0]}, M = {size[1]}"
            )
        values = values if self.batch_first else ops.transpose(values, 0, 1)
        valid = valid_steps(
            "Attend", values.shape[1], batch_size, memory.lengths, memory.mask, self.batch_first, values.device
        )
        if valid is not None:
            valid = ops.transpose(valid, 0, 1)
            values = ops.masked_fill(values, ops.logical_not(ops.unsqueeze(valid, -1)), 0)
        return Prepared(values, self.key(values), valid, self.cell.prepare(None, batch_size))

    def inputs(self, x: Any, context: Any) -> Any:
        """Return what the cell makes of the inputs, if the mean is no part of them."""
        return x if self.kind == "bahdanau" else self.cell.run_inputs(x, context.context)

    def step(self, x: Any, state: Any, context: Any = None) -> tuple[Any, Any]:
        """Return the output and the state of a step that looks at the memory."""
        if not isinstance(context, Prepared):
            raise ArgumentError("Attend: the memory is not prepared; call prepare(memory, batch_size), once a sequence")
        if self.kind == "bahdanau":
            query = ops.unsqueeze(self.query(query_of(state)), 1)
            scores = ops.squeeze(self.score(ops.tanh(query + context.keys)), -1)
            return self.cell.run_whole(ops.cat([x, self.mean(scores, context)], -1), state, context.context)
        query, new = self.cell.run(x, state, context.context)
        scores = ops.squeeze(ops.matmul(context.keys, ops.unsqueeze(query, -1)), -1)
        return ops.tanh(self.mix(ops.cat([self.mean(scores, context), query], -1))), new

    def mean(self, scores: Any, context: Prepared) -> Any:
        """Return the mean of the memory (B, M) with the softmax of `scores` (B, S) as weights."""
        if context.valid is not None:
            lowest = -6e4 if scores.dtype.itemsize == 2 else -1e30  # finite: an empty memory must not give NaN
            scores = ops.where(context.valid, scores, lowest)
        weights = self.tap(attention=ops.softmax(scores, -1))
        return ops.squeeze(ops.matmul(ops.unsqueeze(weights, 1), context.values), 1)

    def extra_repr(self) -> str:
        """Return the kind."""
        return f"memory_size={self.memory_size}, kind={self.kind!r}"


def query_of(state: Any) -> Any:
    """Return the first tensor of the last layer of a state."""
    while isinstance(state, tuple):
        state = state[-1] if isinstance(state[0], tuple) else state[0]
    return state
