"""Writing an archive: the same content always gives the same bytes.

Entries are sorted, and times and permissions are fixed, so an archive's digest identifies its content. TorchServe reads
the files of `scoreguard.v1.mar`; everything else is ours.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from google.protobuf import json_format
from google.protobuf.message import Message

from scoreguard.support.digests import sha256_of
from scoreguard.support.whole_files import write_whole
from scoreguard.v1.archive import MANIFEST_NAME
from scoreguard.v1.manifest_pb2 import ArchiveManifest, FileEntry
from scoreguard.v1.mar import torchserve_files

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_READABLE: Final = 0o644 << 16


def write_mar(path: Path, manifest: ArchiveManifest, files: Mapping[str, bytes]) -> str:
    """Write an archive atomically; an existing one with the same content is left untouched.

    Args:
        path: The `.mar` file.
        manifest: Lists the shared files; those inside the archive are added to it with their digests, replacing shared
            ones of the same path.
        files: Content of the archive, by path.

    Returns:
        SHA-256 of the archive, hexadecimal.

    Raises:
        OSError: it cannot be written.
    """
    inside = [FileEntry(path=name, sha256=sha256_of(data), size_bytes=len(data)) for name, data in files.items()]
    shared = [entry for entry in manifest.files if entry.shared and entry.path not in files]
    entries = sorted([*shared, *inside], key=lambda entry: entry.path)
    del manifest.files[:]
    manifest.files.extend(entries)
    data = _zipped({**files, **torchserve_files(manifest.metric.facts.name), MANIFEST_NAME: message_json(manifest)})
    if not (path.is_file() and path.read_bytes() == data):
        write_whole(path, data, shared=True)
    return sha256_of(data)


def message_json(message: Message) -> bytes:
    """Return the canonical JSON of a message, with sorted keys."""
    content = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _READABLE
            entry.create_system = 3  # Unix on every machine
            archive.writestr(entry, files[name])
    return buffer.getvalue()
