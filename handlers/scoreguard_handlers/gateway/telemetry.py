"""Prometheus: calls by method and code, items by metric and code, time by stage, queues."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from scoreguard.v1.worker_pb2 import WorkResult
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.gateway.admission import Dispatcher
from scoreguard_handlers.gateway.call_log import CallFacts, CallLog

_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_CODE_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}


class Telemetry:
    """The metrics of one server, in a separate registry, and its call log."""

    def __init__(self, log: CallLog | None = None) -> None:
        self.log = log or CallLog()
        self.registry = CollectorRegistry()
        self._calls = Counter("scoreguard_calls", "gRPC calls that ended.", ["method", "code"], registry=self.registry)
        self._call_seconds = Histogram(
            "scoreguard_call_seconds", "Time of a gRPC call.", ["method"], buckets=_SECONDS, registry=self.registry
        )
        self._in_flight = Gauge(
            "scoreguard_calls_in_flight", "gRPC calls under way.", ["method"], registry=self.registry
        )
        self._items = Counter(
            "scoreguard_items", "Images that were answered.", ["metric", "code"], registry=self.registry
        )
        self._stage_seconds = Histogram(
            "scoreguard_stage_seconds", "Time of one stage of one image.", ["metric", "stage"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._ready = Gauge("scoreguard_ready", "1 while some metric can score.", registry=self.registry)
        self._metric_ready = Gauge(
            "scoreguard_metric_ready", "1 while the metric can score.", ["metric"], registry=self.registry
        )
        self._rejected = Counter(
            "scoreguard_rejected_callers", "Calls without an accepted token.", ["reason"], registry=self.registry
        )

    @contextmanager
    def call(self, call: CallFacts) -> Iterator[None]:
        """Count, time and log one call; the code that answers it fills in the status code."""
        started = time.perf_counter()
        in_flight = self._in_flight.labels(call.method)
        in_flight.inc()
        try:
            yield
        except grpc.aio.AbortError:
            raise  # counted by the code that ended the call
        except BaseException:
            if call.code is grpc.StatusCode.OK:
                call.code = grpc.StatusCode.CANCELLED
            self._ended(call, time.perf_counter() - started)
            raise
        else:
            self._ended(call, time.perf_counter() - started)
        finally:
            in_flight.dec()

    def _ended(self, call: CallFacts, seconds: float) -> None:
        call.milliseconds = seconds * 1000
        self._call_seconds.labels(call.method).observe(seconds)
        self._calls.labels(call.method, call.code.name).inc()
        self.log.ended(call)

    def rejected(self, *, method: str, peer: str, reason: str) -> None:
        """Count and log a call without an accepted token."""
        self._rejected.labels(reason).inc()
        self.log.rejected(method=method, peer=peer, reason=reason)

    def item_failed(self, metric: str, code: int) -> None:
        """Count an image that failed."""
        self._items.labels(metric, _CODE_NAMES.get(code, "UNKNOWN")).inc()

    def item_answered(self, metric: str, result: WorkResult) -> None:
        """Count an image and the time of its stages."""
        kind = result.WhichOneof("result")
        if kind is None or kind == "status":
            self.item_failed(metric, result.status.code)
            return
        self._items.labels(metric, "OK").inc()
        for timing in getattr(result, kind).timings:
            # With a step's parameters, every value that a caller sends would create its own time series.
            stage = timing.stage.partition(":")[0]
            self._stage_seconds.labels(metric, stage).observe(timing.milliseconds / 1000)

    def ready(self, state: bool) -> None:
        """Record whether the service is ready."""
        self._ready.set(state)

    def metric_ready(self, metric: str, state: bool) -> None:
        """Record whether a metric is ready."""
        self._metric_ready.labels(metric).set(state)

    def watch(self, dispatchers: dict[str, Dispatcher]) -> None:
        """Read the depth of the queues whenever the page is fetched."""
        waiting = Gauge("scoreguard_queue_waiting", "Images in the queue.", ["metric"], registry=self.registry)
        running = Gauge("scoreguard_worker_calls", "Worker calls under way.", ["metric"], registry=self.registry)
        for metric, dispatcher in dispatchers.items():
            waiting.labels(metric).set_function(lambda d=dispatcher: d.waiting)  # type: ignore[misc]
            running.labels(metric).set_function(lambda d=dispatcher: d.running)  # type: ignore[misc]


@contextmanager
def metrics_page(telemetry: Telemetry, host: str, port: int) -> Iterator[int]:
    """Serve the page on a thread; yields the port.

    Raises:
        StartupError: the port is taken.
    """
    try:
        server, thread = start_http_server(port, addr=host, registry=telemetry.registry)
    except OSError as error:
        raise StartupError(
            f"cannot serve metrics on {host}:{port}: {error.strerror}; choose another --metrics-port"
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
