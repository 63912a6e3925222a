"""What operators rely on: health, reflection, tokens, TLS, metrics, ports, draining."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from gateways import connect, connected, eventually, failure_of, metrics_of, request, slow_request
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tiny_archives import GOLDEN_IMAGE, png, replace_entry, write_tiny_archive

from scoreguard.v1 import scoring_pb2_grpc
from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.scoring_pb2 import ListMetricsRequest, ScoreGradientRequest
from scoreguard_handlers.config import SecurityConfig, ServeConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.gateway.service import serve

SERVICE = "scoreguard.v1.ScoringService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A model store with one metric."""
    write_tiny_archive(tmp_path / "store")
    return tmp_path / "store"


async def test_draining_says_not_serving_and_finishes_the_work(store: Path) -> None:
    """On the way out readiness falls, new work is refused, and the request under way is answered."""
    async with AsyncExitStack() as stack:
        async with serve(ServeConfig(model_store=store, backend="local", port=0)) as gateway:
            line = await stack.enter_async_context(connect(gateway))
            work = asyncio.create_task(_await(line.stub.ScoreDefended(slow_request(4, size=512))))
            await eventually(lambda: _true(gateway.router.dispatchers["bright"].running == 1))
            states = health_pb2_grpc.HealthStub(line.channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            assert (await states.read()).status == SERVING
            leaving = asyncio.create_task(_read_status(states))
        assert await leaving == NOT_SERVING
        assert (await work).score == pytest.approx(20, abs=0.1)


async def test_draining_serves_on_then_refuses_and_never_cancels(store: Path) -> None:
    """For the drain delay calls are served; after it every late call is UNAVAILABLE, and none is CANCELLED."""
    codes: list[tuple[float, grpc.StatusCode]] = []

    async def caller(address: str) -> None:
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            stub: Any = scoring_pb2_grpc.ScoringServiceStub(channel)
            while True:
                started = time.perf_counter()
                codes.append((started, await stub.ScoreDefended(request(), timeout=10).code()))
                await asyncio.sleep(0)

    async with AsyncExitStack() as stack:
        config = ServeConfig(model_store=store, backend="local", port=0, workers=2, drain_seconds=2.0)
        gateway = await stack.enter_async_context(serve(config))
        callers = [asyncio.create_task(caller(gateway.address)) for _ in range(8)]
        await eventually(lambda: _true(len(codes) > 20))
        leaving = time.perf_counter()
        await stack.aclose()
    await asyncio.sleep(0.3)
    for task in callers:
        task.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    during = {code for started, code in codes if started < leaving + 1.0}
    after = {code for started, code in codes if started >= leaving + 1.0}
    assert during == {grpc.StatusCode.OK}
    assert after <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert codes[-1][1] is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(("entry", "data"), [("metric.onnx", b"changed"), (GOLDEN_IMAGE, png(200))])
async def test_a_changed_archive_is_refused_at_the_start(store: Path, entry: str, data: bytes) -> None:
    """A file that is not what the manifest says stops the start, and the file is named."""
    replace_entry(store / "bright.mar", entry, data)
    with pytest.raises(IntegrityError, match=entry):
        async with connected(store):
            pass


async def test_gradients_are_served_only_where_turned_on(store: Path) -> None:
    """Without the switch the service does not exist: UNIMPLEMENTED; with it the request reaches the worker."""
    for gradients, code in ((False, grpc.StatusCode.UNIMPLEMENTED), (True, grpc.StatusCode.NOT_FOUND)):
        async with connected(store, gradients=gradients) as line:
            stub: Any = scoring_pb2_grpc.GradientServiceStub(line.channel)
            error = await failure_of(stub.ScoreGradient(ScoreGradientRequest(metric="nothing")))
            assert error.code() is code
            assert (await line.stub.ListMetrics(ListMetricsRequest())).gradients is gradients


@pytest.mark.parametrize("gradients", [False, True])
async def test_reflection_lists_the_services(store: Path, gradients: bool) -> None:
    """Tools find exactly what is served."""
    async with connected(store, gradients=gradients) as line:
        stub = reflection_pb2_grpc.ServerReflectionStub(line.channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = {service.name for service in (await call.read()).list_services_response.service}
        call.cancel()
    assert SERVICE in names and "grpc.health.v1.Health" in names
    assert ("scoreguard.v1.GradientService" in names) is gradients


async def test_the_metrics_page_counts_calls_items_and_stages(store: Path) -> None:
    """Prometheus sees each call by code, each image by code, the stages without their parameters, and the queue."""
    async with connected(store, metrics_port=0) as line:
        await line.stub.ScoreDefended(request(chain="gain:factor=0.5"))
        await failure_of(line.stub.ScoreDefended(request(metric="nothing")))
        page = await metrics_of(line)
    for expected in (
        'scoreguard_calls_total{code="OK",method="ScoreDefended"} 1.0',
        'scoreguard_calls_total{code="NOT_FOUND",method="ScoreDefended"} 1.0',
        'scoreguard_items_total{code="OK",metric="bright"} 1.0',
        'scoreguard_stage_seconds_count{metric="bright",stage="gain"} 1.0',
        'scoreguard_queue_waiting{metric="bright"} 0.0',
        "scoreguard_ready 1.0",
        'scoreguard_metric_ready{metric="bright"} 1.0',
    ):
        assert expected in page


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
@pytest.mark.parametrize("client_certificate", [True, False])
async def test_mutual_tls_admits_only_signed_clients(store: Path, tmp_path: Path, client_certificate: bool) -> None:
    """With a client authority, a client without a certificate cannot connect, and one with it can."""
    key, cert = make_certificate(tmp_path)
    security = SecurityConfig(tls_key=key, tls_cert=cert, tls_client_ca=cert)
    async with serve(ServeConfig(model_store=store, backend="local", port=0, security=security)) as gateway:
        pair = (key.read_bytes(), cert.read_bytes()) if client_certificate else (None, None)
        credentials = grpc.ssl_channel_credentials(cert.read_bytes(), *pair)
        async with grpc.aio.secure_channel(gateway.address, credentials) as channel:
            stub: Any = scoring_pb2_grpc.ScoringServiceStub(channel)
            call = stub.ScoreDefended(request(), timeout=10)
            assert await call.code() is (grpc.StatusCode.OK if client_certificate else grpc.StatusCode.UNAVAILABLE)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    extra = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *extra], check=True, capture_output=True)
    return key, cert


