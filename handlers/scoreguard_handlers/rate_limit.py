"""Limit log lines of one kind: callers must not be able to fill the disk with them."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Final

_PERIOD_SECONDS: Final = 1.0


class RateLimit:
    """Lets one event of a kind through per second, and counts the suppressed ones."""

    def __init__(self, period_seconds: float = _PERIOD_SECONDS) -> None:
        self._period = period_seconds
        self._passed: dict[Hashable, float] = {}
        self._held: dict[Hashable, int] = {}

    def take(self, kind: Hashable) -> int | None:
        """Return None to suppress this event, otherwise how many of its kind were suppressed before it."""
        now = time.monotonic()
        if now - self._passed.get(kind, -self._period) < self._period:
            self._held[kind] = self._held.get(kind, 0) + 1
            return None
        self._passed[kind] = now
        return self._held.pop(kind, 0)
