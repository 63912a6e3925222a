"""Official weights on this machine: list them, fetch them, and find fetched ones.

A fetched file is in the weights folder under the name that `--weights NAME=PATH` takes, with the suffix of its URL:
`carn.pth`. The folder is $SCOREGUARD_WEIGHTS, or `weights` in the platform's user data folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from scoreguard.catalogue import UnknownNameError
from scoreguard.support.digests import sha256_of_file
from scoreguard.support.shown import shown
from scoreguard.support.weights_folder import weights_folder
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS
from scoreguard_export.metrics.pyiqa.sources import sources_of_all
from scoreguard_export.weights.download import Download, Progress, fetch
from scoreguard_export.weights.source import WeightsSource

_SUFFIXES: Final = ("", ".npz", ".pt", ".pth", ".safetensors")
"""Suffixes of files that a metric or a defence can read."""
_RESTRICTED: Final = ("non-commercial", "research use")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of weights that a metric or a defence can be built from."""

    name: str
    """Name as `--weights NAME=PATH` takes it."""
    users: tuple[str, ...]
    """The metrics and defences that read it."""
    source: WeightsSource

    @property
    def restricted(self) -> bool:
        """Return whether the licence forbids commercial use or does not grant it."""
        return any(words in self.source.licence for words in _RESTRICTED)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A fetched file."""

    path: Path
    sha256: str
    checked: bool
    """Whether the digest was known beforehand and agrees."""
    downloaded: bool
    """False if the file was already there."""


def weights_files() -> dict[str, WeightsFile]:
    """Return every weights file by name: those of metrics, then those of defences."""
    files: dict[str, WeightsFile] = {}
    for user, name, source in _sources():
        users = files[name].users if name in files else ()
        files[name] = WeightsFile(name=name, users=(*users, user), source=source)
    return files


def _sources() -> Iterable[tuple[str, str, WeightsSource]]:
    for user, metric in METRICS.items():
        for name, source in metric.sources.items():
            yield f"metric {user}", name, source
    for user, defence in DEFENCES.items():
        for name, source in defence.sources.items():
            yield f"defence {user}", name, source


def weights_file(name: str) -> WeightsFile:
    """Return the weights file of a name: of a metric, a defence, or a metric of pyiqa.

    Raises:
        UnknownNameError: there is none; the message lists similar names.
    """
    files = weights_files()
    if name in files:
        return files[name]
    if (found := sources_of_all().get(name)) is not None:
        return WeightsFile(name=name, users=found.users, source=found.source)
    raise UnknownNameError("weights", name, list(files))


def found(name: str, folder: Path | None = None) -> Path | None:
    """Return the fetched file of a name, or None.

    Raises:
        WeightsError: several files have the name, with different suffixes.
    """
    folder = folder or weights_folder()
    paths = [path for suffix in _SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    if len(paths) > 1:
        raise WeightsError(f"{' and '.join(map(str, paths))} are both weights of {name}: remove all but one")
    return paths[0] if paths else None


def fetched(names: Iterable[str], folder: Path | None = None) -> dict[str, Path]:
    """Return the fetched files of the names that have one.

    Names whose weights are shipped are left out: their builds must not depend on what was once fetched.

    Raises:
        UnknownNameError: a name without weights.
        WeightsError: several files have one name, with different suffixes.
    """
    wanted = [name for name in names if weights_file(name).source.shipped is None]
    return {name: path for name in wanted if (path := found(name, folder)) is not None}


def address_of(file: WeightsFile, url: str = "") -> str:
    """Return where a file is fetched from: the URL given, else the catalogue's.

    Raises:
        WeightsError: there is neither, or the one given is not a URL.
    """
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise WeightsError(f"--url must start with http:// or https://, not {shown(url)}")
    if address := url or file.source.download:
        return address
    if file.source.shipped:
        raise WeightsError(f"the weights of {file.name} are shipped: there is nothing to fetch")
    raise WeightsError(
        f"no address serves the weights of {file.name} as they are: they are {file.source.origin} "
        f"(licence: {file.source.licence}); give your own address by --url, or your file by "
        f"--weights {file.name}=PATH"
    )


def digest_of(file: WeightsFile, sha256: str = "") -> str:
    """Return the digest that a file must have: the one given, else the catalogue's; empty if neither is known.

    Raises:
        WeightsError: the one given is not 64 hexadecimal digits.
    """
    if sha256 and not _DIGEST.fullmatch(sha256.lower()):
        raise WeightsError(f"--sha256 must be 64 hexadecimal digits, not {shown(sha256)}")
    return sha256.lower() or file.source.sha256


def get(file: WeightsFile, download: Download, progress: Progress) -> Fetched:
    """Fetch a weights file unless it is already there.

    Raises:
        WeightsError: the file is already there with a wrong digest.
        DownloadError: it cannot be fetched; DigestError if it is the wrong file.
    """
    present = found(file.name, download.path.parent)
    sha256 = fetch(download, progress) if present is None else sha256_of_file(present)
    if download.sha256 and sha256 != download.sha256:
        raise WeightsError(f"{present} has the sha256 {sha256}, not {download.sha256}: remove it to fetch it again")
    return Fetched(
        path=present or download.path, sha256=sha256, checked=bool(download.sha256), downloaded=present is None
    )


def planned(file: WeightsFile, *, folder: Path | None = None, url: str = "", sha256: str = "") -> Download:
    """Return what fetching a file will do.

    Raises:
        WeightsError: there is no URL, the one given is not a URL, or the digest given is not a digest.
    """
    address = address_of(file, url)
    suffix = PurePosixPath(urlsplit(address).path).suffix.lower()
    path = (folder or weights_folder()) / f"{file.name}{suffix if suffix in _SUFFIXES else ''}"
    return Download(url=address, path=path, sha256=digest_of(file, sha256))
