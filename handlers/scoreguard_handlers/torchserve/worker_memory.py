"""A limit on a worker's memory: what asks for more fails by itself, before the kernel kills a process for it.

Without one, the first to notice that memory is short is the kernel, and a worker that it kills answers nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scoreguard_handlers.config import MIB

VARIABLE: Final = "SCOREGUARD_MEMORY_BYTES"
"""How TorchServe's workers are told what images may take; 0 or nothing = no limit."""
_SLACK_BYTES: Final = 64 * MIB
"""For small images, which are not counted, and for the stacks of threads."""
_STATUS: Final = Path("/proc/self/status")


def limit_memory(environment: Mapping[str, str] = os.environ) -> None:
    """Let this process take as much as it has now and what images may take, and no more (Linux)."""
    allowed = int(environment.get(VARIABLE) or 0)
    if not allowed or sys.platform != "linux":
        return
    import resource  # Unix alone has it

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + allowed + _SLACK_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _data_bytes() -> int:
    """Memory that the limit counts, in use now."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmData:"))
    return int(line.split()[1]) * 1024
