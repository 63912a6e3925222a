"""Giving freed memory back to the system: the C library keeps what large messages took until it is asked."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Final

_DELAY_SECONDS: Final = 1.0
"""gRPC frees a dropped message a moment after its call."""


class MemoryReturn:
    """Asks the C library, a moment after it was told to, at most once for many requests. Belongs to one event loop."""

    def __init__(self) -> None:
        self._due: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Give back what is free a moment from now."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_DELAY_SECONDS, self._now)

    def _now(self) -> None:
        self._due = None
        # Walking through the heap takes tens of milliseconds, in which calls go on.
        asyncio.get_running_loop().run_in_executor(None, _trim)


def _trim() -> None:
    """Only the GNU C library has the call, and only it needs it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
