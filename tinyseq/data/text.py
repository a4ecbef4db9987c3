"""Text as numbers: an English text that every machine has, vocabularies, and the streams of truncated BPTT."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from pydoc_data import topics
from typing import Any

import numpy as np

from tinyseq.autograd.tensor import Tensor
from tinyseq.backend import Array, as_device
from tinyseq.errors import ArgumentError


def english_text() -> str:
    """Return about 465,000 characters of English with reST mark-up, from Python's own language reference.

    It is what `help()` prints on keywords and operators: the topics of the standard library's `pydoc_data.topics`,
    sorted by name, with an empty line between them. It changes a little from one Python version to the next.

    >>> english_text()[:20]
    'The "assert" stateme'
    """
    found: dict[str, str] = topics.topics
    return "\n\n".join(found[name] for name in sorted(found))


class Vocabulary:
    """The symbols of a text, each with an index: characters, words, phonemes.

    Parameters
    ----------
    symbols
        The distinct symbols in the order of their indices.
    unknown
        The symbol among them that stands for all others; without it, a symbol that is not there is an error.

    Examples
    --------
    >>> vocabulary = Vocabulary.of("abracadabra")
    >>> vocabulary.encode("cab")
    array([2, 0, 1])
    >>> "".join(vocabulary.decode([3, 0, 1]))
    'dab'

    Raises
    ------
    ArgumentError
        If a symbol stands there twice, or `unknown` is not among them.
    """

    def __init__(self, symbols: Sequence[Hashable], unknown: Hashable | None = None) -> None:
        self.symbols = list(symbols)
        self.index = {symbol: i for i, symbol in enumerate(self.symbols)}
        if len(self.index) != len(self.symbols):
            raise ArgumentError("Vocabulary: a symbol stands there twice")
        if unknown is not None and unknown not in self.index:
            raise ArgumentError(f"Vocabulary: the unknown symbol {unknown!r} is not among the symbols")
        self.unknown = None if unknown is None else self.index[unknown]

    @classmethod
    def of(cls, text: Iterable[Any]) -> "Vocabulary":
        """Return the vocabulary of all symbols in `text`, in sorted order."""
        return cls(sorted(set(text)))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: Iterable[Hashable]) -> Array:
        """Return the indices of the symbols of `text`: int64 (N,).

        Raises
        ------
        ArgumentError
            If a symbol is not in the vocabulary and none stands for the unknown.
        """
        index, unknown = self.index, self.unknown
        if unknown is not None:
            return np.fromiter((index.get(symbol, unknown) for symbol in text), np.int64)
        try:
            return np.fromiter((index[symbol] for symbol in text), np.int64)
        except KeyError as error:
            raise ArgumentError(
                f"encode: {error.args[0]!r} is not among the {len(self)} symbols of the vocabulary; "
                "make it of all the text, or give it an unknown symbol"
            ) from None

    def decode(self, indices: Iterable[Any]) -> list[Any]:
        """Return the symbols that `indices` (numbers or a tensor) stand for."""
        return [self.symbols[i] for i in np.asarray(indices).reshape(-1)]


def streams(codes: Array, batch_size: int) -> Array:
    """Cut a sequence (N,) into `batch_size` contiguous pieces, side by side: (N // batch_size, batch_size).

    What is left over at the end, less than `batch_size` symbols, is dropped.

    >>> streams(np.arange(7), 2)
    array([[0, 3],
           [1, 4],
           [2, 5]])
    """
    length = len(codes) // batch_size
    return np.ascontiguousarray(np.asarray(codes)[: length * batch_size].reshape(batch_size, length).T)


class BPTTBatches:
    """Batches for truncated backpropagation through time: B streams that run through a text side by side.

    Iterating gives pairs `(x, y)` of int64 tensors (steps, batch_size), `y` being one symbol ahead of `x`. Each pair
    goes on where the one before ended, so the hidden state is carried across. Symbols that do not fill a last pair
    are dropped.

    Parameters
    ----------
    codes
        The text as indices: (N,).
    batch_size
        How many streams.
    steps
        How many time steps a pair spans.
    device
        Where the tensors live.

    Examples
    --------
    >>> for x, y in BPTTBatches(np.arange(10), batch_size=2, steps=2):
    ...     print(x.tolist(), y.tolist())
    [[0, 4], [1, 5]] [[1, 5], [2, 6]]
    [[2, 6], [3, 7]] [[3, 7], [4, 8]]

    Raises
    ------
    ArgumentError
        If the text is too short for a single pair.
    """

    def __init__(self, codes: Array, batch_size: int, steps: int, device: Any = None) -> None:
        if batch_size < 1 or steps < 1:
            raise ArgumentError(f"BPTTBatches: got batch_size {batch_size} and steps {steps}, wanted at least 1")
        if len(codes) <= batch_size * steps:
            raise ArgumentError(
                f"BPTTBatches: got {len(codes)} symbols, wanted at least {batch_size * steps + 1} "
                f"for {batch_size} streams of {steps} steps; take fewer streams or steps, or a longer text"
            )
        self.x, self.y = streams(codes[:-1], batch_size), streams(codes[1:], batch_size)
        self.steps, self.device = steps, as_device(device)

    def __len__(self) -> int:
        return len(self.x) // self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(len(self)):
            span = slice(i * self.steps, (i + 1) * self.steps)
            yield (
                Tensor(self.x[span].copy()).to(device=self.device),
                Tensor(self.y[span].copy()).to(device=self.device),
            )
