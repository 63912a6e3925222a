"""Square Attack: random search with squares (Andriushchenko et al., ECCV 2020, arXiv 1912.00049, algorithms 1 and 2).

It needs scores only and starts from vertical stripes one pixel wide, each channel of each stripe at +eps or -eps. Then,
for every query, one square of side round(sqrt(p * H * W)) is set to +eps or -eps in each channel, and kept if the score
rises. p starts at p_init and halves at 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10 000 queries, and the
schedule scales with the number of queries (section 3.2).

Not repeated from the public benchmark's code: squares limited to the top left 256 x 256 pixels, failure on smaller
images, no seed, one image at a time. That code also has no stripes and starts from the clean image:
`mode=benchmark` does that, with everything else as in the paper.

The initial stripes lower the score, and on many metrics a few hundred squares do not recover the loss. Either mode
therefore returns the clean image if the search found nothing better; its score is the first of the queries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard_client.attacks.base import Mode, SearchResult
from scoreguard_client.attacks.best import Best, BestSeen
from scoreguard_client.attacks.halvings import halved
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.regions.linf import Ball, ball_around
from scoreguard_client.attacks.score_attack import ScoreAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images

_REDRAWS: Final = 10
_CHANNELS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Square(ScoreAttack, LInfAttack):
    """Random search with squares; exactly `queries` queries per image."""

    # On the host: how many numbers a square draws depends on what the last answers left in its place.

    name = "square"
    title = "Square"
    paper = "Andriushchenko et al., arXiv 1912.00049"
    year = 2020

    eps: float = 0.1
    """Radius of the L-infinity ball, in units of [0, 1]; 0.1 is the benchmark's choice (arXiv 2408.01541)."""
    p_init: float = 0.05
    """First share of the image that a square covers; the paper takes 0.05 on ImageNet, 0.8 on MNIST and CIFAR-10."""
    mode: Mode = Mode.PAPER
    """`paper` starts from stripes, `benchmark` from the clean image."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.p_init <= 1, f"p_init must be in (0, 1], not {self.p_init:g}")

    def run(self, session: Session) -> SearchResult:
        """Search at random."""
        ball = ball_around(session.clean, self.eps)
        best = BestSeen(session)
        walk: Best = BestSeen(session)
        if self.mode is Mode.PAPER:
            # The search continues from the stripes, as published, even if the clean image is better.
            walk = Best(_stripes(session, ball))
            walk.update(walk.images, best.ask(walk.images))
        while session.left:
            done = session.asked - 1  # The clean image's query is not part of the search.
            side = self.side(self.queries * done // (done + session.left), *session.clean.shape[2:])
            candidate = _with_squares(session, ball, walk.images, side)
            walk.update(candidate, best.ask(candidate))
        return best.found

    def side(self, query: int, height: int, width: int) -> int:
        """Return the side of the square for a query, in pixels; between 1 and the shorter side of the image."""
        share = halved(self.p_init, query, self.queries)
        return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _stripes(session: Session, ball: Ball) -> Images:
    width = session.clean.shape[3]
    signs = np.stack([rng.integers(0, 2, (_CHANNELS, 1, width), dtype=np.int8) for rng in session.rngs])
    return np.where(signs == 1, ball.high, ball.low)


def _with_squares(session: Session, ball: Ball, best: Images, side: int) -> Images:
    candidate = best.copy()
    for index, rng in enumerate(session.rngs):
        _set_square(rng, ball, index, candidate[index], side)
    return candidate


def _set_square(rng: np.random.Generator, ball: Ball, index: int, image: Images, side: int) -> None:
    _, height, width = image.shape
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    window = (slice(None), slice(top, top + side), slice(left, left + side))
    # A square that changes nothing would waste a query: draw its signs again, as the authors' code does.
    for _ in range(_REDRAWS):
        up = rng.integers(0, 2, (_CHANNELS, 1, 1), dtype=np.int8) == 1
        values = np.where(up, ball.high[index][window], ball.low[index][window])
        if not np.array_equal(values, image[window]):
            break
    image[window] = values  # pyright: ignore[reportPossiblyUnboundVariable]
