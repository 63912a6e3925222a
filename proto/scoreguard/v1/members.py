"""List the files inside an archive, and confirm that nothing is hidden between or after them.

TorchServe unpacks a `.mar` from front to end, by the header before each file; Python reads the directory at its end. An
archive is read only if both see the same: regular files under plain relative names, one after another, with nothing
between, before or after.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from scoreguard.v1.errors import IntegrityError

MIB: Final = 1 << 20
LARGEST_RATIO: Final = 50
"""A file of more than 1 MiB may grow this many times when unpacked: graphs grow up to 7 times, a bomb a thousand."""
_BROKEN: Final = (OSError, KeyError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)
_BROKEN_NAMES: Final = (UnicodeDecodeError, struct.error)
_LOCAL: Final = struct.Struct("<4s5HLLLHH")
"""The header before a file: signature, version, flags, method, time, date, CRC, packed size, size, and the lengths of
its name and its extra field."""
_LOCAL_SIGNATURE: Final = b"PK\x03\x04"
_ENCRYPTED, _SIZES_AFTERWARDS, _UTF8 = 0x1, 0x8, 0x800
_LARGE: Final = 0xFFFFFFFF
_END_SIGNATURE: Final = b"PK\x05\x06"
_END_BYTES: Final = 22
"""Bytes of the record that ends an archive without a comment."""
_CACHE: Final = "__pycache__"
"""The folder that Python creates next to the handler in the unpacked archive."""


def members_of(path: Path) -> dict[str, int]:
    """Return the sizes in bytes of the files in a `.mar` or an unpacked folder, by their path in it.

    Raises:
        IntegrityError: it cannot be read, or holds anything but regular files under plain relative names.
    """
    if path.is_dir():
        return dict(_in_folder(path))
    with opened(path) as archive:
        infos = archive.infolist()
        for info in infos:
            _check_member(path, info)
        sizes = {info.filename: info.file_size for info in infos}
        if len(sizes) != len(infos):
            raise IntegrityError(f"{path}: it holds two files of one name; build the archive again")
        _check_nothing_hidden(path, archive, infos)
        return sizes


def read_member(path: Path, name: str, largest: int) -> bytes:
    """Return the bytes of one file.

    Args:
        path: The `.mar`, or the unpacked folder.
        name: Path in it.
        largest: Size in bytes above which it is not read.

    Raises:
        IntegrityError: it is missing, cannot be read, is not a regular file, or is larger.
    """
    check_name(path, name)
    if path.is_dir():
        return _read_file(path, name, largest)
    with opened(path) as archive:
        info = archive.getinfo(name)
        _check_member(path, info)
        _check_size(path, name, info.file_size, largest)
        with path.open("rb") as file:
            return _unpacked(path, file, info)


def check_name(path: Path, name: str) -> None:
    """Refuse a name that leads out of an archive, or that two systems interpret differently.

    Raises:
        IntegrityError: it is absolute, has `..`, a backslash, a drive, or characters that do not print.
    """
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or ":" in name or any(part in ("", ".", "..") for part in parts):
        raise IntegrityError(f"{path}: {name[:80]!r} is no name for a file of an archive; build the archive again")


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a `.mar`; any problem with it, now or while it is read, raises the same kind of error.

    Raises:
        IntegrityError: it is missing, not a zip file, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*_BROKEN, *_BROKEN_NAMES) as error:
        reason = " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split())
        raise IntegrityError(f"{path}: cannot be read as an archive: {reason}") from error


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    name, mode = info.filename, info.external_attr >> 16
    if info.orig_filename != name or info.is_dir():
        raise IntegrityError(f"{path}: {info.orig_filename[:80]!r} is no name for a file of an archive")
    check_name(path, name)
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise IntegrityError(f"{path}: {name} is a link or no regular file: an archive holds none")
    if info.flag_bits & (_ENCRYPTED | _SIZES_AFTERWARDS):
        raise IntegrityError(f"{path}: {name} is encrypted or has no size before it; build the archive again")
    if info.file_size > MIB and info.file_size > LARGEST_RATIO * max(1, info.compress_size):
        raise IntegrityError(
            f"{path}: {name} would grow from {info.compress_size} to {info.file_size} bytes: no graph is packed so well"
        )


def _check_nothing_hidden(path: Path, archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> None:
    """Check that each file begins where the one before it ends, and that the directory follows the last."""
    expected = 0
    with path.open("rb") as file:
        for info in sorted(infos, key=lambda entry: entry.header_offset):
            if info.header_offset != expected:
                break
            expected += _header_length(path, file, info) + info.compress_size
        file.seek(-_END_BYTES, os.SEEK_END)
        ends = file.read(len(_END_SIGNATURE)) == _END_SIGNATURE
    if expected != archive.start_dir or not ends:
        raise IntegrityError(f"{path}: it holds bytes that belong to none of its files; build the archive again")


def _header_length(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Return the bytes of the header before a file, which must agree with the directory."""
    file.seek(info.header_offset)
    signature, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(
        file.read(_LOCAL.size)
    )
    name = file.read(name_length)
    said = (signature, flags, method, crc, name)
    encoded = info.orig_filename.encode("utf-8" if flags & _UTF8 else "cp437")
    same = said == (_LOCAL_SIGNATURE, info.flag_bits, info.compress_type, info.CRC, encoded)
    # A large file may have its sizes in the extra field.
    if not same or (_LARGE not in (packed, size) and (packed, size) != (info.compress_size, info.file_size)):
        raise IntegrityError(f"{path}: the header of {info.filename} is not what the directory says of it")
    return int(_LOCAL.size + name_length + extra_length)


def _unpacked(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> bytes:
    """Return a file's bytes. Its packed form must end where the directory says: Java continues from its real end."""
    file.seek(info.header_offset + _header_length(path, file, info))
    packed, data, whole = file.read(info.compress_size), b"", True
    if info.compress_type == zipfile.ZIP_STORED:
        data = packed
    elif info.compress_type == zipfile.ZIP_DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        data = inflater.decompress(packed, info.file_size + 1)
        whole = inflater.eof and not inflater.unused_data
    if not whole or len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise IntegrityError(f"{path}: {info.filename} is damaged, or not of the size that it declares")
    return data


def _in_folder(folder: Path) -> Iterator[tuple[str, int]]:
    for base, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(set(folders) - {_CACHE})
        for name in sorted({*names, *(entry for entry in folders if (Path(base) / entry).is_symlink())}):
            place = Path(base) / name
            relative = place.relative_to(folder).as_posix()
            if not stat.S_ISREG(place.lstat().st_mode):
                raise IntegrityError(f"{folder}: {relative} is a link or no regular file: an archive holds none")
            yield relative, place.lstat().st_size


def _read_file(folder: Path, name: str, largest: int) -> bytes:
    place = folder / name
    try:
        if not stat.S_ISREG(place.lstat().st_mode):
            raise IntegrityError(f"{folder}: {name} is a link or no regular file: an archive holds none")
        _check_size(folder, name, place.stat().st_size, largest)
        return place.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{folder}: cannot read {name}: {error.strerror or error}") from error


def _check_size(path: Path, name: str, size: int, largest: int) -> None:
    if size > largest:
        raise IntegrityError(f"{path}: {name} has {size} bytes, more than the {largest} it may have")
