"""What can go wrong with a campaign.

CampaignError
├── PlanError           a campaign that cannot be planned: no images, an option that does not fit
├── PlanMismatchError   a run directory that belongs to another plan
├── CleanImageError     an image that is not attacked, since its clean score failed
├── WorkerDiedError     work that a worker of a pool did not survive
├── MergeError          runs that are not parts of one campaign
├── ServerGoneError     the server went away and did not come back
└── RunError            a directory that holds no readable run, or cannot be written
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scoreguard_client._exceptions import ServerError
from scoreguard_client.target.errors import CampaignError


class PlanMismatchError(CampaignError):
    """A run directory that belongs to another plan."""

    def __init__(self, run: Path, differences: Sequence[str]) -> None:
        self.run, self.differences = run, tuple(differences)
        super().__init__(f"{run} belongs to another plan ({'; '.join(differences)}); choose another --out directory")


class WorkerDiedError(CampaignError):
    """Work that no worker of a pool survived."""

    def __init__(self, tries: int, how: str) -> None:
        self.tries, self.how = tries, how
        super().__init__(f"its workers died {tries} times, the last of {how}")


class MergeError(CampaignError):
    """Runs that are not parts of one campaign."""

    def __init__(self, run: Path, first: Path, differences: Sequence[str]) -> None:
        self.run, self.first, self.differences = run, first, tuple(differences)
        super().__init__(f"{run} is no part of one campaign with {first} ({'; '.join(differences)})")


class ServerGoneError(CampaignError):
    """The server went away and did not come back unchanged."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"{why}; what was done is kept, the same command goes on")


class CleanImageError(CampaignError):
    """An image that is not attacked because its clean score failed."""

    def __init__(self, cause: str, *, retryable: bool) -> None:
        self.retryable = retryable
        """Whether rerunning may help."""
        super().__init__(f"not attacked, since the clean image was not scored: {cause}")


class RunError(CampaignError):
    """A directory that holds no readable run, or cannot be written."""


_PASSING: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED"})
"""Status codes of a server that is busy or unreachable."""


def may_pass(error: Exception) -> bool:
    """Whether rerunning may help: the server was busy or unreachable, not unable."""
    if isinstance(error, ServerError):
        return error.code in _PASSING or error.retry_after is not None
    return isinstance(error, ServerGoneError | WorkerDiedError) or (
        isinstance(error, CleanImageError) and error.retryable
    )
