"""Forecasting: weekly CO2 and yearly sunspots, a whole season ahead, from the values before.

A GRU reads the past; a second one starts from its state, and reads what was one season earlier at each step to come.
The last fifth of each series is held out; the forecast is the mean of five networks. To beat: the seasonal naive
forecast, which repeats the season before (R. J. Hyndman, G. Athanasopoulos, "Forecasting: principles and practice",
5.2); with drift it also adds by how much the last season lay above the one before it.

Run: python examples/forecasting.py [--short]

`--choose` compares settings: trained on the first three fifths, tested on the fourth. SETTINGS holds the best of them,
and the normal run trains on all four.
"""

import argparse
from dataclasses import dataclass
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
from tqdm import trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.data import sources
from tinyseq.nn import functional as F

SETTINGS = {
    "CO2, weekly": {"past": 104, "hidden_size": 32, "noise": 0.03, "updates": 1000},
    "sunspots, yearly": {"past": 33, "hidden_size": 32, "noise": 0.3, "updates": 200},
}
GRID = {
    "CO2, weekly": {"past": (104,), "hidden_size": (16, 32), "noise": (0.0, 0.03), "updates": (500, 1000, 2000)},
    "sunspots, yearly": {
        "past": (22, 33, 55), "hidden_size": (16, 32), "noise": (0.1, 0.3), "updates": (100, 200, 400),
    },
}  # fmt: skip


