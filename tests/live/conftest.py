"""Live servers: one of each backend for the whole session, on small archives with known answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_servers import LiveServer, faulty_store, running_server, table_config

from scoreguard_export.build import BuildConfig, build
from scoreguard_export.defences.catalogue import buildable

BACKENDS = ("local", "torchserve")


@pytest.fixture(scope="session")
def live_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model store of the session's servers."""
    return faulty_store(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="session")
def lite_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `scoreguard-export build --default-variants` makes of the shipped metric and every shipped defence."""
    path = tmp_path_factory.mktemp("lite") / "model_store"
    build(BuildConfig(metrics=("lite",), defences=buildable({}), model_store=path, default_variants=True))
    return path


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


@pytest.fixture(params=BACKENDS)
def server(request: pytest.FixtureRequest) -> LiveServer:
    """Each backend by turns."""
    live: LiveServer = request.getfixturevalue(f"{request.param}_server")
    return live
