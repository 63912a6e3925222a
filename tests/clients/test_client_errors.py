"""Failures: which exception, what it carries, what is tried again, what a repr hides."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

import scoreguard_client
from scoreguard_client import (
    AsyncScoringClient,
    CancelledError,
    ConfigurationError,
    ConnectionConfig,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    RetryConfig,
    ScoringClient,
    ServerError,
    TLSConfig,
    UnavailableError,
)
from scoreguard_client._exceptions import BY_CODE
from scoreguard_client._status import from_status
from scoreguard_handlers import errors as serving
from scoreguard_handlers.worker.status import to_status

pytestmark = pytest.mark.base

GREY = np.full((4, 6, 3), 51, np.uint8)
FAST = RetryConfig(initial_backoff_seconds=0.01, max_backoff_seconds=0.02)


def failing(code: int, message: str = "told to fail") -> status_pb2.Status:
    """A status without details."""
    return status_pb2.Status(code=code, message=message)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK], ids=str)
def test_every_grpc_status_has_an_exception(running: Any, code: grpc.StatusCode) -> None:
    """Whatever a server or a proxy answers, both clients raise one of this package's exceptions."""
    number = code.value[0]
    with ScoringClient(running.target, ConnectionConfig(retry=RetryConfig(attempts=1))) as client:
        running.service.failures.append(failing(number))
        with pytest.raises(BY_CODE[number]) as caught:
            client.score(GREY, metric="bright")
    assert caught.value.code == code.name
    if code is not grpc.StatusCode.UNAUTHENTICATED:  # its message says how to send a token
        assert str(caught.value) == "told to fail"


def test_every_status_class_is_used_and_exported() -> None:
    """The table names only public exceptions, and every server exception has a status."""
    assert {kind.__name__ for kind in BY_CODE.values()} == {kind.__name__ for kind in ServerError.__subclasses__()}
    assert all(kind.__name__ in scoreguard_client.__all__ for kind in BY_CODE.values())


SERVED = [
    (serving.InvalidRequestError("bad image", field="image"), InvalidRequestError),
    (serving.UnknownNameError("metric", "brigth", ["bright", "dark"], field="metric"), NotFoundError),
    (serving.NotDeployedError("not here"), scoreguard_client.NotDeployedError),
    (serving.ResourceLimitError("too big", metadata={"bytes": "9"}), scoreguard_client.ResourceExhaustedError),
    (serving.PoisonError("it took a worker down"), scoreguard_client.ResourceExhaustedError),
    (serving.TooLateError("too late"), DeadlineExceededError),
    (serving.CallerGoneError("the caller left"), scoreguard_client.CancelledError),
    (serving.BackendUnavailableError("restarting"), UnavailableError),
    (serving.ChainFailedError("stage jpeg failed", metadata={"stage": "jpeg"}), InternalError),
]


@pytest.mark.parametrize(("served", "expected"), SERVED, ids=lambda value: getattr(value, "reason", ""))
async def test_what_the_server_says_arrives(running: Any, served: serving.ServingError, expected: Any) -> None:
    """Message, reason, field and metadata of each server error reach the caller of either client."""
    config = ConnectionConfig(retry=RetryConfig(attempts=1))
    running.service.failures.extend([to_status(served)] * 2)
    with ScoringClient(running.target, config) as client, pytest.raises(expected) as caught:
        client.score(GREY, metric="bright")
    async with AsyncScoringClient(running.target, config) as aio_client:
        with pytest.raises(expected) as aio_caught:
            await aio_client.score(GREY, metric="bright")
    for error in (caught.value, aio_caught.value):
        assert str(error) == str(served)
        assert (error.reason, error.field, error.metadata) == (served.reason, served.field, served.metadata)


def test_every_server_error_has_its_row() -> None:
    """The table above misses none of the server's classes."""
    assert {type(served) for served, _ in SERVED} == set(serving.ServingError.__subclasses__())


def test_an_unknown_name_lists_the_near_ones() -> None:
    """They are there for programs, not only in the message."""
    error = from_status(to_status(serving.UnknownNameError("metric", "brigth", ["bright", "dark"])))
    assert isinstance(error, NotFoundError)
    assert error.near == ("bright",)
    assert error.known == ("bright", "dark")


