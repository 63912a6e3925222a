"""Absolute and relative gain of an attack (Antsiferova et al., AAAI 2024, arXiv 2310.06958).

    absolute = mean(v - u)        relative = mean((v - u) / (u + 1))

u and v are scaled clean and attacked scores. Positive: the attack raised the quality score.
"""

from __future__ import annotations

import numpy as np

from scoreguard_client.scores.scaling import Values


def absolute_gain(clean: Values, attacked: Values) -> float:
    """Mean of v - u, in shares of the scale."""
    return float(np.mean(attacked - clean))


def relative_gain(clean: Values, attacked: Values) -> float:
    """Mean of (v - u) / (u + 1)."""
    return float(np.mean((attacked - clean) / (clean + 1)))
