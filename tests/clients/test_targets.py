"""Addresses of servers: what is accepted, what is refused with advice, and when a proxy is in between."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoreguard_client import (
    AsyncScoringClient,
    ConfigurationError,
    ConnectionConfig,
    RetryConfig,
    ScoringClient,
    TLSConfig,
    UnavailableError,
)
from scoreguard_client._status import _unreachable
from scoreguard_client._targets import check_target, is_loopback, local_store, proxy_of

pytestmark = pytest.mark.base

ONCE = ConnectionConfig(retry=RetryConfig(attempts=1), timeout_seconds=20)


@pytest.mark.parametrize(
    "target",
    ["localhost:50051", "10.0.0.7:1", "[::1]:50051", "scores.example:65535", "dns:///a.example:1", "unix:/tmp/socket"],
)
def test_an_address_is_accepted(target: str) -> None:
    """host:port, and the forms that gRPC resolves by itself."""
    check_target(target)


@pytest.mark.parametrize(
    ("target", "store"),
    [
        ("local:model_store", Path("model_store")),
        (" local:/srv/a b ", Path("/srv/a b")),
        ("local:~/store", Path.home() / "store"),
        ("local:50051", None),
        ("localhost:50051", None),
        ("local:", None),
    ],
)
def test_a_store_in_this_process_is_a_target_too(target: str, store: Path | None) -> None:
    """`local:PATH`; a host may be called local as well."""
    assert local_store(target) == store
    if target != "local:":
        check_target(target)


@pytest.mark.parametrize("client", [ScoringClient, AsyncScoringClient])
def test_a_store_in_this_process_goes_without_tls(client: type) -> None:
    """There is no connection to protect; a token, which may come from the environment, is of no use and no harm."""
    with pytest.raises(ConfigurationError, match="local:a runs in this process, without a connection: leave TLS out"):
        client("local:a", ConnectionConfig(tls=TLSConfig()))
    assert client("local:a", ConnectionConfig(token="secret")).target == "local:a"


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("", "name the server as host:port"),
        ("local:", "name the folder of the archives, for example local:model_store"),
        ("localhost", "name the port too, for example localhost:50051"),
        ("http://localhost:50051", "write 'localhost:50051'"),
        ("https://scores.example:443/", "write 'scores.example:443'; --tls"),
        ("::1", "IPv6 address goes in brackets"),
        ("localhost:", "is not host:port"),
        ("localhost:port", "is not host:port"),
        ("localhost:70000", "a number from 1 to 65535"),
        ("localhost:50051/path", "is not host:port: write 'localhost:50051'"),
        ("https://scores.example:443/a/b?c", "write 'scores.example:443'; --tls"),
    ],
)
def test_a_wrong_address_is_refused_with_advice(target: str, advice: str) -> None:
    """Before any call, by the constructor of the client."""
    with pytest.raises(ConfigurationError, match=advice):
        ScoringClient(target)


@pytest.mark.parametrize(
    ("target", "loopback"),
    [
        ("localhost:1", True),
        ("127.0.0.9:1", True),
        ("[::1]:1", True),
        ("unix:/tmp/socket", True),
        ("dns:///localhost:1", True),
        ("scores.example:1", False),
        ("10.0.0.1:1", False),
    ],
)
def test_loopback_is_recognised(target: str, loopback: bool) -> None:
    """There no proxy can be in between."""
    assert is_loopback(target) is loopback


def test_the_proxy_is_the_one_that_grpc_takes() -> None:
    """Its variables in its order, and its exceptions; a password in the variable is never shown."""
    environment = {"http_proxy": "http://user:secret@proxy.example:3128", "no_proxy": "inside.example, other"}
    assert proxy_of("scores.example:1", environment) == "http_proxy (proxy.example:3128)"
    assert proxy_of("a.inside.example:1", environment) == ""
    assert proxy_of("localhost:1", environment) == ""
    assert proxy_of("scores.example:1", {}) == ""


def test_a_proxy_in_the_environment_is_not_asked_for_localhost(
    running: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GRPC would send the call to the proxy, and blame the server."""
    monkeypatch.setenv("http_proxy", "http://localhost:1")
    with ScoringClient(getattr(running, "target", ""), ONCE) as client:
        assert client.list_metrics().metrics


def test_a_proxy_that_is_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which variable, and how to go past it."""
    monkeypatch.setenv("http_proxy", "http://user:secret@localhost:1")
    with ScoringClient("scores.invalid:50051", ONCE) as client, pytest.raises(UnavailableError) as caught:
        client.list_metrics()
    assert "http_proxy (localhost:1)" in str(caught.value)
    assert "no_grpc_proxy=scores.invalid" in str(caught.value)
    assert "secret" not in str(caught.value)


class Quiet(http.server.BaseHTTPRequestHandler):
    """A web server that logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def web_server() -> Iterator[int]:
    """The port of a web server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_another_program_on_the_port_is_not_called_a_missing_server(web_server: int) -> None:
    """The advice is about the port, not about starting the service."""
    with ScoringClient(f"localhost:{web_server}", ONCE) as client, pytest.raises(UnavailableError) as caught:
        client.list_metrics()
    assert "does not speak plain gRPC" in str(caught.value)
    assert "is scoreguard-serve running" not in str(caught.value)


def test_another_program_is_seen_whichever_address_fails_last(web_server: int) -> None:
    """`localhost` has two addresses, and gRPC reports the last failure: often that nobody listens on the other one."""
    for _ in range(12):
        with ScoringClient(f"localhost:{web_server}", ONCE) as client, pytest.raises(UnavailableError) as caught:
            client.list_metrics()
        assert "does not speak plain gRPC" in str(caught.value), caught.value.metadata


def test_whoever_asks_for_tls_is_not_told_to_ask_for_it() -> None:
    """A program that accepts, where gRPC saw the refusal of the name's other address only."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"localhost:{server.getsockname()[1]}"
        detail = "failed to connect to all addresses; last error: Connection refused"
        assert "does not speak plain gRPC" in _unreachable(target, detail, has_tls=False)
        assert "no TLS connection to" in _unreachable(target, detail, has_tls=True)
    assert "is scoreguard-serve running" in _unreachable(target, detail, has_tls=True)


def test_an_unknown_host_is_named() -> None:
    """A typing error in the name is not a server that is down."""
    with (
        ScoringClient("no-such-host.invalid:1", ONCE) as client,
        pytest.raises(UnavailableError, match="find the host"),
    ):
        client.list_metrics()


def test_nobody_on_the_port_is_a_missing_server() -> None:
    """The one case in which the question is the right one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            ScoringClient(target, ONCE) as client,
            pytest.raises(UnavailableError, match="is scoreguard-serve running"),
        ):
            client.list_metrics()
