"""What can go wrong with a report that is not made from a run."""

from __future__ import annotations

from scoreguard_client.target.errors import CampaignError


class TableError(CampaignError):
    """A table made elsewhere that cannot be read, or that lacks what a report needs."""
