"""Whether a metric answers in time: callers' answers are the best canary, and their timeouts raise the alarm."""

from __future__ import annotations

import asyncio
import time

from scoreguard_handlers.config import HealthConfig


class Pulse:
    """The outcome of the latest requests to one metric. Belongs to one event loop."""

    def __init__(self, config: HealthConfig) -> None:
        self._config = config
        self._answered = time.monotonic()
        self._late = 0
        self.stalled = asyncio.Event()
        """Set while nothing has been answered in time for the configured span, despite enough requests."""

    @property
    def is_fresh(self) -> bool:
        """Whether a request was recently answered in time, so no canary is needed."""
        return time.monotonic() - self._answered < self._config.period_seconds

    def answered(self) -> None:
        """Record that a request was answered in time."""
        self._answered, self._late = time.monotonic(), 0
        self.stalled.clear()

    def late(self) -> None:
        """Record that a request ran out of time."""
        self._late += 1
        silence = time.monotonic() - self._answered
        if self._late >= self._config.stall_timeouts and silence >= self._config.stall_seconds:
            self.stalled.set()

    def __str__(self) -> str:
        """Format for a message: `nothing was answered in time for 12 s, 8 requests ran out of time`."""
        silence = time.monotonic() - self._answered
        return f"nothing was answered in time for {silence:.0f} s, {self._late} requests ran out of time"
