"""Download one file over HTTP: resume after a broken connection, check the digest, move into place only when complete.

Next to a file `net.pth` there may be `.net.pth.partial` (the bytes so far), `.net.pth.partial.json` (their URL and
version) and `.net.pth.lock` (held during a download).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import requests
from filelock import FileLock, Timeout

from scoreguard.support.digests import sha256_of_file
from scoreguard_export.errors import DigestError, DownloadError

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far, and the total if the server states it."""

_CHUNK: Final = 1 << 16
_CONNECT_SECONDS: Final = 15.0
_SILENCE_SECONDS: Final = 60.0
"""How long a server may stay silent."""
_OK, _PARTIAL_CONTENT, _RANGE_REFUSED = 200, 206, 416


@dataclass(frozen=True, kw_only=True)
class Download:
    """What to fetch, and where to store it."""

    url: str
    path: Path
    sha256: str = ""
    """Digest that the file must have, hexadecimal; empty if unknown."""
    silence: float = _SILENCE_SECONDS
    """How long the server may stay silent, in seconds."""

    def beside(self, suffix: str) -> Path:
        """Return a hidden working file of the download, next to the final one."""
        return self.path.with_name(f".{self.path.name}.{suffix}")

    @property
    def partial(self) -> Path:
        """Path of the bytes received so far."""
        return self.beside("partial")

    @property
    def note(self) -> Path:
        """Path of the record of the partial file's URL and version."""
        return self.beside("partial.json")

    def forget(self) -> None:
        """Remove the bytes received so far."""
        self.partial.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def fetch(download: Download, progress: Progress = lambda done, total: None) -> str:
    """Fetch a file, and return its SHA-256.

    An interrupted download is resumed if the server supports it and still has the same version of the file.

    Raises:
        DownloadError: the server does not answer or has no such file, the connection broke, or the folder cannot be
            written. The bytes received so far are kept for the next call, never under the final name.
        DigestError: the file does not match the digest; it is removed.
    """
    try:
        download.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(download.beside("lock"), timeout=0):
            return _fetch(download, progress)
    except Timeout as error:
        raise DownloadError(download.url, f"another download to {download.path} is running") from error
    except requests.RequestException as error:
        raise DownloadError(download.url, _reason(error, download)) from error
    except OSError as error:
        raise DownloadError(download.url, f"cannot write {download.path}: {error.strerror or error}") from error


def _fetch(download: Download, progress: Progress) -> str:
    with requests.Session() as session, _asked(session, download) as response:
        _require_file(response, download)
        _receive(response, download, progress)
    found = sha256_of_file(download.partial)
    if download.sha256 and found != download.sha256:
        download.forget()
        raise DigestError(download.url, download.sha256, found)
    download.partial.replace(download.path)
    download.forget()
    return found


def _asked(session: requests.Session, download: Download) -> requests.Response:
    """Request the missing part, or the whole file if the server has no such part; return the response."""
    # A part of a file that is compressed in transit could not be resumed.
    plain = {"Accept-Encoding": "identity"}
    timeout = (_CONNECT_SECONDS, download.silence)
    response = session.get(download.url, headers=plain | _rest(download), stream=True, timeout=timeout)
    if response.status_code == _RANGE_REFUSED:
        response.close()
        download.forget()
        response = session.get(download.url, headers=plain, stream=True, timeout=timeout)
    return response


def _require_file(response: requests.Response, download: Download) -> None:
    response.raise_for_status()
    if download.url.startswith("https:") and not response.url.startswith("https:"):
        raise DownloadError(download.url, f"it leads to {response.url}, which is not encrypted")


def _rest(download: Download) -> dict[str, str]:
    """Return headers that request the missing part, provided that the file is still the same."""
    try:
        size, note = download.partial.stat().st_size, json.loads(download.note.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not size or note.get("url") != download.url:
        return {}
    return {"Range": f"bytes={size}-", "If-Range": note["version"]}


def _receive(response: requests.Response, download: Download, progress: Progress) -> None:
    begin, length = _begin(response, download), _length(response)
    total = None if length is None else begin + length
    _require_space(download, length or 0)
    with download.partial.open("ab") as file:
        file.truncate(begin)
        _take_note(response, download)
        done = begin
        progress(done, total)
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            progress(done, total)
        _settle(file)
    if total is not None and done != total:
        raise DownloadError(download.url, f"{done} of {total} bytes came: run the same command again to go on")


def _length(response: requests.Response) -> int | None:
    """Return the number of bytes to come; None if the server does not state it, or counts them compressed."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and "Content-Encoding" not in response.headers else None


def _begin(response: requests.Response, download: Download) -> int:
    """Return the byte at which the response begins."""
    if response.status_code != _PARTIAL_CONTENT:
        return 0
    size, told = download.partial.stat().st_size, response.headers.get("Content-Range", "")
    if not told.startswith(f"bytes {size}-"):
        download.forget()
        raise DownloadError(download.url, f"the server sent another part than asked ({told}): run the command again")
    return size


def _take_note(response: requests.Response, download: Download) -> None:
    """Record the version of the file; without a strong validator, a part cannot be resumed."""
    tag = response.headers.get("ETag", "")
    version = response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    if version:
        download.note.write_text(json.dumps({"url": download.url, "version": version}))
    else:
        download.note.unlink(missing_ok=True)


def _require_space(download: Download, needed: int) -> None:
    free = shutil.disk_usage(download.path.parent).free
    if needed > free:
        reason = f"{needed / 1e6:.0f} MB are missing yet, and {download.path.parent} has {free / 1e6:.0f} MB left"
        raise DownloadError(download.url, reason)


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _reason(error: requests.RequestException, download: Download) -> str:
    """Return the message of the innermost error; the outer ones repeat the URL."""
    again = "run the same command again to go on"
    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {_CONNECT_SECONDS:g} s"
    if isinstance(error, requests.ReadTimeout):
        return f"the server sent nothing for {download.silence:g} s: {again}"
    if isinstance(error, requests.TooManyRedirects | requests.exceptions.InvalidURL):
        return str(error)
    inner = _innermost(error)
    if isinstance(inner, TimeoutError):
        return f"the server sent nothing for {download.silence:g} s: {again}"
    broke = isinstance(error, requests.exceptions.ChunkedEncodingError)
    return f"the connection broke ({inner}): {again}" if broke else str(getattr(inner, "strerror", None) or inner)


def _innermost(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
