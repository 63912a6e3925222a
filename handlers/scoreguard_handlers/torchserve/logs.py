"""Find what TorchServe's logs say about a failure, in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_TAIL_BYTES: Final = 4 << 20
"""How much of a log is read: all of one that has not been rotated yet."""
_NOT_LOADED: Final = re.compile(r"(?:Failed to (?:load model|preload|download)|No space left on device).*")
_ERROR_LINE: Final = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Exit|Interrupt))(?::\s*(.*))?$")


def text_of(path: Path) -> str:
    """Return the end of a log; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def last_error_in(log: str) -> str:
    """Return the last line of a log that names an exception; empty if none does."""
    lines = [line.strip() for line in log.splitlines()]
    errors = [line for line in lines if _ERROR_LINE.match(line)]
    specific = [line for line in errors if not line.startswith(("RuntimeError: 500", "RuntimeError: 507"))]
    return (specific or errors or [""])[-1]


def not_loaded_in(log: str) -> str:
    """Return the line that says that TorchServe continues without an archive; empty if there is none."""
    found = _NOT_LOADED.search(log)
    return found.group() if found else ""
