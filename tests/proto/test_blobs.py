"""Files that archives share: found by their digest, confirmed before they are used, and refused in one line."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_archives import share_graphs, write_tiny_archive

from scoreguard.support.digests import sha256_of, sha256_of_file
from scoreguard.v1.archive import Archive, archives_in
from scoreguard.v1.blobs import MissingBlobError
from scoreguard.v1.errors import IntegrityError

NAME = "metric.onnx"


@pytest.fixture
def shared(tmp_path: Path) -> Archive:
    """A tiny archive whose graphs lie beside it."""
    return share_graphs(write_tiny_archive(tmp_path / "store"))


def blob(archive: Archive) -> Path:
    """Where the metric's graph lies."""
    return archive.blobs / archive.digest_of(NAME)


def test_a_shared_file_is_read_and_confirmed_from_the_folder_beside_the_archive(shared: Archive) -> None:
    """As bytes, or as the path of a file that an engine opens itself."""
    shared.verify()
    assert sha256_of(shared.read(NAME)) == shared.digest_of(NAME)
    assert shared.shared_file(NAME) == blob(shared)
    with zipfile.ZipFile(shared.path) as zipped:
        assert NAME not in zipped.namelist()


def test_a_file_inside_the_archive_has_no_path_of_its_own(shared: Archive) -> None:
    """The golden image is the archive's alone."""
    (golden,) = (entry.path for entry in shared.manifest.files if not entry.shared)
    assert shared.shared_file(golden) is None
    assert shared.read(golden)


def test_an_unpacked_archive_is_told_where_the_files_are(shared: Archive, tmp_path: Path) -> None:
    """TorchServe unpacks it elsewhere."""
    folder = tmp_path / "unpacked" / "bright"
    with zipfile.ZipFile(shared.path) as zipped:
        zipped.extractall(folder)
    Archive(folder, shared.blobs).verify()
    with pytest.raises(MissingBlobError, match=r"is missing: .*build the archive again, or move the archive together"):
        Archive(folder).verify()


def removed(path: Path) -> None:
    """Nothing there."""
    path.unlink()


def changed(path: Path) -> None:
    """One bit."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    """One byte less."""
    path.write_bytes(path.read_bytes()[:-1])


def a_folder(path: Path) -> None:
    """A folder of that name."""
    path.unlink()
    path.mkdir()


HARM: list[tuple[Callable[[Path], None], str]] = [
    (removed, "is missing"),
    (changed, "was changed after the export"),
    (cut, "bytes, not"),
    (a_folder, "bytes, not"),
]


@pytest.mark.parametrize(("harm", "message"), HARM, ids=[harm.__name__ for harm, _ in HARM])
@pytest.mark.parametrize("use", [Archive.verify, lambda a: a.read(NAME), lambda a: a.shared_file(NAME)])
def test_a_harmed_file_is_refused_whichever_way_it_is_used(
    shared: Archive, harm: Callable[[Path], None], message: str, use: Callable[[Archive], object]
) -> None:
    """One line with the archive, the file and what to do; also after it was confirmed once."""
    shared.verify()
    harm(blob(shared))
    with pytest.raises(IntegrityError, match=message) as caught:
        use(shared)
    assert "\n" not in str(caught.value)
    assert str(shared.path) in str(caught.value)
    assert "build the archive again" in str(caught.value)


@pytest.mark.parametrize("digest", ["../../secret", "", "A" * 64, "/etc/passwd", "0" * 63])
def test_a_digest_that_is_none_names_no_file(shared: Archive, tmp_path: Path, digest: str) -> None:
    """An edited manifest leads nowhere outside the folder."""
    (tmp_path / "secret").write_bytes(b"secret")
    (entry,) = (entry for entry in shared.manifest.files if entry.path == NAME)
    entry.sha256 = digest
    with pytest.raises(IntegrityError, match="is no SHA-256"):
        shared.verify()


def test_an_archive_of_the_layout_before_is_refused_by_the_command_that_builds_it(tmp_path: Path) -> None:
    """Its manifest has fields that this version does not know, so nothing of it is read but its number."""
    store = tmp_path / "store"
    store.mkdir()
    with zipfile.ZipFile(store / "lite.mar", "w") as archive:
        archive.writestr("manifest.json", '{"format": 1, "metric": {"weights_sha256": "00"}}')
    (old,) = archives_in(store)
    with pytest.raises(IntegrityError, match="format 1, this version reads 2") as caught:
        old.verify()
    assert f"scoreguard-export build --metrics lite --model-store {store}" in str(caught.value)


def test_two_archives_may_share_a_file_that_is_read_once(shared: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifteen metrics and one large purifier: its digest is computed once in a process while the file stays."""
    from scoreguard.v1 import blobs

    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return sha256_of_file(path)

    monkeypatch.setattr(blobs, "sha256_of_file", counted)
    blobs._CONFIRMED.clear()
    other = Archive(Path(shutil.copy(shared.path, shared.path.with_name("other.mar"))))
    shared.verify()
    first = len(read)
    other.verify()
    assert first == len(read) == len({entry.sha256 for entry in shared.manifest.files if entry.shared})
