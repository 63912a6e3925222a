"""Every setting of the service, with its default, its range and the reason for both.

One field is one key of a `--config FILE`, one environment variable, and one option of `scoreguard-serve`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Final, Literal

from scoreguard.chain.devices import EngineName
from scoreguard.chain.numerics import PrecisionName
from scoreguard_handlers.errors import StartupError

BackendName = Literal["torchserve", "local"]
LogFormat = Literal["text", "json"]
MIB: Final = 1 << 20
MAX_PIXELS: Final = 50_000_000


@dataclass(frozen=True, kw_only=True)
class Range:
    """The allowed range of a number."""

    low: float
    high: float | None = None
    above: bool = False
    """Whether the lower end itself is excluded."""


NO_KNOB: Final[Mapping[str, bool]] = {"knob": False}
"""Metadata of a field that neither an option nor a configuration file can set."""
Count = Annotated[int, Range(low=1)]
Seconds = Annotated[float, Range(low=0, above=True)]
SecondsOrZero = Annotated[float, Range(low=0)]
Port = Annotated[int, Range(low=0, high=65535)]


@dataclass(frozen=True, kw_only=True)
class AdmissionConfig:
    """How requests wait, for how long, and how they are sent to workers; per metric."""

    queue_limit: Count = 256
    """Requests that may wait for one metric; further ones are refused with RESOURCE_EXHAUSTED."""
    queue_bytes: Count = 512 * MIB
    """Bytes that may wait for one metric, in any number of requests."""
    calls_per_worker: Count = 2
    """Calls to TorchServe under way per worker: one runs, the other waits and hides the round trip."""
    max_batch: Count = 4
    """Most requests in one call to TorchServe."""
    linger_seconds: SecondsOrZero = 0.002
    """Under load, how long a free worker waits for its share of requests before it takes fewer."""
    max_batch_bytes: Count = 8 * MIB
    """Requests that together exceed this size are sent separately; joining big images saves nothing."""
    default_deadline_seconds: Seconds = 60.0
    """Deadline of a request whose caller set none."""
    max_deadline_seconds: Seconds = 100.0
    """Longest time that any request may take; a later deadline is shortened to it. TorchServe kills a worker that is
    silent for `scoreguard.v1.torchserve.RESPONSE_SECONDS`, so this must stay below."""
    window: Count = 16
    """Items of one stream or batch call that may be under way at once."""
    lane_seconds: Seconds = 0.5
    """Work that is estimated to take longer is large: nothing waits behind it in a worker's own queue, it shares no
    call, and if there are several workers it never takes the last one."""
    memory_mib: Annotated[int, Range(low=0)] = 0
    """Memory that large images may take at the same time in all workers together. Work that does not fit now waits;
    work that can never fit is refused. 0 = the machine's or container's memory, less what the service needs at rest."""
    poison_seconds: SecondsOrZero = 600.0
    """How long a request that took its worker down is refused."""


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Limits on clips. Whatever its length, a clip takes the memory of the few frames under way."""

    max_frames: Count = 10_000
    """Most frames of one clip that are scored; a longer one is refused with RESOURCE_EXHAUSTED."""
    max_video_bytes: Count = 512 * MIB
    """Largest video file of one clip. It is kept in the temporary folder while the clip is scored."""
    frames_at_once: Count = 4
    """Frames of one clip that may be under way at the same time."""


