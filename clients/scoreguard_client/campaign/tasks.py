"""Pieces of a campaign's work as values, and where they are executed: in this process, or by a pool of others."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from scoreguard_client.campaign.clean_scores import CleanWork, failed_clean, score_clean
from scoreguard_client.campaign.execute import UnitWork, execute, failed_unit
from scoreguard_client.campaign.results import CleanResult, UnitResult
from scoreguard_client.campaign.services import Services

Task: TypeAlias = CleanWork | UnitWork
"""One image to score clean, or one unit."""
Result: TypeAlias = CleanResult | UnitResult
"""What became of it."""


def run_task(task: Task, services: Services) -> Result:
    """Execute a task; raises as `score_clean` and `execute` do."""
    return score_clean(task, services) if isinstance(task, CleanWork) else execute(task, services)


def failed_task(task: Task, error: Exception) -> Result:
    """Return the result of a task that could not be executed: everything in it failed, with the cause."""
    return failed_clean(task, error) if isinstance(task, CleanWork) else failed_unit(task, error)


class Pool(Protocol):
    """Executes tasks."""

    def run(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Result], None, None]:
        """Execute tasks, taking the next one only when there is room for it, and yield results as they come.

        Raises:
            ServerGoneError: the server went away while clean images were scored.
            ServerError: the server refuses this caller.
        """
        ...


@dataclass(frozen=True)
class ThisProcess:
    """Executes one task after another, here."""

    services: Services
    """What executes them."""

    def run(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Result], None, None]:
        """Execute tasks; raises as `run_task` does."""
        for task in tasks:
            yield task, run_task(task, self.services)
