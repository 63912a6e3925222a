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

from scoreguard.chain.rounding import JPEG, codec_of, intervals_of, rounds
from scoreguard.v1.codec import TOP
from scoreguard.v1.spec import Step
from scoreguard_client.attacks.adam_steps import parts
from scoreguard_client.attacks.best import Best
from scoreguard_client.attacks.directions import unit_l1
from scoreguard_client.attacks.random_starts import RandomStarts
from scoreguard_client.attacks.regions.linf import Ball, ball_around
from scoreguard_client.attacks.session import Session
from scoreguard_client.attacks.thresholds.base import Changes, Room, Thresholds
from scoreguard_client.attacks.thresholds.jpeg import JpegThresholds
from scoreguard_client.attacks.thresholds.quantise import QuantiseThresholds
from scoreguard_client.attacks.thresholds.transform import repeated
from scoreguard_client.oracles.arrays import Put, functions, is_host, on_host
from scoreguard_client.oracles.base import Images

_LEAST: Final = 0.05
"""Share of the cells that the last step moves."""


@dataclass(frozen=True, kw_only=True)
class DCTThreshold(RandomStarts):
    """Pushes numbers over rounding thresholds; for chains that begin with `jpeg` or `quantise`."""

    name = "dct-threshold"
    title = "DCT threshold"
    paper = "ours; after Shin and Song, JPEG-resistant adversarial images (2017)"
    year = 2026
    on_device = True
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
        walk, best = _Walk(session, self.eps), Best(session.clean)
        direction = 0 * session.clean
        for step in range(self.iterations):
            objective, gradient = session.value_and_gradient(walk.images)
            best.update(walk.images, objective)
            direction = float(np.float32(self.nu)) * direction + unit_l1(gradient)
            walk.push(direction, _LEAST + (1 - _LEAST) * (1 + math.cos(math.pi * step / self.iterations)) / 2)
        best.update(walk.images, session.objective(walk.images))
        return best


class _Walk:
    """Current images of a batch; on the host each has thresholds of its own, on a device the batch has them."""

    def __init__(self, session: Session, eps: float) -> None:
        self._session, self._library = session, functions(session.clean)
        ball = ball_around(on_host(session.clean), eps)
        levels, lowest, highest = (_levels(ball, images) for images in (ball.clean, ball.low, ball.high))
        self._clean, low, high = (session.put(images) for images in (levels, lowest - levels, highest - levels))
        self._changes = 0 * self._clean
        first, rooms = session.oracle.facts.chain[0], zip(parts(self._clean), parts(low), parts(high), strict=True)
        self._thresholds = [
            thresholds_of(first, Room(levels=levels, low=down, high=up), session.put) for levels, down, up in rooms
        ]
        # A number would do on the host; a device multiplies by its reciprocal, which leaves the 8-bit grid.
        self._top = session.put(np.full((1, 1, 1, 1), TOP, dtype=np.float32))

    @property
    def images(self) -> Images:
        """The images, on the 8-bit grid and inside the budget."""
        return self._session.region.clip((self._clean + self._changes) / self._top)

    def push(self, direction: Images, share: float) -> None:
        """Take the best pushes in a random share of the cells of each image."""
        height, width = direction.shape[2:]
        cell = self._thresholds[0].cell
        size = -(-height // cell), -(-width // cell)
        cells = self._session.put(np.stack([rng.random(size) < share for rng in self._session.rngs]).astype(np.float32))
        moved = repeated(cells, cell)[:, None, :height, :width] > 0
        owners = zip(self._thresholds, parts(direction), strict=True)
        pushed = _joined([thresholds.pushed(own) for thresholds, own in owners])
        self._changes = self._library.where(moved, pushed, self._changes)


def thresholds_of(step: Step, room: Room, put: Put) -> Thresholds:
    """Return the thresholds of images before a step that rounds."""
    if step.name == JPEG:
        return JpegThresholds(codec_of(step), room, put)
    return QuantiseThresholds(intervals_of(step), room)


def _levels(ball: Ball, images: Images) -> Images:
    return ball.quantise(images).astype(np.float32)


def _joined(changes: list[Changes]) -> Changes:
    """Join what `parts` has split."""
    return np.concatenate(changes) if is_host(changes[0]) else changes[0]
