"""Several processes on one run directory: they share its units, and take over those of one that was killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.clients.campaign.conftest import Launch
from tests.clients.campaign.test_kill import PROGRAM, finish, kill_after, start
from tests.clients.campaign.test_kill import records_of as records_of_run
from tests.clients.campaign.two_metrics import options_of, records_of, run, service_of_two, write_photos

from scoreguard_client import InternalError
from scoreguard_client.campaign import CampaignOptions, Ledger, Runner
from scoreguard_client.campaign.leases import CREATION, Claim, Leases
from scoreguard_client.progress import Progress


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[list[sqlite3.Connection]]:
    """Two connections to one file with a table of leases."""
    opened = [sqlite3.connect(tmp_path / "leases.sqlite", timeout=20, check_same_thread=False) for _ in range(2)]
    with opened[0]:
        opened[0].execute(CREATION)
    yield opened
    for connection in opened:
        connection.close()


def write_owner(connection: sqlite3.Connection, owner: str) -> None:
    """Give the lease on `unit` to somebody else."""
    with connection:
        connection.execute("UPDATE leases SET owner = ? WHERE work = 'unit'", [owner])


def test_work_is_taken_by_one_and_not_again_once_it_ended(connections: list[sqlite3.Connection]) -> None:
    """Whoever starts later may try it again, as a rerun tries failed records."""
    one, other = (Leases(connection) for connection in connections)
    assert (one.claim("unit"), other.claim("unit"), other.claim("another")) == (Claim.MINE, Claim.BUSY, Claim.MINE)
    with connections[0] as connection:
        one.end(connection, "unit")
    assert other.claim("unit") is Claim.ENDED
    time.sleep(0.01)
    assert Leases(connections[1]).claim("unit") is Claim.MINE
    assert one.claim("unit") is Claim.BUSY


def test_a_lease_that_is_not_renewed_expires(connections: list[sqlite3.Connection]) -> None:
    """So the work of a machine that fell over is taken over."""
    one, other = (Leases(connection, seconds=0.1) for connection in connections)
    assert one.claim("unit") is Claim.MINE
    write_owner(connections[0], "1@another-machine#00")
    assert other.claim("unit") is Claim.BUSY
    time.sleep(0.12)
    assert other.claim("unit") is Claim.MINE


def test_the_heartbeat_keeps_leases_and_the_end_gives_them_back(
    connections: list[sqlite3.Connection], tmp_path: Path
) -> None:
    """Work may take much longer than a lease."""
    one, other = (Leases(connection, seconds=0.2) for connection in connections)
    with one.kept(lambda: sqlite3.connect(tmp_path / "leases.sqlite", timeout=20)):
        assert one.claim("unit") is Claim.MINE
        time.sleep(0.6)
        assert other.claim("unit") is Claim.BUSY
    assert other.claim("unit") is Claim.MINE


def test_the_work_of_a_process_that_is_gone_is_free_at_once(connections: list[sqlite3.Connection]) -> None:
    """On the same machine nobody waits for the lease to expire."""
    one, other = (Leases(connection) for connection in connections)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert one.claim("unit") is Claim.MINE
    machine = one.owner.partition("@")[2].partition("#")[0]
    write_owner(connections[0], f"{gone.pid}@elsewhere#00")
    assert other.claim("unit") is Claim.BUSY
    write_owner(connections[0], f"{gone.pid}@{machine}#00")
    assert other.claim("unit") is Claim.MINE


def test_two_runners_make_every_record_once(tmp_path: Path) -> None:
    """Together they ask what one asks alone, and both end with the whole run."""
    options = options_of(tmp_path, batch=1)
    alone, together = service_of_two(), service_of_two()
    whole = run(options_of(tmp_path, batch=1, out=tmp_path / "alone"), alone)
    with ThreadPoolExecutor(2) as pool:
        summaries = list(pool.map(lambda _: run(options, together), range(2)))
    assert summaries == [whole, whole]
    assert records_of(options.out) == records_of(tmp_path / "alone")

    def calls(service: Any) -> Counter[tuple[str, str, str, int]]:
        return Counter((c.kind, c.metric, c.chain, c.seed) for c in service.calls if c.kind != "list_metrics")

    assert calls(together) == calls(alone)


def test_what_one_runner_failed_at_another_beside_it_leaves_alone(tmp_path: Path) -> None:
    """The next start tries it again."""
    service = service_of_two()
    options = options_of(
        tmp_path, metric="bright", attacks="square:queries=3", defences="none", adaptive=False, limit=1
    )
    service.fail(InternalError("worker died"), calls=[1 + 1 + 3 + 1])
    assert run(options, service).failed == 1
    (unit,) = plan_units(options.out)
    with Ledger.open(options.out) as ledger:
        ledger.leases._since -= 60  # it started before the failure
        assert ledger.claim(unit) is Claim.ENDED
    assert run(options, service).failed == 0


def plan_units(out: Path) -> list[str]:
    """The keys of a run's units."""
    with Ledger.open(out) as ledger:
        return [unit.key for unit in ledger.plan.units()]


