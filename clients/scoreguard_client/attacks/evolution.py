"""Differential evolution of one image's candidates (Storn and Price 1997), one generation at a time.

scipy's `differential_evolution` owns its loop and evaluates one image; here the images of a batch must be queried
together, candidate by candidate, each with its own random numbers. So the generation is the unit: `propose` gives a
trial for each member, and `select` keeps it if it beats the member in its place.

- paper (Su et al. 2017): trial = x_r1 + F (x_r2 - x_r3) with F = 0.5 and r1, r2, r3 distinct; no crossover.
- benchmark: what scipy's defaults do with recombination=1 and vectorized=True: trial = x_best + F (x_r1 - x_r2), F
  drawn from [0.5, 1) anew for each generation, a start on a Latin hypercube, values outside the box redrawn inside it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.base import Mode

SMALLEST: Final = 4
"""Fewest members of a population: each trial is made of three others."""

Members = npt.NDArray[np.float64]
"""Candidates, one per row: (P, D)."""
Fitness = npt.NDArray[np.float64]
"""The value to raise, one for each candidate: (P,)."""

_FACTOR: Final = 0.5


class Evolution:
    """A population in the box from 0 to `high`."""

    def __init__(self, rng: np.random.Generator, members: Members, high: Members, mode: Mode) -> None:
        """Start a population.

        Args:
            rng: of this image.
            members: the first generation, (P, D), P at least `SMALLEST`.
            high: upper border, (D,).
            mode: which variant runs.
        """
        self.members = np.clip(members, 0, high)
        """The generation, (P, D)."""
        self.fitness: Fitness = np.full(len(members), -np.inf)
        """Its fitness as passed to `select`; minus infinity before."""
        self._rng, self._high, self._mode = rng, high, mode

    def propose(self) -> Members:
        """Make a trial for each member, inside the box."""
        if self._mode is Mode.PAPER:
            first, second, third = self._others(3)
            return np.clip(first + _FACTOR * (second - third), 0, self._high)
        first, second = self._others(2)
        factor = self._rng.uniform(_FACTOR, 1)
        trials = self.members[np.argmax(self.fitness)] + factor * (first - second)
        fresh = self._rng.uniform(0, self._high, trials.shape)
        return np.where((trials < 0) | (trials > self._high), fresh, trials)

    def select(self, trials: Members, fitness: Fitness) -> None:
        """Keep each trial that beats the member in its place."""
        better = fitness > self.fitness
        self.members[better], self.fitness[better] = trials[better], fitness[better]

    def _others(self, count: int) -> list[Members]:
        """Draw `count` arrays of members; in each row they are distinct, and none is the member of that row."""
        size = len(self.members)
        ahead = np.argsort(self._rng.random((size, size - 1)), axis=1)[:, :count] + 1
        return [self.members[(np.arange(size) + step) % size] for step in ahead.T]


def latin_hypercube(rng: np.random.Generator, size: int, high: Members) -> Members:
    """Draw members so that each dimension has one in each of `size` equal slices of 0 to `high`."""
    slices = rng.permuted(np.tile(np.arange(size), (len(high), 1)), axis=1).T
    return (slices + rng.random(slices.shape)) / size * high
