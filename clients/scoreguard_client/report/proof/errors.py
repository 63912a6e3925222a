"""What can be wrong with a page that is to be verified."""

from __future__ import annotations

from scoreguard_client.target.errors import CampaignError


class PageError(CampaignError):
    """A page that cannot be verified: it is no report, was cut, or is of another version."""