def test_the_time_to_come_back_arrives() -> None:
    """RetryInfo becomes seconds; without it there is None."""
    error = serving.BackendUnavailableError("restarting")
    assert from_status(to_status(error)).retry_after == error.retry_after_seconds
    assert from_status(failing(code_pb2.UNAVAILABLE)).retry_after is None


def test_details_of_others_are_ignored() -> None:
    """A detail that this client does not know changes nothing."""
    status = failing(code_pb2.INTERNAL)
    status.details.add().Pack(error_details_pb2.DebugInfo(detail="stack"))
    error = from_status(status)
    assert (type(error), error.reason, error.metadata) == (InternalError, "", {})


def test_unavailable_is_retried_with_the_same_seed(running: Any) -> None:
    """Two refusals and then an answer look like one call, for an image larger than gRPC's own retry buffer."""
    running.service.failures.extend([failing(code_pb2.UNAVAILABLE)] * 2)
    image = np.zeros((400, 400, 3), np.uint8)
    with ScoringClient(running.target, ConnectionConfig(retry=FAST)) as client:
        answer = client.score(image, metric="bright", defences="shift")
    assert len(running.service.requests) == 3
    assert {request.seed for request in running.service.requests} == {answer.provenance.seed}


async def test_the_asyncio_client_retries_as_well(running: Any) -> None:
    """The same rule holds for both clients."""
    running.service.failures.extend([failing(code_pb2.UNAVAILABLE)] * 2)
    async with AsyncScoringClient(running.target, ConnectionConfig(retry=FAST)) as client:
        await client.score(GREY, metric="bright")
    assert len(running.service.requests) == 3


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_the_number_of_attempts_is_the_configured_one(running: Any, attempts: int) -> None:
    """After the last attempt the server's own words are raised."""
    running.service.failures.extend([failing(code_pb2.UNAVAILABLE, "still starting")] * 9)
    retry = RetryConfig(attempts=attempts, initial_backoff_seconds=0.01, max_backoff_seconds=0.02)
    with ScoringClient(running.target, ConnectionConfig(retry=retry)) as client, pytest.raises(UnavailableError):
        client.score(GREY, metric="bright")
    assert len(running.service.requests) == attempts


@pytest.mark.parametrize("code", sorted(set(BY_CODE) - {code_pb2.UNAVAILABLE}))
def test_nothing_but_unavailable_is_retried(running: Any, code: int) -> None:
    """One refusal, one call."""
    running.service.failures.append(failing(code))
    with ScoringClient(running.target, ConnectionConfig(retry=FAST)) as client, pytest.raises(BY_CODE[code]):
        client.score(GREY, metric="bright")
    assert len(running.service.requests) == 1


async def test_a_call_ends_at_its_deadline(running: Any) -> None:
    """A server that hangs does not hang its callers: the config's limit and the call's own limit both hold."""
    running.service.release.clear()
    start = time.monotonic()
    with ScoringClient(running.target, ConnectionConfig(timeout_seconds=0.2)) as client:
        with pytest.raises(DeadlineExceededError, match=r"no answer from localhost:\d+ within 0\.2 s"):
            client.score(GREY, metric="bright")
        with pytest.raises(DeadlineExceededError, match=r"within 0\.1 s"):
            list(client.score_stream([GREY], metric="bright", timeout=0.1))
    async with AsyncScoringClient(running.target) as aio_client:
        with pytest.raises(DeadlineExceededError, match=r"within 0\.1 s"):
            await aio_client.score(GREY, metric="bright", timeout=0.1)
    assert time.monotonic() - start < 5


async def test_cancelling_the_task_cancels_the_call(running: Any) -> None:
    """What asyncio cancels stays cancelled, and the error is its own."""
    running.service.release.clear()
    async with AsyncScoringClient(running.target) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.score(GREY, metric="bright"), 0.2)


