"""What one section of the check has measured: a file that is whole after every row, so that a kill loses one item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from scoreguard.support.whole_files import write_whole

RUNNING: Final = "running"
DONE: Final = "done"
CUT: Final = "out of time"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"


@dataclass(kw_only=True)
class Part:
    """The results of one section."""

    section: str
    status: str = RUNNING
    """`done` (each item measured, or in `failures`), `out of time`, `failed` (the section itself), or `skipped`."""
    reason: str = ""
    """Why it failed or was skipped, in one line."""
    seconds: float = 0.0
    """Time that it took, with the start of its process."""
    allowed_seconds: float = 0.0
    """Time that it was allowed."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """What was measured, one entry for each item."""
    failures: list[dict[str, str]] = field(default_factory=list)
    """`item` and `error` of what could not be measured."""
    left_out: list[str] = field(default_factory=list)
    """Items that the time did not suffice for."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know about the numbers."""
    memory: dict[str, int] = field(default_factory=dict)
    """Peak memory in bytes: `device` (torch's allocations of the section on the GPU), `in_use` (of the whole GPU, by
    every process, when a row was recorded) and `process` (resident, of the section)."""

    @classmethod
    def read(cls, path: Path) -> Part:
        """Read what `write` wrote.

        Raises:
            OSError: there is no such file.
        """
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Write the file; it is whole or absent at every moment."""
        write_json(path, asdict(self))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that is whole or absent."""
    write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
