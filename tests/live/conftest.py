"""Live servers: one of each backend for the whole session, on small archives with known answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_servers import LiveServer, faulty_store, running_server, table_config

BACKENDS = ("local", "torchserve")


@pytest.fixture(scope="session")
def live_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model store of the session's servers."""
    return faulty_store(tmp_path_factory.mktemp("live"))


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
