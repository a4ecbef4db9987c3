"""Many to many, in step, in both directions: Python source to the role of each identifier.

The source is a fixed list of modules of the standard library of the Python that runs this; whole files are held out.
What `ast` makes of a file says what each identifier does: it is defined, imported, a parameter, the name of a keyword
argument, called, an attribute, written to, or read, as a local variable or as a global one (builtins are global).

The network sees the tokens of a few lines, where strings are all the same, and numbers. Names that several files use it
knows; of the others it sees where the same one stands again, and whether it has capitals. To beat: the commonest role;
the most frequent role of each name, of what stands on its two sides, and of both together; and a network that reads
forward only, and does not see the `(`, `=` or `.` that follows.

Run: python examples/synced_identifiers.py [--short] [file.py]

`--choose` compares settings on a fifth of the files for training; SETTINGS holds the best of them.
"""

import argparse
import os
import platform
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path

import numpy as np
from synced_roles import ROLES, is_name, read_lines
from tqdm import tqdm, trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.nn import functional as F

LONGEST = 64  # tokens the network sees at once
UNKNOWN = 1 + 2 * LONGEST  # numbers for what fills up and for names that are not known, with capitals or without
BATCH = 64  # windows an update
COMMON = 5  # files for training that use a name, for it to be known
MODULES = """
    argparse ast base64 bdb calendar cmd code codecs configparser contextlib copy csv dataclasses difflib dis doctest
    enum filecmp fileinput fractions ftplib functools getopt gettext gzip heapq imaplib inspect ipaddress linecache
    locale mimetypes netrc operator optparse os pdb pickle pkgutil platform plistlib poplib pprint profile pstats pyclbr
    queue random sched selectors shelve shlex shutil smtplib socket socketserver statistics string subprocess tabnanny
    tarfile tempfile textwrap threading timeit tokenize trace traceback tracemalloc typing uuid warnings wave weakref
    asyncio/base_events asyncio/tasks concurrent/futures/process html/parser http/client http/cookiejar http/cookies
    json/decoder json/encoder logging/config logging/handlers multiprocessing/pool re/_compiler re/_parser unittest/case
    unittest/mock urllib/parse urllib/request xml/dom/minidom
"""
ROLE_NAMES = list(ROLES)

SETTINGS = {
    "both directions": {"hidden_size": 128, "dropout": 0.1, "updates": 800},
    "forward only": {"hidden_size": 128, "dropout": 0.3, "updates": 800},
}
GRID = {"hidden_size": (128, 192), "dropout": (0.1, 0.3), "updates": (400, 800)}


def read_modules(modules, desc):
    """Return the logical lines of modules of the standard library, and print how much it is."""
    library = Path(os.__file__).parent
    files = [read_lines(library / f"{name}.py") for name in tqdm(modules, desc=desc, disable=None)]
    tokens = [token for lines in files for line in lines for token in line]
    named = sum(token.role is not None for token in tokens)
    print(f"{desc:<12}{len(files):5} files{len(tokens):9,} tokens{named:9,} identifiers", flush=True)
    return files


class Data:
    """Files for training, as windows of whole lines, and which names are known from them alone."""

    def __init__(self, files):
        common = Counter(seen for lines in files for seen in {token.seen for line in lines for token in line})
        # 0 fills up, the next stand for the names of a window that are not known, in order of appearance
        self.numbers = {seen: k for k, seen in enumerate(sorted(s for s in common if common[s] >= COMMON), UNKNOWN)}
        self.tokens = [token for lines in files for line in lines for token in line]
        self.starts = [0, *np.cumsum([len(line) for lines in files for line in lines])]

    def drawn(self, rng, size):
        """Return windows that start at any line; they may reach into the next file."""
        return [self.tokens[k : k + LONGEST] for k in rng.choice(self.starts[:-1], size)]

    def encoded(self, windows):
        """Return tokens and roles (LONGEST, N), -100 where there is none, and the lengths (N,)."""
        seen = np.zeros((LONGEST, len(windows)), np.int64)
        roles = np.full((LONGEST, len(windows)), -100, np.int64)
        for k, window in enumerate(windows):
            others = {}
            for t, token in enumerate(window):
                number = self.numbers.get(token.seen)
                if number is None:
                    capitals = token.seen != token.seen.lower()
                    number = 1 + 2 * others.setdefault(token.seen, len(others)) + capitals
                seen[t, k] = number
                if token.role:
                    roles[t, k] = ROLE_NAMES.index(token.role)
        return seen, roles, np.array([len(window) for window in windows])


