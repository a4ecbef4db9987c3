"""Forecasting: weekly CO2 and yearly sunspots, a whole season ahead, from the values before.

A GRU reads the past; a second one starts from its state, and reads what was one season earlier at each step to come.
The last fifth of each series is held out; the fifth before it says when to stop; the forecast is the mean of five
networks. To beat: the seasonal naive forecast, which repeats the season before. R. J. Hyndman, G. Athanasopoulos,
"Forecasting: principles and practice", 5.2.

Run: python examples/forecasting.py [--short]
"""

import argparse
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from tqdm import trange

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.data import sources
from tinyseq.nn import functional as F


@dataclass
class Series:
    """A series of values (N,), how long its season is, how much of the past a forecast sees, and how it is scaled.

    With a `trend` the network sees differences from the last value known, and foretells differences from the season
    before. Without, it sees square roots, which makes the spread of counts even, with a little noise in training.
    """

    name: str
    years: np.ndarray
    values: np.ndarray
    unit: str
    season: int
    past: int
    trend: bool
    updates: int

    @property
    def cuts(self):
        """Where the parts begin and end that are for training, for validation, and held out."""
        fifth = len(self.values) // 5
        return self.past, len(self.values) - 2 * fifth, len(self.values) - fifth, len(self.values)

    def origins(self, part):
        """Return the times at which forecasts are made, all that they foretell being in part 0, 1 or 2."""
        return np.arange(self.cuts[part], self.cuts[part + 1] - self.season + 1)

    def windows(self, origins):
        """Return the past (past, B) and the season to come (season, B) of each origin."""
        past = self.values[origins + np.arange(-self.past, 0)[:, None]]
        return past, self.values[origins + np.arange(self.season)[:, None]]


class Forecaster(nn.Module):
    """Reads the past, and foretells the season to come."""

    def __init__(self, trend, hidden_size=24):
        super().__init__()
        self.trend = trend
        self.reader = nn.Recurrent(nn.GRUCell(1, hidden_size))
        self.writer = nn.Recurrent(nn.GRUCell(1, hidden_size))
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, past, season):
        """Return the forecast (season, B, 1), from the past (past, B, 1) and the season before (season, B, 1)."""
        _, state = self.reader(past)
        output, _ = self.writer(season, state)
        return season + self.head(output) if self.trend else self.head(output)


class Scale:
    """Values as the network sees them (T, B, 1), and back (T, B)."""

    def __init__(self, series, past):
        known = series.values[: series.cuts[1]]
        self.trend, known = series.trend, known if series.trend else np.sqrt(known)
        self.spread, self.level = known.std(), past[-1] if series.trend else known.mean()

    def there(self, values):
        """Return what the network sees."""
        values = values if self.trend else np.sqrt(values)
        return ((values - self.level) / self.spread).astype(np.float32)[:, :, None]

    def back(self, tensor):
        """Return what the network means."""
        values = tensor.numpy()[:, :, 0] * self.spread + self.level
        return values if self.trend else np.maximum(values, 0) ** 2


def forecasts(series, model, past):
    """Return the network's forecasts (season, B) in the series' unit."""
    with ts.no_grad():
        scale = Scale(series, past)
        x = ts.tensor(scale.there(past))
        return scale.back(model(x, x[-series.season :]))


def error_on(series, model, part):
    """Return the mean absolute error of the network on part 1 or 2."""
    past, future = series.windows(series.origins(part))
    return np.abs(forecasts(series, model, past) - future).mean()


def train(series, updates, seed):
    """Return a network trained on the first three fifths, as it was when it was best on the fourth."""
    ts.manual_seed(seed)
    model = Forecaster(series.trend)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    origins, rng = series.origins(0), np.random.default_rng(seed)

    @ts.compile
    def step(past, target):
        optimizer.zero_grad()
        loss = F.l1_loss(model(past, past[-series.season :]), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    best, kept = np.inf, None
    with trange(updates, desc=series.name, disable=None) as bar:
        for k in bar:
            past, future = series.windows(rng.choice(origins, 32))
            scale = Scale(series, past)
            x = scale.there(past)
            if not series.trend:
                x += 0.1 * rng.standard_normal(x.shape, np.float32)
            step(ts.tensor(x), ts.tensor(scale.there(future)))
            if (k + 1) % 50 == 0 or k + 1 == updates:
                error = error_on(series, model, 1)
                if error < best:
                    best, kept = error, {name: value.clone() for name, value in model.state_dict().items()}
            bar.set_postfix(validation=f"{best:.2f} {series.unit}")
    model.load_state_dict(kept)
    return model


def main():
    """Train on both series, print mean absolute errors, and draw the forecasts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few updates: it runs, but learns little")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    both = (
        Series("CO2, weekly", *sources.weekly_co2(), "ppm", season=52, past=104, trend=True, updates=1000),
        Series("sunspots, yearly", *sources.yearly_sunspots(), "spots", season=11, past=33, trend=False, updates=300),
    )
    figure, axes = plt.subplots(len(both), 1, figsize=(10, 7), layout="constrained")
    rows = []
    for series, axis in zip(both, axes, strict=True):
        updates, networks = (5, 1) if options.short else (series.updates, 5)
        models = [train(series, updates, seed) for seed in range(options.seed, options.seed + networks)]
        origins = series.origins(2)
        past, future = series.windows(origins)
        before = past[-series.season :]
        drift = before + (past[-series.season :] - past[-2 * series.season : -series.season]).mean(0)
        last = np.broadcast_to(past[-1], future.shape)
        network = np.mean([forecasts(series, model, past) for model in models], 0)
        made = {"network": network, "seasonal naive": before, "with drift": drift, "last value": last}
        errors = {name: np.abs(guess - future).mean() for name, guess in made.items()}
        rows.append((series, len(origins), errors))
        axis.plot(
            series.years[-5 * series.season :], series.values[-5 * series.season :], color="0.6", label="measured"
        )
        for k, start in enumerate(range(len(series.values) - 4 * series.season, len(series.values), series.season)):
            if start >= origins[0]:
                when = series.years[start : start + series.season]
                axis.plot(when, made["network"][:, start - origins[0]], "C0", label=None if k else "forecast")
                axis.plot(when, before[:, start - origins[0]], "C1:", label=None if k else "seasonal naive")
        axis.set(title=f"{series.name}: forecasts of a whole season ahead", ylabel=series.unit)
        axis.legend()
    figure.savefig("forecasting.png", dpi=100)
    print(f"\nmean absolute error on the held-out fifth\n{'':<18}{'forecasts':>10}", end="")
    print("".join(f"{name:>16}" for name in rows[0][2]))
    for series, count, errors in rows:
        print(f"{series.name:<18}{count:>10}" + "".join(f"{e:>10.2f} {series.unit:<5}" for e in errors.values()))
    print("forecasting.png shows the last four seasons")


if __name__ == "__main__":
    main()
