"""Writing an archive: the same content always gives the same bytes.

Entries are sorted, times and permissions are fixed, so that an archive's digest names its content. TorchServe reads
`MAR-INF/MANIFEST.json` and the handler file; everything else is ours.
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

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_READABLE: Final = 0o644 << 16
_HANDLER_NAME: Final = "defended_score.py"
_CONFIG_NAME: Final = "model-config.yaml"
_VERSION: Final = "1.0"

_HANDLER: Final = '''"""TorchServe imports this file by its stem; everything it does lives in the installed package."""

from scoreguard_handlers import torchserve_entry


class DefendedScore(torchserve_entry.DefendedScoreHandler):
    """The one class that TorchServe looks for."""
'''
# One picture a call: the gateway batches, and a batch of strangers must not share a fate.
_CONFIG: Final = "batchSize: 1\nmaxBatchDelay: 1\nresponseTimeout: 120\nstartupTimeout: 120\n"


def write_mar(path: Path, manifest: ArchiveManifest, files: Mapping[str, bytes]) -> str:
    """Write an archive atomically; the manifest gets the digests of the files.

    Returns:
        SHA-256 of the archive, hexadecimal.
    """
    del manifest.files[:]
    manifest.files.extend(
        FileEntry(path=name, sha256=sha256_of(data), size_bytes=len(data)) for name, data in sorted(files.items())
    )
    data = _zipped({**files, **_torchserve_files(manifest.metric.facts.name), MANIFEST_NAME: manifest_json(manifest)})
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
    return sha256_of(data)


def manifest_json(manifest: ArchiveManifest) -> bytes:
    """Canonical JSON of a manifest, keys sorted."""
    content = json_format.MessageToDict(manifest, preserving_proto_field_name=True)
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _torchserve_files(name: str) -> dict[str, bytes]:
    model = {"modelName": name, "handler": _HANDLER_NAME, "modelVersion": _VERSION, "configFile": _CONFIG_NAME}
    inf = {"createdOn": "01/01/1980 00:00:00", "runtime": "python", "model": model, "archiverVersion": "0.12.0"}
    return {
        "MAR-INF/MANIFEST.json": json.dumps(inf, indent=2, sort_keys=True).encode(),
        _HANDLER_NAME: _HANDLER.encode(),
        _CONFIG_NAME: _CONFIG.encode(),
    }


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
