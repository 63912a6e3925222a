"""Progress of a campaign: a bar on a terminal, occasional lines elsewhere; always on the error stream."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES: Final = 10.0
_SAMPLES: Final = 12
"""Lines whose times are kept: the speed is that of the last two minutes."""
_BURST_SECONDS: Final = 1.0
_MINUTE: Final = 60
_HOUR: Final = 3600


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
    """A line now and then, for a log: how far it is, how fast it goes, and how long it will take."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock, self._done, self._total, self._last = console, clock, 0, 0, clock()
        self._begun, self._samples = self._last, deque([(self._last, 0)], maxlen=_SAMPLES)

    def begin(self, total: int) -> None:
        self._total, self._begun = total, self._clock()

    def advance(self, steps: int, what: str) -> None:
        self._done += steps
        now = self._clock()
        if now - self._begun < _BURST_SECONDS:
            # What a resumed run has already comes at once: no measure of speed.
            self._samples.clear()
            self._samples.append((now, self._done))
        if self._done == self._total or now - self._last > _SECONDS_BETWEEN_LINES:
            self._last = now
            pace = self._pace(now)
            self._samples.append((now, self._done))
            self._console.print(f"{self._done}/{self._total}{pace} {what}".rstrip(), highlight=False)

    def _pace(self, now: float) -> str:
        then, done = self._samples[0]
        if now <= then or self._done <= done:
            return ""
        speed = (self._done - done) / (now - then)
        left = (self._total - self._done) / speed
        return f", {speed:.3g}/s" + (f", {duration(left)} to go" if left else "")


def duration(seconds: float) -> str:
    """Format a time for people, with two digits that mean something."""
    if seconds < _MINUTE:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