@dataclass
class Series:
    """A series of values (N,), how long its season is, and whether it has a trend.

    With a trend the network sees differences from the last value known, and foretells differences from the season
    before. Without, it sees square roots, which makes the spread of counts even.
    """

    name: str
    years: np.ndarray
    values: np.ndarray
    unit: str
    season: int
    trend: bool

    def fifths(self, k):
        """Return where the first k fifths end."""
        return len(self.values) - (5 - k) * (len(self.values) // 5)

    def windows(self, origins, past):
        """Return the past (past, B) and the season to come (season, B) of each of the times `origins` (B,)."""
        before = self.values[origins + np.arange(-past, 0)[:, None]]
        return before, self.values[origins + np.arange(self.season)[:, None]]


class Forecaster(nn.Module):
    """Reads the past, and foretells the season to come; `level` and `spread` are those of what it learns from."""

    def __init__(self, series, known, hidden_size):
        super().__init__()
        self.series = series
        self.reader = nn.Recurrent(nn.GRUCell(1, hidden_size))
        self.writer = nn.Recurrent(nn.GRUCell(1, hidden_size))
        self.head = nn.Linear(hidden_size, 1)
        known = known if series.trend else np.sqrt(known)
        self.level, self.spread = known.mean(), known.std()

    def forward(self, past):
        """Return the forecast (season, B, 1) from the past (T, B, 1)."""
        _, state = self.reader(past)
        season = past[-self.series.season :]
        output, _ = self.writer(season, state)
        return season + self.head(output) if self.series.trend else self.head(output)

    def scaled(self, values, past):
        """Return values (T, B) as the network sees them (T, B, 1), after a past (T, B)."""
        values, level = (values, past[-1]) if self.series.trend else (np.sqrt(values), self.level)
        return ((values - level) / self.spread).astype(np.float32)[:, :, None]

    def forecasts(self, past):
        """Return forecasts (season, B) in the series' unit."""
        with ts.no_grad():
            found = self(ts.tensor(self.scaled(past, past))).numpy()[:, :, 0] * self.spread
        return found + past[-1] if self.series.trend else np.maximum(found + self.level, 0) ** 2


def train(series, end, seed, *, past, hidden_size, noise, updates):
    """Return a network that has learned from the values before `end`."""
    ts.manual_seed(seed)
    model = Forecaster(series, series.values[:end], hidden_size)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    origins, rng = np.arange(past, end - series.season + 1), np.random.default_rng(seed)

    @ts.compile
    def step(past, target):
        optimizer.zero_grad()
        loss = F.l1_loss(model(past), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    with trange(updates, desc=series.name, disable=None) as bar:
        for _ in bar:
            before, after = series.windows(rng.choice(origins, 32), past)
            x, target = model.scaled(before, before), model.scaled(after, before)
            x += noise * rng.standard_normal(x.shape, np.float32)
            loss = step(ts.tensor(x), ts.tensor(target))
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model


def ensemble(series, fifths, seeds, **settings):
    """Return what networks that have learned from the first fifths foretell on the next one, with what came.

    Returns
    -------
    tuple
        The times of the forecasts (B,), their past (past, B), what came (season, B), and the forecasts (season, B).
    """
    end = series.fifths(fifths)
    origins = np.arange(end, series.fifths(fifths + 1) - series.season + 1)
    past, future = series.windows(origins, settings["past"])
    models = [train(series, end, seed, **settings) for seed in seeds]
    return origins, past, future, np.mean([model.forecasts(past) for model in models], 0)


def choose(series):
    """Print how the settings of the grid do on the fourth fifth."""
    print(f"\n{series.name}: settings, mean absolute error of three networks")
    for values in product(*GRID[series.name].values()):
        settings = dict(zip(GRID[series.name], values, strict=True))
        _, _, future, made = ensemble(series, 3, range(3), **settings)
        print(f"{settings!s:<72}{np.abs(made - future).mean():8.3f}", flush=True)


def draw(series, origins, made, before, axis):
    """Draw the forecasts of the last four seasons."""
    shown = slice(-5 * series.season, None)
    axis.plot(series.years[shown], series.values[shown], color="0.6", label="measured")
    for k, start in enumerate(range(len(series.values) - 4 * series.season, len(series.values), series.season)):
        if start >= origins[0]:
            when = series.years[start : start + series.season]
            axis.plot(when, made[:, start - origins[0]], "C0", label=None if k else "forecast")
            axis.plot(when, before[:, start - origins[0]], "C1:", label=None if k else "seasonal naive")
    axis.set(title=f"{series.name}: forecasts of a whole season ahead", ylabel=series.unit)
    axis.legend()


def main():
    """Train on both series, print mean absolute errors, and draw the forecasts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates: it runs, but learns little")
    parser.add_argument("--choose", action="store_true", help="compare settings on the fourth fifth")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    both = (
        Series("CO2, weekly", *sources.weekly_co2(), "ppm", season=52, trend=True),
        Series("sunspots, yearly", *sources.yearly_sunspots(), "spots", season=11, trend=False),
    )
    if options.choose:
        for series in both:
            choose(series)
        return
    figure, axes = plt.subplots(len(both), 1, figsize=(10, 7), layout="constrained")
    rows = []
    for series, axis in zip(both, axes, strict=True):
        settings = SETTINGS[series.name] | ({"updates": 5} if options.short else {})
        seeds = range(options.seed, options.seed + (1 if options.short else 5))
        origins, past, future, made = ensemble(series, 4, seeds, **settings)
        before = past[-series.season :]
        drift = before + (before - past[-2 * series.season : -series.season]).mean(0)
        guesses = {"network": made, "seasonal naive": before, "with drift": drift, "last value": past[-1:]}
        rows.append((series, len(origins), {name: np.abs(guess - future).mean() for name, guess in guesses.items()}))
        draw(series, origins, made, before, axis)
    figure.savefig("forecasting.png", dpi=100)
    print(f"\nmean absolute error on the held-out fifth\n{'':<18}{'forecasts':>10}", end="")
    print("".join(f"{name:>16}" for name in rows[0][2]))
    for series, count, errors in rows:
        print(f"{series.name:<18}{count:>10}" + "".join(f"{e:>10.2f} {series.unit:<5}" for e in errors.values()))
    print("forecasting.png shows the last four seasons")


if __name__ == "__main__":
    main()
