"""Many to many, out of step: the spelling of an English word to its phonemes.

An encoder reads the letters in both directions, a decoder writes phonemes, once with attention and once knowing only
how the encoder ended. The CMU Pronouncing Dictionary (examples/data), without stress; one word in twenty is held out.
To beat: no attention, and the phoneme each letter most often stands beside.

Run: python examples/unsynced.py [--short] [word ...]

The normal run takes half a minute. `--long` trains a wider network, with attention only, on words of up to 16 letters,
and decodes with a beam, in about six minutes on one core: to beat, a phoneme error rate of 12 % and a word error rate
of 45 %.
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm, trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.data import Vocabulary, sources
from tinyseq.nn import decode, functional as F

FILE = Path(__file__).parent / "data" / "cmudict.dict.xz"
SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
LETTERS = Vocabulary("_abcdefghijklmnopqrstuvwxyz")
START, END = 0, 1


class Words:
    """Words with their phonemes, for training and held out, those of at most so many letters."""

    def __init__(self, longest, seed):
        pairs = [p for p in sources.pronunciations(FILE, SHA256) if max(map(len, p)) <= longest]
        order = np.random.default_rng(seed).permutation(len(pairs))
        cut = len(pairs) // 20
        self.held_out, self.learned = [pairs[k] for k in order[:cut]], [pairs[k] for k in order[cut:]]
        self.phonemes = Vocabulary(["<start>", "<end>", *sorted({p for _, found in pairs for p in found})])
        self.longest = longest

    def letters(self, words):
        """Return words as indices (longest, N), and their lengths (N,)."""
        codes = np.zeros((self.longest, len(words)), np.int64)
        for k, word in enumerate(words):
            codes[: len(word), k] = LETTERS.encode(word)
        return codes, np.array([len(word) for word in words])

    def answers(self, pronunciations):
        """Return what the decoder reads and what it is to write, (longest + 1, N); -100 where nothing counts."""
        read = np.zeros((self.longest + 1, len(pronunciations)), np.int64)
        written = np.full_like(read, -100)
        for k, found in enumerate(pronunciations):
            codes = self.phonemes.encode(found)
            read[1 : len(codes) + 1, k] = codes
            written[: len(codes), k], written[len(codes), k] = codes, END
        return read, written


def network(words, attention, size):
    """Return an encoder-decoder, with attention or without."""
    half, embedded = size // 2, 48
    encoder = nn.Bidirectional(nn.GRUCell(embedded, half), nn.GRUCell(embedded, half))
    cell = nn.GRUCell(embedded, size)
    cell = nn.Attend(cell, 2 * half, "luong") if attention else cell
    embeddings = nn.Embedding(len(LETTERS), embedded), nn.Embedding(len(words.phonemes), embedded)
    head = nn.Linear(size, len(words.phonemes))
    return nn.EncoderDecoder(*embeddings, encoder, nn.Recurrent(cell), head, nn.Bridge(2 * half, cell))


def train(words, model, updates, batch_size, label):
    """Teach the model the words for training."""
    letters, lengths = words.letters([word for word, _ in words.learned])
    read, written = words.answers([found for _, found in words.learned])
    optimizer = optim.Adam(model.parameters(), lr=4e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    rng = np.random.default_rng(0)

    @ts.compile
    def step(letters, lengths, read, written):
        optimizer.zero_grad()
        logits = model(letters, read, lengths)
        loss = F.cross_entropy(logits.flatten(0, 1), written.flatten(), ignore_index=-100)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    with trange(updates, desc=label, disable=None) as bar:
        for _ in bar:
            batch = rng.choice(lengths.size, batch_size)
            parts = letters[:, batch], lengths[batch], read[:, batch], written[:, batch]
            loss = step(*map(ts.tensor, parts))
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}")


def pronounced(words, model, asked, beam_size):
    """Return the phonemes that the model writes for each of the words `asked`."""
    found = []
    for k in tqdm(range(0, len(asked), 250), desc="decoding", disable=None):
        letters, lengths = words.letters(asked[k : k + 250])
        options = {"start": START, "end": END, "max_length": words.longest + 2}
        with ts.no_grad():
            begun = model.start(ts.tensor(letters), ts.tensor(lengths))
        best = decode.beam_search(model.step, begun, len(lengths), beam_size=beam_size, alpha=0.6, **options)
        found += [words.phonemes.decode(h[0].symbols) for h in best]
    return found


def distance(a, b):
    """Return how many insertions, deletions and replacements lead from `a` to `b` (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def error_rates(found, truth):
    """Return the phoneme error rate and the word error rate."""
    wrong = sum(distance(f, t) for f, t in zip(found, truth, strict=True))
    return wrong / sum(map(len, truth)), np.mean([f != t for f, t in zip(found, truth, strict=True)])


def by_letter(words, asked):
    """Return, for each word, the phoneme that each letter most often stands beside in words of equal lengths."""
    counts = defaultdict(Counter)
    for word, found in words.learned:
        if len(word) == len(found):
            for letter, phoneme in zip(word, found, strict=True):
                counts[letter][phoneme] += 1
    return [[counts[letter].most_common(1)[0][0] for letter in word] for word in asked]


def draw(words, model, word, path):
    """Draw which letters the decoder looks at for each phoneme of `word`."""
    letters, lengths = words.letters([word])
    begun = model.start(ts.tensor(letters), ts.tensor(lengths))
    phonemes = pronounced(words, model, [word], 1)[0]
    read = ts.tensor([[START], *([k] for k in words.phonemes.encode(phonemes))])
    memory = nn.Memory(model.encoder(model.source(ts.tensor(letters)), lengths=lengths)[0], lengths)
    _, _, record = model.decoder(model.target(read), begun.state, context=memory, record=True)
    figure, axis = plt.subplots(figsize=(6, 5), layout="constrained")
    axis.imshow(record["attention"].numpy()[:, 0, : len(word)], cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(word)), list(word))
    axis.set_yticks(range(len(phonemes) + 1), [*phonemes, "end"])
    axis.set_title("which letters the decoder looks at")
    figure.savefig(path, dpi=100)


