"""What can go wrong with a challenge."""

from __future__ import annotations

from scoreguard_client.target.errors import CampaignError


class ChallengeError(CampaignError):
    """Images, a budget or a server that a challenge cannot be made of."""
