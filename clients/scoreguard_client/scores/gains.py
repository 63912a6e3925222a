"""Absolute and relative gain of an attack (Antsiferova et al., AAAI 2024, arXiv 2310.06958).

    absolute = mean(v - u)        relative = mean((v - u) / (u + 1))

u and v are scaled clean and attacked scores. Positive: the attack raised the quality score. The relative gain is meant
for u in [0, 1]: below 0 its denominator shrinks, and from -1 on its sign is wrong, so there it is undefined.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from scoreguard_client.scores.scaling import Values

ROUNDING: Final = 1e-9


def absolute_gain(clean: Values, attacked: Values) -> float:
    """Compute the mean of v - u, in shares of the scale."""
    return float(np.mean(attacked - clean))


def relative_gain(clean: Values, attacked: Values) -> float:
    """Compute the mean of (v - u) / (u + 1); NaN (undefined) if a clean score is worse than the scale's worst."""
    return float(np.mean(relative_changes(clean, attacked)))


def relative_changes(clean: Values, attacked: Values) -> Values:
    """Compute (v - u) / (u + 1) of each row; NaN (undefined) if u is below 0, the scale's worst."""
    undefined = ~(clean >= -ROUNDING)
    return np.where(undefined, np.nan, (attacked - clean) / np.where(undefined, 1.0, clean + 1))
