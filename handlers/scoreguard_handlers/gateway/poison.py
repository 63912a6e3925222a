"""Keep work that took a worker down from the next worker.

A worker's death does not say why: the kernel kills a process that takes too much memory with the same signal that an
operator uses. So work that needs much memory is blamed at once, and other work at the second death: the first gives
UNAVAILABLE, which callers retry.
"""

from __future__ import annotations

import hashlib
import time

from scoreguard.v1.worker_pb2 import PoolRequest, WorkItem
from scoreguard_handlers.errors import PoisonError
from scoreguard_handlers.worker.received import Received
from scoreguard_handlers.worker.request_check import Work, kind_of

_DEATHS = 2
_REMEMBERED = 1024
"""Most deaths to remember; the oldest are forgotten first."""


class PoisonList:
    """Pieces of work that took workers down, by a digest of everything that affects how they run."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deaths: dict[bytes, tuple[int, float]] = {}
        self._sizes: set[int] = set()

    def check(self, request: Received[Work]) -> None:
        """Refuse work that is known to take workers down.

        Raises:
            PoisonError: this work is.
        """
        self._forget_old()
        if len(request.image) not in self._sizes:  # hashing every large image would take long
            return
        deaths, _ = self._deaths.get(_digest(request), (0, 0.0))
        if deaths >= _DEATHS:
            raise self._error()

    def blame(self, request: Received[Work], *, large: bool) -> PoisonError | None:
        """Count a death caused by a piece of work; return the error if it was one too many."""
        self._forget_old()
        digest = _digest(request)
        deaths, _ = self._deaths.pop(digest, (0, 0.0))
        deaths = max(deaths + 1, _DEATHS if large else 0)
        if len(self._deaths) >= _REMEMBERED:
            del self._deaths[next(iter(self._deaths))]
        self._deaths[digest] = deaths, time.monotonic()
        self._sizes.add(len(request.image))
        return self._error() if deaths >= _DEATHS else None

    def _forget_old(self) -> None:
        horizon = time.monotonic() - self._seconds
        while self._deaths:
            oldest = next(iter(self._deaths))
            if self._deaths[oldest][1] > horizon:
                return
            del self._deaths[oldest]
        self._sizes.clear()

    def _error(self) -> PoisonError:
        return PoisonError(
            f"this request took its worker down, most likely out of memory: it is refused for {self._seconds:g} s; "
            "send a smaller image or a shorter chain",
            metadata={"refused_seconds": f"{self._seconds:g}"},
        )


def _digest(request: Received[Work]) -> bytes:
    """Return a digest of the work, without the fields that differ when it is sent again."""
    if isinstance(request.head, PoolRequest):
        return hashlib.blake2b(request.wire, digest_size=16).digest()
    work = WorkItem()
    bare = getattr(work, kind_of(request.head))
    bare.CopyFrom(request.head)
    bare.ClearField("request_id")
    bare.ClearField("seed")
    # Whether the image's bytes are in the head depends on the size of the message.
    if bare.image.WhichOneof("payload") == "encoded":
        bare.image.encoded = b""
    else:
        bare.image.tensor.ClearField("data")
    digest = hashlib.blake2b(work.SerializeToString(deterministic=True), digest_size=16)
    digest.update(request.image)
    return digest.digest()
