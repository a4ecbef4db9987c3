"""Many to many, in step, in both directions: a phrase in Chinese characters to the pinyin of each character.

Most characters have one reading. What is judged are those that have several, in two sets, both counted on the phrases
for training: characters seen with more than one reading; and, harder, ambiguous ones among them, whose most frequent
reading makes up less than 95 % of what was seen, so that rare readings and slips of the data do not count.

47,000 phrases of the package pypinyin; a tenth is held out. The network starts from how frequent each reading of a
character is, and learns what context changes. To beat: the most frequent reading of each character; and a network that
reads forward only, and does not see what follows.

Run: python examples/synced.py [--short] [phrase ...]

`--choose` compares settings on a tenth of the phrases for training; SETTINGS holds the best of them.
"""

import argparse
from collections import Counter, defaultdict
from itertools import product

import numpy as np
from tqdm import trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.data import sources
from tinyseq.nn import functional as F

LONGEST = 8  # characters; longer phrases are left out

SETTINGS = {
    "both directions": {"hidden_size": 128, "dropout": 0.3, "updates": 1600},
    "forward only": {"hidden_size": 128, "dropout": 0.5, "updates": 1600},
}
GRID = {"hidden_size": (128, 192), "dropout": (0.3, 0.5), "updates": (800, 1600)}


def split(pairs, seed):
    """Return the pairs for training, and a tenth of them that is held out."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    cut = len(pairs) // 10
    return [pairs[k] for k in order[cut:]], [pairs[k] for k in order[:cut]]


class Data:
    """Phrases for training with the readings of each character, and what is known from them alone."""

    def __init__(self, learned):
        self.learned, self.counts = learned, defaultdict(Counter)
        for phrase, readings in learned:
            for character, reading in zip(phrase, readings, strict=True):
                self.counts[character][reading] += 1
        self.characters = {c: k for k, c in enumerate(sorted(self.counts), 2)}  # 0 fills up, 1 is unknown
        self.readings = sorted({r for found in self.counts.values() for r in found})
        self.numbers = {r: k for k, r in enumerate(self.readings)}
        # How probable each reading of a character is, as logits; what was never seen is out of the question
        self.prior = np.full((len(self.characters) + 2, len(self.readings)), -30, np.float32)
        self.several, self.ambiguous = np.zeros((2, len(self.prior)), bool)
        for character, k in self.characters.items():
            found = self.counts[character]
            self.prior[k, [self.numbers[r] for r in found]] = np.log([n / found.total() for n in found.values()])
            self.several[k] = len(found) > 1
            self.ambiguous[k] = max(found.values()) < 0.95 * found.total()

    def encoded(self, pairs):
        """Return characters and readings (LONGEST, N), -100 where nothing stands, and the lengths (N,)."""
        characters = np.zeros((LONGEST, len(pairs)), np.int64)
        readings = np.full((LONGEST, len(pairs)), -100, np.int64)
        for k, (phrase, pinyin) in enumerate(pairs):
            characters[: len(phrase), k] = [self.characters.get(c, 1) for c in phrase]
            readings[: len(phrase), k] = [self.numbers.get(r, -1) for r in pinyin]
        return characters, readings, np.array([len(phrase) for phrase, _ in pairs])

    def accuracies(self, characters, readings, guess):
        """Return how many of the readings (LONGEST, N) of characters with several and of ambiguous ones are guessed."""
        return [(guess == readings)[which[characters]].mean() for which in (self.several, self.ambiguous)]


class Reader(nn.Module):
    """Gives each character of a phrase a reading."""

    def __init__(self, data, bidirectional, hidden_size, dropout):
        super().__init__()
        size = 64
        self.embedding = nn.Embedding(len(data.prior), size)
        # The same number of outputs in both cases
        self.rnn = nn.GRU(size, hidden_size // (1 + bidirectional), bidirectional=bidirectional)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size + size, len(data.readings))

    def context(self, characters, lengths):
        """Return what is known of each character (T, B, features): what stands around it, and itself."""
        x = self.embedding(characters)
        output, _ = self.rnn(self.dropout(x), lengths=lengths)
        return self.dropout(ts.cat([output, x], -1))

    def forward(self, characters, lengths):
        """Return the logits (T, B, readings) for phrases (T, B), to be added to the prior's."""
        return self.head(self.context(characters, lengths))


