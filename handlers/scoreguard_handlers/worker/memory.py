"""The memory that large images of all metrics may take at the same time: work that does not fit waits its turn."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Final

import psutil

from scoreguard_handlers.config import MIB, ServeConfig

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")
_LIMIT_FILES: Final = {"": "memory.max", "memory": "memory/memory.limit_in_bytes"}
"""Paths of a cgroup's limit, by the controller in the process's cgroup line: version 2, then version 1."""
_SERVICE_BYTES: Final = 320 * MIB
"""Memory of the gateway and the Java virtual machine."""
_WORKER_BYTES: Final = 160 * MIB
"""Memory of one loaded worker at rest."""
_SHARE: Final = 0.8
"""Share of the remaining memory; the rest is for the system and for wrong estimates."""
_LEAST_BYTES: Final = 128 * MIB
_SMALL: Final = 64
"""Work below this share of the budget is not counted: it never waits for memory."""


class MemoryBudget:
    """Shares memory among pieces of work; work that had to wait goes first. Belongs to one event loop."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        """The bytes that may be taken at the same time."""
        self._taken: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, int] = {}
        self._listeners: list[Callable[[], None]] = []

    @property
    def taken_bytes(self) -> int:
        """Return the bytes that are taken now."""
        return sum(self._taken.values())

    def is_small(self, size: int) -> bool:
        """Whether work of this size passes uncounted."""
        return size * _SMALL <= self.limit_bytes

    def take(self, owner: Hashable, size: int) -> bool:
        """Take memory if it is available and no other work has waited longer."""
        if self.is_small(size):
            return True
        first = next(iter(self._waiting), owner)
        if first is owner and (not self._taken or self.taken_bytes + size <= self.limit_bytes):
            self._waiting.pop(owner, None)
            self._taken[owner] = size
            return True
        self._waiting.setdefault(owner, size)
        return False

    def leave(self, owner: Hashable) -> None:
        """Release the memory, or stop waiting for it."""
        waited = self._waiting.pop(owner, None) is not None
        if self._taken.pop(owner, None) is not None or waited:
            for listener in self._listeners:
                listener()

    def on_room(self, listener: Callable[[], None]) -> None:
        """Register a listener, called when there is room again."""
        self._listeners.append(listener)


def default_budget(config: ServeConfig, metrics: int) -> int:
    """Return the bytes for large images: the machine's or container's memory, less what the service needs at rest."""
    if config.admission.memory_mib:
        return config.admission.memory_mib * MIB
    at_rest = _SERVICE_BYTES + config.workers * metrics * _WORKER_BYTES
    return max(_LEAST_BYTES, int((memory_limit() - at_rest) * _SHARE))


def memory_limit() -> int:
    """Return the bytes that this process and its children may use: the container's limit, or the machine's memory."""
    physical = int(psutil.virtual_memory().total)
    return min([physical, *(limit for path in _limit_files() if (limit := _read(path)))])


def _limit_files() -> Iterator[Path]:
    """Yield the limits of this process's cgroup and its ancestors; a container sees its own cgroup as the root."""
    for line in _text_of(_OWN_CGROUP).splitlines():
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in _LIMIT_FILES:
                folder, name = Path(_LIMIT_FILES[controller]).parent, Path(_LIMIT_FILES[controller]).name
                inner = Path(group.lstrip("/"))
                yield from (_CGROUPS / folder / part / name for part in (inner, *inner.parents))


def _read(path: Path) -> int:
    text = _text_of(path).strip()
    return int(text) if text.isdecimal() else 0  # no such file, or "max"


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
