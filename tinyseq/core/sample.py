"""Inputs on which every operation is tested, under every interpreter."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tinyseq.backend import Array
from tinyseq.core.shapes import Shape


class Ints(NamedTuple):
    """An integer input, uniform in `[low, high)`; no gradient is asked of it."""

    shape: Shape
    high: int
    low: int = 0


class Bools(NamedTuple):
    """A boolean input; no gradient is asked of it."""

    shape: Shape


Spec: TypeAlias = Shape | Ints | Bools | list[Any]


@dataclass(frozen=True)
class Sample:
    """One call: a shape (or `Ints`, `Bools`, a literal list) for each input, and the parameters.

    Floating inputs are uniform in `[low, high)`. `apart` keeps their values distinct and away from zero, for
    operations with kinks or ties.
    """

    inputs: tuple[Spec, ...] = ()
    low: float = -1.0
    high: float = 1.0
    params: dict[str, Any] = field(default_factory=dict)
    apart: bool = False

    def arrays(self, seed: int = 0, dtype: Any = np.float64) -> list[Array]:
        """Return new arrays for the inputs."""
        return [self._array(spec, np.random.default_rng([seed, i]), dtype) for i, spec in enumerate(self.inputs)]

    def _array(self, spec: Spec, rng: np.random.Generator, dtype: Any) -> Array:
        if isinstance(spec, Ints):
            return rng.integers(spec.low, spec.high, spec.shape)
        if isinstance(spec, Bools):
            return rng.random(spec.shape) < 0.5
        if isinstance(spec, list):
            return np.array(spec)
        if not self.apart:
            return rng.uniform(self.low, self.high, spec).astype(dtype)
        size = int(np.prod(spec))
        grid = self.low + (self.high - self.low) * (np.arange(size) + 0.5 + 0.2 * rng.random(size)) / max(size, 1)
        return rng.permutation(grid + 0.011).reshape(spec).astype(dtype)