@dataclass(frozen=True, kw_only=True)
class ConnectionConfig:
    """Limits on what callers may hold open.

    gRPC buffers a message until it is complete, so these bound the memory of unfinished ones: `unfinished_bytes`, and
    for streams `open_streams` messages of the largest size.
    """

    max_connections: Count = 1024
    """Connections that may be open to one address at the same time; a further one is closed at once."""
    streams_per_connection: Count = 256
    """Calls under way on one connection; clients hold back further ones themselves."""
    unfinished_bytes: Count = 512 * MIB
    """Bytes that requests may take while they arrive: this many over `max_message_bytes` are received at the same time,
    at least four; further ones wait, held back by HTTP/2's flow control."""
    held_bytes: Count = 1024 * MIB
    """Bytes of complete requests under way, of all metrics; a further large one is refused with RESOURCE_EXHAUSTED. The
    queues bound requests one by one; this bounds batches, whose items wait outside of them."""
    message_seconds: Seconds = 30.0
    """Time limit for a request to arrive completely, after which it is dropped with DEADLINE_EXCEEDED; also the time
    that it may wait before that for its turn to arrive, after which it is refused with RESOURCE_EXHAUSTED."""
    open_streams: Count = 32
    """Streaming calls that may be open at the same time; further ones are refused with RESOURCE_EXHAUSTED."""
    stream_idle_seconds: Seconds = 300.0
    """Time between two complete messages of a stream, after which the stream is closed. It is longer than any deadline,
    so a caller that waits for an answer before the next request is not cut off."""
    answer_seconds: Seconds = 120.0
    """Time limit for a caller to read an answer; after it the connection is closed, since nothing else makes gRPC drop
    the answer."""
    handshake_seconds: Seconds = 10.0
    """Time limit for a new connection to finish the TLS and HTTP/2 handshakes."""
    idle_connection_seconds: Seconds = 900.0
    """A connection without a call for this long is closed; clients reconnect by themselves."""
    keepalive_seconds: Seconds = 60.0
    """Time between two pings that check whether a silent caller is still there."""
    keepalive_timeout_seconds: Seconds = 20.0
    """Time limit for the answer to a ping, after which the connection is closed."""
    metadata_bytes: Count = 8192
    """Largest metadata of a call, tokens included; larger ones are refused by gRPC."""


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    """When a metric counts as ready."""

    period_seconds: Seconds = 5.0
    """Time between two checks of a metric."""
    retry_seconds: Seconds = 0.5
    """Time between two checks while a metric is not ready."""
    canary_timeout_seconds: Seconds = 10.0
    """A canary that takes longer counts as failed; while callers have work running, as one request that timed out."""
    stall_seconds: Seconds = 10.0
    """A metric that has answered nothing in time for this long is not ready ..."""
    stall_timeouts: Count = 3
    """... if at least this many requests have timed out since its last answer."""


@dataclass(frozen=True, kw_only=True)
class SecurityConfig:
    """Who may call. Health and reflection are always open, since probes send no metadata."""

    tokens_file: Path | None = None
    """File of bearer tokens, one per line; `#` starts a comment. It is reread when it changes. While it cannot be read,
    is empty or is writable by others, every call is refused. None = no tokens."""
    insecure_tokens: bool = False
    """Whether tokens may be sent unencrypted over a network: only behind a proxy that terminates TLS."""
    tls_key: Path | None = None
    """PEM private key of the server."""
    tls_cert: Path | None = None
    """PEM certificate chain of the server."""
    tls_client_ca: Path | None = None
    """PEM certificates that sign client certificates; if set, only such clients may connect (mTLS)."""

    def __post_init__(self) -> None:
        """Refuse an incomplete TLS configuration."""
        if (self.tls_key is None) != (self.tls_cert is None):
            raise StartupError("TLS needs both a key and a certificate: give --tls-key and --tls-cert")
        if self.tls_client_ca is not None and self.tls_key is None:
            raise StartupError("--tls-client-ca needs --tls-key and --tls-cert")


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """What is logged to standard error, one line per event."""

    format: LogFormat = "text"
    """`text` for people, `json` for log collectors."""
    verbose: bool = False
    """Whether the start, each call and each reload are logged; warnings always are."""
    slow_call_seconds: Seconds = 5.0
    """A call that takes longer is logged as slow."""


