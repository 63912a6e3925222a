"""The number of draws of a random defence that a gradient needs, from the spread of single draws.

The gradient of one draw is the wanted mean plus noise. From `PROBES` single draws at an image,

    noise^2 = sum_i ||g_i - mean g||^2 / (PROBES - 1),   signal^2 = ||mean g||^2 - noise^2 / PROBES
    draws   = noise^2 / (signal^2 * tolerance^2), rounded up and kept between 1 and `most`

so that the mean over these draws has a standard error of at most `tolerance` times the length of the true mean. Each
image has its own number. It is measured at the images given, which for an attack are the clean ones; the spread may
change during the attack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard_client.oracles.arrays import on_host
from scoreguard_client.oracles.base import CallCounter, DrawingOracle, Gradients, Images

AUTO: Final = 0
"""A plan's value for a number of draws that the spread decides."""
PROBES: Final = 8
"""Single draws used to measure the spread."""
MOST: Final = 32
"""Maximum number of draws: if noise drowns the signal, more draws cost more than they gain."""
TOLERANCE: Final = 0.5
"""Standard error of a mean gradient, relative to its length."""


@dataclass(frozen=True, kw_only=True)
class Needed:
    """The number of draws that each image needs, and the cost of measuring it."""

    draws: tuple[int, ...]
    """Draws per query, for each image."""
    calls: tuple[int, ...]
    """Calls that were spent on each image."""


def draws_needed(
    oracle: DrawingOracle, images: Images, *, tolerance: float = TOLERANCE, most: int = MOST, probes: int = PROBES
) -> Needed:
    """Measure the number of draws for each image; 1, without a call, if nothing is random.

    Args:
        oracle: the oracle to measure; continue with `oracle.with_draws(result.draws)`.
        images: images at which to measure the spread, (N, 3, H, W).
        tolerance: standard error allowed for the mean gradient, as a share of its length.
        most: maximum number of draws.
        probes: single draws for the measurement, at least 2.

    Raises:
        ScoreguardError: the oracle failed.
    """
    if not oracle.facts.random:
        return Needed(draws=(1,) * len(images), calls=(0,) * len(images))
    single, calls, drawn = oracle.with_draws(1), np.zeros(len(images), dtype=np.int64), []
    for _ in range(probes):
        drawn.append(on_host(single.gradient(images)[1]))
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
