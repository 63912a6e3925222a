"""When a failed call is sent again: until its deadline, with growing pauses, as the server asks.

A call is sent again after UNAVAILABLE (a worker or the server restarts) and after RESOURCE_EXHAUSTED that names a time
to come back (a full queue). Nothing else gets better by itself. gRPC's own retry policy ends after five attempts within
seconds, and a worker may need longer than that to return, so unary calls are repeated here and their attempts counted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from scoreguard_client._config import RetryConfig
from scoreguard_client._exceptions import ServerError

_JITTER: Final = 0.2
"""Share by which a pause differs at random, so that callers who failed together do not return together."""


def is_transient(error: object) -> bool:
    """Whether sending the same request again may succeed."""
    if not isinstance(error, ServerError):
        return False
    return error.code == "UNAVAILABLE" or (error.code == "RESOURCE_EXHAUSTED" and error.retry_after is not None)


class Retries:
    """The attempts of one call."""

    def __init__(
        self, config: RetryConfig, timeout: float, *, clock: Callable[[], float] = time.monotonic, sent: int = 1
    ) -> None:
        self.sent = sent
        """Attempts so far, the one under way included."""
        self._config, self._clock = config, clock
        self._start = clock()
        self._end = self._start + timeout
        self._backoff = config.initial_backoff_seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self._end - self._clock())

    def pause_after(self, error: object) -> float | None:
        """Seconds to wait before the next attempt, which counts from here on; None where there is none.

        There is none where the error is final, the attempts are used up, the pause would outlast the deadline, or
        nobody has answered at the address for `unreachable_seconds`.
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
