"""Many to one: a surname to where it comes from.

An LSTM reads the letters of a name in both directions; what it ends with on both sides is classified. About 14,000
surnames of 20 origins from the package Faker; a fifth is held out. To beat: the commonest origin, and naive Bayes on
pairs of letters.

Run: python examples/many_to_one.py [--short]
"""

import argparse
from collections import Counter

import numpy as np
from tqdm import trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.data import Vocabulary, sources
from tinyseq.nn import functional as F

LONGEST = 16  # letters; what goes beyond is cut off
LETTERS = Vocabulary("_ '-abcdefghijklmnopqrstuvwxyz")


def encoded(names):
    """Return names as indices (LONGEST, B), and their lengths (B,)."""
    codes = np.zeros((LONGEST, len(names)), np.int64)
    for k, name in enumerate(names):
        codes[: len(name[:LONGEST]), k] = LETTERS.encode(name[:LONGEST])
    return codes, np.array([min(len(name), LONGEST) for name in names])


class Classifier(nn.Module):
    """Tells the origin of names."""

    def __init__(self, origins, hidden_size=96):
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), 32)
        cells = (nn.LSTMCell(32, hidden_size) for _ in range(2))
        self.rnn = nn.Bidirectional(*cells)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(2 * hidden_size, origins)

    def forward(self, codes, lengths):
        """Return the logits (B, origins) of the names (T, B)."""
        _, ends = self.rnn(self.dropout(self.embedding(codes)), lengths=lengths)
        return self.head(self.dropout(ts.cat([ends.forward.h, ends.backward.h], -1)))


def train(codes, lengths, origins, updates, lr=6e-3):
    """Return a classifier that has learned the origins (N,) of the names (T, N)."""
    model = Classifier(int(origins.max()) + 1)
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    rng = np.random.default_rng(0)

    @ts.compile
    def step(codes, lengths, origins):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(codes, lengths), origins)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    with trange(updates, desc="origins", disable=None) as bar:
        for _ in bar:
            batch = rng.choice(len(origins), 128)
            loss = step(ts.tensor(codes[:, batch]), ts.tensor(lengths[batch]), ts.tensor(origins[batch]))
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model.eval()


def chances(model, names):
    """Return how probable each origin is for each of the names (N, origins)."""
    codes, lengths = encoded(names)
    with ts.no_grad():
        return F.softmax(model(ts.tensor(codes), ts.tensor(lengths)), -1).numpy()


def naive_bayes(names, origins, tested):
    """Return the origins (N,) that naive Bayes on pairs of letters gives to the `tested` names."""

    def pairs(name):
        return [a + b for a, b in zip(f"^{name}", f"{name}$", strict=True)]

    counts = [Counter() for _ in range(origins.max() + 1)]
    for name, origin in zip(names, origins, strict=True):
        counts[origin].update(pairs(name))
    different = len(set().union(*counts))
    prior = np.log(np.bincount(origins))

    def score(name):
        return [sum(np.log((c[p] + 0.5) / (c.total() + 0.5 * different)) for p in pairs(name)) for c in counts]

    return np.array([np.argmax(score(name) + prior) for name in tested])


def split(seed):
    """Return the origins, and the names with their origins (N,) for training and held out: two pairs.

    A name that stands under several origins is on one side only.
    """
    found = sources.surnames()
    pairs = [(name, k) for k, names in enumerate(found.values()) for name in names]
    different = sorted({name for name, _ in pairs})
    held = set(np.random.default_rng(seed).choice(different, len(different) // 5, replace=False).tolist())
    sides = [[p for p in pairs if (p[0] in held) is side] for side in (False, True)]
    return list(found), *(([name for name, _ in side], np.array([k for _, k in side])) for side in sides)


def main():
    """Train, print accuracies, and show what the network thinks of some names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("names", nargs="*", default=[], help="names to tell the origin of")
    options = parser.parse_args()
    ts.manual_seed(options.seed)
    labels, (names, origins), (tested, truth) = split(options.seed)
    model = train(*encoded(names), origins, 60 if options.short else 1200)
    guess = chances(model, tested).argmax(1)
    commonest = np.bincount(origins).argmax()
    print(f"\naccuracy on {len(tested)} held-out surnames of {len(labels)} origins")
    print(f"{'network':<32}{(guess == truth).mean():8.1%}")
    print(f"{'naive Bayes on pairs of letters':<32}{(naive_bayes(names, origins, tested) == truth).mean():8.1%}")
    print(f"{'always ' + labels[commonest]:<32}{(truth == commonest).mean():8.1%}\n")
    rng = np.random.default_rng(options.seed)
    shown = [sources.plain_letters(name) for name in options.names] or rng.choice(tested, 10, replace=False).tolist()
    for name, row in zip(shown, chances(model, shown), strict=True):
        best = ", ".join(f"{labels[k]} {row[k]:.0%}" for k in row.argsort()[::-1][:3])
        real = ", ".join(labels[k] for t, k in zip(tested, truth, strict=True) if t == name)
        print(f"{name:<16}{best:<44}{'is ' + real if real else ''}")


if __name__ == "__main__":
    main()
