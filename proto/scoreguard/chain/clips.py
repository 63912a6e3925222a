"""Rules of clips that server and client share: which frames are scored, and the seed of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard.v1.scoring_pb2 import CLIP_DRAW_EACH_FRAME, ClipDraw, FrameSampling

_PLACE: Final = 0xC11B
"""Second half of the key of all seeds of frames: steps of a chain, from 0, and noisy copies have others."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The frames of a clip that are scored: 0, every, 2 · every, … up to `limit` of them."""

    every: int = 1
    """Step from one to the next, at least 1."""
    limit: int = 0
    """Most frames; 0 = all."""

    @classmethod
    def of(cls, message: FrameSampling) -> Sampling:
        """Read the wire form."""
        return cls(every=max(message.every, 1), limit=message.limit)

    def takes(self, index: int) -> bool:
        """Whether the frame at this place, from 0, is scored, unless the limit is reached before."""
        return index % self.every == 0

    def ends_after(self, index: int) -> bool:
        """Whether no frame behind this place is scored."""
        return self.limit > 0 and index >= (self.limit - 1) * self.every


def frame_seed(seed: int, index: int, draw: ClipDraw.ValueType) -> int:
    """Return the seed of a frame.

    Args:
        seed: of the clip, 0 ≤ seed < 2⁶⁴.
        index: place of the frame in the clip, from 0, whichever frames are scored.
        draw: how often random defences draw.
    """
    if draw != CLIP_DRAW_EACH_FRAME:
        return seed
    key, counter = np.array([seed, _PLACE], np.uint64), np.array([0, 0, 0, index], np.uint64)
    return int(np.random.Philox(key=key, counter=counter).random_raw())
