"""What was loaded goes on being served, whatever happens to the model store."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from gateways import Line, connected, request
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tiny_archives import write_tiny_archive

from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.scoring_pb2 import ListMetricsRequest
from scoreguard_handlers.config import HealthConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.gateway.store_copy import StoreWatch, copied_store
from scoreguard_handlers.worker.catalogue import Catalogue

CHANGES = ("replaced", "written over", "deleted", "truncated", "store deleted")


def change(store: Path, how: str) -> None:
    """Do to `bright.mar` what people do."""
    archive = store / "bright.mar"
    other = write_tiny_archive(store.parent / "other", "dark")
    if how == "replaced":
        shutil.copy(other, store / "new")
        (store / "new").replace(archive)
    elif how == "written over":
        archive.write_bytes(other.read_bytes())
    elif how == "deleted":
        archive.unlink()
    elif how == "truncated":
        archive.write_bytes(b"")
    else:
        shutil.rmtree(store)


async def probe(line: Line) -> int:
    """Readiness."""
    stub = health_pb2_grpc.HealthStub(line.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service="scoreguard.v1.ScoringService"))
    return int(answer.status)


@pytest.mark.parametrize("how", CHANGES)
def test_what_was_loaded_is_served_while_the_store_changes(tmp_path: Path, how: str) -> None:
    """Health checks pass, scores and the listed digest stay, and graphs that load only now are the old ones too."""
    store = tmp_path / "store"
    digest = Catalogue.open(write_tiny_archive(store).parent)["bright"].sha256

    async def scenario() -> None:
        health = HealthConfig(period_seconds=0.05, retry_seconds=0.05)
        async with connected(store, health=health) as line:
            before: Any = await line.stub.ScoreDefended(request(100, seed=1))
            change(store, how)
            await asyncio.sleep(0.4)  # some health checks
            after: Any = await line.stub.ScoreDefended(request(100, seed=1))
            behind: Any = await line.stub.ScoreDefended(request(100, chain="gain:factor=0.5"))
            listed = await line.stub.ListMetrics(ListMetricsRequest())
            assert await probe(line) == health_pb2.HealthCheckResponse.SERVING
            assert (after.score, after.provenance) == (before.score, before.provenance)
            assert behind.score == pytest.approx(before.score / 2, abs=1e-3)
            assert [metric.archive_sha256 for metric in listed.metrics] == [digest]

    asyncio.run(scenario())


@pytest.mark.parametrize("how", CHANGES)
def test_a_change_is_seen_and_said_once(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """One warning with the file's name, that what was loaded is served, and until when."""
    store = tmp_path / "store"
    write_tiny_archive(store)
    watch = StoreWatch(store)
    assert watch.changed() == []
    change(store, how)
    assert watch.changed() == ["bright.mar"]

    async def look() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.run(0.02), 0.4)

    with caplog.at_level(logging.WARNING):
        asyncio.run(look())
    (record,) = caplog.records
    assert "bright.mar changed; what was loaded at the start is served until a restart" in record.getMessage()


def test_an_archive_that_changes_while_it_is_copied_stops_the_start(tmp_path: Path) -> None:
    """What was verified is what is served, or nothing is."""
    catalogue = Catalogue.open(write_tiny_archive(tmp_path / "store").parent)
    change(tmp_path / "store", "written over")
    with pytest.raises(IntegrityError, match="changed while the server started"), copied_store(catalogue, tmp_path):
        pass
    assert not list(tmp_path.glob("scoreguard-*"))


def test_a_full_temporary_folder_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, before anything is copied."""
    catalogue = Catalogue.open(write_tiny_archive(tmp_path / "store").parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    with (
        pytest.raises(StartupError, match="0 MiB free, a copy of the archives needs"),
        copied_store(catalogue, tmp_path),
    ):
        pass
