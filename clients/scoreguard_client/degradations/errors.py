"""What can go wrong with a degradation."""

from __future__ import annotations

from scoreguard_client._exceptions import ScoreguardError


class DegradationError(ScoreguardError):
    """A degradation or a strength that there is not, or an image that cannot be degraded."""
