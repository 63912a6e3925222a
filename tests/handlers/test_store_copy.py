"""What was loaded goes on being served, whatever happens to the model store."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from gateways import Line, connected, request
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tiny_archives import share_graphs, write_tiny_archive

from scoreguard.v1.blobs import FOLDER
from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.scoring_pb2 import ListMetricsRequest
from scoreguard_handlers.cli import main
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


def shared_store(tmp_path: Path) -> Path:
    """Two archives whose graphs lie beside them."""
    store = tmp_path / "store"
    for name in ("bright", "dark"):
        share_graphs(write_tiny_archive(store, name))
    return store


def test_shared_files_are_on_the_disk_once(tmp_path: Path) -> None:
    """The served copy names the very files of the store: one place on the disk, one in the page cache."""
    store, base = shared_store(tmp_path), tmp_path / "served"
    base.mkdir()
    with copied_store(Catalogue.open(store), base) as served:
        folder = served["bright"].archive.blobs
        files = {path.name: path.stat() for path in folder.iterdir()}
        assert files.keys() == {path.name for path in (store / FOLDER).iterdir()}
        for name, status in files.items():
            assert (status.st_dev, status.st_ino) == (
                (store / FOLDER / name).stat().st_dev,
                (store / FOLDER / name).stat().st_ino,
            )
        own = sum(path.stat().st_size for path in folder.parent.iterdir() if path.is_file())
        assert own < 20_000  # manifests and golden images
    assert all(path.stat().st_nlink == 1 for path in (store / FOLDER).iterdir())


def test_shared_files_outlive_their_removal_from_the_store(tmp_path: Path) -> None:
    """As a rebuild and `prune` remove them while a service runs: a graph that loads only now is still there."""
    store = shared_store(tmp_path)

    async def scenario() -> None:
        async with connected(store) as line:
            shutil.rmtree(store / FOLDER)
            behind: Any = await line.stub.ScoreDefended(request(100, chain="gain:factor=0.5"))
            assert behind.score == pytest.approx(100 * 100 / 255 / 2, abs=1e-3)

    asyncio.run(scenario())


def test_on_another_disk_shared_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no link can be made, there is a copy of each, once for both archives."""
    store = shared_store(tmp_path)

    def no_link(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    with copied_store(Catalogue.open(store), tmp_path) as served:
        for deployment in served.values():
            deployment.archive.verify()
            assert all(path.stat().st_nlink == 1 for path in deployment.archive.blobs.iterdir())


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_store_with_a_harmed_file_is_refused_at_the_start(
    tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the archive, the file and what to do, exit code 2."""
    store = shared_store(tmp_path)
    path = max((store / FOLDER).iterdir(), key=lambda each: each.stat().st_size)
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert main(["--model-store", str(store), "--backend", "local", "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert f"is {harm}" in error or f"was {harm}" in error
    assert "build the archive again" in error


def test_a_store_of_the_layout_before_is_refused_by_the_command_that_rebuilds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 2, nothing started."""
    with zipfile.ZipFile(tmp_path / "lite.mar", "w") as archive:
        archive.writestr("manifest.json", '{"format": 1}')
    assert main(["--model-store", str(tmp_path), "--backend", "local", "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"scoreguard-export build --metrics lite --model-store {tmp_path}" in error
