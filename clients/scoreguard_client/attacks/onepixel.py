"""One pixel: a few pixels found by differential evolution (Su et al., IEEE TEVC 2019, arXiv 1710.08864).

A candidate is (row, column, red, green, blue) for each of `pixels` pixels; a colour is one of 256 levels, and a
position or a level is the integer part of its number. `evolution` describes the variants of the evolution.

- paper: one pixel, 400 candidates, uniform positions, colours from N(128, 127), cut to the borders. The paper runs 100
  generations (40 400 queries); here the search continues until `queries` are used up.
- benchmark: 3 pixels, 300 candidates, and 10 generations = 3300 queries, the first of them about the clean image, so
  the last candidate is left out. Not repeated: that the whole image loses its fraction of a level, and that the clean
  image's neighbour beyond the last row can be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard_client.attacks.base import Companions, Mode, SearchResult
from scoreguard_client.attacks.best import BestSeen
from scoreguard_client.attacks.evolution import SMALLEST, Evolution, Fitness, Members, latin_hypercube
from scoreguard_client.attacks.mode_defaults import fill_mode_defaults
from scoreguard_client.attacks.patches import Grid
from scoreguard_client.attacks.regions.sparse import SparseRegion
from scoreguard_client.attacks.score_attack import ScoreAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import Put, functions, is_host, on_host, unchanged
from scoreguard_client.oracles.base import Images, Scores

_LEVELS: Final = 256
_CHANNELS: Final = 3
_GENES: Final = 5
"""Row, column and three colours."""


@dataclass(frozen=True, kw_only=True)
class OnePixel(ScoreAttack):
    """Differential evolution over positions and colours; exactly `queries` queries per image."""

    name = "onepixel"
    title = "One pixel"
    paper = "Su et al., arXiv 1710.08864"
    year = 2019
    on_device = True
    budget = "changed pixels ≤ pixels"

    queries: int = 0
    """Calls per image; 0 = the mode's own: 10 000 (as all score-based attacks), or the benchmark's 3300."""
    pixels: int = 0
    """Maximum number of changed pixels; 0 = the mode's own: 1 in the paper, 3 in the benchmark."""
    population: int = 0
    """Candidates in a generation, at least 4; 0 = the mode's own: 400 in the paper, 300 in the benchmark."""
    mode: Mode = Mode.PAPER
    """Which variant of the method runs."""

    def __post_init__(self) -> None:
        fill_mode_defaults(self, self.mode, queries=(10_000, 3300), pixels=(1, 3), population=(400, 300))
        super().__post_init__()
        self.require(self.pixels >= 1, f"pixels must be at least 1, not {self.pixels}")
        self.require(self.population >= SMALLEST, f"population must be at least {SMALLEST}, not {self.population}")

    def region(self, clean: Images, companions: Companions) -> SparseRegion:
        """At most `pixels` changed pixels."""
        del companions
        return SparseRegion(clean=clean, pixels=self.pixels)

    def run(self, session: Session) -> SearchResult:
        """Evolve each image's candidates."""
        best, evolutions = BestSeen(session), [self._start(rng, session.clean.shape) for rng in session.rngs]
        trials = [evolution.members for evolution in evolutions]
        while True:
            fitness = _asked(session, best, trials)
            for evolution, candidates, values in zip(evolutions, trials, fitness, strict=True):
                evolution.select(candidates, values)
            if not session.left:
                return best.found
            trials = [evolution.propose() for evolution in evolutions]

    def _start(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Evolution:
        high = np.tile(np.array([*shape[2:], *(_LEVELS,) * 3], dtype=np.float64), self.pixels)
        if self.mode is Mode.BENCHMARK:
            return Evolution(rng, latin_hypercube(rng, self.population, high), high, self.mode)
        colours = rng.normal(128, 127, (self.population, len(high)))
        places = rng.uniform(0, high, (self.population, len(high)))
        is_place = np.arange(len(high)) % _GENES < 2
        return Evolution(rng, np.where(is_place, places, colours), high, self.mode)


def _asked(session: Session, best: BestSeen, trials: Sequence[Members]) -> Fitness:
    """Query the objective of each image's candidates, (N, P); minus infinity if no query is left for one.

    The evolution goes on from it on the host: one copy from a device for each generation.
    """
    answers: list[Scores] = []
    for index in range(len(trials[0])):
        if not session.left:
            break
        answers.append(best.ask(painted(session.clean, [candidates[index] for candidates in trials], session.put)))
    fitness = np.full((len(trials), len(trials[0])), -np.inf)
    if answers:
        fitness[:, : len(answers)] = on_host(functions(answers[0]).stack(answers)).T
    return fitness


def painted(clean: Images, candidates: Sequence[Members], put: Put = unchanged) -> Images:
    """Copy the clean images, each with the pixels of its candidate; the last of several at one place counts."""
    genes = np.stack(candidates).reshape(len(clean), -1, _GENES)
    tops = np.array([*clean.shape[2:], *(_LEVELS,) * 3]) - 1
    whole = np.minimum(genes.astype(np.int64), tops)
    colours = (whole[:, :, 2:] / (_LEVELS - 1)).astype(np.float32)
    if is_host(clean):
        images = clean.copy()
        for image, pixels, own in zip(images, whole, colours, strict=True):
            rows, columns = pixels[:, :2].T
            image[:, rows, columns] = own.T
        return images
    images, grid = clean, Grid.of(clean.shape[2], clean.shape[3], put)
    for pixels, own in zip(put(whole[:, :, :2]).swapaxes(0, 1), put(colours).swapaxes(0, 1), strict=True):
        inside = grid.window(pixels, 1)[2]
        images = functions(images).where(inside, own.reshape(-1, _CHANNELS, 1, 1), images)
    return images
