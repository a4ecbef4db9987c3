"""Many to many, in step, in both directions: a phrase in Chinese characters to the pinyin of each character.

Most characters have one reading; a third of those in phrases have several, and which is right depends on what stands
before and after; they are ambiguous if the commonest makes up less than 95 %. 47,000 phrases of the package pypinyin; a
tenth is held out. The network starts from how frequent each reading of a character is, and learns what context changes.
To beat: the most frequent reading; 80.8 %; and a network that reads forward only, and does not see what follows.

Run: python examples/synced.py [--short] [phrase ...]
"""

import argparse
from collections import Counter, defaultdict

import numpy as np
from tqdm import trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.data import sources
from tinyseq.nn import functional as F

LONGEST = 8  # characters; longer phrases are left out


class Data:
    """Phrases as indices, and the readings that each character may have."""

    def __init__(self, seed):
        pairs = [pair for pair in sources.pinyin_phrases() if len(pair[0]) <= LONGEST]
        order = np.random.default_rng(seed).permutation(len(pairs))
        cut = len(pairs) // 10
        self.held_out, self.learned = [pairs[k] for k in order[:cut]], [pairs[k] for k in order[cut:]]
        self.counts = defaultdict(Counter)
        for phrase, readings in self.learned:
            for character, reading in zip(phrase, readings, strict=True):
                self.counts[character][reading] += 1
        self.characters = {c: k for k, c in enumerate(sorted(self.counts), 2)}  # 0 fills up, 1 is unknown
        self.readings = sorted({r for found in self.counts.values() for r in found})
        self.numbers = {r: k for k, r in enumerate(self.readings)}
        # How probable each reading of a character is, as logits; what was never seen is out of the question
        self.prior = np.full((len(self.characters) + 2, len(self.readings)), -30, np.float32)
        self.ambiguous = np.zeros(len(self.prior), bool)
        for character, k in self.characters.items():
            found = self.counts[character]
            self.prior[k, [self.numbers[r] for r in found]] = np.log([n / found.total() for n in found.values()])
            self.ambiguous[k] = max(found.values()) < 0.95 * found.total()

    def encoded(self, pairs):
        """Return characters and readings (LONGEST, N), -100 where no answer counts, and the lengths (N,)."""
        characters = np.zeros((LONGEST, len(pairs)), np.int64)
        readings = np.full((LONGEST, len(pairs)), -100, np.int64)
        for k, (phrase, pinyin) in enumerate(pairs):
            characters[: len(phrase), k] = [self.characters.get(c, 1) for c in phrase]
            readings[: len(phrase), k] = [self.numbers.get(r, -1) for r in pinyin]
        return characters, readings, np.array([len(phrase) for phrase, _ in pairs])


class Reader(nn.Module):
    """Gives each character of a phrase a reading."""

    def __init__(self, data, bidirectional, hidden_size=128):
        super().__init__()
        size = 64
        self.embedding = nn.Embedding(len(data.prior), size)
        # The same number of outputs in both cases
        self.rnn = nn.GRU(size, hidden_size // (1 + bidirectional), bidirectional=bidirectional)
        self.dropout = nn.Dropout(0.4)
        self.head = nn.Linear(hidden_size + size, len(data.readings))

    def forward(self, characters, lengths):
        """Return the logits (T, B, readings) for phrases (T, B)."""
        x = self.embedding(characters)
        output, _ = self.rnn(self.dropout(x), lengths=lengths)
        return self.head(self.dropout(ts.cat([output, x], -1)))


def train(data, bidirectional, updates):
    """Return a reader that has learned."""
    model = Reader(data, bidirectional)
    optimizer = optim.AdamW(model.parameters(), lr=8e-3, weight_decay=0.01)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    characters, readings, lengths = data.encoded(data.learned)
    several = (data.prior > -30).sum(1) > 1  # the others teach nothing
    places = [np.flatnonzero(several[characters[:, k]] & (readings[:, k] >= 0)) for k in range(len(lengths))]
    useful = np.flatnonzero([len(p) > 0 for p in places])
    rng = np.random.default_rng(0)

    @ts.compile
    def step(characters, lengths, place, bias, wanted):
        optimizer.zero_grad()
        x = model.embedding(characters)
        output, _ = model.rnn(model.dropout(x), lengths=lengths)
        columns = ts.arange(place.shape[0])
        seen = ts.cat([output[place, columns], x[place, columns]], -1)
        loss = F.cross_entropy(model.head(model.dropout(seen)) + bias, wanted)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    with trange(updates, desc="both directions" if bidirectional else "forward only", disable=None) as bar:
        for _ in bar:
            batch = rng.choice(useful, 128)
            place = np.array([rng.choice(places[k]) for k in batch])  # one character of each phrase
            x, wanted = characters[:, batch], readings[place, batch]
            bias = data.prior[characters[place, batch]]
            loss = step(*map(ts.tensor, (x, lengths[batch], place, bias, wanted)))
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


def main():
    """Train both ways, print accuracies, and read some phrases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("phrases", nargs="*", help="phrases to read, of at most 8 characters")
    options = parser.parse_args()
    data = Data(options.seed)
    held_out = data.held_out[:300] if options.short else data.held_out
    characters, truth, _ = data.encoded(held_out)
    several = (truth != -100) & ((data.prior > -30).sum(1) > 1)[characters]
    ambiguous = several & data.ambiguous[characters]
    frequent = data.prior.argmax(1)
    models = {}
    for both in (False, True):
        ts.manual_seed(options.seed)
        models[both] = train(data, both, 20 if options.short else 1200)
    found = {both: read(data, model, held_out) for both, model in models.items()}

    print(f"\naccuracy on held-out characters  {several.sum()} with several readings  {ambiguous.sum()} ambiguous")
    rows = {
        "in both directions": found[True],
        "forward only": found[False],
        "most frequent reading": frequent[characters],
    }
    for name, guess in rows.items():
        print(f"{name:<28}" + "".join(f"{(guess == truth)[which].mean():20.1%}" for which in (several, ambiguous)))
    print()
    if options.phrases:
        shown = [(phrase[:LONGEST], [""] * len(phrase[:LONGEST])) for phrase in options.phrases]
    else:  # where the frequent reading is wrong
        odd = np.flatnonzero(((frequent[characters] != truth) & ambiguous).any(0))
        shown = [held_out[k] for k in np.random.default_rng(options.seed).choice(odd, 10, replace=False)]
    for (phrase, pinyin), guess in zip(shown, read(data, models[True], shown).T, strict=True):
        given = " ".join(data.readings[k] for k in guess[: len(phrase)])
        right = " ".join(pinyin).strip()
        print(f"{phrase}  {given}" + (f"   (is {right})" if right not in ("", given) else ""))


if __name__ == "__main__":
    main()
