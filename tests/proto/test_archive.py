"""Archives that somebody has edited are refused, each with one line that names what is wrong."""

from __future__ import annotations

import io
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tampering import (
    append_entry,
    entries_of,
    link,
    raw_name,
    with_entry,
    with_manifest,
    without_entry,
    write_entries,
)
from tiny_archives import GOLDEN_IMAGE, write_tiny_archive

from scoreguard.v1 import manifest_pb2 as pb
from scoreguard.v1.archive import Archive, archives_in
from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.manifest_check import check_manifest
from scoreguard.v1.mar import NAMES, torchserve_files
from scoreguard.v1.members import MIB, members_of, read_member

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive as the exporter writes it."""
    return write_tiny_archive(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def mar(sound: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copy(sound, tmp_path / "bright.mar"))


def manifest(change: Callable[[dict[str, Any]], object]) -> Change:
    """A change of the manifest."""
    return lambda archive: with_manifest(archive, change)


def golden(**values: object) -> Change:
    """A change of the first golden vector."""
    return manifest(lambda content: content["golden_vectors"][0].update(values))


def twice(archive: Path) -> None:
    """A second file of a name that is there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        append_entry(archive, "metric.onnx")


def listed(content: dict[str, Any]) -> None:
    """A file that the manifest lists and nothing uses."""
    content["files"].append({"path": "more.bin", "sha256": "0" * 64, "size_bytes": "1"})


def escaping(content: dict[str, Any]) -> None:
    """A graph that lies outside the archive."""
    content["files"][0]["path"] = content["metric"]["graphs"]["onnx"] = "../../metric.onnx"


def huge_image(content: dict[str, Any]) -> None:
    """A golden image of 400 MB."""
    (entry,) = (entry for entry in content["files"] if entry["path"] == GOLDEN_IMAGE)
    entry["size_bytes"] = str(400 * MIB)


CHANGES: list[tuple[str, Change, str]] = [
    ("a file that the manifest does not know", lambda mar: with_entry(mar, "evil.py", b"x"), "evil.py is not in"),
    ("a path upwards", lambda mar: append_entry(mar, "../evil.py"), "no name for a file"),
    ("a path upwards inside", lambda mar: append_entry(mar, "defences/../../evil.py"), "no name for a file"),
    ("an absolute path", lambda mar: append_entry(mar, "/tmp/evil.py"), "no name for a file"),
    ("a backslash", lambda mar: append_entry(mar, raw_name("..\\evil.py")), "no name for a file"),
    ("a drive", lambda mar: append_entry(mar, "C:evil.py"), "no name for a file"),
    ("a line break", lambda mar: append_entry(mar, "evil\n.py"), "no name for a file"),
    ("a folder", lambda mar: append_entry(mar, "folder/", b""), "no name for a file"),
    ("a link", lambda mar: append_entry(mar, link("evil"), b"/etc/passwd"), "evil is a link"),
    ("two files of one name", twice, "two files of one name"),
    ("a bomb", lambda mar: with_entry(mar, "metric.onnx", bytes(60 * MIB)), "would grow from"),
    ("a missing graph", lambda mar: without_entry(mar, "metric.onnx"), "metric.onnx is missing"),
    ("a missing handler", lambda mar: without_entry(mar, "defended_score.py"), "defended_score.py is missing"),
    ("another length", lambda mar: with_entry(mar, "metric.onnx", b"x"), "metric.onnx was changed"),
    ("a file that nothing uses", manifest(listed), "lists, but does not use, more.bin"),
    ("a file outside", manifest(escaping), "no name for a file"),
    ("a huge image", manifest(huge_image), "more than the 16777216 allowed"),
    ("a file listed twice", manifest(lambda m: m["files"].append(m["files"][0])), "lists a file twice"),
    ("a defence twice", manifest(lambda m: m["defences"].append(m["defences"][0])), "describes a defence twice"),
    ("no golden vector", manifest(lambda m: m.pop("golden_vectors")), "does not use, golden|golden score .* missing"),
    ("no undefended golden vector", golden(defences="gain"), "golden score of the metric alone is missing"),
    ("a golden tolerance of 1e9", golden(tolerance=1e9), "more than ± 1 proves nothing"),
    ("a golden tolerance of infinity", golden(tolerance="Infinity"), "more than ± 1 proves nothing"),
    ("a golden tolerance of NaN", golden(tolerance="NaN"), "more than ± 1 proves nothing"),
    ("a negative golden tolerance", golden(tolerance=-1.0), "more than ± 1 proves nothing"),
    ("a golden score of NaN", golden(score="NaN"), "proves nothing"),
    ("a range of nothing", manifest(lambda m: m["metric"]["facts"].update(range_high=0.0)), "is no range"),
    ("an endless range", manifest(lambda m: m["metric"]["facts"].update(range_high="Infinity")), "is no range"),
    ("a manifest of other text", lambda mar: with_entry(mar, "manifest.json", b"{"), "manifest.json cannot be read"),
    (
        "a manifest that nests without end",
        lambda mar: with_entry(mar, "manifest.json", b"[" * 100_000),
        "manifest.json cannot be read",
    ),
    ("an endless manifest", lambda mar: with_entry(mar, "manifest.json", b" " * (17 * MIB)), "would grow|may have"),
    ("bytes before it", lambda mar: mar.write_bytes(b"#!/bin/sh\n" + mar.read_bytes()), "none of its files"),
    ("bytes after it", lambda mar: mar.write_bytes(mar.read_bytes() + b"more"), "none of its files|as an archive"),
    ("half of it", lambda mar: mar.write_bytes(mar.read_bytes()[:2000]), "cannot be read as an archive"),
    ("an empty file", lambda mar: mar.write_bytes(b""), "cannot be read as an archive"),
    ("text", lambda mar: mar.write_text("not an archive"), "cannot be read as an archive"),
]


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_an_edited_archive_is_refused(change: Change, message: str, mar: Path) -> None:
    """The one line names the archive and what is wrong with it."""
    change(mar)
    with pytest.raises(IntegrityError, match=message) as caught:
        Archive(mar).verify()
    assert str(mar) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sound_archive_passes(sound: Path) -> None:
    """As it is, and written again by another program in another order."""
    Archive(sound).verify()
    Archive(sound).verify_torchserve_files()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_files_that_torchserve_reads_are_this_versions(name: str, mar: Path) -> None:
    """TorchServe runs the handler with its rights: one more byte of it, or of the settings, is refused."""
    for data in (entries_of(mar)[name] + b"\n", entries_of(mar)[name].replace(b"e", b"f"), b""):
        with_entry(mar, name, data)
        with pytest.raises(IntegrityError, match=f"{name} (is not what this version writes|has)"):
            Archive(mar).verify_torchserve_files()


