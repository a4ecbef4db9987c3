"""Many to one: a surname to where it comes from, and an utterance to who speaks.

One network for both: an LSTM reads a sequence in both directions; what it ends with on both sides is classified.

- Names: about 14,000 surnames of 20 origins from the package Faker, letter by letter; a fifth is held out. To beat: the
  commonest origin, and naive Bayes on pairs of letters.
- Speakers: 640 utterances of two vowels by nine men, 7 to 29 frames of 12 coefficients (examples/data); 370 of them,
  recorded at other times, are held out. To beat: the commonest speaker, and the speaker with the nearest mean frame.

Run: python examples/many_to_one.py [--short] [--only names speakers] [name ...]

`--choose` compares settings on a part of what is for training; SETTINGS holds the best of them.
"""

import argparse
from collections import Counter
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.data import Vocabulary, sources
from tinyseq.nn import functional as F

LONGEST = 16  # letters; what goes beyond is cut off
LETTERS = Vocabulary("_ '-abcdefghijklmnopqrstuvwxyz")
FOLDER = Path(__file__).parent / "data" / "japanese_vowels"
LEARNED = FOLDER / "JapaneseVowels_TRAIN.ts.xz", "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd"
HELD_OUT = FOLDER / "JapaneseVowels_TEST.ts.xz", "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"

SETTINGS = {
    "names": {"hidden_size": 128, "dropout": 0.3, "lr": 6e-3, "updates": 1200},
    "speakers": {"hidden_size": 64, "dropout": 0.5, "lr": 5e-3, "updates": 300},
}
GRID = {
    "names": {"hidden_size": (64, 96, 128), "dropout": (0.3, 0.5), "lr": (6e-3,), "updates": (800, 1200, 2000)},
    "speakers": {"hidden_size": (32, 64), "dropout": (0.3, 0.5), "lr": (5e-3,), "updates": (150, 300, 600)},
}


class Classifier(nn.Module):
    """Tells the class of sequences; `front` makes what the LSTM reads, (T, B, width)."""

    def __init__(self, front, width, classes, hidden_size, dropout):
        super().__init__()
        self.front = front
        self.rnn = nn.Bidirectional(nn.LSTMCell(width, hidden_size), nn.LSTMCell(width, hidden_size))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden_size, classes)

    def forward(self, x, lengths):
        """Return the logits (B, classes) of sequences (T, B) or (T, B, channels) of the lengths (B,)."""
        _, ends = self.rnn(self.dropout(self.front(x)), lengths=lengths)
        return self.head(self.dropout(ts.cat([ends.forward.h, ends.backward.h], -1)))