def test_two_processes_share_a_run(running: Any, tmp_path: Path) -> None:
    """As two terminals would: the server is asked no more than by one."""
    words = ["attack", "--target", running.target, "--images", str(write_photos(tmp_path / "photos", "a.png", "b.png"))]
    words += ["--attacks", "square:queries=60,fgsm", "--defences", "none,dim", "--batch", "1", "--gradients", "live"]
    words += ["--out", str(tmp_path / "run")]
    processes = [subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stderr=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        finish(process)
    assert len(records_of_run(tmp_path / "run")) == 2 * 2 * 2
    kinds = Counter(type(request).__name__ for request in running.service.requests)
    # Clean scores; attacks by queries; f(x'), f(g(x')) in float and 8 bits; one step of FGSM and its check.
    assert kinds["ScoreDefendedRequest"] + kinds["ScoreGradientRequest"] == 2 * (2 + 60 + 4 + 2 + 4)


@pytest.mark.slow
def test_a_campaign_starts_its_own_helpers(run_campaign: Launch, options: CampaignOptions, running: Any) -> None:
    """`--workers 3`: the units are taken by three processes, and the records are those of one."""
    changes = {"attacks": "square:queries=40", "adaptive": True, "batch": 1}
    alone = run_campaign(out=options.out.with_name("alone"), **changes)

    def wait_for_helpers(runner: Runner) -> Progress:
        """Begin the attacks once the others are there to take some."""

        def progress(steps: int, what: str) -> None:
            deadline = time.monotonic() + 20
            while what.startswith("square") and len(owners(options.out)) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)

        return progress

    assert run_campaign(wait_for_helpers, workers=3, **changes) == alone
    assert len(owners(options.out)) == 3
    assert records_of(options.out) == records_of(options.out.with_name("alone"))


def owners(out: Path) -> set[str]:
    """The processes that have taken work of a run."""
    with Ledger.open(out) as ledger:
        return {str(owner) for (owner,) in ledger._connection.execute("SELECT owner FROM leases")}


@pytest.mark.slow
def test_the_units_of_a_killed_process_are_taken_over_by_the_other(running: Any, photos: Path, tmp_path: Path) -> None:
    """`kill -9` of one of two: the other ends with the records of a run that nobody killed."""
    finish(start(running.target, photos, tmp_path / "whole"))
    wanted = records_of_run(tmp_path / "whole")
    one, other = (start(running.target, photos, tmp_path / "shared") for _ in range(2))
    left = kill_after(one, tmp_path / "shared", len(wanted) // 3, 0.02)
    assert one.returncode == -signal.SIGKILL
    assert 0 < left < len(wanted)
    finish(other)
    assert records_of_run(tmp_path / "shared") == wanted
