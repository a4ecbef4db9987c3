"""One to one: an image of a digit to its class, with a plain network.

scikit-learn's digits: 1,797 images of 8 by 8 pixels (E. Alpaydin, C. Kaynak, UCI Machine Learning Repository, CC BY
4.0); a quarter is held out. To beat: the nearest of the ten mean images, and 96 %.

Run: python examples/one_to_one.py [--short]
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.nn import functional as F


def train(x, y, updates):
    """Return a network that has learned the classes y (N,) of the images x (N, 64)."""
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
    optimizer = optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    rng = np.random.default_rng(0)

    @ts.compile
    def step(images, classes):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), classes)
        loss.backward()
        optimizer.step()
        return loss.detach()

    with trange(updates, desc="digits", disable=None) as bar:
        for _ in bar:
            batch = rng.choice(len(x), 64)
            bar.set_postfix(loss=f"{step(ts.tensor(x[batch]), ts.tensor(y[batch])).item():.3f}")
    return model.eval()


def main():
    """Train, print the accuracy and the baseline, and draw what was taken for something else."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates only")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ts.manual_seed(options.seed)
    digits = load_digits()
    x, y = digits.data.astype(np.float32) / 16, digits.target.astype(np.int64)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, random_state=options.seed, stratify=y)
    model = train(x, y, 100 if options.short else 2000)
    with ts.no_grad():
        chances = F.softmax(model(ts.tensor(x_test)), -1).numpy()
    guess = chances.argmax(1)
    means = np.stack([x[y == k].mean(0) for k in range(10)])
    nearest = ((x_test[:, None] - means) ** 2).sum(-1).argmin(1)
    print(f"\naccuracy on {len(y_test)} held-out images")
    print(f"{'network':<20}{(guess == y_test).mean():8.1%}")
    print(f"{'nearest mean image':<20}{(nearest == y_test).mean():8.1%}")
    doubtful = np.lexsort((chances.max(1), guess == y_test))[:16]  # the wrong ones first, then the least certain
    figure, axes = plt.subplots(2, 8, figsize=(10, 3.4), layout="constrained")
    for k, axis in zip(doubtful, axes.flat, strict=True):
        axis.imshow(x_test[k].reshape(8, 8), cmap="gray_r")
        axis.set_axis_off()
        axis.set_title(
            f"{y_test[k]}: {guess[k]} ({chances[k].max():.0%})", color="C3" if guess[k] != y_test[k] else "k"
        )
    figure.savefig("one_to_one.png", dpi=100)
    print("one_to_one.png shows the images that were hardest: what they are, and what they were taken for")


if __name__ == "__main__":
    main()
