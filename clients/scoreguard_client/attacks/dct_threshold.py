"""Threshold attack: pushes the numbers that a defence rounds over their rounding thresholds.

Straight-through rounding gives a gradient that says in which direction each number should move, but not how far:
rounding undoes a change that stays below the threshold, as many small ones in a block of a JPEG do. Here the gradient's
direction is kept, and the budget is spent on what can pass:

    d_t = nu * d_{t-1} + grad Q(x_t) / ||grad Q(x_t)||_1
    v_t = argmax over the changes v of the budget: <d_t, steps that the rounded numbers of x + v have passed>
    x_{t+1} = x + v_t in a random part of the cells, x_t in the others; the part falls from all to one in twenty

The argmax is taken cell by cell (`thresholds`): for `jpeg` a cell is one minimum coded unit, and the numbers are the
coefficients of luminance and chrominance; for `quantise` a cell is a pixel. All images are on the 8-bit grid, and the
best one seen is returned. It needs a chain whose first step is `jpeg` or `quantise`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard.chain.jpeg import repeated
from scoreguard.chain.rounding import JPEG, codec_of, intervals_of, rounds
from scoreguard.v1.codec import TOP
from scoreguard.v1.spec import Step
from scoreguard_client.attacks.best import Best
from scoreguard_client.attacks.directions import unit_l1
from scoreguard_client.attacks.random_starts import RandomStarts
from scoreguard_client.attacks.session import Session
from scoreguard_client.attacks.thresholds.base import Room, Thresholds
from scoreguard_client.attacks.thresholds.jpeg import JpegThresholds
from scoreguard_client.attacks.thresholds.quantise import QuantiseThresholds
from scoreguard_client.oracles.base import Images

_TOP: Final = np.float32(TOP)
_LEAST: Final = 0.05
"""Share of the cells that the last step moves."""


@dataclass(frozen=True, kw_only=True)
class DCTThreshold(RandomStarts):
    """Pushes numbers over rounding thresholds; for chains that begin with `jpeg` or `quantise`."""

    name = "dct-threshold"
    title = "DCT threshold"
    paper = "ours; after Shin and Song, JPEG-resistant adversarial images (2017)"
    year = 2026
    wants = "a chain whose first step is jpeg or quantise"

    iterations: int = 40
    """Steps of each restart."""
    restarts: int = 1
    """Runs with different random parts; all begin at the clean image."""
    nu: float = 0.8
    """Share of the last direction that is kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.nu >= 0, f"nu must be at least 0, not {self.nu:g}")

    @classmethod
    def fits(cls, chain: Sequence[Step]) -> bool:
        """Whether the first step rounds."""
        return bool(chain) and rounds(chain[0])

    def climb(self, session: Session) -> Best:
        """Push from the clean image."""
        walk, best = _Walk(session), Best(session.clean)
        direction = np.zeros_like(session.clean)
        for step in range(self.iterations):
            objective, gradient = session.value_and_gradient(walk.images)
            best.update(walk.images, objective)
            direction = np.float32(self.nu) * direction + unit_l1(gradient)
            walk.push(direction, _LEAST + (1 - _LEAST) * (1 + math.cos(math.pi * step / self.iterations)) / 2)
        best.update(walk.images, session.objective(walk.images))
        return best


class _Walk:
    """Current images of a batch."""

    def __init__(self, session: Session) -> None:
        self._session = session
        region, first = session.region, session.oracle.facts.chain[0]
        clean = region.quantise(session.clean)
        low, high = (region.quantise(region.clip(np.full_like(session.clean, end))) for end in (0, 1))
        signed = clean.astype(np.float32)
        rooms = (
            Room(levels=levels, low=down - centre, high=up - centre)
            for levels, centre, down, up in zip(clean, signed, low, high, strict=True)
        )
        self._clean, self._thresholds = signed, [thresholds_of(first, room) for room in rooms]
        self._changes = np.zeros_like(signed)

    @property
    def images(self) -> Images:
        """The images, on the 8-bit grid and inside the budget."""
        return self._session.region.clip((self._clean + self._changes) / _TOP)

    def push(self, direction: Images, share: float) -> None:
        """Take the best pushes in a random share of the cells of each image."""
        for index, (thresholds, rng) in enumerate(zip(self._thresholds, self._session.rngs, strict=True)):
            height, width = direction.shape[2:]
            cells = rng.random((-(-height // thresholds.cell), -(-width // thresholds.cell))) < share
            moved = repeated(cells, thresholds.cell)[:height, :width]
            self._changes[index] = np.where(moved, thresholds.pushed(direction[index]), self._changes[index])


def thresholds_of(step: Step, room: Room) -> Thresholds:
    """Return the thresholds of one image before a step that rounds."""
    if step.name == JPEG:
        return JpegThresholds(codec_of(step), room)
    return QuantiseThresholds(intervals_of(step), room)
