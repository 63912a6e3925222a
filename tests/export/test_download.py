"""A file over HTTP, from a real server that breaks off, drips, lies and redirects."""

from __future__ import annotations

import hashlib
import os
import random
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from file_server import DRIPS, PAUSE, FileServer, closed_port, file_server
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreguard_export.errors import DigestError, DownloadError
from scoreguard_export.weights.download import Download, fetch

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ROOTS = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("proto", "export")]
FETCH = """
import resource, sys
from pathlib import Path
from scoreguard_export.weights.download import Download, fetch
from scoreguard_export.errors import DownloadError
if limit := int(sys.argv[3]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print("begun", flush=True)
try:
    fetch(Download(url=sys.argv[1], path=Path(sys.argv[2])), lambda done, total: print(done, flush=True))
except DownloadError as error:
    print(error)
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serves CONTENT; no proxy stands between."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with file_server() as server:
        server.content = CONTENT
        yield server


def visible(folder: Path) -> list[str]:
    """The files that are not the download's own."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _child(url: str, path: Path, limit: int = 0) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(ROOTS)}
    command = [sys.executable, "-c", FETCH, url, str(path), str(limit)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("behaviour", ["file", "elsewhere", "plain", "unmeasured", "drip"])
def test_a_file_arrives_whole(behaviour: str, server: FileServer, tmp_path: Path) -> None:
    """Directly, after a redirect, without ranges, without a length, and in drips that take longer than the silence."""
    reports: list[tuple[int, int | None]] = []
    download = Download(
        url=server.url(behaviour), path=tmp_path / "new" / "net.pth", sha256=DIGEST, silence=DRIPS * PAUSE - 0.1
    )
    assert fetch(download, lambda done, total: reports.append((done, total))) == DIGEST
    assert download.path.read_bytes() == CONTENT
    assert visible(download.path.parent) == ["net.pth"]
    assert reports[-1][0] == len(CONTENT)
    assert {total for _, total in reports} == {None if behaviour == "unmeasured" else len(CONTENT)}
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


@settings(max_examples=12, deadline=None)
@given(size=st.integers(1, 400_000), share=st.floats(0, 1))
def test_a_download_that_broke_off_goes_on_where_it_stopped(size: int, share: float) -> None:
    """Wherever the connection broke, what is asked for again is the rest, and less than 64 KiB of what had come."""
    with file_server() as server, tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        server.content = random.Random(size).randbytes(size)
        server.cut = cut = int(share * (size - 1))
        path = Path(folder) / "net.pth"
        with pytest.raises(DownloadError, match=r"the connection broke .*run the same command again"):
            fetch(Download(url=server.url("broken"), path=path))
        assert not path.exists()
        server.cut = size
        assert fetch(Download(url=server.url("broken"), path=path)) == hashlib.sha256(server.content).hexdigest()
        assert path.read_bytes() == server.content
        begun = int((server.ranges[1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        assert cut - (1 << 16) < begun <= cut


def test_another_version_of_the_file_is_fetched_from_the_start(server: FileServer, tmp_path: Path) -> None:
    """A part of yesterday's file is never joined to today's."""
    server.cut = 100_000
    download = Download(url=server.url("broken"), path=tmp_path / "net.pth")
    with pytest.raises(DownloadError):
        fetch(download)
    server.content, server.cut = CONTENT[::-1], len(CONTENT)
    fetch(download)
    assert download.path.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("second", ["plain", "file"])
def test_a_part_that_cannot_be_continued_is_dropped(second: str, server: FileServer, tmp_path: Path) -> None:
    """Where the server marks no version, or the address is another one, the file is fetched from the start."""
    server.cut = 100_000
    with pytest.raises(DownloadError):
        fetch(Download(url=server.url("plain"), path=tmp_path / "net.pth"))
    server.cut = 0
    assert fetch(Download(url=server.url(second), path=tmp_path / "net.pth")) == DIGEST
    assert server.ranges == [None, None]


def test_a_part_that_is_whole_already_does_no_harm(server: FileServer, tmp_path: Path) -> None:
    """Stopped between the last byte and the final name: the server refuses the range, and the file is fetched anew."""
    server.cut = 100_000
    download = Download(url=server.url("broken"), path=tmp_path / "net.pth")
    with pytest.raises(DownloadError):
        fetch(download)
    download.partial.write_bytes(CONTENT)
    server.cut = len(CONTENT)
    assert fetch(download) == DIGEST
    assert server.ranges == [None, f"bytes={len(CONTENT)}-", None]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("missing", "the server answers 404 Not Found"),
        ("failing", "the server answers 503 Service Unavailable"),
        ("silent", r"the server sent nothing for 0\.3 s"),
        ("stalled", r"the server sent nothing for 0\.3 s"),
        ("broken", "the connection broke"),
        ("circle", "30 redirects"),
        ("huge", "MB are missing yet, and .* has .* MB left"),
    ],
)
def test_what_fails_is_named_in_one_line(behaviour: str, message: str, server: FileServer, tmp_path: Path) -> None:
    """The address and the reason; nothing under the final name."""
    server.cut = 1000
    download = Download(url=server.url(behaviour), path=tmp_path / "net.pth", silence=0.3)
    with pytest.raises(DownloadError, match=message) as caught:
        fetch(download)
    assert "\n" not in str(caught.value)
    assert download.url in str(caught.value)
    assert visible(tmp_path) == []


def test_a_server_that_is_not_there_is_named(server: FileServer, tmp_path: Path) -> None:
    """The words of the operating system, not of three libraries around it."""
    url = f"http://127.0.0.1:{closed_port()}/net.pth"
    with pytest.raises(DownloadError, match=rf"cannot fetch {url}: Connection refused$"):
        fetch(Download(url=url, path=tmp_path / "net.pth"))


@pytest.mark.parametrize("url", ["http://", "http://[half/net.pth", "nonsense"])
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    """Slips in an address are an error like any other."""
    with pytest.raises(DownloadError):
        fetch(Download(url=url, path=tmp_path / "net.pth"))


def test_another_file_than_meant_is_removed(server: FileServer, tmp_path: Path) -> None:
    """Both digests are shown, and nothing of the wrong file is kept."""
    download = Download(url=server.url("file"), path=tmp_path / "net.pth", sha256="0" * 64)
    with pytest.raises(DigestError, match=rf"sha256 is {DIGEST}, not 0{{64}}: removed.*--sha256 {DIGEST}") as caught:
        fetch(download)
    assert (caught.value.expected, caught.value.found) == ("0" * 64, DIGEST)
    assert visible(tmp_path) == []
    assert not download.partial.exists()
    assert fetch(Download(url=download.url, path=download.path, sha256=DIGEST)) == DIGEST


@pytest.fixture
def secure_server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serves CONTENT over HTTPS, with a certificate that the tests trust."""
    authority = trustme.CA()
    bundle = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with file_server(context) as server:
        server.content = CONTENT
        yield server


def test_an_encrypted_download_arrives_whole(server: FileServer, secure_server: FileServer, tmp_path: Path) -> None:
    """HTTPS, and from there to HTTPS again."""
    secure_server.leads_to = secure_server.url("file")
    fetch(Download(url=secure_server.url("leading"), path=tmp_path / "net.pth", sha256=DIGEST))
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_an_encrypted_address_never_leads_to_an_open_one(
    server: FileServer, secure_server: FileServer, tmp_path: Path
) -> None:
    """Anybody on the way could give another file, so that not even its digest is looked at."""
    secure_server.leads_to = server.url("file")
    with pytest.raises(DownloadError, match="not encrypted") as caught:
        fetch(Download(url=secure_server.url("leading"), path=tmp_path / "net.pth", sha256=DIGEST))
    assert server.url("file") in str(caught.value)
    assert visible(tmp_path) == []


def test_two_downloads_of_one_file_do_not_mix(server: FileServer, tmp_path: Path) -> None:
    """The second is refused while the first runs, and the first is not disturbed."""
    begun, refused = threading.Event(), list[str]()

    def second() -> None:
        begun.wait(20)
        try:
            fetch(Download(url=server.url("file"), path=tmp_path / "net.pth"))
        except DownloadError as error:
            refused.append(str(error))

    thread = threading.Thread(target=second)
    thread.start()

    def hold(done: int, total: int | None) -> None:
        """The first goes on only once the second is done."""
        begun.set()
        thread.join()

    fetch(Download(url=server.url("file"), path=tmp_path / "net.pth"), hold)
    assert [f"another download to {tmp_path / 'net.pth'} is running" in line for line in refused] == [True]
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_killed_download_goes_on(server: FileServer, tmp_path: Path) -> None:
    """`kill -9` in the middle: no file under the final name; the next call asks for the rest."""
    server.cut = 200_000
    path = tmp_path / "net.pth"
    with _child(server.url("stalled"), path) as child:
        assert child.stdout is not None
        assert any(line.strip().isdecimal() and int(line) > 0 for line in child.stdout)
        child.kill()
    assert visible(tmp_path) == []
    server.cut, begun = len(CONTENT), Download(url="", path=path).partial.stat().st_size
    server.content = CONTENT
    note = Download(url="", path=path).note
    note.write_text(note.read_text().replace("/stalled/", "/file/"))
    assert fetch(Download(url=server.url("file"), path=path)) == DIGEST
    assert server.ranges == [None, f"bytes={begun}-" if begun else None]


def test_a_disk_that_takes_no_more_is_named(server: FileServer, tmp_path: Path) -> None:
    """The operating system refuses to write: one line, nothing under the final name."""
    with _child(server.url("file"), tmp_path / "net.pth", limit=100_000) as child:
        output = child.communicate(timeout=100)[0]
    assert f"cannot write {tmp_path / 'net.pth'}: File too large" in output
    assert visible(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(server: FileServer, tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"cannot write .*net\.pth: (Not a directory|File exists)"):
        fetch(Download(url=server.url("file"), path=tmp_path / "file" / "weights" / "net.pth"))
