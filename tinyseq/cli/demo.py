"""Train a character language model on English text, show that it learns, draw its cell, and save it.

Everything runs on this machine: the text is the topics of Python's own language reference. The last tenth of it is
held out, and the loss is in bits per character, beside that of count models. Ctrl-C ends the training early.
"""

import argparse
import hashlib
import json
import math
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, TextIO

from tqdm import tqdm

from tinyseq import nn, optim
from tinyseq.autograd.creation import randn
from tinyseq.backend import as_device, namespace_on
from tinyseq.blas import limited_blas
from tinyseq.cli.characters import LAYERS, CharacterModel, Corpus, detached, held_out_bits, written
from tinyseq.cli.info import THREAD_VARIABLES
from tinyseq.compile import compile
from tinyseq.data import BPTTBatches, english_text, ngram_bits
from tinyseq.errors import ArgumentError, RenderError
from tinyseq.nn import functional as F
from tinyseq.ops.random import manual_seed
from tinyseq.render import draw
from tinyseq.serialization import save

BATCH_SIZE, BPTT_STEPS = 32, 64
LEARNING_RATE, LARGEST_NORM = 3e-3, 1.0
VALIDATIONS = 6
DRAWN_STEPS = 3
SAMPLE_LENGTH = 400
EAGER_EVERY = 50  # steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options."""
    parser.add_argument("--cell", choices=sorted(LAYERS), default="lstm", help="the recurrent cell")
    parser.add_argument("--text", type=Path, metavar="FILE", help="a UTF-8 text to learn instead")
    parser.add_argument("--steps", type=_positive, default=1500, metavar="N", help="training steps")
    parser.add_argument("--hidden-size", type=_positive, default=128, metavar="N", help="units of the cell")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same numbers")
    parser.add_argument("--out", type=Path, default=Path("tinyseq-demo"), metavar="DIR", help="where results go")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<index>")
    parser.add_argument("--eager", action="store_true", help="run each operation as Python calls it; do not compile")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, wanted at least 1")
    return number


def run(options: argparse.Namespace) -> int:
    """Run the demo."""
    device = as_device(options.device)
    namespace_on(device)  # raises now if there is no such device
    with limited_blas(1) if _one_thread(options) else nullcontext():
        return _run(options, device)


def _one_thread(options: argparse.Namespace) -> bool:
    """Tell whether matrix products should keep to one thread.

    At 128 units a second core gains a tenth when it is idle, and makes a step three times slower when it is busy:
    49 and 46 ms against 132 and 325. From 256 units on it is worth it. What the user has set stands.
    """
    return options.hidden_size < 256 and not any(name in os.environ for name in THREAD_VARIABLES)


def _run(options: argparse.Namespace, device: Any) -> int:
    corpus = _read(options.text)
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "metrics.jsonl", "w", encoding="utf-8") as metrics:
        _introduce(corpus, options)
        manual_seed(options.seed)
        model = CharacterModel(len(corpus.vocabulary), options.hidden_size, options.cell).to(device)
        parameters = sum(math.prod(p.shape) for p in model.parameters())
        _say("model", f"{options.cell} of {options.hidden_size} units, {parameters:,} parameters, on {device}")
        _draw(model, options.out)
        before = _sample(model, corpus, options, device)
        _quote("untrained, it writes", before)
        done = Training(model, corpus, options, device, metrics).run()
        _quote(f"after {done:,} steps, it writes", _sample(model, corpus, options, device))
    _save(model, corpus, options)
    return 0


