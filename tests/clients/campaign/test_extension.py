"""`--extend`: what is added is computed, what is there stays, and the records are those of one run of all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from tests.clients.campaign.two_metrics import options_of, records_of, run, service_of_two, write_photos

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import ScoreguardError
from scoreguard_client.campaign import CampaignOptions, Ledger, PlanError, PlanMismatchError, RunError
from scoreguard_client.campaign.launch import base_of
from scoreguard_client.campaign.planning import prepare
from scoreguard_client.campaign.rehearsal import rehearse
from scoreguard_client.cli import command
from scoreguard_client.report import TableOptions, make_reports


@pytest.fixture
def small(tmp_path: Path) -> CampaignOptions:
    """A finished campaign on one metric, with one attack and one image."""
    options = options_of(
        tmp_path, metric="bright", attacks="square:queries=5", defences="none", limit=1, adaptive=False
    )
    run(options)
    return options


@pytest.fixture
def wide(small: CampaignOptions) -> CampaignOptions:
    """What it is extended to, as one run elsewhere."""
    return replace(
        small,
        metric="bright,red",
        attacks="square:queries=5,ifgsm:iterations=2",
        defences="none,halve",
        limit=None,
        adaptive=True,
        out=small.out.with_name("wide"),
    )


def more(options: CampaignOptions, **changes: Any) -> CampaignOptions:
    """Options that extend a run by the changes and nothing else."""
    empty = replace(options, metric="", attacks="", defences="", extend=True)
    return replace(empty, **changes)


def test_an_extended_run_is_one_run_of_all_of_it(small: CampaignOptions, wide: CampaignOptions) -> None:
    """The same plan, the same records to the last bit, and the same tables."""
    run(wide)
    steps: tuple[dict[str, Any], ...] = (
        {"attacks": "ifgsm:iterations=2"},
        {"defences": "halve"},
        {"adaptive": True},
        {"metric": "red"},
        {"limit": None},
    )
    for changes in steps:
        before = records_of(small.out)
        run(more(small, **changes))
        after = records_of(small.out)
        assert len(after) > len(before)
        assert set(before) < set(after)
    assert records_of(small.out) == records_of(wide.out)
    with Ledger.open(small.out) as there, Ledger.open(wide.out) as here:
        assert there.plan == here.plan
        assert {key: value for key, value in there.facts.items() if key != "shown"} == {
            key: value for key, value in here.facts.items() if key != "shown"
        }
    tables = [[report.rows for report in make_reports(o.out, TableOptions(resamples=10))] for o in (small, wide)]
    assert repr(tables[0]) == repr(tables[1])


def test_only_what_is_missing_is_computed(small: CampaignOptions) -> None:
    """One more chain costs its clean score, and of the attacked image two scores: the batch is attacked again."""
    service = service_of_two()
    run(more(small, defences="halve"), service)
    calls = [(call.kind, call.chain) for call in service.calls if call.kind != "list_metrics"]
    assert calls.count(("score", "halve")) == 1 + 2
    assert calls.count(("score", "")) == 5 + 2  # the attack, and f(x'), which the record states too
    service = service_of_two()
    run(more(small), service)
    assert {call.kind for call in service.calls} == {"list_metrics"}


def test_more_draws_keep_those_that_are_there(running: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Draws are numbered; the first keep their seeds and scores."""
    words = ["attack", "--images", str(write_photos(tmp_path / "photos", "a.png")), "--out", str(tmp_path / "run")]
    words += ["--target", running.target, "--gradients", "live"]
    first = [*words, "--attacks", "fgsm", "--defences", "shift", "--draws", "2"]
    assert console.run(command, errors=(ScoreguardError, ContractError), argv=first) == 0
    before = records_of(tmp_path / "run")
    # Neither the default attacks nor the default chain `none` come in: nobody asked for them.
    assert console.run(command, errors=(ScoreguardError, ContractError), argv=[*words, "--extend", "--draws", "3"]) == 0
    after = records_of(tmp_path / "run")
    assert [(r.attack.partition(":")[0], r.chain, r.draw) for r in after] == [("fgsm", "shift", n) for n in range(3)]
    assert before == after[:2]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"batch": 3}, "batch: 8 there, 3 here"),
        ({"crafting_draws": 2, "attacks": "ifgsm"}, "crafting_draws: 1 there, 2 here"),
    ],
)
def test_what_changes_the_records_that_are_there_is_refused(
    changes: dict[str, Any], said: str, small: CampaignOptions
) -> None:
    """In one line, and the run stays as it is."""
    before = records_of(small.out)
    with pytest.raises(PlanMismatchError) as caught:
        run(more(small, **changes))
    assert said in str(caught.value)
    assert str(caught.value).count(" there, ") == 1
    assert records_of(small.out) == before


def test_a_run_is_not_extended_with_another_archive(small: CampaignOptions) -> None:
    """A metric that was deployed again is another metric."""
    other = service_of_two(defences={"halve": lambda image: image / 2, "quarter": lambda image: image / 4})
    with other.client() as client:
        known, found = base_of(more(small)), client.list_metrics().metric("bright").archive_sha256
        assert known is not None
        changed = replace(known.plan.metrics[0], archive_sha256="00")
        with pytest.raises(PlanMismatchError, match=f"archive_sha256: 00 there, {found} here"):
            prepare(more(small), client, replace(known, plan=replace(known.plan, metrics=(changed,))))


def test_the_images_of_the_run_must_be_in_the_folder_unchanged(small: CampaignOptions, tmp_path: Path) -> None:
    """They are attacked anew by what is added."""
    elsewhere = write_photos(tmp_path / "elsewhere", "z.png")
    with pytest.raises(PlanError, match=r"a\.png of the run cannot be read from"):
        run(more(small, images=elsewhere))
    PIL.Image.new("RGB", (12, 8), (90, 90, 90)).save(elsewhere / "a.png")
    with pytest.raises(PlanError, match=r"a\.png was changed since the run was made"):
        run(more(small, images=elsewhere))
    # Beyond the limit by name, yet still one of the run's.
    write_photos(small.images, "0.png")
    run(more(small, limit=1))
    assert {record.image for record in records_of(small.out)} == {"0.png", "a.png"}


def test_there_must_be_a_run_to_extend(small: CampaignOptions, tmp_path: Path) -> None:
    """A mistyped directory makes no new run."""
    with pytest.raises(RunError, match="holds no campaign"):
        run(more(small, out=tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()


def test_an_extension_can_be_rehearsed(small: CampaignOptions) -> None:
    """It counts what is there, and changes nothing."""
    with service_of_two().client() as client:
        options = more(small, attacks="ifgsm:iterations=2")
        found = rehearse(prepare(options, client, base_of(options)), lambda runner: lambda steps, what: None)
    assert (found.records, found.there, found.units) == (2, 1, 2)
    with Ledger.open(small.out) as ledger:
        assert len(ledger.plan.attacks) == 1


def test_two_extensions_at_once_do_not_lose_one(small: CampaignOptions) -> None:
    """The second finds another plan than the one that it was made for."""
    with service_of_two().client() as client:
        first, second = (
            prepare(options, client, base_of(options))
            for options in (more(small, attacks="ifgsm:iterations=2"), more(small, defences="halve"))
        )
    assert first.base is not None and second.base is not None
    with Ledger.open(small.out) as ledger:
        ledger.extend(first.base.plan, first.plan, first.facts)
        with pytest.raises(PlanMismatchError):
            ledger.extend(second.base.plan, second.plan, second.facts)
        assert ledger.plan == first.plan
