"""R-score (Zhang et al., "Perceptual attacks of no-reference image quality models with human-in-the-loop", 2022).

    R = mean(log10(max(beta1 - f(x'), f(x) - beta2) / |f(x) - f(x')|)),  beta1 and beta2 the ends of the scale

Large means robust. R measures only the size of the change: an attack that moves the score the wrong way counts like one
that succeeds. The public benchmark's code puts the clean score into both terms of the maximum: `mode=BENCHMARK`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np

from scoreguard_client.scores.scaling import Values

FLOOR: Final = 1e-6
"""The benchmark's guard against a change of 0, which makes 6 the highest value; the paper has none. Here it also guards
the greatest possible change: -6 is the lowest value of scores inside the range."""
ROUNDING: Final = 1e-9


class RMode(StrEnum):
    """Whose formula."""

    PAPER = "paper"
    """max(beta1 - f(x'), f(x) - beta2)."""
    BENCHMARK = "benchmark"
    """max(beta1 - f(x), f(x) - beta2)."""


def r_score(
    clean: Values, attacked: Values, *, mode: RMode = RMode.PAPER, low: float = 0.0, high: float = 1.0
) -> float:
    """Compute the R-score of scaled scores; NaN (undefined) if a pair's scores are beyond opposite ends of the scale.

    Args:
        clean: u, f(x) on the scale.
        attacked: v, f(x') on the scale.
        mode: whose formula.
        low: beta2, the worst score of the scale.
        high: beta1, the best score of the scale.
    """
    return float(np.mean(r_values(clean, attacked, mode=mode, low=low, high=high)))


def r_values(
    clean: Values, attacked: Values, *, mode: RMode = RMode.PAPER, low: float = 0.0, high: float = 1.0
) -> Values:
    """Compute the logarithm of each row; NaN (undefined) if the greatest possible change is negative."""
    room = high - (attacked if mode is RMode.PAPER else clean)
    possible = np.maximum(room, clean - low)
    undefined = ~(possible >= -ROUNDING)
    possible = np.where(undefined, 1.0, np.maximum(possible, FLOOR))
    return np.where(undefined, np.nan, np.log10(possible / (np.abs(clean - attacked) + FLOOR)))