def _read(path: Path | None) -> Corpus:
    """Return the text to learn, or say what is wrong with it before any work is done."""
    if path is None:
        text = english_text()
    else:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise ArgumentError(f"cannot read the text {str(path)!r}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ArgumentError(f"the text {str(path)!r} is not UTF-8: {error.reason} at byte {error.start}") from error
    least = math.ceil((BATCH_SIZE * BPTT_STEPS + 1) / 0.9) + 1
    if len(text) < least:
        raise ArgumentError(f"the text has {len(text):,} characters; training needs at least {least:,}")
    return Corpus.of(text)


def _introduce(corpus: Corpus, options: argparse.Namespace) -> None:
    text, size = corpus.text, len(corpus.vocabulary)
    name = "Python's language reference (pydoc_data.topics)" if options.text is None else str(options.text)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    _say("text", f"{name}: {len(text):,} characters, {size} different")
    _say("", f"SHA-256 {digest}")
    _say("", f"the first {corpus.split:,} to learn from, the last {len(text) - corpus.split:,} held out")
    counts = ", ".join(
        f"{name} {ngram_bits(corpus.codes, corpus.split, size, order):.2f}"
        for order, name in enumerate(("unigram", "bigram", "trigram", "4-gram"), 1)
    )
    _say("to beat", f"bits per character of count models: {counts}")
    mixed = ngram_bits(corpus.codes, corpus.split, size, order=5, smoothing=None)
    _say("", f"and 5-gram {mixed:.2f}, with the shorter ones mixed in")


def _draw(model: CharacterModel, out: Path) -> None:
    """Draw the recurrent layer over a few time steps; without a renderer, say what to install."""
    x = randn(DRAWN_STEPS, 1, model.rnn.input_size, device=next(model.parameters()).device)
    drawing = draw(model.rnn, x, view="unrolled")
    try:
        drawing.save(out / "graph.svg")
    except RenderError as error:
        drawing.save(out / "graph.dot")
        _say("picture", f"{out / 'graph.dot'}, as text only: {error}")
    else:
        _say("picture", f"{out / 'graph.svg'}: the {type(model.rnn).__name__} over {DRAWN_STEPS} time steps")


def _sample(model: CharacterModel, corpus: Corpus, options: argparse.Namespace, device: Any) -> str:
    return written(model, corpus.vocabulary, SAMPLE_LENGTH, options.seed, device=device)


def _save(model: CharacterModel, corpus: Corpus, options: argparse.Namespace) -> None:
    config = {"cell": options.cell, "hidden_size": options.hidden_size, "characters": corpus.vocabulary.symbols}
    save({"config": config, "model": model.state_dict()}, options.out / "model.safetensors")
    _say("saved", f"{options.out / 'model.safetensors'}, {options.out / 'metrics.jsonl'}")


class Training:
    """Truncated BPTT over the text, with a progress bar, metrics, and validation on the held-out part."""

    def __init__(
        self, model: CharacterModel, corpus: Corpus, options: argparse.Namespace, device: Any, metrics: TextIO
    ) -> None:
        self.model, self.corpus, self.options, self.device, self.metrics = model, corpus, options, device, metrics
        self.batches = BPTTBatches(corpus.codes[: corpus.split], BATCH_SIZE, BPTT_STEPS, device)
        self.optimizer = optim.Adam(model.parameters(), lr=LEARNING_RATE)
        self.compiled_step = self.train_step if options.eager else compile(self.train_step)
        self.times: list[float] = []  # of each step, in seconds

    def train_step(self, x: Any, y: Any, state: Any) -> tuple[Any, Any]:
        """Learn from one piece of text (T, B): return the loss in nats and the state to go on with."""
        self.optimizer.zero_grad()
        logits, state = self.model(x, state)
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_NORM)
        self.optimizer.step()
        return loss.detach(), detached(state)

    def run(self) -> int:
        """Train until the last step or Ctrl-C, and return how many steps were made."""
        every = max(1, self.options.steps // VALIDATIONS)
        bits: list[float] = []
        done = 0
        with _interruptible() as stopped, tqdm(total=self.options.steps, unit="step", disable=None) as bar:
            for x, y, state in self._pieces():
                loss = self._timed(x, y, state)
                done += 1
                bits.append(loss / math.log(2))
                bar.update()
                bar.set_postfix_str(f"{bits[-1]:.2f} bits per character, {self.speed:,.0f} characters/s")
                last = done == self.options.steps or stopped()
                if last or done % every == 0:
                    self._validate(done, sum(bits) / len(bits), bar)
                    bits = []
                if last:
                    break
        _say("speed", f"{self.speed:,.0f} characters per second over {sum(self.times):.0f} s of training{self._gain()}")
        return done

    def _pieces(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yield pieces of text with the state to begin from, epoch after epoch."""
        while True:
            self.state = self.model.initial_state(BATCH_SIZE)
            for x, y in self.batches:
                yield x, y, self.state

    def _timed(self, x: Any, y: Any, state: Any) -> float:
        """Make one step, and return the loss; one in fifty runs eagerly, to see what compiling gains."""
        step = self.compiled_step if len(self.times) % EAGER_EVERY else self.train_step
        start = time.perf_counter()
        loss, self.state = step(x, y, state)
        value = float(loss)
        self.times.append(time.perf_counter() - start)
        return value

    @property
    def speed(self) -> float:
        """Characters learned from per second of training."""
        return len(self.times) * BATCH_SIZE * BPTT_STEPS / sum(self.times)

    def _gain(self) -> str:
        """Say how much faster the compiled steps were: each eager step beside the mean of its two neighbours."""
        places = range(EAGER_EVERY, len(self.times) - 1, EAGER_EVERY)
        if self.options.eager or not places:
            return ""
        eager = [self.times[i] for i in places]
        compiled = [(self.times[i - 1] + self.times[i + 1]) / 2 for i in places]
        ratio = median(e / c for e, c in zip(eager, compiled, strict=True))
        slow, fast = median(eager) * 1e3, median(compiled) * 1e3
        return f"; {fast:.0f} ms a compiled step, {slow:.0f} ms an eager one: {ratio:.1f} times as fast"

    def _validate(self, done: int, train_bits: float, bar: Any) -> None:
        held_out = held_out_bits(self.model, self.corpus, BPTT_STEPS, self.device)
        record = {
            "step": done,
            "seconds": round(sum(self.times), 3),
            "train_bpc": train_bits,
            "val_bpc": held_out,
            "chars_per_second": round(self.speed),
        }
        self.metrics.write(json.dumps(record) + "\n")
        self.metrics.flush()
        bar.clear()
        _say(f"step {done:,}", f"{train_bits:.3f} bits per character in training, {held_out:.3f} held out")


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C end a loop after the step that is running; a second one ends the program."""
    caught: list[int] = []

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, catch)
    try:
        yield lambda: bool(caught)
    finally:
        signal.signal(signal.SIGINT, previous)


def _say(title: str, text: str) -> None:
    print(f"{title:<12}{text}", flush=True)


def _quote(title: str, text: str) -> None:
    print(f"\n{title}:\n")
    print(textwrap.indent(text, "    | ", lambda line: True), end="\n\n", flush=True)
    sys.stdout.flush()
