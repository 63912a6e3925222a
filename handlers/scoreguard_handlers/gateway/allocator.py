"""Return freed memory to the system: for a gateway whose large buffers live as long as a call.

The C library's allocator keeps what threads have freed, and takes ever larger buffers from its heaps, where a small
buffer above them keeps them from being released. Measured with 64 callers and images of 20 KB to 2.4 MB
(`benchmarks/service_memory.py --images mixed`): the gateway takes 400 MB by default, and 280 MB with this setting.
Graphs become a fifth slower, so only a gateway that runs none uses it.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Both constants are from glibc's malloc.h."""
_THRESHOLD_BYTES: Final = 256 << 10
_ARENAS: Final = 2


def return_memory_early() -> bool:
    """Give buffers above 256 KiB back to the system as soon as they are freed, for this process.

    Returns:
        Whether the C library supports it (glibc).
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all([mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES), mallopt(_M_ARENA_MAX, _ARENAS)])