def windows_of(lines):
    """Return lines as windows of at most LONGEST tokens: whole lines as far as they fit, longer ones cut."""
    found = [[]]
    for line in lines:
        for k in range(0, len(line), LONGEST):
            piece = line[k : k + LONGEST]
            if len(found[-1]) + len(piece) > LONGEST:
                found.append([])
            found[-1] = found[-1] + piece
    return found


class Marker(nn.Module):
    """Gives each token of a window a role."""

    def __init__(self, data, bidirectional, hidden_size, dropout):
        super().__init__()
        size = 64
        self.embedding = nn.Embedding(UNKNOWN + len(data.numbers), size)
        # The same number of outputs in both cases
        self.rnn = nn.GRU(size, hidden_size // (1 + bidirectional), bidirectional=bidirectional)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size + size, len(ROLES))

    def forward(self, tokens, lengths):
        """Return the logits (T, B, roles) for windows (T, B)."""
        x = self.dropout(self.embedding(tokens))
        output, _ = self.rnn(x, lengths=lengths)
        return self.head(self.dropout(ts.cat([output, x], -1)))


def train(data, label, *, hidden_size, dropout, updates):
    """Return a marker that has learned, in "both directions" or "forward only"."""
    model = Marker(data, label == "both directions", hidden_size, dropout)
    optimizer = optim.AdamW(model.parameters(), lr=8e-3, weight_decay=0.01)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    rng = np.random.default_rng(0)

    @ts.compile
    def step(tokens, roles, lengths):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(tokens, lengths).flatten(0, 1), roles.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    with trange(updates, desc=label, disable=None) as bar:
        for _ in bar:
            loss = step(*map(ts.tensor, data.encoded(data.drawn(rng, BATCH))))
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model.eval()


def marked(data, model, windows):
    """Return a role for each token of the windows (LONGEST, N)."""
    tokens, _, lengths = data.encoded(windows)
    with ts.no_grad():
        parts = [slice(k, k + 256) for k in range(0, len(windows), 256)]
        found = [model(ts.tensor(tokens[:, p]), ts.tensor(lengths[p])).numpy().argmax(-1) for p in parts]
    return np.concatenate(found, 1)


def neighbours(tokens):
    """Return the name of each identifier, with what stands before and after it, where names are all the same."""
    seen = ["", *("name" if is_name(token.seen) else token.seen for token in tokens), ""]
    return [(t.seen, seen[k], seen[k + 2]) for k, t in enumerate(tokens) if t.role]


def frequent(learned, tested):
    """Return what is to beat: for each kind of guess the roles of all identifiers of the tested tokens (N,)."""
    kinds = {
        "name and neighbours": lambda name, before, after: (name, before, after),
        "neighbours and capitals": lambda name, before, after: (name != name.lower(), before, after),
        "name": lambda name, before, after: name,
        "commonest role": lambda name, before, after: None,
    }
    roles, places = [ROLE_NAMES.index(token.role) for token in learned if token.role], neighbours(tested)
    found, guess = {}, [None] * len(places)
    for kind, key in reversed(kinds.items()):  # what was never seen is guessed as in the kind before
        counts = defaultdict(Counter)
        for place, role in zip(neighbours(learned), roles, strict=True):
            counts[key(*place)][role] += 1
        best = {value: count.most_common(1)[0][0] for value, count in counts.items()}
        guess = [best.get(key(*place), before) for place, before in zip(places, guess, strict=True)]
        found[kind] = np.array(guess)
    return {kind: found[kind] for kind in kinds}


def split(modules, seed):
    """Return the modules for training, and a fifth of them that is held out."""
    order = np.random.default_rng(seed).permutation(modules).tolist()
    return order[len(order) // 5 :], order[: len(order) // 5]


def choose(modules):
    """Print how the settings of the grid do on a fifth of the files for training."""
    modules, tested = split(modules, 1)
    data, files = Data(read_modules(modules, "training")), read_modules(tested, "validation")
    windows = [window for lines in files for window in windows_of(lines)]
    truth = data.encoded(windows)[1]
    for kind, guess in frequent(data.tokens, [token for window in windows for token in window]).items():
        print(f"{kind:<76}{(guess == truth.T[truth.T >= 0]).mean():8.2%}")
    for label in SETTINGS:
        for values in product(*GRID.values()):
            settings = dict(zip(GRID, values, strict=True))
            ts.manual_seed(0)
            guess = marked(data, train(data, label, **settings), windows)
            print(f"{label:<16}{settings!s:<60}{(guess == truth)[truth >= 0].mean():8.2%}", flush=True)


def show(window, guess):
    """Print a window with the role under each identifier; a mistake with the right one after it."""
    text = under = ""
    first, previous = window[0].start[1], None
    for token, number in zip(window, guess, strict=True):
        if token.seen == "\n" or len(text) > 100:
            print(f"  {text}" + (f"\n  {under}" if under.strip() else ""))
            text = under = "" if token.seen == "\n" else " " * 8
        if token.text.isspace() or not token.text:
            continue
        if text:
            text += " " * (token.start[1] - previous[1] if token.start[0] == previous[0] else 1)
        else:
            text = " " * max(token.start[1] - first, 0)
        label = "" if token.role is None else ROLE_NAMES[number]
        label += f"!{token.role}" if token.role and token.role != label else ""
        under = under.ljust(len(text)) + label
        piece = token.text if len(token.text) < 25 else token.text.split("\n")[0][:20] + "..."
        text, previous = text + piece.ljust(len(label)), token.end
    if text:
        print(f"  {text}" + (f"\n  {under}" if under.strip() else ""))


def main():
    """Train both ways, print accuracies, and show some source with what the network says of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few files and updates only")
    parser.add_argument("--choose", action="store_true", help="compare settings on a part of what is for training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("file", nargs="?", help="a Python file of which the first lines are shown")
    options = parser.parse_args()
    learned, held_out = split(MODULES.split(), options.seed)
    if options.choose:
        choose(learned)
        return
    shown = windows_of(read_lines(options.file))[:8] if options.file else []
    if options.short:
        learned, held_out = learned[:6], held_out[:1]
    print(f"standard library of Python {platform.python_version()}", flush=True)
    data, files = Data(read_modules(learned, "training")), read_modules(held_out, "held out")
    windows = [window for lines in files for window in windows_of(lines)]
    roles = data.encoded(windows)[1].T
    truth, found, model = roles[roles >= 0], {}, None
    for label in ("forward only", "both directions"):
        ts.manual_seed(options.seed)
        model = train(data, label, **SETTINGS[label] | ({"updates": 20} if options.short else {}))
        found[label] = marked(data, model, windows).T[roles >= 0]
    found = dict(reversed(found.items())) | frequent(data.tokens, [token for window in windows for token in window])

    print(f"\naccuracy on {len(truth):,} held-out identifiers")
    for label, guess in found.items():
        print(f"{label:<40}{(guess == truth).mean():8.1%}")
    columns = list(found)[:3]
    print(f"\n{'of each role':<48}{'number':>8}" + "".join(f"{label:>21}" for label in columns))
    for k, role in enumerate(ROLE_NAMES):
        scores = "".join(f"{(found[label][truth == k] == k).mean():21.1%}" for label in columns)
        print(f"{role:<8}{ROLES[role]:<40}{(truth == k).sum():8}{scores}")
    pairs = Counter(zip(truth, found["both directions"], strict=True))
    common = [f"{ROLE_NAMES[a]} taken for {ROLE_NAMES[b]} {n} times" for (a, b), n in pairs.most_common() if a != b]
    print("\nmost mistakes, in both directions: " + ", ".join(common[:3]))

    if not options.file:  # two of those with many identifiers, and two with a mistake
        wrong = (roles >= 0) & (roles != marked(data, model, windows).T)
        kinds = np.flatnonzero((roles >= 0).sum(1) > 15), np.flatnonzero(wrong.any(1))
        rng = np.random.default_rng(options.seed)
        shown = [windows[k] for places in kinds for k in rng.choice(places, 2, replace=False)]
    print(f"\nfrom {options.file or 'the held-out files'}, as seen in both directions; a mistake reads said!right")
    for window, guess in zip(shown, marked(data, model, shown).T, strict=True):
        print()
        show(window, guess[: len(window)])


if __name__ == "__main__":
    main()
