"""Executing a unit: results as values, with no run directory anywhere."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.clients.campaign.two_metrics import options_of, records_of, run, service_of_two

from scoreguard_client import InternalError, UnauthenticatedError
from scoreguard_client.campaign import CleanKey, CleanScore
from scoreguard_client.campaign.clean_scores import CleanWork, score_clean
from scoreguard_client.campaign.execute import UnitWork, execute
from scoreguard_client.campaign.planning import Prepared, prepare
from scoreguard_client.campaign.services import MemoryCache, NoCache, Services
from scoreguard_client.testing import FakeService


@pytest.fixture
def service() -> FakeService:
    """The service of two metrics."""
    return service_of_two()


@pytest.fixture
def prepared(service: FakeService, tmp_path: Path) -> Iterator[Prepared]:
    """A plan of both metrics."""
    with service.client() as client:
        yield prepare(options_of(tmp_path), client)


def works(prepared: Prepared, services: Services) -> list[UnitWork]:
    """Every unit of the plan, with the clean scores of its images."""
    plan = prepared.plan
    clean: dict[CleanKey, CleanScore] = {}
    for metric in plan.metrics:
        for image in plan.images:
            keys = tuple(plan.clean_keys(metric, image.name))
            work = CleanWork(metric=metric.name, image=image, keys=keys, seed=plan.seed)
            clean |= {score.key: score for score in score_clean(work, services).scores}
    return [UnitWork(unit=unit, keys=tuple(plan.keys(unit)), clean=clean, seed=plan.seed) for unit in plan.units()]


def test_executed_units_give_the_records_of_a_run(prepared: Prepared, tmp_path: Path) -> None:
    """Without a directory, and no image but those that are asked for."""
    services = prepared.services(NoCache())
    results = [execute(work, services) for work in works(prepared, services)]
    assert not (tmp_path / "run").exists()
    records = [record for result in results for record in result.records]
    run(options_of(tmp_path))
    timeless = [replace(record, crafting_seconds=0, scoring_seconds=0) for record in records]
    assert sorted(timeless, key=lambda record: record.key) == records_of(tmp_path / "run")
    assert all(result.images == () and result.gone is None for result in results)


def test_images_to_show_come_with_the_result(prepared: Prepared) -> None:
    """The attacked image in 8 bits, and purified by each chain."""
    services = prepared.services(NoCache())
    work = replace(works(prepared, services)[0], shown=frozenset({"b.png"}))
    images = execute(work, services).images
    assert [(image.image, image.metric, image.chain) for image in images] == [
        ("b.png", "bright", ""),
        ("b.png", "bright", "halve"),
    ]
    assert {(image.levels.dtype.name, image.levels.shape) for image in images} == {("uint8", (8, 12, 3))}


def test_a_unit_makes_only_the_records_that_are_asked_for(prepared: Prepared, service: FakeService) -> None:
    """Images without a missing record are not attacked again."""
    services = prepared.services(NoCache())
    work = works(prepared, services)[0]
    one = next(key for key in work.keys if key.image == "b.png" and key.chain == "halve")
    before = len(service.calls)
    (record,) = execute(replace(work, keys=(one,)), services).records
    assert record.key == one
    kinds = [call.kind for call in service.calls[before:]]
    assert (kinds.count("gradient"), kinds.count("score")) == (3, 5)  # the last is the attack's; f(x') and f(g(x'))


@pytest.mark.parametrize("kept", [True, False])
def test_a_cache_saves_the_attack_when_scoring_failed(kept: bool, prepared: Prepared, service: FakeService) -> None:
    """In memory as on disk; without one the attack is made again."""
    services = prepared.services(MemoryCache() if kept else NoCache())
    work = works(prepared, services)[0]
    before = len(service.calls)
    service.fail(InternalError("worker died"), calls=[before + 2 * 3 + 2 + 1])
    first = execute(work, services)
    assert sum(bool(record.error) for record in first.records) in (1, 2)
    assert first.finished == ()
    before = len(service.calls)
    again = execute(work, services)
    assert not any(record.error for record in again.records)
    assert again.finished == (work.unit,)
    assert any(call.kind == "gradient" for call in service.calls[before:]) != kept


def test_a_refused_caller_ends_the_execution(prepared: Prepared, service: FakeService) -> None:
    """All later calls would be refused too, so this is no failed record."""
    services = prepared.services(NoCache())
    work = works(prepared, services)[0]
    service.fail(UnauthenticatedError("no token"), calls=[len(service.calls) + 1])
    with pytest.raises(UnauthenticatedError):
        execute(work, services)


def test_work_and_results_travel_between_processes(prepared: Prepared) -> None:
    """Both are values that can be pickled."""
    services = prepared.services(NoCache())
    work = works(prepared, services)[-1]
    sent = pickle.loads(pickle.dumps(work))
    result = execute(sent, services)
    assert pickle.loads(pickle.dumps(result)).records == result.records
