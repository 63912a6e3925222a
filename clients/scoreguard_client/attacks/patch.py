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
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.base import Companions, Mode, SearchResult
from scoreguard_client.attacks.best import Best, BestSeen
from scoreguard_client.attacks.halvings import halved
from scoreguard_client.attacks.mode_defaults import fill_mode_defaults
from scoreguard_client.attacks.regions.sparse import SparseRegion
from scoreguard_client.attacks.score_attack import ScoreAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images

_SQUARES: Final = 1000
_SHIFT: Final = 0.75
_CHANNELS: Final = 3

Place = npt.NDArray[np.int64]
"""Row and column of the upper left pixel: (2,)."""


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A pattern somewhere in an image."""

    pattern: Images
    """(3, s, s), 0 or 1."""
    place: Place
    """Its position."""

    def on(self, image: Images) -> Images:
        """Copy an image (3, H, W) and put the patch on it."""
        patched, (top, left), side = image.copy(), self.place, self.pattern.shape[1]
        patched[:, top : top + side, left : left + side] = self.pattern
        return patched


@dataclass(frozen=True, kw_only=True)
class PatchRS(ScoreAttack):
    """Random search over position and pattern; exactly `queries` queries per image."""

    name = "patch-rs"
    title = "Sparse-RS patch"
    paper = "Croce et al., arXiv 2006.12834"
    year = 2022
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
        patches = [_first(rng, min(self.side, *size), size) for rng in session.rngs]
        first = _laid(patches, session.clean)
        walk.update(first, best.ask(first))
        while session.left:
            done = session.asked - 1  # The clean image's query is not part of the search.
            query = self.queries * done // (done + session.left)
            trials = [self._changed(rng, patch, query, size) for rng, patch in zip(session.rngs, patches, strict=True)]
            images = _laid(trials, session.clean)
            better = walk.update(images, best.ask(images))
            patches = [new if kept else old for new, old, kept in zip(trials, patches, better, strict=True)]
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

    def _changed(self, rng: np.random.Generator, patch: Patch, query: int, size: tuple[int, ...]) -> Patch:
        side, share = patch.pattern.shape[1], _SHIFT * (self.queries - query) / self.queries
        reach = np.array([int(share * length) for length in size])
        room = np.array(size) - side
        if query % self.period == 0 and (reach * room).any():
            return replace(patch, place=np.clip(patch.place + rng.integers(-reach, reach + 1), 0, room))
        pattern = patch.pattern.copy()
        self._repaint(rng, pattern, query)
        return replace(patch, pattern=pattern)

    def _repaint(self, rng: np.random.Generator, pattern: Images, query: int) -> None:
        side = pattern.shape[1]
        change = self.change(query, side)
        top, left = rng.integers(0, side - change + 1, 2)
        window = pattern[:, top : top + change, left : left + change]
        if change > 1:
            window[:] = _colour(rng)
        elif query < self.one_channel_from(side):
            window[:] = _other_colour(rng, window)
        else:
            channel = rng.integers(0, _CHANNELS)
            window[channel] = 1 - window[channel]


@cache
def _one_channel_from(attack: PatchRS, side: int) -> int:
    single = next((query for query in range(attack.queries) if attack.change(query, side) == 1), attack.queries)
    return (single + attack.queries) // 2


def _first(rng: np.random.Generator, side: int, size: tuple[int, ...]) -> Patch:
    pattern = np.zeros((_CHANNELS, side, side), dtype=np.float32)
    largest = max(math.ceil(math.sqrt(side)) - 1, 1)
    for _ in range(_SQUARES):
        width = rng.integers(1, largest + 1)
        top, left = rng.integers(0, side - width + 1, 2)
        pattern[:, top : top + width, left : left + width] = _colour(rng)
    return Patch(pattern=pattern, place=rng.integers(0, np.array(size) - side + 1))


def _colour(rng: np.random.Generator) -> Images:
    return rng.integers(0, 2, (_CHANNELS, 1, 1)).astype(np.float32)


def _other_colour(rng: np.random.Generator, old: Images) -> Images:
    """Draw one of the seven other colours, with equal probability."""
    bits = int((old.ravel() * (1, 2, 4)).sum())
    other = (bits + rng.integers(1, 8)) % 8
    return (other >> np.arange(_CHANNELS) & 1).reshape(_CHANNELS, 1, 1).astype(np.float32)


def _laid(patches: list[Patch], clean: Images) -> Images:
    return np.stack([patch.on(image) for patch, image in zip(patches, clean, strict=True)])
