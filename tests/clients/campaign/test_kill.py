"""`kill -9` at random moments: the resumed campaign has the records of one that was never killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scoreguard_client.campaign import Ledger, Record
from scoreguard_client.campaign.ledger import FILE_NAME
from scoreguard_client.report import TableOptions, make_reports

KILLS = 30
PROGRAM = "import sys; from scoreguard_client.cli import main; sys.exit(main())"


def start(target: str, photos: Path, out: Path) -> subprocess.Popen[bytes]:
    """A campaign as a user starts it."""
    arguments = ["attack", "--target", target, "--metric", "bright", "--images", str(photos), "--out", str(out)]
    arguments += ["--attacks", "ifgsm:iterations=4,square:queries=40", "--defences", "none,dim,shift", "--adaptive"]
    arguments += ["--draws", "2", "--batch", "1", "--gradients", "live", "--keep-all"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a campaign that must succeed."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output.decode()


def written(out: Path) -> int:
    """Records on disk, seen from another process."""
    path = out / FILE_NAME
    if not path.is_file():
        return 0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def kill_after(process: subprocess.Popen[bytes], out: Path, records: int, delay: float) -> int:
    """Kill once that many records are there and a little later; the records left behind."""
    deadline = time.monotonic() + 60
    while written(out) < records and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return written(out)


def records_of(out: Path) -> list[Record]:
    """The records but for their times."""
    with Ledger.open(out) as ledger:
        return [replace(record, crafting_seconds=0, scoring_seconds=0) for record in ledger.records()]


def pages(out: Path) -> list[Path]:
    """The report of a run, whose times are taken out first: no two runs take equally long."""
    with closing(sqlite3.connect(out / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE records SET crafting_seconds = 0, scoring_seconds = 0")
    (report,) = make_reports(out, TableOptions(resamples=50))
    return [report.folder / "index.html", report.folder / "table.csv"]


@pytest.mark.slow
def test_a_campaign_that_is_killed_again_and_again_ends_with_the_same_records(
    running: Any, photos: Path, tmp_path: Path
) -> None:
    """Same keys, same values, none lost between kills, none doubled, and the same report to the byte."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(running.target, photos, whole))
    wanted = records_of(whole)
    moments, left = random.Random(0), 0
    kills = 0
    for number in range(KILLS):
        process = start(running.target, photos, killed)
        aim = len(wanted) * number // KILLS + 1
        now = kill_after(process, killed, aim, moments.uniform(0, 0.05))
        assert now >= left
        kills, left = kills + (process.returncode == -signal.SIGKILL), now
    assert kills >= KILLS // 2
    assert left > 0
    finish(start(running.target, photos, killed))
    assert records_of(killed) == wanted
    assert [page.read_bytes() for page in pages(killed)] == [page.read_bytes() for page in pages(whole)]
    assert len({record.key for record in wanted}) == len(wanted) == 5 * 2 * (1 + 1 + 2 + 1 + 2)
    assert not [path for path in killed.rglob("*.npz") if path.stat().st_size == 0]