def train(data, label, *, hidden_size, dropout, updates):
    """Return a reader that has learned, in "both directions" or "forward only"."""
    model = Reader(data, label == "both directions", hidden_size, dropout)
    optimizer = optim.AdamW(model.parameters(), lr=8e-3, weight_decay=0.01)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    characters, readings, lengths = data.encoded(data.learned)
    places = [np.flatnonzero(several) for several in data.several[characters].T]  # the others teach nothing
    useful = np.flatnonzero([len(p) > 0 for p in places])
    rng = np.random.default_rng(0)

    @ts.compile
    def step(characters, lengths, place, prior, wanted):
        optimizer.zero_grad()
        seen = model.context(characters, lengths)[place, ts.arange(place.shape[0])]
        loss = F.cross_entropy(model.head(seen) + prior, wanted)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    with trange(updates, desc=label, disable=None) as bar:
        for _ in bar:
            batch = rng.choice(useful, 128)
            place = np.array([rng.choice(places[k]) for k in batch])  # one character of each phrase
            prior, wanted = data.prior[characters[place, batch]], readings[place, batch]
            loss = step(*map(ts.tensor, (characters[:, batch], lengths[batch], place, prior, wanted)))
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model.eval()


def read(data, model, pairs):
    """Return the readings (LONGEST, N) for phrases, each among those its character was seen with."""
    characters, _, lengths = data.encoded(pairs)
    found = []
    with ts.no_grad():
        for k in range(0, len(pairs), 500):
            part = characters[:, k : k + 500]
            logits = model(ts.tensor(part), ts.tensor(lengths[k : k + 500])).numpy()
            found.append((logits + data.prior[part]).argmax(-1))
    return np.concatenate(found, 1)


def choose(learned):
    """Print how the settings of the grid do on a tenth of the phrases for training."""
    learned, tested = split(learned, 1)
    data = Data(learned)
    characters, truth, _ = data.encoded(tested)
    print("settings, accuracy on characters with several readings, on ambiguous ones")
    for label in SETTINGS:
        for values in product(*GRID.values()):
            settings = dict(zip(GRID, values, strict=True))
            ts.manual_seed(0)
            guess = read(data, train(data, label, **settings), tested)
            scores = data.accuracies(characters, truth, guess)
            print(f"{label:<16}{settings!s:<60}" + "".join(f"{score:10.2%}" for score in scores), flush=True)


def main():
    """Train both ways, print accuracies, and read some phrases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates only")
    parser.add_argument("--choose", action="store_true", help="compare settings on a part of what is for training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("phrases", nargs="*", help="phrases to read, of at most 8 characters")
    options = parser.parse_args()
    learned, held_out = split([pair for pair in sources.pinyin_phrases() if len(pair[0]) <= LONGEST], options.seed)
    if options.choose:
        choose(learned)
        return
    data, held_out = Data(learned), held_out[:300] if options.short else held_out
    characters, truth, _ = data.encoded(held_out)
    frequent = data.prior.argmax(1)
    found, model = {}, None
    for label in ("forward only", "both directions"):
        ts.manual_seed(options.seed)
        model = train(data, label, **SETTINGS[label] | ({"updates": 20} if options.short else {}))
        found[label] = read(data, model, held_out)

    counts = [which[characters].sum() for which in (data.several, data.ambiguous)]
    print(f"\naccuracy on held-out characters   {counts[0]} with several readings   {counts[1]} ambiguous")
    rows = {"in both directions": found["both directions"], "forward only": found["forward only"]}
    for label, guess in (rows | {"most frequent reading": frequent[characters]}).items():
        print(f"{label:<34}" + "".join(f"{s:20.1%}" for s in data.accuracies(characters, truth, guess)))
    seen, right, _ = data.encoded(learned)
    print(f"{'  the same, on what is for training':<34}", end="")
    print("".join(f"{s:20.1%}" for s in data.accuracies(seen, right, frequent[seen])), end="\n\n")
    if options.phrases:
        shown = [(phrase[:LONGEST], [""] * len(phrase[:LONGEST])) for phrase in options.phrases]
    else:  # where the frequent reading is wrong
        odd = np.flatnonzero(((frequent[characters] != truth) & data.ambiguous[characters]).any(0))
        shown = [held_out[k] for k in np.random.default_rng(options.seed).choice(odd, 10, replace=False)]
    for (phrase, pinyin), guess in zip(shown, read(data, model, shown).T, strict=True):
        given = " ".join(data.readings[k] for k in guess[: len(phrase)])
        right = " ".join(pinyin).strip()
        print(f"{phrase}  {given}" + (f"   (is {right})" if right not in ("", given) else ""))


if __name__ == "__main__":
    main()
