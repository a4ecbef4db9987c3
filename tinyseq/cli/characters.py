"""A character language model: its text, its network, how well it predicts, and what it writes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyseq import nn
from tinyseq.autograd import Tensor, no_grad
from tinyseq.autograd.creation import multinomial, tensor, zeros
from tinyseq.backend import Array
from tinyseq.data import Vocabulary, streams
from tinyseq.nn import functional as F
from tinyseq.ops.random import Generator

LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
EVALUATION_STREAMS = 48


@dataclass(frozen=True)
class Corpus:
    """A text as indices, its first nine tenths for training and the rest held out."""

    text: str
    vocabulary: Vocabulary
    codes: Array

    @classmethod
    def of(cls, text: str) -> "Corpus":
        """Return `text` with the vocabulary of all its characters."""
        vocabulary = Vocabulary.of(text)
        return cls(text, vocabulary, vocabulary.encode(text))

    @property
    def split(self) -> int:
        """Where the held-out last tenth begins."""
        return len(self.codes) - len(self.codes) // 10


class CharacterModel(nn.Module):
    """Predicts the next character: an embedding, one recurrent layer, and a linear layer.

    Every layer is composed of ordinary operations; the state is that of the recurrent layer.
    """

    def __init__(self, characters: int, hidden_size: int, cell: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, hidden_size)
        self.rnn = LAYERS[cell](hidden_size, hidden_size)
        self.head = nn.Linear(hidden_size, characters)

    def initial_state(self, batch_size: int) -> Any:
        """Return the state before the first character: zeros (1, batch_size, hidden_size), two of them for an LSTM."""
        like = self.head.weight
        zero = zeros(1, batch_size, self.rnn.hidden_size, dtype=like.dtype, device=like.device)
        return (zero, zero.clone()) if isinstance(self.rnn, nn.LSTM) else zero

    def forward(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        """Return the logits (T, B, characters) after each of the indices `x` (T, B), and the new state."""
        output, state = self.rnn(self.embedding(x), state)
        return self.head(output), state


def detached(state: Any) -> Any:
    """Return a recurrent state without its history: where truncated BPTT cuts."""
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


def held_out_bits(model: CharacterModel, corpus: Corpus, steps: int, device: Any) -> float:
    """Return the loss on every held-out character, in bits per character.

    The held-out part is read as several streams side by side, each from an empty state, so the first few characters
    of each are predicted with little context: the figure is a little worse than that of one long stream.
    """
    wanted = corpus.codes[corpus.split :]
    batch_size = min(EVALUATION_STREAMS, len(wanted))
    rest = -len(wanted) % batch_size  # the last stream is filled up, and what was filled in is not counted
    filled = np.concatenate([corpus.codes[corpus.split - 1 :], np.zeros(rest, np.int64)])
    x, y = streams(filled[:-1], batch_size), streams(filled[1:], batch_size)
    losses, state = [], None
    with no_grad():
        for i in range(0, len(x), steps):
            logits, state = model(tensor(x[i : i + steps], device=device), state)
            targets = tensor(y[i : i + steps], device=device)
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), reduction="none")
            losses.append(loss.cpu().numpy().reshape(targets.shape))
    by_stream = np.concatenate(losses).T.reshape(-1)
    return float(by_stream[: len(wanted)].mean(dtype=np.float64)) / math.log(2)


def written(
    model: CharacterModel, vocabulary: Vocabulary, length: int, seed: int, *, temperature: float = 0.7, device: Any
) -> str:
    """Return `length` characters that the model writes, each drawn from its prediction for the next one."""
    generator = Generator(device).manual_seed(seed)
    x, state, codes = _start(vocabulary, device), None, []
    with no_grad():
        for _ in range(length):
            logits, state = model(x, state)
            chances = F.softmax(logits[-1] / temperature, dim=-1)
            x = multinomial(chances, 1, generator=generator).reshape(1, 1)
            codes.append(int(x.item()))
    return "".join(vocabulary.decode(codes))


def _start(vocabulary: Vocabulary, device: Any) -> Tensor:
    """Return what stands before the first character: the end of a line, if the text has lines."""
    return tensor([[vocabulary.index.get("\n", 0)]], device=device)
