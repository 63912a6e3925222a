"""Live servers: one of each backend for the whole session, on small archives with known answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_servers import LiveServer, faulty_store, running_server, table_config

from scoreguard_handlers.config import ServeConfig

BACKENDS = ("local", "torchserve")


@pytest.fixture(scope="session")
def live_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model store of the session's servers."""
    return faulty_store(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="session")
def torchserve_server(live_store: Path) -> Iterator[LiveServer]:
    """The gateway in front of the real TorchServe."""
    with running_server(table_config(live_store, "torchserve")) as server:
        yield server


@pytest.fixture(scope="session")
def local_server(live_store: Path) -> Iterator[LiveServer]:
    """The gateway with the chain in process."""
    with running_server(table_config(live_store, "local")) as server:
        yield server


@pytest.fixture(scope="session")
def lite_server(lite_store: Path) -> Iterator[LiveServer]:
    """The gateway in front of TorchServe, with the shipped metric, every defence, and gradients."""
    with running_server(ServeConfig(model_store=lite_store, port=0, workers=1, gradients=True)) as server:
        yield server


@pytest.fixture(params=BACKENDS)
def server(request: pytest.FixtureRequest) -> LiveServer:
    """Each backend by turns."""
    live: LiveServer = request.getfixturevalue(f"{request.param}_server")
    return live
