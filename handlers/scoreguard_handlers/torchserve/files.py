"""The files and the environment of one TorchServe instance.

Everything that TorchServe shares between instances by default (ports, temporary folder, logs, pid file) is private to
this instance, and every address is loopback: the gateway is the only caller.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

import scoreguard
import scoreguard_handlers
from scoreguard.chain.devices import CUDA
from scoreguard.v1.blobs import FOLDER
from scoreguard.v1.torchserve import EVERYWHERE, LOOPBACK, addresses
from scoreguard_handlers.config import MIB, ServeConfig
from scoreguard_handlers.environment import worker_environment
from scoreguard_handlers.torchserve import shared_files, worker_memory
from scoreguard_handlers.torchserve.java_properties import render_properties
from scoreguard_handlers.torchserve.response_limit import VARIABLE as RESPONSE_LIMIT
from scoreguard_handlers.torchserve.spool import INLINE_BYTES
from scoreguard_handlers.torchserve.spool import VARIABLE as SPOOL
from scoreguard_handlers.worker import board

WORKER_LOG: Final = "worker.log"
SERVER_LOG: Final = "torchserve.log"
LOG_KIB: Final = 4096
"""Size at which a log is rotated; one old file of each is kept, so the two logs take at most four times this."""
_ENVELOPE_BYTES: Final = MIB // 2
"""Room for what TorchServe's message adds to ours, and for what a small answer adds to the request."""
_LARGEST: Final = INLINE_BYTES + _ENVELOPE_BYTES
"""Largest message that passes through Java; larger ones go through a file."""
_KEY_MINUTES: Final = 525_600_000
"""A thousand years: the keys are valid as long as the server runs."""
_BASE_HEAP_MIB: Final = 64
_COPIES: Final = 5
"""Copies of one message that TorchServe may hold at once on its way to a worker and back."""
_BASE_DIRECT_MIB: Final = 24
"""Memory outside the heap for each of its three users: Java, and two copies of Netty."""
_DIRECT_COPIES: Final = 2
"""Copies of one message outside the heap: the incoming and the outgoing one."""
_NETTY: Final = ("", "io.grpc.netty.shaded.")
"""Option prefixes of TorchServe's own and gRPC's copy of Netty."""
_NETTY_OPTIONS: Final = {
    "io.netty.allocator.numDirectArenas": 1,
    "io.netty.allocator.numHeapArenas": 1,
    # Chunks of 1 MiB, not 16: unused memory is returned sooner.
    "io.netty.allocator.maxOrder": 7,
}
_LOG4J: Final = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <RollingFile name="server" fileName={server_log} filePattern={server_old} append="false">
      <PatternLayout pattern="%d{{ISO8601}} %-5p %c{{1}} - %m%n"/>
      <SizeBasedTriggeringPolicy size="{log_kib} KB"/>
      <DefaultRolloverStrategy max="1"/>
    </RollingFile>
    <RollingFile name="worker" fileName={worker_log} filePattern={worker_old} append="false">
      <RegexFilter regex="^Backend received inference.*" onMatch="DENY" onMismatch="NEUTRAL"/>
      <PatternLayout pattern="%m%n"/>
      <SizeBasedTriggeringPolicy size="{log_kib} KB"/>
      <DefaultRolloverStrategy max="1"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Logger name="MODEL_LOG" level="info" additivity="false"><AppenderRef ref="worker"/></Logger>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Root level="warn"><AppenderRef ref="server"/></Root>
  </Loggers>
</Configuration>
"""
_METRICS: Final = """\
dimensions: [&model ModelName, &level Level, &host Hostname]
ts_metrics:
  counter: [{name: ts_inference_requests_total, unit: Count, dimensions: [*host]}]
model_metrics:
  gauge: [{name: PredictionTime, unit: ms, dimensions: [*model, *level]}]
"""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The ports of one instance, all on loopback."""

    inference: int
    """REST inference."""
    management: int
    """REST management: worker states."""
    metrics: int
    """REST metrics."""
    grpc_inference: int
    """gRPC inference: called by the gateway."""
    grpc_management: int
    """gRPC management."""
    first_worker: int
    """Number in the name of the first worker's socket file."""

    @staticmethod
    def free() -> Ports:
        """Return ports that are free now."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(6)]
            for one in sockets:
                one.bind((LOOPBACK, 0))
            numbers = [one.getsockname()[1] for one in sockets]
        names = ("inference", "management", "metrics", "grpc_inference", "grpc_management", "first_worker")
        return Ports(**dict(zip(names, numbers, strict=True)))


@dataclass(frozen=True, kw_only=True)
class InstanceFiles:
    """The files of one instance."""

    folder: Path
    """Its temporary folder."""
    logs: Path
    """The folder of its logs."""

    @property
    def config(self) -> Path:
        """config.properties."""
        return self.folder / "config.properties"

    @property
    def log_config(self) -> Path:
        """log4j2.xml."""
        return self.folder / "log4j2.xml"

    @property
    def metrics_config(self) -> Path:
        """metrics.yaml."""
        return self.folder / "metrics.yaml"

    @property
    def board(self) -> Path:
        """The folder where gateway and workers leave notes for each other."""
        return self.folder / "board"

    @property
    def spool(self) -> Path:
        """The folder of large messages."""
        return self.folder / "spool"

    @property
    def keys(self) -> Path:
        """The file where TorchServe writes its keys, in its working folder."""
        return self.folder / "key_file.json"

    @property
    def console(self) -> Path:
        """The output of Java itself."""
        return self.folder / "console.log"

    @property
    def worker_log(self) -> Path:
        """The output of the workers."""
        return self.logs / WORKER_LOG

    @property
    def server_log(self) -> Path:
        """TorchServe's log."""
        return self.logs / SERVER_LOG

    def write(self, config: ServeConfig, ports: Ports) -> None:
        """Write all files."""
        self.spool.mkdir()
        self.logs.mkdir(parents=True, exist_ok=True)
        for log in (self.server_log, self.worker_log):
            log.unlink(missing_ok=True)
            _old(log).unlink(missing_ok=True)
        self.config.write_text(render_properties(server_properties(config, ports, self.metrics_config)))
        self.log_config.write_text(self._log_config(), encoding="utf-8")
        self.metrics_config.write_text(_METRICS)

    def _log_config(self) -> str:
        names = {
            "server_log": self.server_log,
            "worker_log": self.worker_log,
            # In a pattern, % begins a field.
            "server_old": str(_old(self.server_log)).replace("%", "%%"),
            "worker_old": str(_old(self.worker_log)).replace("%", "%%"),
        }
        # The Java program would substitute ${...}.
        quoted = {key: quoteattr(str(path).replace("${", "$${")) for key, path in names.items()}
        return _LOG4J.format(log_kib=LOG_KIB, **quoted)


