"""The files and the environment that one TorchServe instance runs with.

Everything that TorchServe shares between instances by default (ports, temporary folder, logs, pid file) is made this
instance's own, and every address is loopback: the gateway is the only caller.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import scoreguard
import scoreguard_handlers
from scoreguard_handlers import board, worker_memory
from scoreguard_handlers.config import MIB, ServeConfig
from scoreguard_handlers.response_limit import VARIABLE

LOOPBACK: Final = "127.0.0.1"
WORKER_LOG: Final = "worker.log"
SERVER_LOG: Final = "torchserve.log"
MAX_JAVA_INT: Final = 2**31 - 1
_ENVELOPE_BYTES: Final = MIB
"""Room for what TorchServe's message adds to ours, and our response to what the request brought."""
_COPIES: Final = 5
"""Copies of one message that TorchServe may hold at once on its way to a worker and back."""
_NETTY: Final = ("", "io.grpc.netty.shaded.")
"""Where TorchServe's own and gRPC's copies of Netty read their options."""
_LOG4J: Final = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <File name="server" fileName="{server_log}" append="false">
      <PatternLayout pattern="%d{{ISO8601}} %-5p %c{{1}} - %m%n"/>
    </File>
    <File name="worker" fileName="{worker_log}" append="false">
      <RegexFilter regex="^Backend received inference.*" onMatch="DENY" onMismatch="NEUTRAL"/>
      <PatternLayout pattern="%m%n"/>
    </File>
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
    """gRPC inference: where the gateway calls."""
    grpc_management: int
    """gRPC management."""
    first_worker: int
    """Number in the name of the first worker's socket file."""

    @staticmethod
    def free() -> Ports:
        """Ports that are free now."""
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
    """Where its logs are."""

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
        """Where gateway and workers leave notes for each other."""
        return self.folder / "board"

    @property
    def worker_log(self) -> Path:
        """What the workers print."""
        return self.logs / WORKER_LOG

    @property
    def server_log(self) -> Path:
        """What TorchServe says."""
        return self.logs / SERVER_LOG

    def write(self, config: ServeConfig, ports: Ports) -> None:
        """Write them all."""
        self.logs.mkdir(parents=True, exist_ok=True)
        for log in (self.server_log, self.worker_log):
            log.unlink(missing_ok=True)
        self.config.write_text(render_properties(config, ports, self.metrics_config))
        self.log_config.write_text(_LOG4J.format(server_log=self.server_log, worker_log=self.worker_log))
        self.metrics_config.write_text(_METRICS)


def render_properties(config: ServeConfig, ports: Ports, metrics_config: Path) -> str:
    """The text of config.properties."""
    response_seconds = config.admission.max_deadline_seconds + config.torchserve.hung_worker_seconds
    values: dict[str, object] = {
        "inference_address": f"http://{LOOPBACK}:{ports.inference}",
        "management_address": f"http://{LOOPBACK}:{ports.management}",
        "metrics_address": f"http://{LOOPBACK}:{ports.metrics}",
        "grpc_inference_address": LOOPBACK,
        "grpc_inference_port": ports.grpc_inference,
        "grpc_management_address": LOOPBACK,
        "grpc_management_port": ports.grpc_management,
        "initial_worker_port": ports.first_worker,
        "model_store": config.model_store.resolve(),
        "load_models": "all",
        "default_workers_per_model": config.workers,
        "default_response_timeout": int(response_seconds),
        "default_startup_timeout": int(config.torchserve.start_timeout_seconds),
        "job_queue_size": max(100, 2 * config.workers * config.admission.calls_per_worker),
        "max_request_size": min(MAX_JAVA_INT, config.max_message_bytes + _ENVELOPE_BYTES),
        "max_response_size": min(MAX_JAVA_INT, config.max_message_bytes + 2 * _ENVELOPE_BYTES),
        "number_of_netty_threads": 2,
        "netty_client_threads": 1,
        "number_of_gpu": 0,
        "disable_token_authorization": "true",
        "disable_system_metrics": "true",
        "enable_envvars_config": "false",
        "install_py_dep_per_model": "false",
        "allowed_urls": "file://.*",
        "metrics_mode": "log",
        "metrics_config": metrics_config,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def java_options(config: ServeConfig) -> list[str]:
    """A small heap that gives memory back: TorchServe only passes bytes on."""
    needed = 128 + _COPIES * config.workers * config.max_message_bytes // MIB
    heap = config.torchserve.heap_mib or max(192, needed)
    netty = [f"-D{prefix}io.netty.allocator.num{kind}Arenas=1" for prefix in _NETTY for kind in ("Direct", "Heap")]
    return [
        f"-Xmx{heap}m", "-Xms16m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "-XX:MinHeapFreeRatio=10", "-XX:MaxHeapFreeRatio=30", "-XX:+ExitOnOutOfMemoryError", *netty,
    ]  # fmt: skip


def environment(config: ServeConfig, files: InstanceFiles, memory_bytes: int = 0) -> dict[str, str]:
    """The environment of TorchServe, which its workers inherit; each may take `memory_bytes` for images (0 = any)."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TS_")}
    return kept | {
        "LOG_LOCATION": str(files.logs),
        "METRICS_LOCATION": str(files.logs),
        "TEMP": str(files.folder),
        "TMPDIR": str(files.folder),
        "PYTHONPATH": os.pathsep.join(_python_path()),
        "OMP_NUM_THREADS": str(config.threads),
        # Dozens of threads that pass messages on would each keep a heap of their own.
        "MALLOC_ARENA_MAX": "2",
        "ORT_DISABLE_TELEMETRY": os.environ.get("ORT_DISABLE_TELEMETRY", "1"),
        "SCOREGUARD_THREADS": str(config.threads),
        "SCOREGUARD_MAX_PIXELS": str(config.max_pixels),
        board.VARIABLE: str(files.board),
        worker_memory.VARIABLE: str(memory_bytes),
        VARIABLE: str(config.max_message_bytes + _ENVELOPE_BYTES),
        "SCOREGUARD_GRADIENTS": "1" if config.gradients else "0",
    }


def _python_path() -> list[str]:
    """Lazy torch first, then our own source roots, which need not be installed."""
    ours = Path(scoreguard_handlers.__file__).parent
    roots = [str(ours / "lazy_torch"), str(ours.parent), str(Path(scoreguard.__file__).parents[1])]
    inherited = os.environ.get("PYTHONPATH", "")
    return roots + ([inherited] if inherited else [])
