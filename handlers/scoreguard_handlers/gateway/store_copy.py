"""The archives as they were at the start: what is served does not change when the model store does.

Each archive is copied into a temporary folder of this instance, because a store may be overwritten in place. The files
that archives share are linked there, so they outlive their removal from the store, or copied if that folder is on
another disk. They are named by their digests: there is no reason to overwrite one, and a worker refuses one that was.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scoreguard.support.digests import sha256_of_file
from scoreguard.v1.archive import SUFFIX, Archive
from scoreguard.v1.blobs import FOLDER, blob_path
from scoreguard.v1.errors import IntegrityError
from scoreguard_handlers.config import MIB
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.torchserve.instance_folder import check_space, instance_folder
from scoreguard_handlers.worker.catalogue import Catalogue, Deployment

WATCH_SECONDS: Final = 5.0
_MARGIN_BYTES: Final = MIB
logger = logging.getLogger(__name__)

Stamp = tuple[int, int, int]


@contextmanager
def copied_store(catalogue: Catalogue, base: Path | None = None) -> Iterator[Catalogue]:
    """Yield the same deployments on copies of their archives, which exist as long as the block.

    Args:
        catalogue: what is deployed, verified.
        base: where to create the folder of the copies; None = the temporary folder.

    Raises:
        StartupError: there is not enough disk space.
        IntegrityError: an archive has changed since it was verified.
    """
    with instance_folder(base) as folder:
        shared = {path.name: path for deployment in catalogue.values() for path in _shared(deployment.archive)}
        missing = _linked(shared.values(), folder / FOLDER)
        copied = [*missing, *(deployment.archive.path for deployment in catalogue.values())]
        check_space(folder, sum(path.stat().st_size for path in copied) + _MARGIN_BYTES, "a copy of the archives")
        for path in missing:
            _copy_file(path, folder / FOLDER / path.name)
        yield Catalogue(_copy(deployment, folder) for deployment in catalogue.values())


class StoreWatch:
    """Warns once when the model store differs from what is served."""

    def __init__(self, model_store: Path) -> None:
        self._store = model_store
        self._loaded = _stamps(model_store)

    def changed(self) -> list[str]:
        """Return the archives changed, added or removed since the start, by file name."""
        now = _stamps(self._store)
        return sorted(name for name in {*now, *self._loaded} if now.get(name) != self._loaded.get(name))

    async def run(self, seconds: float = WATCH_SECONDS) -> None:
        """Check every few seconds; log one warning for each new set of changes."""
        reported: list[str] = []
        while True:
            await asyncio.sleep(seconds)
            changed = await asyncio.to_thread(self.changed)
            if changed and changed != reported:
                logger.warning(
                    "%s: %s changed; what was loaded at the start is served until a restart",
                    self._store,
                    ", ".join(changed),
                )
            reported = changed


def _shared(archive: Archive) -> list[Path]:
    return [blob_path(archive.blobs, entry) for entry in archive.manifest.files if entry.shared]


def _linked(paths: Iterable[Path], folder: Path) -> list[Path]:
    """Link files into a folder; return those to copy instead, which are on another disk or belong to another user."""
    folder.mkdir()
    missing = []
    for path in paths:
        try:
            os.link(path, folder / path.name)
        except OSError:
            missing.append(path)
    return missing


def _copy_file(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise StartupError(
            f"{source} cannot be copied to {target.parent}: {error.strerror or error}; set TMPDIR"
        ) from error


def _copy(deployment: Deployment, folder: Path) -> Deployment:
    source = deployment.archive.path
    target = folder / source.name
    _copy_file(source, target)
    if sha256_of_file(target) != deployment.sha256:
        raise IntegrityError(f"{source} changed while the server started; start it again")
    return Deployment(archive=Archive(target), sha256=deployment.sha256)


def _stamps(model_store: Path) -> Mapping[str, Stamp]:
    stamps: dict[str, Stamp] = {}
    for path in model_store.glob(f"*{SUFFIX}"):
        try:
            status = path.stat()
        except OSError:  # removed in the meantime
            continue
        stamps[path.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return stamps
