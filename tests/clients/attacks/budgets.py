"""Checks of a budget that know nothing of how it is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks import Attack, AttackResult
from scoreguard_client.oracles.base import Images

RESOLUTION = 1e-4 / 255
"""What float32 clean values and decimal radii may miss the 8-bit grid by."""


def require_budget(attack: Attack, clean: Images, result: AttackResult) -> None:
    """L-infinity, root mean squared error or number of pixels, whichever it states; clean pictures are 8-bit."""
    for found, slack in ((result.attacked, 0.0), (result.attacked_8bit / 255, RESOLUTION)):
        exact = clean.astype(np.float64) if slack == 0 else np.rint(clean.astype(np.float64) * 255) / 255
        difference = np.abs(found.astype(np.float64) - exact)
        _require_parameters(attack, difference, slack)
    _require_pictures(clean, result)


def _require_parameters(attack: Any, difference: npt.NDArray[np.float64], slack: float) -> None:
    if hasattr(attack, "eps"):
        assert difference.max() <= attack.eps + slack
    if hasattr(attack, "rmse"):
        assert np.sqrt((difference**2).mean(axis=(1, 2, 3))).max() <= attack.rmse + slack
    if hasattr(attack, "pixels"):
        assert (difference > 0).any(axis=1).sum(axis=(1, 2)).max() <= attack.pixels


def _require_pictures(clean: Images, result: AttackResult) -> None:
    assert 0 <= result.attacked.min() <= result.attacked.max() <= 1
    assert result.attacked.dtype == np.dtype(np.float32)
    assert result.attacked_8bit.dtype == np.dtype(np.uint8)
    assert result.attacked.shape == result.attacked_8bit.shape == clean.shape
    assert result.scores.shape == result.queries.shape == clean.shape[:1]
    assert len(result.flags) == len(clean)
