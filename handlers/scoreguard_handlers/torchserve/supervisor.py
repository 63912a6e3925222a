"""Keep TorchServe running: restart it when it ends, a few times with growing pauses, then give up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.torchserve.process import TorchServeProcess

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """The limit on restarts of TorchServe before the service gives up."""

    limit: int = 3
    """Most restarts within the window."""
    window_seconds: float = 300.0
    """Restarts older than this are forgotten."""
    first_pause_seconds: float = 1.0
    """Pause before the first restart in a window; each further one waits twice as long."""


DEFAULT_POLICY: Final = RestartPolicy()


class TorchServeSupervisor:
    """Runs one TorchServe after another. Belongs to one event loop."""

    def __init__(
        self,
        server: TorchServeProcess,
        config: ServeConfig,
        metrics: Sequence[str],
        policy: RestartPolicy = DEFAULT_POLICY,
    ) -> None:
        self.server = server
        self._config, self._metrics, self._policy = config, metrics, policy
        self._restarts: deque[float] = deque()
        self._listeners: list[Callable[[TorchServeProcess], None]] = []
        self._on_end: list[Callable[[], None]] = []
        self._task = asyncio.create_task(self._watch(), name="torchserve-supervisor")

    @classmethod
    async def start(cls, config: ServeConfig, metrics: Sequence[str]) -> Self:
        """Start TorchServe; a failed first start is not retried.

        Raises:
            StartupError: it does not start.
        """
        return cls(await TorchServeProcess.start(config, metrics), config, metrics)

    def on_restart(self, listener: Callable[[TorchServeProcess], None]) -> None:
        """Register a listener, called with the TorchServe that replaces one that ended."""
        self._listeners.append(listener)

    def on_end(self, listener: Callable[[], None]) -> None:
        """Register a listener, called when TorchServe ends on its own."""
        self._on_end.append(listener)

    async def given_up(self) -> str:
        """Wait until no further restart is allowed, and return why TorchServe ended."""
        return await asyncio.shield(self._task)

    async def stop(self) -> None:
        """End TorchServe and do not restart it."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self.server.stop()

    async def _watch(self) -> str:
        while True:
            why = await self.server.ended()
            for told in self._on_end:
                told()
            await self.server.stop()  # its workers and its folder
            while (pause := self._next_pause()) is not None:
                logger.warning("%s; starting it again in %g s", why, pause)
                await asyncio.sleep(pause)
                try:
                    self.server = await TorchServeProcess.start(self._config, self._metrics)
                except (StartupError, OSError) as error:
                    why = str(error)
                else:
                    logger.warning("TorchServe runs again")
                    for listener in self._listeners:
                        listener(self.server)
                    break
            else:
                return f"{why} (given up after {len(self._restarts)} restarts)"

    def _next_pause(self) -> float | None:
        """Return the seconds until the next restart; None if there have been too many."""
        now = time.monotonic()
        while self._restarts and now - self._restarts[0] > self._policy.window_seconds:
            self._restarts.popleft()
        if len(self._restarts) >= self._policy.limit:
            return None
        self._restarts.append(now)
        return self._policy.first_pause_seconds * float(2 ** (len(self._restarts) - 1))
