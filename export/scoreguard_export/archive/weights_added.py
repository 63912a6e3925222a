"""Weights files of the user's own: checked against what reads them, and put into the folder where builds look."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from scoreguard.support.digests import sha256_of_file
from scoreguard.support.weights_folder import weights_folder
from scoreguard.support.whole_files import whole_file
from scoreguard_export.archive import weights_records
from scoreguard_export.archive.weights_store import WeightsFile, file_name, found
from scoreguard_export.errors import WeightsError, one_line
from scoreguard_export.weights.checkpoints import read_checkpoint


@dataclass(frozen=True, kw_only=True)
class Added:
    """A file in the folder of weights."""

    path: Path
    sha256: str
    official: bool
    """Whether it is the file that the catalogue names."""
    copied: bool
    """False if it was already there."""


def add(file: WeightsFile, path: Path, folder: Path | None = None) -> Added:
    """Copy a file into the folder of weights if everything that reads it can.

    Raises:
        WeightsError: the file is unreadable, has other names or shapes, or the folder has another one of that name.
        MissingExtraError: the library of a network that reads it is not installed.
        OSError: the folder cannot be written.
    """
    sha256 = checked(file, path)
    folder = folder or weights_folder()
    place = folder / file_name(file, path.name)
    present = found(file.name, folder)
    if present is not None and sha256_of_file(present) != sha256:
        raise WeightsError(f"{present} is another file of {file.name}: remove it first, or give this one by --weights")
    if present is None:
        with whole_file(place) as unfinished:
            shutil.copyfile(path, unfinished)
            if sha256_of_file(unfinished) != sha256:
                raise WeightsError(f"{path} changed while it was copied: run the command again")
    weights_records.record(present or place, sha256)
    return Added(path=present or place, sha256=sha256, official=file.source.knows(sha256), copied=present is None)


def checked(file: WeightsFile, path: Path) -> str:
    """Return the SHA-256 of a file that everything that reads these weights can read.

    Those of attacks are only read as tensors: the client compares names and shapes.

    Raises:
        WeightsError: it is missing, unreadable, or has other names or shapes.
        MissingExtraError: the library of a network that reads it is not installed.
    """
    digests = [kind.check_weights(file.name, path) for kind in file.kinds]
    return digests[0] if digests else read_checkpoint(path, file.name, file.source).sha256


class Verdict(StrEnum):
    """What the check of a file in the folder found."""

    OFFICIAL = "official"
    """The file that the catalogue names."""
    UNCHANGED = "unchanged"
    """The file that was added or fetched."""
    READABLE = "readable"
    """No digest is known, and everything that reads it can."""
    BROKEN = "broken"
    """Another file than was added, fetched or named by the catalogue, or none that can be read."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The check of one file."""

    name: str
    path: Path
    sha256: str
    verdict: Verdict
    reason: str = ""
    """What is wrong, if it is broken."""


def verify(file: WeightsFile, folder: Path | None = None) -> Verified | None:
    """Compare the file of a name in the folder with the digest known of it; None if there is no file.

    The digest is the one recorded when the file was added or fetched, else the catalogue's. Where neither is known,
    the file is read.

    Raises:
        WeightsError: several files have the name.
    """
    path = found(file.name, folder)
    if path is None:
        return None
    try:
        sha256 = sha256_of_file(path)
        verdict, reason = _verdict(file, path, sha256)
    except OSError as error:
        sha256, verdict, reason = "", Verdict.BROKEN, f"cannot be read: {error.strerror or error}"
    return Verified(name=file.name, path=path, sha256=sha256, verdict=verdict, reason=reason)


def _verdict(file: WeightsFile, path: Path, sha256: str) -> tuple[Verdict, str]:
    if file.source.knows(sha256):
        return Verdict.OFFICIAL, ""
    expected = weights_records.recorded(path)
    if expected == sha256:
        return Verdict.UNCHANGED, ""
    if expected := expected or file.source.sha256:
        size = f"{path.stat().st_size:,} bytes"
        return Verdict.BROKEN, f"corrupt, truncated or another file: sha256 {sha256} ({size}), not {expected}"
    try:
        checked(file, path)
    except WeightsError as error:
        return Verdict.BROKEN, one_line(str(error))
    return Verdict.READABLE, ""