@dataclass(frozen=True, kw_only=True)
class TorchServeConfig:
    """The TorchServe behind the gateway."""

    start_timeout_seconds: Seconds = 120.0
    """Time limit for all workers to become ready."""
    hung_worker_seconds: Seconds = 30.0
    """A worker that is silent for this long after the longest deadline is killed by TorchServe."""
    overdue_seconds: Seconds = 5.0
    """A worker that is still busy this long after its last caller has left, or after the last deadline, is killed, and
    TorchServe starts another. A worker checks between two nodes of a graph."""
    heap_mib: Annotated[int, Range(low=0)] = 0
    """Java heap limit in MiB; 0 = what the calls under way need: 64, plus 5 per call. Large messages bypass it."""
    log_dir: Path | None = None
    """Where TorchServe's own logs are kept, at most 16 MiB; None = its temporary folder, which is removed with it."""
    any_handler: bool = field(default=False, metadata=NO_KNOB)
    """Whether archives may carry a handler file that this version does not write: TorchServe runs it with its own
    rights. For tests that make a worker fail; no option and no configuration key can turn it on."""


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """How one worker runs."""

    threads: Count = 1
    """Threads of one graph run; on a CPU, more workers are faster than more threads."""
    max_pixels: Count = MAX_PIXELS
    """Largest image, refused before it is decoded."""
    graph_batch: Annotated[int, Range(low=0)] = 0
    """Images of the same size and chain that run as one batch; 0 = 1 on the CPU, where a batch is no faster, and 16 on
    any other device, where the last bits of an answer then depend on the other images."""
    gradients: bool = False
    """Whether GradientService is served: white-box access, for research only."""
    checkpoint: bool = False
    """Whether a gradient runs each graph again in its backward pass: the same numbers with the memory of one graph
    instead of all, for one more forward pass."""
    device: str = "cpu"
    """Device of all graphs: `cpu`, `cuda` = every GPU, `cuda:N` = one of them, `auto` = every GPU if there is one that
    can be used, else the CPU."""
    engine: EngineName = "auto"
    """`onnx` = ONNX Runtime, `torchscript` = torch; `auto` = ONNX Runtime where it can use the device. Gradients always
    run on torch."""
    precision: PrecisionName = "fp32"
    """`fp16` = mixed half precision, for archives that declare how far it is off, on torch."""
    deterministic: bool = True
    """Whether a GPU uses only kernels whose results repeat to the last bit, as far as there are such."""
    tf32: bool = False
    """Whether a GPU may round the factors of convolutions to TF32."""
    half_gradients: bool = False
    """Whether gradients may run in half precision too, where `precision` says so; otherwise they are refused."""
    cuda_options: str = ""
    """Options of ONNX Runtime's CUDA provider: `name=value,name=value`."""
    tensorrt: bool = False
    """Whether ONNX Runtime uses its TensorRT provider, which compiles each graph for each size of image."""
    tensorrt_options: str = ""
    """Options of the TensorRT provider: `name=value,name=value`."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig(WorkerConfig):
    """One running service; the fields of a worker apply to all its workers."""

    model_store: Path
    """Folder of the archives."""
    backend: BackendName = "torchserve"
    """`torchserve` = worker processes behind TorchServe; `local` = the same chain in this process, no Java."""
    host: str = "localhost"
    """Address to listen on; loopback by default."""
    port: Port = 50051
    """Port to listen on; 0 = a free one."""
    workers: Annotated[int, Range(low=0)] = 0
    """Workers per metric; 0 = the cores that this process may use, or one for each GPU."""
    max_message_bytes: Annotated[int, Range(low=1, high=1024 * MIB)] = 64 * MIB
    """Largest request, and largest answer of TorchServe's workers; a larger one is refused with RESOURCE_EXHAUSTED and
    both sizes. Above half a MiB they go to TorchServe's workers as files in the temporary folder."""
    reflection: bool = True
    """Whether tools such as grpcurl may list the services."""
    metrics_port: Port | None = None
    """Port for Prometheus on the same host; None = no such page, 0 = a free port."""
    drain_seconds: SecondsOrZero = 0.0
    """On stop, how long calls are still served after health reports NOT_SERVING, so that load balancers notice."""
    grace_seconds: SecondsOrZero = 10.0
    """On stop, how long requests under way may take to finish, while new ones are refused with UNAVAILABLE."""
    admission: AdmissionConfig = field(default_factory=AdmissionConfig)
    """Queues and batches."""
    clips: ClipConfig = field(default_factory=ClipConfig)
    """Clips."""
    connections: ConnectionConfig = field(default_factory=ConnectionConfig)
    """Limits on what callers may hold open."""
    health: HealthConfig = field(default_factory=HealthConfig)
    """Readiness."""
    security: SecurityConfig = field(default_factory=SecurityConfig)
    """Tokens and TLS."""
    log: LogConfig = field(default_factory=LogConfig)
    """Log lines."""
    torchserve: TorchServeConfig = field(default_factory=TorchServeConfig)
    """Ignored by the local backend."""

    @property
    def worker(self) -> WorkerConfig:
        """Return the configuration of each worker."""
        return WorkerConfig(**{field.name: getattr(self, field.name) for field in fields(WorkerConfig)})


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
