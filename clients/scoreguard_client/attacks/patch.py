"""Patch: random search for a square patch, Sparse-RS (Croce et al., AAAI 2022, arXiv 2006.12834).

It needs scores only. The patch holds 0 or 1 in each channel of each pixel, and starts as 1000 overlapping squares of
random colours at a random position. Then each query changes one thing, which is kept if the score rises:

- the position, at every `period`-th query: a shift of up to 0.75 (1 - t / queries) of the image's height or width
  along each axis, cut to the image;
- the pattern, at the others: a square of side max(1, floor(sqrt(p) * side)), p falling as in `halvings`, becomes
  0 or 1 in each channel; a square of one pixel takes another colour, and in the second half of the queries with such
  squares one channel of it is flipped.

- paper: 20 x 20 pixels, p_init = 0.4, one position for four patterns.
- benchmark: 13 x 13 pixels, p_init = 0.8, the position at every fourth query. Not repeated from that code: that a
  patch never starts from the last row and column, and the failure if the patch is as large as the image.

A patch hides what it covers and may lower the score: if no query finds a better image than the clean one, which is
scored by the first query, the clean one is returned.

On an image smaller than the patch, the patch shrinks to its shorter side. One that fills the image never moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from scoreguard_client.attacks.base import Companions, Mode, SearchResult
from scoreguard_client.attacks.best import Best, BestSeen
from scoreguard_client.attacks.halvings import halved
from scoreguard_client.attacks.mode_defaults import fill_mode_defaults
from scoreguard_client.attacks.patches import Numbers, Patches
from scoreguard_client.attacks.regions.sparse import SparseRegion
from scoreguard_client.attacks.score_attack import ScoreAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images

_SQUARES: Final = 1000
_SHIFT: Final = 0.75
_CHANNELS: Final = 3


@dataclass(frozen=True, kw_only=True)
class PatchRS(ScoreAttack):
    """Random search over position and pattern; exactly `queries` queries per image."""

    name = "patch-rs"
    title = "Sparse-RS patch"
    paper = "Croce et al., arXiv 2006.12834"
    year = 2022
    on_device = True
    budget = "a square of side x side pixels"

    side: int = 0
    """Side of the patch, in pixels; 0 = the mode's own: 20 in the paper, 13 in the benchmark."""
    p_init: float = 0
    """First share of the patch that one change covers, in (0, 1]; 0 = the mode's own: 0.4 or 0.8."""
    period: int = 0
    """The position changes at every `period`-th query; at least 2; 0 = the mode's own: 5 or 4."""
    mode: Mode = Mode.PAPER
    """Whose values apply."""

    def __post_init__(self) -> None:
        fill_mode_defaults(self, self.mode, side=(20, 13), p_init=(0.4, 0.8), period=(5, 4))
        super().__post_init__()
        self.require(self.side >= 1, f"side must be at least 1, not {self.side}")
        self.require(0 < self.p_init <= 1, f"p_init must be in (0, 1], not {self.p_init:g}")
        self.require(self.period >= 2, f"period must be at least 2, not {self.period}")

    @property
    def pixels(self) -> int:
        """Maximum number of changed pixels: the area of the patch."""
        return self.side**2

    def region(self, clean: Images, companions: Companions) -> SparseRegion:
        """At most as many changed pixels as the patch has."""
        del companions
        return SparseRegion(clean=clean, pixels=self.pixels)

    def run(self, session: Session) -> SearchResult:
        """Search at random."""
        best, walk, size = BestSeen(session), Best(session.clean), session.clean.shape[2:]
        patches = _first(session, min(self.side, *size))
        first = patches.on(session.clean)
        walk.update(first, best.ask(first))
        room = session.put(np.array([size]) - patches.side)
        while session.left:
            done = session.asked - 1  # The clean image's query is not part of the search.
            query = self.queries * done // (done + session.left)
            trials = self._changed(session, patches, query, room)
            images = trials.on(session.clean)
            patches = patches.kept(walk.update(images, best.ask(images)), trials)
        return best.found

    def change(self, query: int, side: int) -> int:
        """Return the side of the square that one change of a pattern covers, in pixels.

        Args:
            query: number of the query, from 0.
            side: of the patch.
        """
        return max(int(math.sqrt(halved(self.p_init, query, self.queries)) * side), 1)

    def one_channel_from(self, side: int) -> int:
        """Return the query from which a change flips one channel of one pixel; `queries` = never."""
        return _one_channel_from(self, side)

    def _changed(self, session: Session, patches: Patches, query: int, room: Numbers) -> Patches:
        size = session.clean.shape[2:]
        reach = np.array([int(_SHIFT * (self.queries - query) / self.queries * length) for length in size])
        if query % self.period == 0 and (reach * (np.array(size) - patches.side)).any():
            shifts = [rng.integers(-reach, reach + 1) for rng in session.rngs]
            return patches.moved(session.put(np.stack(shifts)), room)
        side, change = patches.side, self.change(query, patches.side)
        if change > 1:
            return patches.coloured(*_drawn(session, side - change, _colour), change)
        if query < self.one_channel_from(side):
            return patches.recoloured(*_drawn(session, side - 1, _other_colour))
        return patches.flipped(*_drawn(session, side - 1, _channel))


@cache
def _one_channel_from(attack: PatchRS, side: int) -> int:
    single = next((query for query in range(attack.queries) if attack.change(query, side) == 1), attack.queries)
    return (single + attack.queries) // 2


def _first(session: Session, side: int) -> Patches:
    size = session.clean.shape[2:]
    drawn = [_pattern_and_place(rng, side, size) for rng in session.rngs]
    patterns, places = (np.stack(part) for part in zip(*drawn, strict=True))
    return Patches.of(patterns, places, size, session.put)  # pyright: ignore[reportArgumentType]


def _pattern_and_place(rng: np.random.Generator, side: int, size: tuple[int, ...]) -> tuple[Images, Numbers]:
    pattern = np.zeros((_CHANNELS, side, side), dtype=np.float32)
    largest = max(math.ceil(math.sqrt(side)) - 1, 1)
    for _ in range(_SQUARES):
        width = rng.integers(1, largest + 1)
        top, left = rng.integers(0, side - width + 1, 2)
        pattern[:, top : top + width, left : left + width] = _colour(rng)
    return pattern, rng.integers(0, np.array(size) - side + 1)


def _drawn(session: Session, room: int, draw: Callable[[np.random.Generator], Images]) -> tuple[Numbers, Images]:
    """Draw for each image a corner from 0 to `room`, (N, 2), then what to paint there, (N, 1 or 3, 1, 1)."""
    drawn = [(rng.integers(0, room + 1, 2), draw(rng)) for rng in session.rngs]
    corners, values = (session.put(np.stack(part)) for part in zip(*drawn, strict=True))
    return corners, values


def _colour(rng: np.random.Generator) -> Images:
    return rng.integers(0, 2, (_CHANNELS, 1, 1)).astype(np.float32)


def _other_colour(rng: np.random.Generator) -> Images:
    """Draw the way to one of the seven other colours, with equal probability."""
    return np.full((1, 1, 1), rng.integers(1, 8), dtype=np.float32)


def _channel(rng: np.random.Generator) -> Images:
    channel = np.zeros((_CHANNELS, 1, 1), dtype=np.float32)
    channel[rng.integers(0, _CHANNELS)] = 1
    return channel
