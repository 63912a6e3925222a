"""Which worker calls may be under way: never a small one behind a large one, and always a worker for small ones."""

from __future__ import annotations


class Slots:
    """Counts the calls under way for one metric.

    Each worker may have some calls waiting in addition to the one that it runs, which hides the round trip. A call that
    waits there cannot be overtaken, so nothing is sent behind a large call; and if there are several workers, one never
    gets large work.
    """

    def __init__(self, *, workers: int, calls: int) -> None:
        self._workers, self._calls = workers, calls
        self._large = self._small = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing may start."""
        return not (self.may_start(large=False) or self.may_start(large=True))

    @property
    def all_at_large_work(self) -> bool:
        """Whether no worker is left for small work."""
        return self._large >= self._workers

    def may_start(self, *, large: bool) -> bool:
        """Whether one more call may be sent."""
        if large:
            return self._large < max(1, self._workers - 1) and self._large + self._small < self._calls
        return self._small * self._workers < (self._workers - self._large) * self._calls

    def start(self, *, large: bool) -> None:
        """Record that a call was sent."""
        self._count(large, 1)

    def finish(self, *, large: bool) -> None:
        """Record that a call has ended."""
        self._count(large, -1)

    def _count(self, large: bool, change: int) -> None:
        if large:
            self._large += change
        else:
            self._small += change
