"""What can go wrong with an oracle.

ScoreguardError
└── SurrogateError   a local archive that cannot stand in for the target
"""

from __future__ import annotations

from scoreguard_client._exceptions import ScoreguardError


class SurrogateError(ScoreguardError):
    """A local archive that cannot stand in for the target."""
