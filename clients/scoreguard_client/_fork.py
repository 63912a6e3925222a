"""Connections across a fork: the child opens its own, and leaves the parent's alone.

gRPC survives a fork only if an environment variable asks for it before gRPC is imported, so the package sets it first.
If gRPC was imported earlier, a child that would hang in it raises an error instead.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from scoreguard_client._exceptions import CancelledError

T = TypeVar("T")
_VARIABLE: Final = "GRPC_ENABLE_FORK_SUPPORT"
_ON: Final = {"1", "true", "yes", "y", "t", "on", "enable"}


def _ask_grpc() -> bool:
    if "grpc" not in sys.modules:
        os.environ.setdefault(_VARIABLE, "1")
    return os.environ.get(_VARIABLE, "").lower() in _ON


GRPC_SURVIVES: Final = _ask_grpc()
"""Whether a forked child may use gRPC after its parent did."""


class PerProcess(Generic[T]):
    """A value that every process makes for itself on first use; thread-safe."""

    def __init__(self) -> None:
        self._is_closed = False
        self._forget()
        _LIVE.add(self)

    def get(self, make: Callable[[], T]) -> T:
        """Return this process's value, making it if there is none; if making it raises, the next caller retries.

        Raises:
            CancelledError: it was closed.
        """
        with self._lock:
            if self._is_closed:
                raise CancelledError("this client is closed; make a new one")
            if not self._made:
                self._made.append(make())
            return self._made[0]

    def close(self) -> T | None:
        """Make no more values, and return the current one to the caller's care; None if this process has none."""
        with self._lock:
            self._is_closed = True
            return self._made.pop() if self._made else None

    def _forget(self) -> None:
        # A new lock too: a thread of the parent may have held the old one, and no thread follows into the child.
        self._lock = threading.Lock()
        self._made: list[T] = []

    def _leave_parent(self) -> None:
        _ABANDONED.append(self._made)
        self._forget()


_LIVE: Final[weakref.WeakSet[PerProcess[Any]]] = weakref.WeakSet()
_ABANDONED: Final[list[object]] = []
"""Values of a parent process: freeing one could wait for threads that do not exist here."""


def _in_child() -> None:
    for value in list(_LIVE):
        value._leave_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_in_child)
