"""Errors before a campaign starts: the base of its errors, and plans that cannot be made."""

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
"""Errors that all later calls would also meet."""


class CampaignError(ScoreguardError):
    """Base of what can go wrong with a campaign."""


class PlanError(CampaignError):
    """A campaign that cannot be planned."""
