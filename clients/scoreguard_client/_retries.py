"""When a failed call is retried: until its deadline, with growing pauses, as the server asks.

A call is retried after UNAVAILABLE (a worker or the server restarts) and after RESOURCE_EXHAUSTED that names a time to
come back (a full queue). No other error is transient. gRPC's own retry policy ends after five attempts within seconds,
and a worker may need longer than that to return, so unary calls are retried here and their attempts counted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from scoreguard_client._config import RetryConfig
from scoreguard_client._exceptions import ServerError

_JITTER: Final = 0.2
"""Random share added to or taken off a pause, so callers that failed together do not return together."""


def is_transient(error: object) -> bool:
    """Whether resending the same request may succeed."""
    if not isinstance(error, ServerError):
        return False
    return error.code == "UNAVAILABLE" or (error.code == "RESOURCE_EXHAUSTED" and error.retry_after is not None)


class Retries:
    """The attempts of one call."""

    def __init__(
        self, config: RetryConfig, timeout: float, *, clock: Callable[[], float] = time.monotonic, sent: int = 1
    ) -> None:
        self.sent = sent
        """Attempts so far, including the current one."""
        self._config, self._clock = config, clock
        self._start = clock()
        self._end = self._start + timeout
        self._backoff = config.initial_backoff_seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self._end - self._clock())

    def pause_after(self, error: object) -> float | None:
        """Count the next attempt and return the seconds to wait before it; None if there is none.

        There is none if the error is final, the attempts are used up, the pause would outlast the deadline, or nothing
        has answered at the address for `unreachable_seconds`.
        """
        if not is_transient(error) or not isinstance(error, ServerError):
            return None
        if self._config.attempts is not None and self.sent >= self._config.attempts:
            return None
        pause = max(self._backoff, error.retry_after or 0.0) * random.uniform(1 - _JITTER, 1 + _JITTER)
        patience = self._end
        if error.unreachable:
            patience = min(patience, self._start + self._config.unreachable_seconds)
        if self._clock() + pause >= patience:
            return None
        self._backoff = min(self._backoff * self._config.backoff_multiplier, self._config.max_backoff_seconds)
        self.sent += 1
        return pause