def main():
    """Train, print error rates, and pronounce some words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates only")
    parser.add_argument("--long", action="store_true", help="longer words and a wider network, in six minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, help="how often the parameters change")
    parser.add_argument("words", nargs="*", help="words to pronounce")
    options = parser.parse_args()
    size, batch_size, longest, updates = (128, 128, 16, 4000) if options.long else (96, 64, 10, 800)
    updates = 8 if options.short else options.updates or updates
    words = Words(longest, options.seed)
    tested = words.held_out[: 30 if options.short else 2000 if options.long else 500]
    asked, truth = [word for word, _ in tested], [found for _, found in tested]
    rows = {"phoneme of each letter": by_letter(words, asked)}
    for attention in (True,) if options.long else (False, True):
        ts.manual_seed(options.seed)
        model = network(words, attention, size)
        label = "attention" if attention else "no attention"
        train(words, model, updates, batch_size, label)
        rows[label] = pronounced(words, model.eval(), asked, 4 if options.long else 1)
    print(f"\nerror rates on {len(asked)} held-out words{'phonemes':>20}{'words':>10}")
    for label, found in rows.items():
        phonemes, whole = error_rates(found, truth)
        print(f"{label:<40}{phonemes:>12.1%}{whole:>10.1%}")
    print()
    shown = [w for w in options.words if w.isascii() and w.isalpha() and w.islower() and len(w) <= longest]
    shown = shown or asked[:10]
    real = dict(words.held_out) | dict(words.learned)
    for word, found in zip(shown, pronounced(words, model, shown, 4), strict=True):
        right = " ".join(real.get(word, []))
        print(f"{word:<18}{' '.join(found):<36}" + (f"(is {right})" if right not in ("", " ".join(found)) else ""))
    with ts.no_grad():
        draw(words, model, max(shown, key=len), "unsynced.png")
    print("unsynced.png shows which letters the decoder looks at")


if __name__ == "__main__":
    main()