def test_a_handler_for_another_metric_is_refused(mar: Path) -> None:
    """TorchServe would serve the archive under another name."""
    with_entry(mar, "MAR-INF/MANIFEST.json", torchserve_files("dark")["MAR-INF/MANIFEST.json"])
    with pytest.raises(IntegrityError, match=r"MANIFEST\.json"):
        Archive(mar).verify_torchserve_files()


def hidden_entry(name: str = "evil.py") -> bytes:
    """The bytes of one file of a zip with its header, as a reader from front to end would unpack it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"evil")
        length = archive.start_dir
    return buffer.getvalue()[:length]


def behind_a_file(mar: Path, extra: bytes, *, counted: bool) -> None:
    """Put bytes behind the first file, inside its packed length or outside it, and mend all offsets."""
    data = bytearray(mar.read_bytes())
    with zipfile.ZipFile(mar) as archive:
        first, start = archive.infolist()[0], archive.start_dir
        second = archive.infolist()[1].header_offset
    data[second:second] = extra
    place, end = start + len(extra), len(data) - 22
    while data[place : place + 4] == b"PK\x01\x02":
        (offset,) = struct.unpack_from("<L", data, place + 42)
        (packed,) = struct.unpack_from("<L", data, place + 20)
        if offset >= second:
            struct.pack_into("<L", data, place + 42, offset + len(extra))
        elif counted and offset == first.header_offset:
            struct.pack_into("<L", data, place + 20, packed + len(extra))
            struct.pack_into("<L", data, 18, packed + len(extra))
        lengths = struct.unpack_from("<3H", data, place + 28)
        place += 46 + sum(lengths)
    struct.pack_into("<L", data, end + 16, start + len(extra))
    mar.write_bytes(data)


@pytest.mark.parametrize("counted", [False, True])
def test_a_file_that_only_java_sees_is_found(counted: bool, mar: Path) -> None:
    """Java unpacks from front to end, and finds a file between two others that the directory does not list."""
    behind_a_file(mar, hidden_entry(), counted=counted)
    with zipfile.ZipFile(mar) as archive:
        assert archive.testzip() is None  # Python sees nothing
    with pytest.raises(IntegrityError, match=r"belong to none of its files|damaged, or not of the size"):
        Archive(mar).verify()
        Archive(mar).verify_torchserve_files()


def test_a_header_that_names_another_file_is_found(mar: Path) -> None:
    """Java goes by the header before each file, Python by the directory at the end."""
    data = bytearray(mar.read_bytes())
    with zipfile.ZipFile(mar) as archive:
        entry = archive.getinfo("defended_score.py")
    place = entry.header_offset + 30
    data[place : place + len("defended_score.py")] = b"defended_scorf.py"
    mar.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"header of defended_score\.py"):
        Archive(mar).verify()


def test_a_size_that_is_declared_too_small_is_found(mar: Path) -> None:
    """No more is unpacked than declared, and what is longer is refused."""
    entries = entries_of(mar)
    name, size = "metric.onnx", len(entries["metric.onnx"])
    write_entries(mar, entries)
    data = bytearray(mar.read_bytes())
    with zipfile.ZipFile(mar) as archive:
        offset = archive.getinfo(name).header_offset
    directory = data.rindex(name.encode()) - 46
    for place in (offset + 22, directory + 24):
        assert struct.unpack_from("<L", data, place)[0] == size
        struct.pack_into("<L", data, place, size - 1)
    mar.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"metric\.onnx is damaged, or not of the size that it declares"):
        read_member(mar, name, MIB)


class TestUnpacked:
    """The folder that TorchServe unpacks an archive into."""

    @pytest.fixture
    def folder(self, sound: Path, tmp_path: Path) -> Path:
        """A sound one, with what Python leaves beside the handler."""
        folder = tmp_path / "unpacked"
        with zipfile.ZipFile(sound) as archive:
            archive.extractall(folder)
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "defended_score.cpython-311.pyc").write_bytes(b"code")
        return folder

    def test_a_sound_one_passes(self, folder: Path) -> None:
        """The same checks, the cache of the handler aside."""
        Archive(folder).verify()
        assert "metric.onnx" in members_of(folder)

    def test_another_file_is_refused(self, folder: Path) -> None:
        """As in the archive."""
        (folder / "defences" / "evil.py").write_bytes(b"x")
        with pytest.raises(IntegrityError, match=r"defences/evil.py is not in the manifest"):
            Archive(folder).verify()

    @pytest.mark.parametrize("name", ["metric.onnx", "manifest.json", "defences"])
    def test_a_link_is_refused(self, name: str, folder: Path, tmp_path: Path) -> None:
        """A link to the same bytes elsewhere could change behind the check."""
        (folder / name).rename(tmp_path / "elsewhere")
        (folder / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(IntegrityError, match="link or no regular file"):
            Archive(folder).verify()

    def test_a_listed_path_cannot_lead_out(self, folder: Path) -> None:
        """Not even where verification is left out and a file is read by its name."""
        with pytest.raises(IntegrityError, match="no name for a file"):
            read_member(folder, "../unpacked/metric.onnx", MIB)


@pytest.mark.parametrize("kind", ["folder", "link to nothing"])
def test_what_only_looks_like_an_archive_is_refused(kind: str, sound: Path, tmp_path: Path) -> None:
    """A folder named x.mar, or a link that leads nowhere, beside a sound archive."""
    shutil.copy(sound, tmp_path / "bright.mar")
    other = tmp_path / "x.mar"
    if kind == "folder":
        other.mkdir()
    else:
        other.symlink_to(tmp_path / "nothing")
    with pytest.raises(IntegrityError, match=r"x\.mar is no file: a model store holds archives"):
        archives_in(tmp_path)


def test_a_store_without_archives_says_what_to_run(tmp_path: Path) -> None:
    """An empty folder and a missing one."""
    for store in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(IntegrityError, match="run scoreguard-export build first"):
            archives_in(store)


@pytest.mark.parametrize("missing", ["frame", "pool", "frame_numbers"])
def test_a_metric_of_videos_has_both_graphs(tiny_archive: Archive, missing: str) -> None:
    """Those of frames and of clips, and the numbers between them; a metric of images has none."""
    manifest = pb.ArchiveManifest()
    manifest.CopyFrom(tiny_archive.manifest)
    files = pb.GraphFiles()
    files.CopyFrom(manifest.metric.graphs)
    manifest.metric.frame.CopyFrom(files)
    manifest.metric.pool.CopyFrom(files)
    manifest.metric.frame_numbers = 3
    check_manifest(manifest, tiny_archive.path)
    manifest.metric.ClearField(missing)  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match="graphs of frames and of clips are not both there"):
        check_manifest(manifest, tiny_archive.path)
