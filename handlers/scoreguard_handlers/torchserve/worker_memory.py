"""A limit on a worker's memory: an allocation above it fails before the kernel kills a process.

Without one, the kernel is the first to notice a shortage, and a worker that it kills answers nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scoreguard_handlers.config import MIB

VARIABLE: Final = "SCOREGUARD_MEMORY_BYTES"
"""Environment variable that passes the memory for images to TorchServe's workers; 0 or unset = no limit."""
_SLACK_BYTES: Final = 64 * MIB
"""Extra memory for small images, which are not counted, and for thread stacks."""
_STATUS: Final = Path("/proc/self/status")


def limit_memory(environment: Mapping[str, str] = os.environ) -> None:
    """Limit this process to its current memory plus what images may take (Linux)."""
    allowed = int(environment.get(VARIABLE) or 0)
    if not allowed or sys.platform != "linux":
        return
    import resource  # only on Unix

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + allowed + _SLACK_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _data_bytes() -> int:
    """Return the memory in use now, as the limit counts it."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmData:"))
    return int(line.split()[1]) * 1024
