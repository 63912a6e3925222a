"""`scoreguard merge`: every record once, and the report of a run that was never split."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from tests.clients.campaign.two_metrics import options_of, records_of, run, service_of_two, write_photos

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import InternalError, ScoreguardError
from scoreguard_client.campaign import Ledger, MergeError, RunError, merge
from scoreguard_client.cli import command
from scoreguard_client.report import TableOptions, make_reports


def shard(tmp_path: Path, name: str, **changes: Any) -> Path:
    """A finished run of its own."""
    out = tmp_path / name
    run(options_of(tmp_path, out=out, **changes))
    return out


def test_runs_on_other_images_metrics_and_chains_are_one_run(tmp_path: Path) -> None:
    """The plan, the records and the tables are those of one campaign on all."""
    whole = shard(tmp_path, "whole")
    parts = [
        shard(tmp_path, "bright", metric="bright"),
        shard(tmp_path, "red", metric="red", defences="none", adaptive=False),
        shard(tmp_path, "red2", metric="red"),
    ]
    merged = merge(parts, tmp_path / "merged")
    assert (merged.failed, merged.missing, merged.conflicts) == (0, 0, 0)
    assert merged.records == len(records_of(whole))
    assert records_of(tmp_path / "merged") == records_of(whole)
    with Ledger.open(tmp_path / "merged") as there, Ledger.open(whole) as here:
        assert there.plan == here.plan
        assert there.facts == here.facts
        assert [score.key for score in there.clean()] == [score.key for score in here.clean()]
    tables = [[r.rows for r in make_reports(out, TableOptions(resamples=10))] for out in (tmp_path / "merged", whole)]
    assert repr(tables[0]) == repr(tables[1])
    images = [sorted(p.relative_to(out) for p in out.glob("images/**/*.png")) for out in (tmp_path / "merged", whole)]
    assert images[0] == images[1]
    assert images[0]


def test_images_of_two_folders_come_together_by_name(tmp_path: Path) -> None:
    """What neither run has made of the merged plan is counted as missing, and an extension makes it."""
    one = shard(tmp_path, "one", images=write_photos(tmp_path / "one-photos", "b.png"), attacks="ifgsm:iterations=1")
    two = shard(tmp_path, "two", images=write_photos(tmp_path / "two-photos", "a.png"), attacks="square:queries=3")
    merged = merge([one, two], tmp_path / "merged")
    assert (merged.records, merged.missing) == (12, 12)
    with Ledger.open(tmp_path / "merged") as ledger:
        plan, facts = ledger.plan, ledger.facts
    assert [image.name for image in plan.images] == ["a.png", "b.png"]
    assert facts["shown"] == ["a.png", "b.png"]
    assert facts["metrics"]["red"]["expected"] == 12
    both = write_photos(tmp_path / "both", "a.png", "b.png")
    options = options_of(tmp_path, images=both, out=tmp_path / "merged")
    assert run(replace(options, metric="", attacks="", defences="", extend=True)).records == 24


def test_a_record_that_failed_in_one_run_is_taken_from_the_other(tmp_path: Path) -> None:
    """In either order; if both failed, it counts as failed."""
    options = options_of(
        tmp_path, metric="bright", attacks="square:queries=3", defences="none", adaptive=False, limit=1
    )
    service = service_of_two()
    service.fail(InternalError("worker died"), calls=[1 + 1 + 3 + 1])
    assert run(replace(options, out=tmp_path / "failed"), service).failed == 1
    assert run(replace(options, out=tmp_path / "sound")).failed == 0
    for number, names in enumerate((("failed", "sound"), ("sound", "failed"))):
        merged = merge([tmp_path / name for name in names], tmp_path / f"merged{number}")
        assert (merged.records, merged.failed, merged.missing, merged.conflicts) == (1, 0, 0, 0)
    assert merge([tmp_path / "failed"], tmp_path / "alone").failed == 1


def test_of_two_records_with_other_numbers_the_first_stays_and_is_counted(tmp_path: Path) -> None:
    """Times and calls that were sent again are no other numbers."""
    one = shard(tmp_path, "one", metric="bright")
    other = tmp_path / "other"
    shutil.copytree(one, other)
    with Ledger.open(other) as ledger:
        changed = ledger.records()[2]
        with ledger._connection as connection:
            connection.execute("UPDATE records SET crafting_seconds = 9, queries = 99")
            key = [changed.attack, changed.chain, changed.image, changed.attacked_through]
            where = "attack = ? AND chain = ? AND image = ? AND crafting = ?"
            connection.execute(f"UPDATE records SET attacked_defended = 1.5 WHERE {where}", key)
    assert merge([one, other], tmp_path / "first").conflicts == 1
    assert records_of(tmp_path / "first") == records_of(one)
    assert merge([other, one], tmp_path / "second").conflicts == 1
    assert {r.attacked_defended for r in records_of(tmp_path / "second")} >= {1.5}


def test_runs_of_other_campaigns_are_refused_by_what_differs(tmp_path: Path) -> None:
    """In one line, and nothing is written."""
    one = shard(tmp_path, "one", metric="bright")
    seeded = shard(tmp_path, "seeded", metric="bright", seed=3)
    with pytest.raises(MergeError, match=r"seeded is no part of one campaign with .*one \(seed: 0 there, 3 here\)"):
        merge([one, seeded], tmp_path / "merged")
    folder = write_photos(tmp_path / "elsewhere", "b.png")
    PIL.Image.new("RGB", (12, 8), (9, 9, 9)).save(folder / "a.png")
    changed = shard(tmp_path, "changed", metric="bright", images=folder)
    with pytest.raises(MergeError, match=r"a\.png is another image there"):
        merge([one, changed], tmp_path / "merged")
    with pytest.raises(RunError, match="holds no campaign"):
        merge([one, tmp_path / "typo"], tmp_path / "merged")
    with pytest.raises(RunError, match="is there already"):
        merge([one], one)
    assert not (tmp_path / "merged").exists()


def test_the_command_says_what_came_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people and for programs."""
    one, two = (shard(tmp_path, name, metric=name, attacks="ifgsm:iterations=1") for name in ("bright", "red"))
    for words in ([], ["--json"]):
        out = tmp_path / f"merged{len(words)}"
        argv = ["merge", str(one), str(two), "--out", str(out), *words]
        assert console.run(command, errors=(ScoreguardError, ContractError), argv=argv) == 0
        said = capsys.readouterr().out
        if words:
            outcome = {"records": 12, "failed": 0, "missing": 0, "conflicts": 0, "run": str(out)}
            assert json.loads(said) == outcome
        else:
            assert said == f"12 records in {out}\nnext: scoreguard report {out}\n"
