"""A build makes what changed since the last one, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import scoreguard_export
from scoreguard.v1.archive import Archive
from scoreguard.v1.blobs import FOLDER
from scoreguard_export.archive.blob_store import BlobStore
from scoreguard_export.archive.build import BuildConfig, Built, build
from scoreguard_export.archive.prune import prune
from scoreguard_export.archive.verify import verify_store
from scoreguard_export.cli import main

DEFENCES = ("flip", "quantise")


def built(store: Path, *, metrics: tuple[str, ...] = ("lite",), self_contained: bool = False) -> Built:
    """Build `lite` behind two defences that need no time."""
    return build(
        BuildConfig(
            metrics=metrics, defences=DEFENCES, model_store=store, default_variants=True, self_contained=self_contained
        )
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was built once."""
    store = tmp_path_factory.mktemp("incremental") / "store"
    assert built(store).exported == ("lite", *DEFENCES)
    return store


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(made, tmp_path / "store"))


def blobs_of(store: Path) -> dict[str, Path]:
    """The shared files of the store's archive, by their path in it."""
    archive = Archive(store / "lite.mar")
    return {entry.path: archive.blobs / entry.sha256 for entry in archive.manifest.files if entry.shared}


def names(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {path.name for path in folder.iterdir()}


def test_the_second_build_exports_nothing_and_leaves_the_archive_as_it_is(store: Path) -> None:
    """Not even the file's time changes, so that no server is told of a change."""
    before = (store / "lite.mar").stat()
    again = built(store)
    assert (again.exported, again.kept) == ((), ("lite", *DEFENCES))
    assert (store / "lite.mar").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.slow
def test_a_build_from_nothing_gives_the_same_bytes_as_one_from_records(store: Path, tmp_path: Path) -> None:
    """Records change how long a build takes, not what it makes."""
    built(tmp_path / "other")
    assert (tmp_path / "other" / "lite.mar").read_bytes() == (store / "lite.mar").read_bytes()
    assert names(tmp_path / "other" / FOLDER) == names(store / FOLDER)


@pytest.mark.slow
def test_another_metric_does_not_export_the_defences_again(store: Path) -> None:
    """Nor does it store them again: both archives name the same files."""
    done = built(store, metrics=("lite", "piqe"))
    assert (done.exported, done.kept) == (("piqe",), ("lite", *DEFENCES))
    other = Archive(store / "piqe.mar").manifest
    mine = {entry.path: entry.sha256 for entry in other.files if entry.path.startswith("defences/")}
    assert mine == {name: path.name for name, path in blobs_of(store).items() if name.startswith("defences/")}


@pytest.mark.parametrize("harm", ["removed", "cut", "changed"])
def test_a_graph_that_is_not_there_any_more_is_exported_again(store: Path, harm: str) -> None:
    """The next build mends a store; only what was harmed is made."""
    before = (store / "lite.mar").read_bytes()
    path = next(path for name, path in blobs_of(store).items() if name.startswith("defences/quantise"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if harm == "removed":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if harm == "cut" else bytes(data))
    assert built(store).exported == ("quantise",)
    assert (store / "lite.mar").read_bytes() == before
    Archive(store / "lite.mar").verify()


@pytest.mark.slow
def test_a_record_that_cannot_be_read_counts_for_nothing(store: Path) -> None:
    """Half a file, or a file of something else: what it stood for is made again."""
    for path in (store / ".builds").glob("*.json"):
        path.write_text("{")
    assert built(store).exported == ("lite", *DEFENCES)


@pytest.mark.slow
def test_changing_one_defence_rebuilds_that_one(tmp_path: Path) -> None:
    """In a copy of the exporter: a line in the file of a defence, then one in a file that both defences import."""
    home = tmp_path / "export"
    shutil.copytree(Path(scoreguard_export.__file__).parent, home / "scoreguard_export")

    def exported() -> str:
        words = ["build", "--metrics", "lite", "--defences", ",".join(DEFENCES), "--default-variants"]
        done = subprocess.run(
            [sys.executable, "-c", "from scoreguard_export.cli import main; main()", *words],
            env=os.environ | {"PYTHONPATH": f"{home}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stderr.splitlines()[-1]

    def touched(name: str) -> None:
        path = home / "scoreguard_export" / name
        path.write_text(path.read_text() + "\n# changed\n")

    assert exported() == "exported: 3, unchanged since an earlier build: 0"
    touched("defences/flip.py")
    assert exported() == "exported: 1, unchanged since an earlier build: 2"
    touched("defences/straight_through.py")
    assert exported() == "exported: 1, unchanged since an earlier build: 2"
    touched("exporters/onnx_graph.py")
    assert exported() == "exported: 3, unchanged since an earlier build: 0"
    touched("defences/rotate.py")
    assert exported() == "exported: 0, unchanged since an earlier build: 3"


def test_a_store_is_little_larger_than_its_distinct_graphs(store: Path) -> None:
    """Whatever the number of metrics: archives hold what is their own, and records are small."""
    built(store, metrics=("lite", "piqe"))
    graphs = sum(path.stat().st_size for path in (store / FOLDER).iterdir())
    rest = sum(path.stat().st_size for path in store.glob("*") if path.is_file())
    assert graphs + rest <= 1.2 * graphs


def test_a_self_contained_archive_is_the_same_and_can_be_moved_alone(store: Path, tmp_path: Path) -> None:
    """It has the same graphs and golden scores, and needs no folder beside it."""
    shared = Archive(store / "lite.mar").manifest
    built(store, self_contained=True)
    alone = Archive(Path(shutil.copy(store / "lite.mar", tmp_path / "lite.mar")))
    alone.verify()
    assert {entry.path: entry.sha256 for entry in alone.manifest.files} == {e.path: e.sha256 for e in shared.files}
    assert alone.manifest.golden_vectors == shared.golden_vectors
    assert not any(entry.shared for entry in alone.manifest.files)


@pytest.mark.slow
def test_pruning_leaves_what_the_archives_use(store: Path) -> None:
    """Graphs of a metric whose archive was removed go; the other archive stays whole, and its next build is free."""
    built(store, metrics=("lite", "piqe"))
    (store / "piqe.mar").unlink()
    pruned = prune(store)
    assert pruned.files == 2
    assert pruned.size_bytes > 0
    assert names(store / FOLDER) == {path.name for path in blobs_of(store).values()}
    verify_store(store)
    assert built(store).exported == ()
    assert prune(store).files == 0


def test_prune_prints_what_it_removed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for people, JSON for programs."""
    BlobStore(store).add("x", np.arange(3).tobytes())
    with pytest.raises(SystemExit) as done:
        main(["prune", "--model-store", str(store), "--json"])
    assert done.value.code == 0
    assert json.loads(capsys.readouterr().out) == {"files": 1, "size_bytes": 24, "records": 0}


def test_prune_touches_nothing_where_an_archive_cannot_be_read(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it uses is not known, so nothing is unused."""
    (store / "other.mar").write_bytes(b"no zip")
    before = names(store / FOLDER)
    with pytest.raises(SystemExit) as done:
        main(["prune", "--model-store", str(store)])
    assert done.value.code == 2
    assert "other.mar: cannot be read as an archive" in capsys.readouterr().err
    assert names(store / FOLDER) == before
