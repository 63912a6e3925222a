"""Memory that goes back when it is free: for a gateway whose large buffers live for the length of a call.

The C library's allocator keeps what threads have freed, and takes ever larger buffers from its heaps, where a small one
above holds them. Measured with 64 callers of images of 20 KB to 2.4 MB (`benchmarks/service_memory.py --images mixed`):
the gateway takes 400 MB as it comes, 280 MB so. Graphs get a fifth slower by it, so only a gateway that runs none asks.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Both from glibc's malloc.h."""
_THRESHOLD_BYTES: Final = 256 << 10
_ARENAS: Final = 2


def return_memory_early() -> bool:
    """Give buffers above 256 KiB back to the system as soon as they are freed, for this process.

    Returns:
        Whether the C library can do it (glibc).
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all([mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES), mallopt(_M_ARENA_MAX, _ARENAS)])
