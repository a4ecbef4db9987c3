"""One to many: an origin to surnames of that kind, letter by letter.

An LSTM whose first state is learned for each origin writes a name; the letters are drawn from its predictions. The
classifier of many_to_one.py judges: how often does it agree with the origin that was wanted, beside real held-out
names of that origin, and real names of other origins? And how many of the names are copies of ones it has seen?

Run: python examples/one_to_many.py [--short] [origin ...]
"""

import argparse

import many_to_one
import numpy as np
from many_to_one import LETTERS, SETTINGS, chances, encoded, surnames
from tqdm import trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.nn import decode, functional as F

LONGEST = 18  # letters and the end
BLANK, END = 0, len(LETTERS)  # blanks fill up, and stand before the first letter


class Writer(nn.Module):
    """Predicts the next letter of a name of a given origin."""

    def __init__(self, origins, hidden_size=96):
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS) + 1, 32)
        self.origin = nn.Embedding(origins, 2 * hidden_size)
        self.rnn = nn.Recurrent(nn.LSTMCell(32, hidden_size))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(hidden_size, len(LETTERS) + 1)

    def start(self, origins):
        """Return the state from which names of the `origins` (B,) are written."""
        return tuple(part.tanh() for part in self.origin(origins).chunk(2, -1))

    def forward(self, letters, origins):
        """Return the logits (T, B, letters) of what follows each of the `letters` (T, B)."""
        output, _ = self.rnn(self.embedding(letters), self.start(origins))
        return self.head(self.dropout(output))

    def step(self, letters, state):
        """Return the logits (B, letters) of what follows `letters` (B,), and the new state."""
        output, state = self.rnn(self.embedding(letters).unsqueeze(0), state)
        return self.head(output[0]), state


def train(names, origins, updates):
    """Return a writer that has learned from names and their origins (N,)."""
    written = np.full((LONGEST, len(names)), -100, np.int64)  # what the loss leaves out
    for k, name in enumerate(names):
        codes = [*LETTERS.encode(name), END][:LONGEST]
        written[: len(codes), k] = codes
    read = np.concatenate([np.zeros((1, len(names)), np.int64), np.where(written < 0, BLANK, written)[:-1]])
    model = Writer(int(origins.max()) + 1)
    optimizer = optim.AdamW(model.parameters(), lr=8e-3, weight_decay=0.01)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    share = 1 / np.bincount(origins)[origins]  # each origin as often as any other, nearly
    share, rng = np.sqrt(share) / np.sqrt(share).sum(), np.random.default_rng(0)

    @ts.compile
    def step(read, written, origins):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(read, origins).flatten(0, 1), written.flatten(), ignore_index=-100)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    with trange(updates, desc="names", disable=None) as bar:
        for _ in bar:
            batch = rng.choice(len(origins), 128, p=share)
            loss = step(ts.tensor(read[:, batch]), ts.tensor(written[:, batch]), ts.tensor(origins[batch]))
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model.eval()


def written_names(model, origins, temperature):
    """Return a name for each of the origins (N,)."""
    with ts.no_grad():
        state = model.start(ts.tensor(origins))
    options = {"start": BLANK, "end": END, "max_length": LONGEST, "temperature": temperature, "top_p": 0.95}
    found = decode.sample(model.step, state, len(origins), **options)
    return ["".join(LETTERS.decode(h.symbols)).replace("_", "").strip() or "a" for h in found]


def agreement(judge, names, origins):
    """Return how often the judge gives `names` the `origins`."""
    return (chances(judge, *encoded(names)).argmax(1) == origins).mean()


def main():
    """Train writer and judge, print how often they agree, and show names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("origins", nargs="*", help="which origins to write names for; all by default")
    options = parser.parse_args()
    ts.manual_seed(options.seed)
    labels, (names, origins), (tested, truth) = surnames(options.seed)
    unknown = set(options.origins) - set(labels)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not among {', '.join(labels)}")
    settings = SETTINGS["names"] | ({"updates": 30} if options.short else {})
    judge = many_to_one.train("names", *encoded(names), origins, **settings)
    model = train(names, origins, 30 if options.short else 1000)

    wanted = np.repeat(np.arange(len(labels)), 10 if options.short else 50)
    made = written_names(model, wanted, options.temperature)
    rng = np.random.default_rng(options.seed)
    real = [tested[rng.choice(np.flatnonzero(truth == k))] for k in wanted]
    others = [tested[rng.choice(np.flatnonzero(truth != k))] for k in wanted]
    copied = np.mean([name in set(names) for name in made])
    print(f"\nthe judge finds the wanted origin in, of {len(wanted)} names,")
    print(f"{'names written':<36}{agreement(judge, made, wanted):8.1%}")
    print(f"{'real held-out names of that origin':<36}{agreement(judge, real, wanted):8.1%}")
    print(f"{'real names of other origins':<36}{agreement(judge, others, wanted):8.1%}")
    print(f"copies of names it has learned from: {copied:.1%}\n")
    for k, label in enumerate(labels):
        if not options.origins or label in options.origins:
            print(f"{label:<12}" + ", ".join(name for name, w in zip(made, wanted, strict=True) if w == k)[:100])


if __name__ == "__main__":
    main()
