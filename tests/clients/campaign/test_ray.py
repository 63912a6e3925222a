"""`--runner ray`: the records of a run in one process, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.clients.campaign.conftest import Launch, quiet
from tests.clients.campaign.two_metrics import options_of, records_of, run, service_of_two

from scoreguard_client import MissingExtraError, ScoringClient, UnauthenticatedError
from scoreguard_client.campaign import CampaignOptions, PlanError, RunnerKind, Summary, launch
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.planning import Prepared, prepare
from scoreguard_client.campaign.pools import check_pool
from scoreguard_client.campaign.ray_pool import RayPool, connected
from scoreguard_client.campaign.runner import Runner
from scoreguard_client.campaign.services import NoCache

needs_ray = pytest.mark.slow


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of Ray that import what this process imports."""
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def workers_of_ray() -> list[int]:
    """The processes that execute units for this process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::_in_worker") and os.getpid() in ancestors(int(folder.name)):
            found.append(int(folder.name))
    return found


def ancestors(process: int) -> list[int]:
    """The parents of a process."""
    found = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(process)
    return found


@needs_ray
def test_the_records_are_those_of_one_process_even_if_a_worker_is_killed(
    workers: None, run_campaign: Launch, options: CampaignOptions, running: Any
) -> None:
    """`kill -9` of a worker in the middle of a unit costs that unit's time and nothing else."""
    changes: dict[str, Any] = {"adaptive": True, "draws": 2, "batch": 1, "keep_all": True}
    here = run_campaign(out=options.out.with_name("here"), **changes)
    killed: list[int] = []

    def kill_one(request: Any) -> None:
        # The first images are scored clean; the attacks begin after them.
        if not killed and len(running.service.requests) > before + 40:
            killed.append(workers_of_ray()[0])
            os.kill(killed[0], signal.SIGKILL)

    before = len(running.service.requests)
    running.service.refuse = kill_one
    there = run_campaign(runner=RunnerKind.RAY, workers=2, **changes)
    assert killed
    assert there == here
    assert [timeless(r) for r in records_of(options.out)] == [
        timeless(r) for r in records_of(options.out.with_name("here"))
    ]
    kept = [sorted(p.name for p in out.glob("images/**/*.*")) for out in (options.out, options.out.with_name("here"))]
    assert kept[0] == kept[1]
    assert any(name.endswith(".npz") for name in kept[0])


def timeless(record: Any) -> Any:
    """A record but for the calls that were sent again."""
    return replace(record, queries=0)


@needs_ray
def test_a_unit_that_kills_every_worker_fails_alone(workers: None, tmp_path: Path) -> None:
    """After three tries its records say so; the others are sound, and a rerun tries it again."""
    small: dict[str, Any] = {"metric": "bright", "attacks": "ifgsm:iterations=3", "adaptive": False, "batch": 1}
    options = options_of(tmp_path, **small)
    service = service_of_two()
    with service.client() as client, connected("", 2):
        prepared = prepare(options, client)

        def deadly(read: Callable[..., Any]) -> Callable[..., Any]:
            def read_or_die(image: Any) -> Any:
                if image.name == "b.png":
                    os._exit(9)
                return read(image)

            return read_or_die

        services = prepared.services(NoCache())
        attack_only = replace(services, read=deadly(services.read))
        summary = run_with(prepared, RayPool(services=[services]), clean_only=True)
        assert summary.failed == 0
        summary = run_with(prepared, RayPool(services=[attack_only]))
    assert (summary.records, summary.failed, summary.retryable) == (2, 2, 2)
    assert summary.first_error.startswith("its workers died 3 times, the last of ")
    assert {record.image for record in records_of(options.out) if record.error} == {"b.png"}
    assert run(options).failed == 0
    assert run(replace(options, out=tmp_path / "whole")).failed == 0
    assert records_of(options.out) == records_of(tmp_path / "whole")


def run_with(prepared: Prepared, pool: RayPool, *, clean_only: bool = False) -> Summary:
    """Run a plan on a pool, or the clean scores of it."""
    plan = replace(prepared.plan, attacks=()) if clean_only else prepared.plan
    out = prepared.options.out
    with Ledger.create(out, prepared.plan, prepared.facts) as ledger:
        return Runner(plan=plan, ledger=ledger, gallery=Gallery(out, ()), pool=pool).run(lambda steps, what: None)


@needs_ray
def test_several_servers_share_the_units(
    workers: None, options: CampaignOptions, running: Any, start_server: Any
) -> None:
    """Each gets some, and a server that refuses its caller ends the run after what is under way."""
    second = start_server()
    with ScoringClient(running.target) as client, ScoringClient(second.target) as other:
        ray_options = replace(options, runner=RunnerKind.RAY, workers=2)
        assert launch(ray_options, client, quiet, [other]).failed == 0
    for server in (running, second):
        assert sum(type(request).__name__ == "ScoreDefendedRequest" for request in server.service.requests) > 20


@needs_ray
def test_a_refused_caller_ends_the_run_with_the_servers_word(workers: None, tmp_path: Path) -> None:
    """The error comes out of the worker as it was raised."""
    service = service_of_two()
    service.fail(UnauthenticatedError("no token"), calls=list(range(2, 100)))
    with pytest.raises(UnauthenticatedError, match="no token"):
        run(options_of(tmp_path, runner=RunnerKind.RAY, workers=1), service)


def test_an_address_without_ray_is_refused_in_one_line(tmp_path: Path) -> None:
    """Nothing is run here instead."""
    pytest.importorskip("ray")
    with pytest.raises(PlanError, match=r"no Ray at 127\.0\.0\.1:1: Connection refused") as caught:
        run(options_of(tmp_path, runner=RunnerKind.RAY, address="127.0.0.1:1"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is in no other extra."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--runner ray needs pip install 'scoreguard\[ray\]'"):
        run(options_of(tmp_path, runner=RunnerKind.RAY))
    assert not (tmp_path / "run").exists()


def test_an_address_of_ray_without_it_is_refused(tmp_path: Path) -> None:
    """It would do nothing."""
    with pytest.raises(PlanError, match="are for --runner ray"):
        run(options_of(tmp_path, address="auto"))


def test_another_server_with_another_archive_is_refused(tmp_path: Path) -> None:
    """Its records would be of another metric."""
    options = options_of(tmp_path, metric="bright", runner=RunnerKind.RAY)
    pytest.importorskip("ray")
    with service_of_two().client() as client:
        prepared = prepare(options, client)
        with pytest.raises(PlanError, match="another archive of bright than the first server"):
            check_pool(replace(prepared, plan=with_archive(prepared, "00")), [client])


def with_archive(prepared: Prepared, digest: str) -> Any:
    """The plan with another archive behind its metric."""
    (metric,) = prepared.plan.metrics
    return replace(prepared.plan, metrics=(replace(metric, archive_sha256=digest),))
