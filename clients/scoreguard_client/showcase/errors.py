"""What can go wrong with a showcase.

ScoreguardError
└── ShowcaseError   a page that cannot be made as requested
"""

from __future__ import annotations

from scoreguard_client._exceptions import ScoreguardError


class ShowcaseError(ScoreguardError):
    """A page that cannot be made as requested."""
