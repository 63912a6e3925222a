"""R-score (Zhang et al., "Perceptual attacks of no-reference image quality models with human-in-the-loop", 2022).

    R = mean(log10(max(beta1 - f(x'), f(x) - beta2) / |f(x) - f(x')|)),  beta1 and beta2 the ends of the scale

Large is robust. R looks at the size of the change only: an attack that moves the score the wrong way counts like one
that succeeds. The public benchmark's code puts the clean score into both terms of the maximum: `mode=BENCHMARK`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np

from scoreguard_client.scores.scaling import Values

_FLOOR: Final = 1e-6
"""The benchmark's guard against a change of 0, which makes 6 the highest value; the paper has none."""


class RMode(StrEnum):
    """Whose formula."""

    PAPER = "paper"
    """max(beta1 - f(x'), f(x) - beta2)."""
    BENCHMARK = "benchmark"
    """max(beta1 - f(x), f(x) - beta2)."""


def r_score(
    clean: Values, attacked: Values, *, mode: RMode = RMode.PAPER, low: float = 0.0, high: float = 1.0
) -> float:
    """R-score of scaled scores.

    Args:
        clean: u, f(x) on the scale.
        attacked: v, f(x') on the scale.
        mode: whose formula.
        low: beta2, the worst score of the scale.
        high: beta1, the best score of the scale.
    """
    room = high - (attacked if mode is RMode.PAPER else clean)
    # Both terms of the paper's maximum can be negative where scores leave the declared range.
    possible = np.maximum(np.maximum(room, clean - low), _FLOOR)
    return float(np.mean(np.log10(possible / (np.abs(clean - attacked) + _FLOOR))))
