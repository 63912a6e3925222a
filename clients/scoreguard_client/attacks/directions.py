"""Step directions."""

from __future__ import annotations

import numpy as np

from scoreguard_client.attacks.per_image import totals
from scoreguard_client.oracles.base import Gradients


def unit_l1(gradient: Gradients) -> Gradients:
    """Scale each image's gradient to L1 norm 1; a zero gradient has no direction and stays zero."""
    norm = totals(np.abs(gradient))
    divisor: Gradients = np.where(norm > 0, norm, 1.0).astype(np.float32)
    return gradient / divisor
