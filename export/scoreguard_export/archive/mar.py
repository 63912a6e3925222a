"""Writing an archive: the same content always gives the same bytes.

Entries are sorted, times and permissions are fixed, so that an archive's digest names its content. TorchServe reads
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

from scoreguard.v1.archive import MANIFEST_NAME, sha256_of
from scoreguard.v1.manifest_pb2 import ArchiveManifest, FileEntry
from scoreguard.v1.mar import torchserve_files

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_READABLE: Final = 0o644 << 16


def write_mar(path: Path, manifest: ArchiveManifest, files: Mapping[str, bytes]) -> str:
    """Write an archive atomically; the manifest gets the digests of the files.

    Returns:
        SHA-256 of the archive, hexadecimal.
    """
    del manifest.files[:]
    manifest.files.extend(
        FileEntry(path=name, sha256=sha256_of(data), size_bytes=len(data)) for name, data in sorted(files.items())
    )
    data = _zipped({**files, **torchserve_files(manifest.metric.facts.name), MANIFEST_NAME: manifest_json(manifest)})
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
    return sha256_of(data)


def manifest_json(manifest: ArchiveManifest) -> bytes:
    """Canonical JSON of a manifest, keys sorted."""
    content = json_format.MessageToDict(manifest, preserving_proto_field_name=True)
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _READABLE
            entry.create_system = 3  # Unix, whatever the machine
            archive.writestr(entry, files[name])
    return buffer.getvalue()
