"""Every knob of the service, with its default and why it is that."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from scoreguard_handlers.errors import StartupError

BackendName = Literal["torchserve", "local"]
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class AdmissionConfig:
    """How requests wait, for how long, and how they are handed to workers; per metric."""

    queue_limit: int = 256
    """Requests that may wait for one metric; one more is refused with RESOURCE_EXHAUSTED."""
    queue_bytes: int = 512 * MIB
    """Bytes that may wait for one metric, whatever their number."""
    calls_per_worker: int = 2
    """Calls to TorchServe under way for each worker: one runs, the other waits beside it and hides the round trip."""
    max_batch: int = 4
    """Most requests in one call to TorchServe."""
    linger_seconds: float = 0.002
    """Under load, time that a free worker waits for its share of requests before it takes fewer."""
    max_batch_bytes: int = 8 * MIB
    """Requests above this size together travel alone; joining big pictures saves nothing."""
    default_deadline_seconds: float = 60.0
    """Deadline of a request whose caller set none."""
    max_deadline_seconds: float = 100.0
    """Longest time that any request may take; a later deadline is cut to this. TorchServe kills a worker that is silent
    for the `responseTimeout` of its archive, 120 s, so this must stay below."""
    window: int = 16
    """Items of one stream or batch call that may be under way at once."""


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    """When the service counts as ready."""

    period_seconds: float = 5.0
    """Time between two checks of every metric."""
    retry_seconds: float = 0.5
    """Time between two checks while a metric is not ready."""
    canary_timeout_seconds: float = 10.0
    """A canary that takes longer counts as failed, unless the workers are busy with callers."""


@dataclass(frozen=True, kw_only=True)
class SecurityConfig:
    """Who may call. Health and reflection are always open, since probes carry no metadata."""

    tokens_file: Path | None = None
    """Bearer tokens, one a line; `#` starts a comment. Read again when the file changes. None = no tokens."""
    tls_key: Path | None = None
    """PEM private key of the server."""
    tls_cert: Path | None = None
    """PEM certificate chain of the server."""
    tls_client_ca: Path | None = None
    """PEM certificates that sign clients; given = only such clients may connect (mTLS)."""

    def __post_init__(self) -> None:
        """Refuse half a TLS configuration."""
        if (self.tls_key is None) != (self.tls_cert is None):
            raise StartupError("TLS needs both a key and a certificate: give --tls-key and --tls-cert")
        if self.tls_client_ca is not None and self.tls_key is None:
            raise StartupError("--tls-client-ca needs --tls-key and --tls-cert")


@dataclass(frozen=True, kw_only=True)
class TorchServeConfig:
    """The TorchServe behind the gateway."""

    start_timeout_seconds: float = 120.0
    """Time until all workers must be ready."""
    hung_worker_seconds: float = 30.0
    """A worker that is silent for this long after the longest deadline is killed by TorchServe."""
    heap_mib: int = 0
    """Java heap limit in MiB; 0 = what the calls under way need: 64, and 5 for each. Large messages do not pass it."""
    log_dir: Path | None = None
    """Where TorchServe's own logs are kept, 16 MiB at most; None = in its temporary folder, which goes with it."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """One running service."""

    model_store: Path
    """Folder of the archives."""
    backend: BackendName = "torchserve"
    """`torchserve` = worker processes behind TorchServe; `local` = the same chain in this process, no Java."""
    host: str = "localhost"
    """Address to listen on; loopback unless the operator says otherwise."""
    port: int = 50051
    """Port to listen on; 0 = a free one."""
    workers: int = field(default_factory=lambda: usable_cores())
    """Workers of each metric; default = the cores that this process may use."""
    threads: int = 1
    """Threads of one graph run; on a CPU more workers beat more threads."""
    max_pixels: int = 50_000_000
    """Largest picture, refused before it is decoded."""
    max_message_bytes: int = 64 * MIB
    """Largest request, and largest answer of TorchServe's workers; a larger one is refused with RESOURCE_EXHAUSTED and
    both sizes. Above half a MiB they go to TorchServe's workers as files in the temporary folder."""
    gradients: bool = False
    """Whether GradientService is served: white-box access, for research only."""
    reflection: bool = True
    """Whether tools such as grpcurl may list the services."""
    metrics_port: int | None = None
    """Port for Prometheus on the same host; None = no such page, 0 = a free port."""
    grace_seconds: float = 10.0
    """On stop, time for requests under way to finish."""
    admission: AdmissionConfig = field(default_factory=AdmissionConfig)
    """Queues and batches."""
    health: HealthConfig = field(default_factory=HealthConfig)
    """Readiness."""
    security: SecurityConfig = field(default_factory=SecurityConfig)
    """Tokens and TLS."""
    torchserve: TorchServeConfig = field(default_factory=TorchServeConfig)
    """Ignored by the local backend."""


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
