"""What can go wrong before a campaign starts: the base of its errors, and what cannot be planned."""

from __future__ import annotations

from scoreguard_client._exceptions import ScoreguardError


class CampaignError(ScoreguardError):
    """Base of what can go wrong with a campaign."""


class PlanError(CampaignError):
    """A campaign that cannot be planned."""
