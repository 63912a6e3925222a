"""The archives as they were at the start: what is served does not change while the model store does.

Each archive is copied into a temporary folder of this instance. A hard link would do for a store that is rebuilt by
replacing files, as `scoreguard-export build` does it, but not for one whose files are written over in place.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scoreguard.v1.archive import SUFFIX, Archive
from scoreguard.v1.errors import IntegrityError
from scoreguard_handlers.config import MIB
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.torchserve.instance_folder import check_space, instance_folder
from scoreguard_handlers.worker.catalogue import Catalogue, Deployment, digest_of

WATCH_SECONDS: Final = 5.0
_MARGIN_BYTES: Final = MIB
logger = logging.getLogger(__name__)

Stamp = tuple[int, int, int]


@contextmanager
def copied_store(catalogue: Catalogue, base: Path | None = None) -> Iterator[Catalogue]:
    """The same deployments on copies of their archives, which last as long as the block.

    Args:
        catalogue: what is deployed, verified.
        base: where the folder of the copies is made; None = the temporary folder.

    Raises:
        StartupError: there is no room for them.
        IntegrityError: an archive changed since it was verified.
    """
    with instance_folder(base) as folder:
        size = sum(deployment.archive.path.stat().st_size for deployment in catalogue.values())
        check_space(folder, size + _MARGIN_BYTES, "a copy of the archives")
        yield Catalogue(_copy(deployment, folder) for deployment in catalogue.values())


class StoreWatch:
    """Says once when the model store is not what is served any more."""

    def __init__(self, model_store: Path) -> None:
        self._store = model_store
        self._loaded = _stamps(model_store)

    def changed(self) -> list[str]:
        """The archives that were changed, added or removed since the start, by file name."""
        now = _stamps(self._store)
        return sorted(name for name in {*now, *self._loaded} if now.get(name) != self._loaded.get(name))

    async def run(self, seconds: float = WATCH_SECONDS) -> None:
        """Look every few seconds; log one warning for each new set of changes."""
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


def _copy(deployment: Deployment, folder: Path) -> Deployment:
    source = deployment.archive.path
    target = folder / source.name
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise StartupError(f"{source} cannot be copied to {folder.parent}: {error.strerror}; set TMPDIR") from error
    if digest_of(target) != deployment.sha256:
        raise IntegrityError(f"{source} changed while the server started; start it again")
    return Deployment(archive=Archive(target), sha256=deployment.sha256)


def _stamps(model_store: Path) -> Mapping[str, Stamp]:
    stamps: dict[str, Stamp] = {}
    for path in model_store.glob(f"*{SUFFIX}"):
        try:
            status = path.stat()
        except OSError:  # removed meanwhile
            continue
        stamps[path.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return stamps
