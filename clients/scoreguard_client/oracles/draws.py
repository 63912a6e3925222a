"""How many draws of a random defence a gradient needs, from how far single draws lie apart.

The gradient of one draw is the wanted mean plus noise. From `PROBES` single draws at an image,

    noise^2 = sum_i ||g_i - mean g||^2 / (PROBES - 1),   signal^2 = ||mean g||^2 - noise^2 / PROBES
    draws   = noise^2 / (signal^2 * tolerance^2), rounded up and kept between 1 and `most`

so that the mean over these draws has a standard error of at most `tolerance` times the length of the true mean. The
number is each image's own. It is taken at the images given, which for an attack are the clean ones: the spread may
change on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard_client.oracles.base import CallCounter, DrawingOracle, Gradients, Images

AUTO: Final = 0
"""What a plan writes in place of a number of draws that the spread decides."""
PROBES: Final = 8
"""Single draws that the spread is measured on."""
MOST: Final = 32
"""Most draws that are asked for: where the signal drowns, more draws cost more than they bring."""
TOLERANCE: Final = 0.5
"""Standard error of a mean gradient beside its own length."""


@dataclass(frozen=True, kw_only=True)
class Needed:
    """How many draws each image needs, and what it cost to know."""

    draws: tuple[int, ...]
    """Draws a question, for each image."""
    calls: tuple[int, ...]
    """Calls that were spent on each image."""


def draws_needed(
    oracle: DrawingOracle, images: Images, *, tolerance: float = TOLERANCE, most: int = MOST, probes: int = PROBES
) -> Needed:
    """The number of draws of each image; 1 without a call where nothing is random.

    Args:
        oracle: who is asked; `oracle.with_draws(result.draws)` is what to go on with.
        images: where the spread is measured, (N, 3, H, W).
        tolerance: standard error that the mean gradient may have, as a share of its length.
        most: most draws.
        probes: single draws to measure on, at least 2.

    Raises:
        ScoreguardError: the oracle failed.
    """
    if not oracle.facts.random:
        return Needed(draws=(1,) * len(images), calls=(0,) * len(images))
    single, calls, drawn = oracle.with_draws(1), np.zeros(len(images), dtype=np.int64), []
    for _ in range(probes):
        drawn.append(single.gradient(images)[1])
        calls += single.last_calls if isinstance(single, CallCounter) else 1
    draws = [
        _needed(np.stack([gradients[index] for gradients in drawn]), tolerance, most) for index in range(len(images))
    ]
    return Needed(draws=tuple(draws), calls=tuple(calls.tolist()))


def _needed(gradients: Gradients, tolerance: float, most: int) -> int:
    exact = gradients.reshape(len(gradients), -1).astype(np.float64)
    mean = exact.mean(axis=0)
    noise = float(((exact - mean) ** 2).sum() / (len(exact) - 1))
    signal = float((mean**2).sum() - noise / len(exact))
    if signal <= 0:
        return most if noise > 0 else 1
    return int(np.clip(np.ceil(noise / (signal * tolerance**2)), 1, most))