async def test_a_taken_port_is_refused_in_one_line(store: Path) -> None:
    """The address is named, before any worker is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"127.0.0.1:{port}.*--port"):
            async with connected(store, port=port):
                pass


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_any_form_of_address_can_be_listened_on(store: Path, host: str) -> None:
    """Names, IPv4 and IPv6: what is printed is what a client connects to."""
    if ":" in host and not has_ipv6():
        pytest.skip("no IPv6 here")
    async with connected(store, host=host) as line:
        assert (await line.stub.ScoreDefended(request())).score == pytest.approx(20, abs=1e-3)


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_one_port_for_calls_and_metrics_is_refused(store: Path) -> None:
    """Each would get one of the host's addresses, and a caller's luck would decide whom he reaches."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(StartupError, match=f"--port and --metrics-port are both {port}"):
        async with connected(store, port=port, metrics_port=port):
            pass


async def test_a_taken_metrics_port_is_refused_in_one_line(store: Path) -> None:
    """Before a worker is started, with the option to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StartupError, match="--metrics-port"):
            async with connected(store, host="127.0.0.1", metrics_port=taken.getsockname()[1]):
                pass


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 70, "a b"])
async def test_an_unknown_host_is_refused_in_one_line(store: Path, host: str) -> None:
    """Whatever is wrong with the name."""
    with pytest.raises(StartupError, match="cannot listen on"):
        async with connected(store, host=host):
            pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
async def test_a_key_of_another_certificate_is_refused(store: Path, tmp_path: Path) -> None:
    """GRPC would start with such a pair, and no client could connect."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (key, _), (_, cert) = make_certificate(tmp_path / "one"), make_certificate(tmp_path / "two")
    with pytest.raises(StartupError, match="do not belong together"):
        async with connected(store, security=SecurityConfig(tls_key=key, tls_cert=cert)):
            pass


async def test_an_archive_must_be_named_after_its_metric(store: Path) -> None:
    """TorchServe takes the name from the file, requests take it from the manifest: they must agree."""
    (store / "bright.mar").rename(store / "other.mar")
    with pytest.raises(StartupError, match=r"bright\.mar"):
        async with connected(store):
            pass


@pytest.mark.parametrize("kept", ["tls_key", "tls_cert", "tls_client_ca"])
def test_half_a_tls_configuration_is_refused(kept: str) -> None:
    """A key without a certificate would serve in the clear."""
    with pytest.raises(StartupError, match="--tls-"):
        only: dict[str, Any] = {kept: Path("file.pem")}
        SecurityConfig(**only)


async def _await(call: Any) -> Any:
    return await call


async def _true(value: bool) -> bool:
    return value


async def _read_status(call: Any) -> int:
    message = await call.read()
    status: int = message.status
    return status
