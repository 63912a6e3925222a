"""What can go wrong with a robustness score."""

from __future__ import annotations

from scoreguard_client._exceptions import ScoreguardError


class ScoresError(ScoreguardError):
    """Arrays that do not belong together, or an option that there is not; numbers without a value are no error."""