def test_closing_the_client_ends_a_call_under_way(running: Any) -> None:
    """Another thread's call gets a typed error."""
    running.service.release.clear()
    caught: list[BaseException] = []

    def call() -> None:
        try:
            client.score(GREY, metric="bright")
        except ServerError as error:
            caught.append(error)

    client = ScoringClient(running.target)
    thread = threading.Thread(target=call)
    thread.start()
    while not running.service.requests:
        thread.join(0.01)
    client.close()
    thread.join(10)
    assert [type(error) for error in caught] == [CancelledError]


def test_no_server_is_one_clear_line() -> None:
    """The message says what to do, and the original cause is kept."""
    with (
        ScoringClient("localhost:1", ConnectionConfig(retry=FAST)) as client,
        pytest.raises(UnavailableError) as caught,
    ):
        client.list_metrics()
    assert str(caught.value) == "cannot reach localhost:1: is scoreguard-serve running?"
    assert "onnect" in caught.value.metadata["detail"]
    assert caught.value.__cause__ is not None


def test_the_token_travels_with_every_call(running: Any) -> None:
    """Unary calls and streams carry the bearer token."""
    with ScoringClient(running.target, ConnectionConfig(token="s3cret")) as client:
        client.score(GREY, metric="bright")
        list(client.score_stream([GREY], metric="bright"))
    assert [metadata["authorization"] for metadata in running.service.metadata] == ["Bearer s3cret"] * 2


def test_no_repr_shows_a_secret() -> None:
    """Neither the token nor the key appears in a log line."""
    tls = TLSConfig(private_key=b"KEYKEY", certificate_chain=b"CERT")
    config = ConnectionConfig(token="s3cret", tls=tls)
    for value in (config, tls, ScoringClient("localhost:1", config), AsyncScoringClient("localhost:1", config)):
        assert "s3cret" not in repr(value)
        assert "KEYKEY" not in repr(value)
        assert "***" in repr(value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RetryConfig(attempts=0),
        lambda: RetryConfig(attempts=-1),
        lambda: RetryConfig(unreachable_seconds=-1),
        lambda: RetryConfig(initial_backoff_seconds=0),
        lambda: RetryConfig(initial_backoff_seconds=3, max_backoff_seconds=1),
        lambda: RetryConfig(backoff_multiplier=0),
        lambda: ConnectionConfig(timeout_seconds=0),
        lambda: ConnectionConfig(timeout_seconds=float("nan")),
        lambda: ConnectionConfig(max_message_bytes=-1),
        lambda: ConnectionConfig(token="two words"),
        lambda: ConnectionConfig(token="line\n"),
        lambda: TLSConfig(private_key=b"k"),
        lambda: TLSConfig(certificate_chain=b"c"),
    ],
)
def test_options_that_cannot_work_are_refused(make: Any) -> None:
    """A wrong option fails where it is written, not at the first call."""
    with pytest.raises(ConfigurationError):
        make()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[bytes, bytes]:
    """A self-signed certificate for localhost and its key, PEM."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {key} -out {cert}"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return cert.read_bytes(), key.read_bytes()


async def test_mutual_tls_works_on_both_clients(start_server: Any, certificate: tuple[bytes, bytes]) -> None:
    """A server that asks for a client's certificate answers one that shows it."""
    cert, key = certificate
    credentials = grpc.ssl_server_credentials([(key, cert)], cert, require_client_auth=True)
    target = start_server(credentials=credentials).target
    config = ConnectionConfig(tls=TLSConfig(root_certificates=cert, private_key=key, certificate_chain=cert))
    with ScoringClient(target, config) as client:
        assert client.score(GREY, metric="bright").score == pytest.approx(20, abs=1e-5)
    async with AsyncScoringClient(target, config) as aio_client:
        assert (await aio_client.score(GREY, metric="bright")).score == pytest.approx(20, abs=1e-5)


def test_a_server_that_is_not_trusted_says_tls(start_server: Any, certificate: tuple[bytes, bytes]) -> None:
    """The message sends the user to the certificates, not to the server's state."""
    cert, key = certificate
    target = start_server(credentials=grpc.ssl_server_credentials([(key, cert)])).target
    config = ConnectionConfig(tls=TLSConfig(), retry=RetryConfig(attempts=1))
    with ScoringClient(target, config) as client, pytest.raises(UnavailableError, match="no TLS connection"):
        client.list_metrics(timeout=5)
