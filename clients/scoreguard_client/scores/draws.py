"""Resamples of a bootstrap that anybody can repeat: in NumPy, in a browser, or by hand for one of them.

The i-th image that resample b draws is number

    floor(h · count / 2³²),  h = MurmurHash3 (x86, 32 bits) of b and i, each as four bytes, lowest first

with the seed of the resampling as the hash's seed (Appleby, "MurmurHash3", 2011, in the public domain). A generator
with a state, such as NumPy's, would do as well for the statistics, but its draws cannot be had without its code, and a
report is to be recomputed by whoever reads it. A draw needs 32-bit multiplications only and depends on no other one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.scores.scaling import Values

Words = npt.NDArray[np.uint32]

SEED: Final = 0
"""Seed of the intervals of a report."""
_HELD: Final = 100_000
"""Draws made at once: more leave the processor's cache."""
_BYTES: Final = 8
"""Length of the hashed text."""


def draws(count: int, resamples: int, seed: int = SEED) -> Values:
    """Draw `count` of `count` images with replacement, again and again.

    Args:
        count: number of images, from 1 on.
        resamples: number of resamples.
        seed: of the resampling; its lowest 32 bits count.

    Returns:
        How often each image is in each resample: (resamples, count); each line adds up to `count`.
    """
    drawn, columns = np.empty((resamples, count)), np.arange(count, dtype=np.uint32)
    lines = max(1, _HELD // count)
    for start in range(0, resamples, lines):
        numbers = np.arange(start, min(start + lines, resamples), dtype=np.uint32)
        mixed = hashed(seed, numbers[:, None], columns[None, :]).astype(np.uint64)
        images = (mixed * np.uint64(count) >> np.uint64(32)).astype(np.intp)
        images += np.arange(len(numbers))[:, None] * count
        drawn[start : start + lines] = np.bincount(images.ravel(), minlength=images.size).reshape(images.shape)
    return drawn


def hashed(seed: int, first: Words, second: Words) -> Words:
    """Compute MurmurHash3 (x86, 32 bits) of two words each; the shapes of both are broadcast."""
    state = np.full((1,) * np.ndim(first), seed & 0xFFFF_FFFF, dtype=np.uint32)
    for word in (first, second):
        part = _rotated(word * np.uint32(0xCC9E_2D51), 15) * np.uint32(0x1B87_3593)
        state = _rotated(state ^ part, 13) * np.uint32(5) + np.uint32(0xE654_6B64)
    state ^= np.uint32(_BYTES)
    for shift, factor in ((16, 0x85EB_CA6B), (13, 0xC2B2_AE35)):
        state ^= state >> np.uint32(shift)
        state *= np.uint32(factor)
    return np.asarray(state ^ (state >> np.uint32(16)))


def _rotated(words: Words, bits: int) -> Words:
    return np.asarray((words << np.uint32(bits)) | (words >> np.uint32(32 - bits)))
