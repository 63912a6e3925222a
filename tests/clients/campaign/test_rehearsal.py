"""`--dry-run`: what would run is what then runs, and nothing is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tests.clients.campaign.two_metrics import options_of, run, service_of_two

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import InternalError, ScoreguardError
from scoreguard_client.campaign import CampaignOptions, PlanMismatchError
from scoreguard_client.campaign.ledger import FILE_NAME
from scoreguard_client.campaign.planning import prepare
from scoreguard_client.campaign.rehearsal import Rehearsal, rehearse
from scoreguard_client.campaign.runner import Runner
from scoreguard_client.cli import command
from scoreguard_client.commands._progress import duration
from scoreguard_client.commands._rehearsal import size
from scoreguard_client.progress import Progress
from scoreguard_client.testing import FakeService


def rehearsed(options: CampaignOptions, service: FakeService | None = None) -> Rehearsal:
    """Rehearse a campaign."""
    with (service or service_of_two()).client() as client:
        return rehearse(prepare(options, client), lambda runner: lambda steps, what: None)


@pytest.fixture
def options(tmp_path: Path) -> CampaignOptions:
    """Three images of one size, both metrics, no chain `none`."""
    options = options_of(tmp_path, defences="halve")
    PIL.Image.fromarray(np.full((8, 12, 3), 90, np.uint8)).save(options.images / "c.png")
    return options


def test_the_counts_are_those_of_the_run(options: CampaignOptions) -> None:
    """Records, units and every call but the catalogue's are what the run then makes."""
    found = rehearsed(options)
    assert not options.out.exists()
    service = service_of_two()
    assert run(options, service).records == found.records == 3 * 2 * 2 * 2
    assert (found.metrics, found.images, found.attacks, found.units) == (2, 3, 2, 2 * 2 * 2)
    calls = [call for call in service.calls if call.kind != "list_metrics"]
    assert len(calls) == found.scoring_calls + found.attack_calls
    assert (found.there, found.probe_failed, found.first_error) == (0, 0, "")


def test_time_and_disk_grow_with_the_images(options: CampaignOptions) -> None:
    """The probe is one of three images of one size; a kept run needs more room."""
    found = rehearsed(options)
    assert found.seconds == pytest.approx(3 * found.probe_seconds)
    run(options)
    real = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    assert real / 10 < found.disk_bytes < real  # these few records do not fill the pages of the file
    assert rehearsed(replace(options, keep_all=True, out=options.out / "all")).disk_bytes > found.disk_bytes


def test_what_is_there_already_is_not_counted_again(options: CampaignOptions) -> None:
    """A finished run takes no time; another plan is refused as it would be."""
    run(options)
    found = rehearsed(options)
    assert (found.there, found.seconds) == (found.records, 0)
    with pytest.raises(PlanMismatchError, match="seed: 0 there, 1 here"):
        rehearsed(replace(options, seed=1))


def test_a_probe_that_fails_says_why(options: CampaignOptions) -> None:
    """The estimate is then of little worth."""
    service = service_of_two()
    service.fail(InternalError("worker died"), calls=[4])
    found = rehearsed(options, service)
    assert found.probe_failed > 0
    assert "worker died" in found.first_error


def test_the_command_prints_it_and_runs_nothing(
    running: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people and for programs."""
    photos = options_of(tmp_path).images
    words = ["attack", "--images", str(photos), "--out", str(tmp_path / "run"), "--target", running.target]
    words += ["--attacks", "fgsm,square:queries=4", "--defences", "none,dim", "--gradients", "live", "--dry-run"]
    assert console.run(command, errors=(ScoreguardError, ContractError), argv=words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "1 metric, 2 images, 2 attacks: 2 units, 8 records"
    assert said[1] == "calls to the server: 20 for scores, 4 of them of clean images; 12 by attacks"
    assert said[2].startswith("about ")
    assert said[3].startswith("measured on b.png, which took ")
    assert console.run(command, errors=(ScoreguardError, ContractError), argv=[*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["attack_calls"] == 2 * (2 + 4)
    assert not (tmp_path / "run" / FILE_NAME).exists()


def test_its_progress_ends_with_all_steps_of_the_one_image(options: CampaignOptions) -> None:
    """The total is told before the first step, and reached with the last one."""
    totals: list[int] = []
    steps: list[int] = []

    def begin(runner: Runner) -> Progress:
        totals.append(runner.steps)
        return lambda done, what: steps.append(done)

    with service_of_two().client() as client:
        found = rehearse(prepare(options, client), begin)
    assert totals == [(found.records + found.clean_scores) // found.images]
    assert sum(steps) == totals[0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0123, "0.012 s"), (7.04, "7 s"), (59.2, "59 s"), (600, "10 min"), (5400, "1.5 h")]
)
def test_a_time_is_written_for_people(seconds: float, text: str) -> None:
    """No more digits than an estimate has."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 bytes"), (34_400, "34 kB"), (5.6e6, "6 MB"), (1.24e9, "1.2 GB"), (2.5e12, "2500.0 GB")]
)
def test_a_size_is_written_for_people(count: float, text: str) -> None:
    """In powers of a thousand."""
    assert size(count) == text
