"""The real TorchServe as a child process: started on loopback, watched while starting, removed completely at the end.

Its own health page says "Healthy" while its workers crash in a loop. So readiness here is the state of each worker on
the management page, and the first repeated crash ends the start with the worker's own error message.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psutil

from scoreguard.v1.torchserve import LOOPBACK
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.torchserve.command import check_folder, command
from scoreguard_handlers.torchserve.files import InstanceFiles, Ports, environment
from scoreguard_handlers.torchserve.instance_folder import InstanceFolder
from scoreguard_handlers.torchserve.logs import last_error_in, not_loaded_in, text_of
from scoreguard_handlers.worker.memory import default_budget

READY: Final = "READY"
_DEATH: Final = "Backend worker process died."
_FATAL_DEATHS: Final = 2
"""TorchServe restarts a worker at once; one that died twice will die again."""
_POLL_SECONDS: Final = 0.1
_PATIENCE_MARGIN_SECONDS: Final = 10.0
"""A worker stops at the deadline by itself; this is the margin for what it notices late."""
_STOP_SECONDS: Final = 5.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """One worker, as TorchServe describes it."""

    pid: int
    """Process id; -1 while there is none."""
    status: str
    """READY, LOADING, UNLOADING or UNKNOWN."""


class TorchServeProcess:
    """A running TorchServe."""

    def __init__(
        self, process: asyncio.subprocess.Process, ports: Ports, files: InstanceFiles, home: InstanceFolder
    ) -> None:
        self.ports = ports
        self._process, self._files, self._home = process, files, home
        self._keys: dict[str, str] = {}
        self._stopped = False

    @classmethod
    async def start(cls, config: ServeConfig, metrics: Iterable[str]) -> Self:
        """Start TorchServe and wait until every worker of every metric is ready.

        Raises:
            StartupError: Java or TorchServe is missing, the temporary folder is too small, a worker crashes, or time is
                up; nothing is left running.
        """
        names = list(metrics)
        home = InstanceFolder.create()
        files = InstanceFiles(folder=home.path, logs=config.torchserve.log_dir or home.path / "logs")
        ports = Ports.free()
        env = environment(config, files, default_budget(config, len(names)))
        try:
            check_folder(home.path, config.model_store)
            files.write(config, ports)
            process = await _spawn(command(config, files, len(names)), env, files)
        except OSError as error:
            home.remove()
            raise StartupError(f"TorchServe cannot be started from {home.path.parent}: {error}") from error
        except BaseException:
            home.remove()
            raise
        server = cls(process, ports, files, home)
        try:
            await server._await_workers(names, config)
        except BaseException:
            await server.stop()
            raise
        return server

    @property
    def pid(self) -> int:
        """Return the process id of the Java virtual machine."""
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Its temporary folder: configuration, unpacked archives, sockets."""
        return self._files.folder

    @property
    def board(self) -> Path:
        """Where gateway and workers leave notes for each other."""
        return self._files.board

    @property
    def spool(self) -> Path:
        """The folder of large messages."""
        return self._files.spool

    @property
    def inference_metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata that authorises gRPC inference: the key that only this instance holds."""
        return (("authorization", self._bearer("inference")),)

    async def workers(self, metric: str) -> list[WorkerState]:
        """Return the workers of a metric; none while TorchServe does not answer."""
        try:
            answer = await asyncio.to_thread(self._describe, metric)
        except (OSError, ValueError):
            return []
        return [WorkerState(pid=worker["pid"], status=worker["status"]) for worker in answer[0]["workers"]]

    def last_error(self) -> str:
        """Return the last error that a worker printed, in one line; empty if there is none."""
        return last_error_in(text_of(self._files.worker_log))

    async def ended(self) -> str:
        """Wait until TorchServe ends on its own, and return how it ended."""
        code = await self._process.wait()
        why = last_error_in(text_of(self._files.server_log)) or last_error_in(text_of(self._files.console))
        return f"TorchServe ended with status {code}" + (f": {why}" if why else "")

    async def stop(self) -> None:
        """End TorchServe and its workers, and remove its folder; a second call does nothing."""
        if self._stopped:  # its process id may have been reused by now
            return
        self._stopped = True
        workers = _descendants(self.pid)
        # Workers that outlive Java have nothing to finish.
        alive = self._process.returncode is None
        for number in (signal.SIGTERM, signal.SIGKILL) if alive else (signal.SIGKILL,):
            _signal_group(self.pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._process.wait()
                    await _gone(workers)
                    break
        self._home.remove()

    async def _await_workers(self, metrics: list[str], config: ServeConfig) -> None:
        try:
            async with asyncio.timeout(config.torchserve.start_timeout_seconds):
                for metric in metrics:
                    await self._await_metric(metric, config.workers)
                    await self._check_patience(metric, config.admission.max_deadline_seconds)
        except TimeoutError:
            why = self.last_error() or "see its log with --torchserve-log-dir"
            seconds = config.torchserve.start_timeout_seconds
            raise StartupError(f"TorchServe's workers were not ready within {seconds:g} s: {why}") from None

    async def _await_metric(self, metric: str, count: int) -> None:
        while [worker.status for worker in await self.workers(metric)].count(READY) < count:
            if self._process.returncode is not None:
                raise StartupError(await self.ended())
            if problem := not_loaded_in(text_of(self._files.server_log)):
                raise StartupError(f"TorchServe cannot load {metric}.mar: {problem}")
            if text_of(self._files.worker_log).count(_DEATH) >= _FATAL_DEATHS:
                raise StartupError(f"the workers of TorchServe die while loading: {self.last_error()}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _check_patience(self, metric: str, longest: float) -> None:
        """Check that no request may outlast the archive's response timeout, after which TorchServe kills the worker."""
        patience = (await asyncio.to_thread(self._describe, metric))[0]["responseTimeout"]
        if longest + _PATIENCE_MARGIN_SECONDS > patience:
            raise StartupError(
                f"{metric}.mar lets a worker be silent for {patience} s: "
                f"--max-deadline must be at most {patience - _PATIENCE_MARGIN_SECONDS:g}, not {longest:g}"
            )

    def _describe(self, metric: str) -> Any:
        url = f"http://{LOOPBACK}:{self.ports.management}/models/{metric}"
        request = urllib.request.Request(url, headers={"Authorization": self._bearer("management")})
        with _opener.open(request, timeout=5) as response:
            return json.load(response)

    def _bearer(self, kind: str) -> str:
        """Return the key for `management` or `inference`, as a header value.

        Raises:
            OSError: TorchServe has not written it yet.
            ValueError: it is being written.
        """
        if kind not in self._keys:
            self._keys = {name: entry["key"] for name, entry in json.loads(self._files.keys.read_bytes()).items()}
        return f"Bearer {self._keys[kind]}"


async def _spawn(command: list[str], env: dict[str, str], files: InstanceFiles) -> asyncio.subprocess.Process:
    with files.console.open("wb") as console:
        return await asyncio.create_subprocess_exec(
            *command, env=env, cwd=files.folder, stdin=asyncio.subprocess.DEVNULL, stdout=console, stderr=console,
            start_new_session=True,
        )  # fmt: skip


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        logger.debug("process group %d is gone", group)


async def _gone(processes: list[psutil.Process]) -> None:
    while any(process.is_running() for process in processes):
        await asyncio.sleep(_POLL_SECONDS)
