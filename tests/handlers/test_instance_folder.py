"""Temporary folders that go with their owner, or at the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import scoreguard
import scoreguard_handlers
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.torchserve.instance_folder import MARKER, InstanceFolder, check_space, instance_folder, sweep

ROOTS = [str(Path(scoreguard_handlers.__file__).parents[1]), str(Path(next(iter(scoreguard.__path__))).parent)]
OWNER = """
import sys, time
from pathlib import Path
from scoreguard_handlers.torchserve.instance_folder import InstanceFolder
folder = InstanceFolder.create(Path(sys.argv[1]))
(folder.path / "large").write_bytes(bytes(1000))
print(folder.path, flush=True)
time.sleep(60)
"""


def owner(base: Path) -> subprocess.Popen[str]:
    """A process that owns a folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(ROOTS)}
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(base)], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_a_folder_is_private_and_goes_with_its_block(tmp_path: Path) -> None:
    """Mode 0700: keys and images of callers lie in it."""
    with instance_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "deep").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_owner_left_is_swept_by_the_next_start(tmp_path: Path) -> None:
    """Kill -9 leaves the folder; while its owner lives, nobody touches it."""
    with owner(tmp_path) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        assert sweep(tmp_path) == [] and left.is_dir()
        process.send_signal(signal.SIGKILL)
        process.wait()
        with instance_folder(tmp_path) as folder:
            assert list(tmp_path.iterdir()) == [folder]


def test_only_dead_folders_of_this_user_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of others, not those without our mark, no link, and nothing that a link points to."""
    (tmp_path / "scoreguard-foreign").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / MARKER).touch()
    (tmp_path / "scoreguard-link").symlink_to(tmp_path / "other")
    (tmp_path / "scoreguard-linked-mark").mkdir()
    (tmp_path / "scoreguard-linked-mark" / MARKER).symlink_to(tmp_path / "other" / MARKER)
    (tmp_path / "scoreguard-file").touch()
    dead = tmp_path / "scoreguard-dead"
    dead.mkdir()
    (dead / MARKER).touch()
    monkeypatch.setattr(os, "getuid", lambda: dead.stat().st_uid + 1)
    assert sweep(tmp_path) == []
    monkeypatch.undo()
    assert sweep(tmp_path) == [dead]
    assert len(list(tmp_path.iterdir())) == 5


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """It names the place and the variable."""
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match=r"no temporary folder in .*file.*; set TMPDIR"):
        InstanceFolder.create(tmp_path / "file")


def test_too_little_room_is_one_line_with_both_sizes(tmp_path: Path) -> None:
    """What is free, what is needed, and what to do."""
    check_space(tmp_path, 1, "nothing")
    with pytest.raises(StartupError, match=r"MiB free, a copy needs \d+ MiB: make room, or set TMPDIR"):
        check_space(tmp_path, 1 << 60, "a copy")
