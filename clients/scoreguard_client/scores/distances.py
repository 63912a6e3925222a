"""Distances between the distributions of clean and attacked scores, signed by the mean change (arXiv 2310.06958).

W = wasserstein(u, v) * sign(mean v - mean u)        E = sqrt(2 * integral (F_u - F_v)^2) * sign(mean v - mean u)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from scoreguard_client.scores.scaling import Values


def wasserstein_score(clean: Values, attacked: Values) -> float:
    """Compute the first Wasserstein distance, positive if scores rose on average."""
    return _signed(stats.wasserstein_distance, clean, attacked)


def energy_score(clean: Values, attacked: Values) -> float:
    """Compute the energy distance, positive if scores rose on average."""
    return _signed(stats.energy_distance, clean, attacked)


def _signed(distance: Callable[[Values, Values], float], clean: Values, attacked: Values) -> float:
    if np.isnan(clean).any() or np.isnan(attacked).any():
        return float("nan")
    return float(distance(clean, attacked) * np.sign(np.mean(attacked) - np.mean(clean)))
