"""Return freed memory to the system: the C library keeps the memory of large messages until asked to release it."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Final

_DELAY_SECONDS: Final = 1.0
"""gRPC frees a dropped message a moment after its call."""


class MemoryReturn:
    """Asks the C library after a short delay, once for many requests. Belongs to one event loop."""

    def __init__(self) -> None:
        self._due: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Schedule the return of free memory after a short delay."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_DELAY_SECONDS, self._now)

    def _now(self) -> None:
        self._due = None
        # Walking through the heap takes tens of milliseconds, while calls continue.
        asyncio.get_running_loop().run_in_executor(None, _trim)


def _trim() -> None:
    """Release free memory, on glibc only: no other C library has the call or needs it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
