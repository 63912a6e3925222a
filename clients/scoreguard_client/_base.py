"""State that both clients share: an address, options, and the wait for a server."""

from __future__ import annotations

import time
from typing import Any, Final

from scoreguard_client._config import DEFAULT_CONFIG, ConnectionConfig
from scoreguard_client._exceptions import ServerError, UnavailableError
from scoreguard_client._targets import EXAMPLE, check_target

DEFAULT_TARGET: Final = EXAMPLE
READY_TIMEOUT_SECONDS: Final = 60.0


class BaseClient:
    """An address and how to reach it."""

    def __init__(
        self, target: str = DEFAULT_TARGET, config: ConnectionConfig = DEFAULT_CONFIG, transport: Any = None
    ) -> None:
        if transport is None:
            check_target(target)
        self._target, self._config, self._given = target.strip(), config, transport

    @property
    def target(self) -> str:
        """`host:port` of the server, or the transport's own name: `local:model_store`."""
        return self._target

    @property
    def config(self) -> ConnectionConfig:
        """The connection options."""
        return self._config

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._target!r}, {self._config!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle or copy the address and options (including the token), or the transport; the copy reconnects."""
        return _again, (type(self), self._target, self._config, self._given)

    def _deadline(self, timeout: float | None) -> float:
        return self._config.timeout_seconds if timeout is None else timeout

    def _stream_deadline(self, timeout: float | None) -> float:
        return self._config.stream_timeout_seconds if timeout is None else timeout


def _again(kind: Any, target: str, config: ConnectionConfig, transport: Any) -> Any:
    return kind(target, config, transport=transport)


class ReadyWait:
    """The time left to wait for a server."""

    PAUSE_SECONDS: Final = 0.1

    def __init__(self, target: str, timeout: float) -> None:
        self._target, self._timeout = target, timeout
        self._end = time.monotonic() + timeout

    def left(self) -> float:
        """Seconds left.

        Raises:
            UnavailableError: no time is left.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            message = f"{self._target} is not ready after {self._timeout:g} s: is scoreguard-serve running?"
            raise UnavailableError(message, code="UNAVAILABLE")
        return left

    @staticmethod
    def is_transient(error: ServerError) -> bool:
        """Whether a starting server may return this error."""
        return error.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "NOT_FOUND"}