def server_properties(config: ServeConfig, ports: Ports, metrics_config: Path) -> dict[str, object]:
    """Return the content of config.properties.

    TorchServe gives each worker the next of the machine's GPUs; a worker on a GPU that the operator chose needs none.
    """
    gpus = config.workers if config.device == CUDA else 0
    response_seconds = config.admission.max_deadline_seconds + config.torchserve.hung_worker_seconds
    return {
        **addresses(ports.inference, ports.management, ports.metrics),
        **EVERYWHERE,
        "grpc_inference_port": ports.grpc_inference,
        "grpc_management_port": ports.grpc_management,
        "initial_worker_port": ports.first_worker,
        "model_store": config.model_store.resolve(),
        "load_models": "all",
        "default_workers_per_model": config.workers,
        "default_response_timeout": int(response_seconds),
        "default_startup_timeout": int(config.torchserve.start_timeout_seconds),
        "job_queue_size": max(100, 2 * config.workers * config.admission.calls_per_worker),
        "max_request_size": _LARGEST,
        "max_response_size": _LARGEST,
        "number_of_netty_threads": 2,
        "netty_client_threads": 1,
        "number_of_gpu": gpus,
        # Every user of the machine can reach loopback; only the gateway can read the keys.
        "disable_token_authorization": "false",
        "token_expiration_min": _KEY_MINUTES,
        "enable_envvars_config": "false",
        "metrics_mode": "log",
        "metrics_config": metrics_config,
    }


def java_options(config: ServeConfig, metrics: int = 1) -> list[str]:
    """Return JVM options that bound every part of its memory: TorchServe only forwards bytes, never large messages."""
    calls = metrics * config.workers * config.admission.calls_per_worker
    heap = config.torchserve.heap_mib or _BASE_HEAP_MIB + _COPIES * calls * _LARGEST // MIB
    direct = _BASE_DIRECT_MIB + _DIRECT_COPIES * calls * _LARGEST // MIB
    options = _NETTY_OPTIONS | {"io.netty.maxDirectMemory": direct * MIB}
    netty = [f"-D{prefix}{name}={value}" for prefix in _NETTY for name, value in options.items()]
    return [
        f"-Xmx{heap}m", "-Xms16m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        f"-XX:MaxDirectMemorySize={direct}m", "-XX:MaxMetaspaceSize=128m", "-XX:ReservedCodeCacheSize=48m",
        "-XX:MinHeapFreeRatio=10", "-XX:MaxHeapFreeRatio=30", "-XX:-ShrinkHeapInSteps", "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",  # would be a file outside our folder, left behind by a kill -9
        *netty,
    ]  # fmt: skip


def environment(config: ServeConfig, files: InstanceFiles, memory_bytes: int = 0) -> dict[str, str]:
    """Return TorchServe's environment, which its workers inherit; each may take `memory_bytes` for images (0 = any)."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TS_")}
    return kept | {
        "LOG_LOCATION": str(files.logs),
        "METRICS_LOCATION": str(files.logs),
        "TEMP": str(files.folder),
        "TMPDIR": str(files.folder),
        # Java decodes file names by the locale; in the C locale, only ASCII ones.
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(_python_path()),
        "OMP_NUM_THREADS": str(config.threads),
        # Dozens of threads that forward messages would each keep a separate heap.
        "MALLOC_ARENA_MAX": "2",
        "ORT_DISABLE_TELEMETRY": os.environ.get("ORT_DISABLE_TELEMETRY", "1"),
        board.VARIABLE: str(files.board),
        worker_memory.VARIABLE: str(memory_bytes),
        RESPONSE_LIMIT: str(config.max_message_bytes + MIB),
        SPOOL: str(files.spool),
        shared_files.VARIABLE: str(config.model_store.resolve() / FOLDER),
        **worker_environment(config.worker),
    }


def _python_path() -> list[str]:
    """Return the import path: lazy torch first, then our own source roots, which need not be installed."""
    ours = Path(scoreguard_handlers.__file__).parent
    roots = [str(ours / "torchserve" / "lazy_torch"), str(ours.parent), str(Path(scoreguard.__file__).parents[1])]
    inherited = os.environ.get("PYTHONPATH", "")
    return roots + ([inherited] if inherited else [])


def _old(log: Path) -> Path:
    return log.with_name(f"{log.name}.old")
