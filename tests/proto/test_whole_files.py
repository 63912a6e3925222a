"""Files that are whole or absent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scoreguard.support.whole_files import unfinished_path, whole_file, write_whole


def names_in(folder: Path) -> list[str]:
    """What a folder holds."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_takes_its_place_when_it_is_complete(shared: bool, tmp_path: Path) -> None:
    """In a folder that is made for it; what was there before stays until then, and nothing is left beside it."""
    path = tmp_path / "new" / "weights"
    write_whole(path, b"before", shared=shared)
    with whole_file(path, shared=shared) as unfinished:
        unfinished.write_bytes(b"half")
        assert path.read_bytes() == b"before"
        unfinished.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert names_in(path.parent) == ["weights"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there_and_nothing_beside_it(error: type[BaseException], tmp_path: Path) -> None:
    """Whether or not anything was written."""
    path = tmp_path / "weights"
    path.write_bytes(b"before")
    with pytest.raises(error), whole_file(path):
        raise error
    with pytest.raises(error), whole_file(path) as unfinished:
        unfinished.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"before"
    assert names_in(tmp_path) == ["weights"]


def test_writers_that_share_a_file_do_not_meet(tmp_path: Path) -> None:
    """Neither in other processes nor in threads of this one: the last to end leaves its whole file."""
    path = tmp_path / "image.png"
    with whole_file(path, shared=True) as one, whole_file(path, shared=True) as other:
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert path.read_bytes() == b"one"
    assert names_in(tmp_path) == ["image.png"]


def test_a_killed_process_leaves_what_was_there(tmp_path: Path) -> None:
    """And the unfinished file, which the next one writes over."""
    path = tmp_path / "weights"
    path.write_bytes(b"before")
    program = (
        "import os, sys; from pathlib import Path; from scoreguard.support.whole_files import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as unfinished:\n"
        "    unfinished.write_bytes(b'half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == 9
    assert (path.read_bytes(), unfinished_path(path).read_bytes()) == (b"before", b"half")
    write_whole(path, b"after")
    assert (path.read_bytes(), names_in(tmp_path)) == (b"after", ["weights"])


def test_writers_of_a_shared_file_do_not_meet(tmp_path: Path) -> None:
    """Another process writes and moves the same file while this one is at it; the last to finish counts."""
    path = tmp_path / "image.png"
    program = (
        "import sys; from pathlib import Path; from scoreguard.support.whole_files import write_whole\n"
        "write_whole(Path(sys.argv[1]), b'theirs', shared=True)"
    )
    with whole_file(path, shared=True) as unfinished:
        unfinished.write_bytes(b"ours")
        subprocess.run([sys.executable, "-c", program, str(path)], check=True)
        assert path.read_bytes() == b"theirs"
    assert (path.read_bytes(), names_in(tmp_path)) == (b"ours", ["image.png"])
