"""SimBA: coordinate search in an orthonormal basis (Guo et al., ICML 2019, arXiv 1905.07121, algorithm 1).

It takes the directions q of a basis Q in random order, without replacement, and tries x + step * q, then x - step * q;
the first that raises the score is kept. `basis=pixel` (SimBA) uses single channels of single pixels; `basis=dct`
(SimBA-DCT) uses the cosine waves of the whole image whose frequencies are the lowest eighth in height and in width,

    q_{c,u,v}[c, i, j] = a_u cos(pi (2 i + 1) u / 2H) b_v cos(pi (2 j + 1) v / 2W),  of length 1.

The paper bounds only the number of steps: after T of them ||x' - x||_2 <= sqrt(T) step. `eps` also bounds each element:
a trial is cut to the L-infinity ball, and the cut image is carried; eps = 1 is no bound. A trial that the cut leaves
unchanged is not queried. When all directions have been tried, they are tried again in a new order. The public benchmark
has no SimBA, so there is only one mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.base import SearchResult
from scoreguard_client.attacks.best import BestSeen
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.regions.linf import Ball, ball_around
from scoreguard_client.attacks.score_attack import ScoreAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images

_SKIPS: Final = 100
"""Trials in a row that may be skipped because they change nothing."""

Shape = tuple[int, ...]


class Basis(StrEnum):
    """Source of the directions."""

    DCT = "dct"
    """Low frequencies of the discrete cosine transform: SimBA-DCT."""
    PIXEL = "pixel"
    """Single channels of single pixels: SimBA."""


@dataclass(frozen=True, kw_only=True)
class SimBA(ScoreAttack, LInfAttack):
    """One direction at a time, forwards or backwards; exactly `queries` queries per image."""

    # On the host: which trials change nothing and are skipped, one after the other, depends on the last answers.

    name = "simba"
    title = "SimBA"
    paper = "Guo et al., arXiv 1905.07121"
    year = 2019
    budget = "none; L∞ ≤ eps where eps < 1"

    eps: float = 1.0
    """Radius of the L-infinity ball, in units of [0, 1]; 1 = no bound, as in the paper."""
    basis: Basis = Basis.DCT
    """Source of the directions."""
    step: float = 0.2
    """Length of a step in L2, in units of [0, 1]; 0.2 in the paper."""
    frequencies: float = 1 / 8
    """Share of the frequencies along each side that `basis=dct` takes, in (0, 1]; 1/8 in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.step > 0, f"step must be above 0, not {self.step:g}")
        self.require(0 < self.frequencies <= 1, f"frequencies must be in (0, 1], not {self.frequencies:g}")

    def run(self, session: Session) -> SearchResult:
        """Search direction by direction."""
        best, ball = BestSeen(session), ball_around(session.clean, self.eps)
        walks = [_Walk(rng, math.prod(self.sizes(session.clean.shape[1:]))) for rng in session.rngs]
        while session.left:
            trials = np.stack([self._trial(ball, best, walks, index) for index in range(len(walks))])
            before = best.objective.copy()
            for walk, better in zip(walks, best.ask(trials) > before, strict=True):
                walk.turn(better=bool(better))
        return best.found

    def sizes(self, shape: Shape) -> Shape:
        """Number of directions along the channels, the height and the width of an image (3, H, W)."""
        share = self.frequencies if self.basis is Basis.DCT else 1.0
        return (shape[0], *(math.ceil(share * side) for side in shape[1:]))

    def unit(self, index: int, shape: Shape) -> Images:
        """Return one of the directions, as an image (3, H, W) of length 1."""
        channel, row, column = np.unravel_index(index, self.sizes(shape))
        waves = _cosine if self.basis is Basis.DCT else _spike
        direction = np.zeros(shape, dtype=np.float32)
        direction[channel] = np.outer(waves(int(row), shape[1]), waves(int(column), shape[2]))
        return direction

    def _trial(self, ball: Ball, best: BestSeen, walks: list[_Walk], index: int) -> Images:
        image, walk = best.images[index], walks[index]
        for _ in range(_SKIPS):
            moved = image + np.float32(self.step * walk.sign) * self.unit(walk.index, image.shape)
            trial: Images = np.clip(moved, ball.low[index], ball.high[index])
            if not np.array_equal(trial, image):
                break
            walk.turn(better=False)
        return trial  # pyright: ignore[reportPossiblyUnboundVariable]


class _Walk:
    """Progress of one image through its directions."""

    def __init__(self, rng: np.random.Generator, directions: int) -> None:
        self._order = _rounds(rng, directions)
        self.index, self.sign = next(self._order), 1

    def turn(self, *, better: bool) -> None:
        """Try the opposite sign if the first failed, else the next direction."""
        if better or self.sign < 0:
            self.index, self.sign = next(self._order), 1
        else:
            self.sign = -1


def _rounds(rng: np.random.Generator, directions: int) -> Iterator[int]:
    while True:
        yield from rng.permutation(directions).tolist()


def _cosine(frequency: int, length: int) -> npt.NDArray[np.float64]:
    phases = (2 * np.arange(length, dtype=np.float64) + 1) * (np.pi * frequency / (2 * length))
    return np.asarray(math.sqrt((2 if frequency else 1) / length) * np.cos(phases), dtype=np.float64)


def _spike(index: int, length: int) -> npt.NDArray[np.float64]:
    return np.asarray(np.arange(length) == index, dtype=np.float64)
