"""From one sequence to another of a different length: an encoder and a decoder."""

from typing import Any, NamedTuple

from tinyseq import ops
from tinyseq.autograd.creation import multinomial, rand
from tinyseq.errors import ArgumentError, ShapeError
from tinyseq.nn import functional as F
from tinyseq.nn.attention import Memory
from tinyseq.nn.cell import Cell
from tinyseq.nn.containers import ModuleList
from tinyseq.nn.layers import Linear
from tinyseq.nn.module import Module
from tinyseq.nn.recurrent import Recurrent
from tinyseq.nn.state import describe_state, map_state, named_leaves
from tinyseq.nn.wrappers import check_cell


class Bridge(Module):
    """Makes a decoder's first state of an encoder's last: `tanh(W e + b)` for each of its tensors, e being all of it.

    D. Bahdanau et al., "Neural machine translation by jointly learning to align and translate", ICLR 2015, A.2.2.

    Parameters
    ----------
    size
        The sizes of the encoder's final states together: 2·hidden_size for a GRU in both directions.
    cell
        The decoder's cell.
    """

    def __init__(self, size: int, cell: Cell) -> None:
        super().__init__()
        self.size = size
        self._wanted = check_cell("Bridge", cell).initial_state(1)
        self.layers = ModuleList([Linear(size, leaf.shape[-1]) for _, leaf in named_leaves(self._wanted)])

    def forward(self, state: Any) -> Any:
        """Return the decoder's state for the encoder's `state`."""
        end = ops.cat([leaf for _, leaf in named_leaves(state)], -1)
        if end.shape[-1] != self.size:
            raise ShapeError(
                f"Bridge: got a state {describe_state(state)}, whose sizes together are {end.shape[-1]}, "
                f"wanted {self.size}"
            )
        layers = iter(self.layers)
        return map_state(lambda _: ops.tanh(next(layers)(end)), self._wanted)


class Begun(NamedTuple):
    """What the decoder needs for its next step: its cell's state, and the memory as the cell prepared it."""

    state: Any
    context: Any


class EncoderDecoder(Module):
    """Reads a sequence of symbols, and writes another.

    I. Sutskever et al., "Sequence to sequence learning with neural networks", NIPS 2014; with a decoder whose cell is
    `nn.Attend`, D. Bahdanau et al., ICLR 2015.

    Parameters
    ----------
    source, target
        Embeddings of the symbols read and written.
    encoder
        A driver, such as `nn.Recurrent` or `nn.Bidirectional`, time first.
    decoder
        An `nn.Recurrent`, time first. A cell that accepts a context gets the encoder's outputs.
    head
        What makes logits (..., V) of the decoder's outputs.
    bridge
        What makes the decoder's first state of the encoder's last; by default it is taken as it is.

    >>> import tinyseq
    >>> from tinyseq import nn
    >>> encoder = nn.Bidirectional(nn.GRUCell(4, 5), nn.GRUCell(4, 5))
    >>> decoder = nn.Recurrent(nn.Attend(nn.GRUCell(4 + 10, 5), memory_size=10))
    >>> model = EncoderDecoder(
    ...     nn.Embedding(9, 4), nn.Embedding(7, 4), encoder, decoder, nn.Linear(5, 7), Bridge(10, decoder.cell)
    ... )
    >>> read, written = tinyseq.zeros(6, 2, dtype=tinyseq.int64), tinyseq.zeros(3, 2, dtype=tinyseq.int64)
    >>> model(read, written, lengths=[6, 4]).shape
    (3, 2, 7)
    >>> [h.symbols for h in nn.decode.greedy(model.step, model.start(read), 2, start=0, end=1, max_length=0)]
    [[], []]
    """

    def __init__(
        self, source: Module, target: Module, encoder: Module, decoder: Recurrent, head: Module, bridge: Any = None
    ) -> None:
        super().__init__()
        if not isinstance(decoder, Recurrent) or decoder.batch_first or decoder.reverse:
            raise ArgumentError("EncoderDecoder: wanted an nn.Recurrent as decoder, time first and not reversed")
        self.source, self.target, self.encoder, self.decoder = source, target, encoder, decoder
        self.head, self.bridge = head, bridge

    def _encoded(self, read: Any, lengths: Any) -> tuple[Any, Any]:
        """Return the decoder's first state and its context."""
        outputs, end = self.encoder(self.source(read), lengths=lengths)
        state = end if self.bridge is None else self.bridge(end)
        return state, Memory(outputs, lengths) if self.decoder.cell.accepts_context else None

    def forward(self, read: Any, written: Any, lengths: Any = None, teacher_forcing: float = 1.0) -> Any:
        """Return the logits (T, B, V) of what follows each of the symbols `written`.

        Parameters
        ----------
        read
            (S, B), int64.
        written
            (T, B), int64: the start, then the symbols wanted, without the last.
        lengths
            The numbers of symbols read, (B,).
        teacher_forcing
            The probability with which each step but the first is given the symbol of `written` instead of one drawn
            from the model's own prediction: scheduled sampling. S. Bengio et al., "Scheduled sampling for sequence
            prediction with recurrent neural networks", NIPS 2015.
        """
        F.check_probability("EncoderDecoder", teacher_forcing)
        if written.ndim != 2 or read.ndim != 2 or read.shape[1] != written.shape[1]:
            raise ShapeError(
                f"EncoderDecoder: got symbols read {list(read.shape)} and written {list(written.shape)}, "
                "wanted (S, B) and (T, B)"
            )
        state, memory = self._encoded(read, lengths)
        if teacher_forcing == 1:
            output, _ = self.decoder(self.target(written), state, context=memory)
            return self.head(output)
        begun = Begun(state, self.decoder.cell.prepare(memory, written.shape[1]))
        found: list[Any] = []
        symbols = written[0]
        for t in range(written.shape[0]):
            if t > 0:
                own = ops.reshape(multinomial(ops.softmax(found[-1].detach(), -1), 1), -1)
                given = rand(written.shape[1], device=found[-1].device) < teacher_forcing
                symbols = ops.where(given, written[t], own)
            logits, begun = self.step(symbols, begun)
            found.append(logits)
        return ops.stack(found)

    def start(self, read: Any, lengths: Any = None) -> Begun:
        """Return what `step` starts from, having read (S, B)."""
        state, memory = self._encoded(read, lengths)
        return Begun(state, self.decoder.cell.prepare(memory, read.shape[1]))

    def step(self, symbols: Any, begun: Any) -> tuple[Any, Begun]:
        """Return the logits (B, V) of what follows `symbols` (B,), and what the next step starts from."""
        output, state = self.decoder.cell.run_whole(self.target(symbols), begun.state, begun.context)
        return self.head(output), Begun(state, begun.context)
