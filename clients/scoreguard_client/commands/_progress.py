"""Progress of a campaign: a bar on a terminal, occasional lines elsewhere; always on the error stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES: Final = 10.0


class Meter(Protocol):
    """A progress meter."""

    def begin(self, total: int) -> None:
        """Set the number of steps."""

    def advance(self, steps: int, what: str) -> None:
        """Add finished steps and name the next one; an empty text keeps the previous name."""


@contextmanager
def meter() -> Iterator[Meter]:
    """Choose the meter that suits the output."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        yield _Bar(progress)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress, self._task = progress, progress.add_task("planning", total=None)

    def begin(self, total: int) -> None:
        self._progress.update(self._task, total=total)

    def advance(self, steps: int, what: str) -> None:
        self._progress.update(self._task, advance=steps, description=what or None)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._done, self._total, self._last = console, 0, 0, time.monotonic()

    def begin(self, total: int) -> None:
        self._total = total

    def advance(self, steps: int, what: str) -> None:
        self._done += steps
        if self._done == self._total or time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self._console.print(f"{self._done}/{self._total} {what}".rstrip(), highlight=False)
