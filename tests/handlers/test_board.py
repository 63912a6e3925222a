"""The board: what one process notes, another reads; what a dead process noted is still there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import scoreguard
import scoreguard_handlers
from scoreguard_handlers.worker.board import VARIABLE, Board, FolderBoard, MemoryBoard, Note, board_from

ROOTS = os.pathsep.join(str(Path(str(m.__file__)).parents[1]) for m in (scoreguard_handlers, scoreguard))
WORKER = """
import os, signal, sys
from scoreguard_handlers.worker.board import board_from
board = board_from()
with board.working({7: 100.5, 8: 0.0}):
    print(board.gone(7), board.gone(8), flush=True)
    if sys.argv[1] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=["memory", "folder"])
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Board:
    """Each kind."""
    return MemoryBoard() if request.param == "memory" else FolderBoard(tmp_path)


def test_who_has_left_is_gone_until_it_is_forgotten(board: Board) -> None:
    """Others are not."""
    board.leave(3)
    assert board.gone(3) and not board.gone(4)
    board.forget(3)
    board.forget(4)
    assert not board.gone(3)


def run_worker(folder: Path, *, die: bool) -> tuple[int, str]:
    """A process with a board, as TorchServe starts its workers."""
    environment = os.environ | {VARIABLE: str(folder), "PYTHONPATH": ROOTS}
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, "die" if die else "live"], env=environment, stdout=subprocess.PIPE, text=True
    ) as worker:
        output, _ = worker.communicate(timeout=60)
    return worker.pid, output.strip()


def test_a_worker_sees_who_has_left(tmp_path: Path) -> None:
    """In another process; when it is done, nothing of its work is noted."""
    board = FolderBoard(tmp_path)
    board.leave(8)
    _, seen = run_worker(tmp_path, die=False)
    assert seen == "False True"
    assert board.notes() == []


def test_a_dead_worker_leaves_its_note_behind(tmp_path: Path) -> None:
    """It says over what it died, until it is erased."""
    board = FolderBoard(tmp_path)
    pid, _ = run_worker(tmp_path, die=True)
    assert board.notes() == [Note(pid=pid, items={7: 100.5, 8: 0.0})]
    board.erase(pid)
    assert board.notes() == []


def test_a_full_disk_costs_only_the_early_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The caller's leaving is logged and raises nothing, and the work is done without a note."""
    board = FolderBoard(tmp_path / "board")
    (tmp_path / "board" / "gone").rmdir()
    (tmp_path / "board" / "working").rmdir()
    board.leave(1)
    board.forget(1)
    assert "cannot tell the workers" in caplog.text
    done = []
    with board.working({1: 0.0}):
        done.append(1)
    assert done == [1]


def test_without_a_folder_the_board_is_of_this_process() -> None:
    """Plain TorchServe has no gateway that would write one."""
    assert isinstance(board_from({}), MemoryBoard)


def test_work_is_overdue_when_nobody_waits_for_any_of_it() -> None:
    """From the last deadline or leaving on; work without a deadline only when its caller has left."""
    now = time.time()
    assert Note(pid=1, items={1: now - 9, 2: now - 4}).overdue({}) == pytest.approx(4, abs=0.5)
    assert Note(pid=1, items={1: now - 9, 2: now + 50}).overdue({}) < 0
    assert Note(pid=1, items={1: now - 9, 2: now + 50}).overdue({2: now - 3}) == pytest.approx(3, abs=0.5)
    assert Note(pid=1, items={1: 0.0}).overdue({}) < 0
