"""A temporary folder removed at the end, or by the next start if its owner was killed by SIGKILL.

Each folder is locked by its owner as long as the owner lives. The kernel releases the lock when the owner dies for any
reason, so a folder whose lock can be taken has no owner. systemd-tmpfiles, which cleans by age, leaves a locked folder
alone (its manual, tmpfiles.d(5), says so).
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scoreguard_handlers.config import MIB
from scoreguard_handlers.errors import StartupError

PREFIX: Final = "scoreguard-"
MARKER: Final = "scoreguard.instance"
"""A marker file in every such folder, since others may use our prefix."""
logger = logging.getLogger(__name__)


class InstanceFolder:
    """A folder of mode 0700 below the temporary folder, with a lock that lasts as long as this process."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def create(cls, base: Path | None = None) -> InstanceFolder:
        """Remove the folders of dead owners, then create a new folder.

        Args:
            base: the parent folder; None = the temporary folder (TMPDIR).

        Raises:
            StartupError: it cannot be created there.
        """
        base = base or Path(tempfile.gettempdir())
        try:
            sweep(base)
            path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
            return cls(path, _locked(path))
        except OSError as error:
            raise StartupError(f"no temporary folder in {base}: {error.strerror}; set TMPDIR to another one") from error

    def remove(self) -> None:
        """Remove the folder and its content; a second call does nothing."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


@contextmanager
def instance_folder(base: Path | None = None) -> Iterator[Path]:
    """Provide a folder for the block.

    Raises:
        StartupError: it cannot be created there.
    """
    folder = InstanceFolder.create(base)
    try:
        yield folder.path
    finally:
        folder.remove()


def sweep(base: Path) -> list[Path]:
    """Remove this user's folders whose owner is dead, and return their paths."""
    return [path for path in sorted(base.glob(f"{PREFIX}*")) if _sweep_one(path)]


def check_space(folder: Path, needed: int, purpose: str) -> None:
    """Confirm that a folder has enough disk space.

    Args:
        folder: an existing folder.
        needed: bytes needed.
        purpose: what they are for, for the message.

    Raises:
        StartupError: it has less.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StartupError(
            f"{folder.parent} has {free / MIB:.0f} MiB free, {purpose} needs {needed / MIB:.0f} MiB: "
            "make room, or set TMPDIR to another folder"
        )


def _locked(folder: Path) -> int:
    import fcntl  # not on Windows, where the server does not run

    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # Created after locking: a folder with this file has an owner, or had one.
    (folder / MARKER).touch(mode=0o600)
    return lock


def _sweep_one(folder: Path) -> bool:
    import fcntl

    try:
        if folder.lstat().st_uid != os.getuid() or not stat.S_ISREG((folder / MARKER).lstat().st_mode):
            return False
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone in the meantime, or not our folder
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        logger.info("removing %s, which a dead server left", folder)
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(lock)
