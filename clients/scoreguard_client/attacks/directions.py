"""Step directions."""

from __future__ import annotations

from scoreguard_client.attacks.per_image import totals
from scoreguard_client.oracles.arrays import float32, functions
from scoreguard_client.oracles.base import Gradients


def unit_l1(gradient: Gradients) -> Gradients:
    """Scale each image's gradient to L1 norm 1; a zero gradient has no direction and stays zero."""
    library = functions(gradient)
    norm = totals(library.abs(gradient))
    divisor: Gradients = float32(norm + (norm == 0))  # A number, as in `where`, would be copied to a device.
    return gradient / divisor