def train(task, x, lengths, classes, *, hidden_size, dropout, lr, updates):
    """Return a classifier that has learned the classes (N,) of the sequences (T, N) or (T, N, channels)."""
    front, width = (nn.Embedding(len(LETTERS), 32), 32) if task == "names" else (nn.Identity(), x.shape[2])
    model = Classifier(front, width, int(classes.max()) + 1, hidden_size, dropout)
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    rng = np.random.default_rng(0)

    @ts.compile
    def step(x, lengths, classes):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, lengths), classes)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    with trange(updates, desc=task, disable=None) as bar:
        for _ in bar:
            batch = rng.choice(len(classes), min(128, len(classes) // 4))
            loss = step(ts.tensor(x[:, batch]), ts.tensor(lengths[batch]), ts.tensor(classes[batch]))
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model.eval()


def chances(model, x, lengths):
    """Return how probable each class is for each of the sequences (N, classes)."""
    with ts.no_grad():
        return F.softmax(model(ts.tensor(x), ts.tensor(lengths)), -1).numpy()


def held_out(keys, share, seed):
    """Return which of the keys (N,) are held out (N,): a share of the different ones, equal ones on the same side."""
    different = sorted(set(keys))
    chosen = np.random.default_rng(seed).choice(different, int(share * len(different)), replace=False)
    return np.isin(keys, chosen)


def choose(task, keys, x, lengths, classes, seeds):
    """Print how the settings of the grid do on a fifth of the training part, the mean over a fifth for each seed."""
    print(f"\n{task}: settings, accuracy, cross entropy")
    for values in product(*GRID[task].values()):
        settings, scores = dict(zip(GRID[task], values, strict=True)), []
        for seed in seeds:
            out = held_out(keys, 0.2, seed)
            ts.manual_seed(seed)
            model = train(task, x[:, ~out], lengths[~out], classes[~out], **settings)
            found = chances(model, x[:, out], lengths[out])
            right = found[np.arange(out.sum()), classes[out]]
            scores.append([(found.argmax(1) == classes[out]).mean(), -np.log(right).mean()])
        accuracy, entropy = np.mean(scores, 0)
        print(f"{settings!s:<72}{accuracy:8.2%}{entropy:8.3f}", flush=True)


def encoded(names):
    """Return names as indices (LONGEST, B), and their lengths (B,)."""
    codes = np.zeros((LONGEST, len(names)), np.int64)
    for k, name in enumerate(names):
        codes[: len(name[:LONGEST]), k] = LETTERS.encode(name[:LONGEST])
    return codes, np.array([min(len(name), LONGEST) for name in names])


def surnames(seed):
    """Return the origins, and the names with their origins (N,) for training and held out: two pairs.

    A name that stands under several origins is on one side only.
    """
    found = sources.surnames()
    names = np.array([name for names in found.values() for name in names])
    origins = np.repeat(np.arange(len(found)), [len(names) for names in found.values()])
    out = held_out(names, 0.2, seed)
    return list(found), *((names[side].tolist(), origins[side]) for side in (~out, out))


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


def padded(utterances, mean, spread):
    """Return utterances of (T, 12), scaled, as (longest, N, 12), and their lengths (N,)."""
    lengths = np.array([len(frames) for frames in utterances])
    x = np.zeros((lengths.max(), len(utterances), len(mean)), np.float32)
    for k, frames in enumerate(utterances):
        x[: len(frames), k] = (frames - mean) / spread
    return x, lengths


def report(what, guesses, truth, labels, axis):
    """Print the accuracy of each of the guesses (N,), and draw what the first one takes for what."""
    print(f"\naccuracy on {len(truth)} held-out {what}")
    for name, guess in guesses.items():
        print(f"{name:<32}{(guess == truth).mean():8.1%}")
    table = np.zeros((len(labels), len(labels)))
    np.add.at(table, (truth, next(iter(guesses.values()))), 1)
    axis.imshow(table / table.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(labels)), labels, rotation=90)
    axis.set_yticks(range(len(labels)), labels)
    axis.set(title=f"held-out {what}", xlabel="taken for", ylabel="is")


def tell_names(options, axis):
    """Train on surnames, print accuracies, and show what the network thinks of some."""
    labels, (names, origins), (tested, truth) = surnames(options.seed)
    if options.choose:
        return choose("names", names, *encoded(names), origins, seeds=(1,))
    model = train("names", *encoded(names), origins, **SETTINGS["names"] | ({"updates": 20} if options.short else {}))
    commonest = np.bincount(origins).argmax()
    guesses = {
        "network": chances(model, *encoded(tested)).argmax(1),
        "naive Bayes on pairs of letters": naive_bayes(names, origins, tested),
        f"always {labels[commonest]}": np.full_like(truth, commonest),
    }
    report("surnames", guesses, truth, labels, axis)
    rng = np.random.default_rng(options.seed)
    shown = [sources.plain_letters(name) for name in options.names] or rng.choice(tested, 10, replace=False).tolist()
    print()
    for name, row in zip(shown, chances(model, *encoded(shown)), strict=True):
        best = ", ".join(f"{labels[k]} {row[k]:.0%}" for k in row.argsort()[::-1][:3])
        real = ", ".join(labels[k] for t, k in zip(tested, truth, strict=True) if t == name)
        print(f"{name:<16}{best:<44}{'is ' + real if real else ''}")
    return None


def tell_speakers(options, axis):
    """Train on utterances, and print accuracies."""
    (learned, speakers), (tested, truth) = sources.utterances(*LEARNED), sources.utterances(*HELD_OUT)
    frames = np.concatenate(learned)
    scale = frames.mean(0), frames.std(0)
    x, lengths = padded(learned, *scale)
    if options.choose:
        return choose("speakers", np.arange(len(lengths)), x, lengths, speakers, seeds=(1, 2, 3))
    changed = {"updates": 20} if options.short else {}
    model = train("speakers", x, lengths, speakers, **SETTINGS["speakers"] | changed)
    x_test, lengths_test = padded(tested, *scale)
    inside, inside_test = x.sum(0) / lengths[:, None], x_test.sum(0) / lengths_test[:, None]
    centres = np.stack([inside[speakers == k].mean(0) for k in range(9)])
    guesses = {
        "network": chances(model, x_test, lengths_test).argmax(1),
        "nearest mean frame": ((inside_test[:, None] - centres) ** 2).sum(-1).argmin(1),
        "always the commonest of them": np.full_like(truth, np.bincount(truth).argmax()),
    }
    report("utterances", guesses, truth, [f"speaker {k + 1}" for k in range(9)], axis)
    return None


def main():
    """Do both tasks, and draw what is taken for what."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates only")
    parser.add_argument("--only", nargs="+", choices=("names", "speakers"), help="which of the tasks")
    parser.add_argument("--choose", action="store_true", help="compare settings on a part of what is for training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("names", nargs="*", default=[], help="names to tell the origin of")
    options = parser.parse_args()
    figure, axes = plt.subplots(1, 2, figsize=(14, 6.5), layout="constrained")
    for task, tell, axis in zip(("names", "speakers"), (tell_names, tell_speakers), axes, strict=True):
        if task in (options.only or ("names", "speakers")):
            ts.manual_seed(options.seed)
            tell(options, axis)
    if not options.choose:
        figure.savefig("many_to_one.png", dpi=100)
        print("\nmany_to_one.png shows what is taken for what")


if __name__ == "__main__":
    main()
