"""What can go wrong before a campaign starts: the base of its errors, and what cannot be planned."""

from __future__ import annotations

from typing import Final

from scoreguard_client._exceptions import (
    CancelledError,
    MissingExtraError,
    PermissionDeniedError,
    ScoreguardError,
    UnauthenticatedError,
)

FATAL: Final = (UnauthenticatedError, PermissionDeniedError, CancelledError, MissingExtraError)
"""Errors that everything after them would meet too."""


class CampaignError(ScoreguardError):
    """Base of what can go wrong with a campaign."""


class PlanError(CampaignError):
    """A campaign that cannot be planned."""
