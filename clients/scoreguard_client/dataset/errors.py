"""What can go wrong with publishing a data set."""

from __future__ import annotations

from scoreguard_client.target.errors import CampaignError


class DatasetError(CampaignError):
    """A run that no data set can be made of, or a folder that it cannot be written to."""
