"""Clamp to the range of images after a step that may leave it by more than rounding: y = min(max(v, 0), 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreguard_export.defences.straight_through import straight_through


def within_range(value: Tensor) -> Tensor:
    """Clamp to [0, 1]; the gradient is the clamp's, but is kept if only rounding (10⁻⁶) passed a bound.

    Without the margin, a white area would lose its gradient whenever its weights add up to 1.0000001.

    Args:
        value: Images (N, 3, H, W).
    """
    inside = torch.clamp(value, -1e-6, 1.0 + 1e-6)
    return straight_through(inside, torch.clamp(value, 0.0, 1.0))
