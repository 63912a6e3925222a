"""What can go wrong with a campaign.

CampaignError
├── PlanError           a campaign that cannot be planned: no pictures, an option that does not fit
├── PlanMismatchError   a run directory that belongs to another plan
├── ServerGoneError     the server went away and did not come back
└── RunError            a directory that holds no readable run
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scoreguard_client._exceptions import ScoreguardError


class CampaignError(ScoreguardError):
    """Base of what can go wrong with a campaign."""


class PlanError(CampaignError):
    """A campaign that cannot be planned."""


class PlanMismatchError(CampaignError):
    """A run directory that belongs to another plan."""

    def __init__(self, run: Path, differences: Sequence[str]) -> None:
        self.run, self.differences = run, tuple(differences)
        super().__init__(f"{run} belongs to another plan ({'; '.join(differences)}); choose another --out directory")


class ServerGoneError(CampaignError):
    """The server went away and did not come back as it was."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"{why}; what was done is kept, the same command goes on")


class RunError(CampaignError):
    """A directory that holds no readable run."""
