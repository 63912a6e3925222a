"""The store: nothing doubled, nothing lost, one plan for one directory."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from scoreguard_client.campaign import CleanScore, ImageRef, Plan, PlanMismatchError, Record, RunError, Store
from scoreguard_client.campaign.store import FILE_NAME

PLAN = Plan(
    metric="bright",
    archive_sha256="ab",
    attacks=("fgsm:eps=0.1",),
    defences=("none", "dim:factor=0.5"),
    adaptive=True,
    gradients="live",
    companions=(),
    images=tuple(ImageRef(name=f"{n}.png", sha256=str(n), height=8 + n // 3, width=8) for n in range(5)),
    seed=3,
    draws=1,
    crafting_draws=1,
    batch=2,
)
RECORD = Record(
    image="a.png",
    attack="fgsm:eps=0.1",
    crafting="none",
    chain="dim",
    draw=0,
    image_sha256="00",
    metric="bright",
    adaptive=False,
    seed=2**53 - 1,
    clean_score=1.5,
    queries=2,
)


def test_a_record_that_is_written_twice_is_there_once_with_its_first_values(tmp_path: Path) -> None:
    """Writing again changes nothing."""
    with Store.create(tmp_path, PLAN, {}) as store:
        store.add_records([RECORD, RECORD])
        store.add_records([replace(RECORD, clean_score=9.0)])
        assert store.records() == [RECORD]
        assert store.done() == {RECORD.key}


def test_a_failed_record_is_replaced_by_the_next_attempt(tmp_path: Path) -> None:
    """It does not count as done until an attempt succeeds, and is never put back to failed."""
    failed = replace(RECORD, clean_score=None, error="queue full")
    with Store.create(tmp_path, PLAN, {}) as store:
        store.add_records([failed])
        assert (store.records(), store.done()) == ([failed], set())
        store.add_records([RECORD])
        store.add_records([failed])
        assert store.records() == [RECORD]


@pytest.mark.parametrize(
    "change", [{"draw": 1}, {"chain": "flip"}, {"crafting": "dim"}, {"attack": "x"}, {"image": "b"}]
)
def test_every_part_of_the_key_makes_another_record(change: dict[str, object], tmp_path: Path) -> None:
    """Image, attack, crafting chain, chain and draw."""
    other = replace(RECORD, **change)  # type: ignore[arg-type]
    with Store.create(tmp_path, PLAN, {}) as store:
        store.add_records([RECORD, other])
        assert {record.key for record in store.records()} == {RECORD.key, other.key}


def test_values_and_types_survive_the_disk(tmp_path: Path) -> None:
    """Floats exactly, large seeds, missing numbers, flags, the plan and the facts."""
    record = replace(RECORD, adaptive=True, psnr=0.1 + 0.2, ssim=None, error="")
    clean = CleanScore(
        image="a.png",
        chain="none",
        draw=0,
        seed=5,
        score=1 / 3,
        purified_psnr=None,
        purified_ssim=0.5,
        seconds=0.25,
        error="",
    )
    with Store.create(tmp_path, PLAN, {"shown": ["a.png"]}) as store:
        store.add_records([record])
        store.add_clean([clean, clean])
    with Store.open(tmp_path) as store:
        assert store.records() == [record]
        assert store.records()[0].adaptive is True
        assert store.clean() == [clean]
        assert store.plan == PLAN
        assert store.facts == {"shown": ["a.png"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 4}, "seed: 3 there, 4 here"),
        ({"attacks": ("square:queries=5",)}, "attacks: fgsm:eps=0.1 there, square:queries=5 here"),
        ({"images": PLAN.images[:2]}, "images: 5 pictures there, 2 pictures here"),
        ({"archive_sha256": "cd"}, "archive_sha256: ab there, cd here"),
        ({"adaptive": False, "draws": 7}, "adaptive: True there, False here; draws: 1 there, 7 here"),
    ],
)
def test_the_directory_of_another_plan_is_refused_in_one_line_that_names_what_differs(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    """And what is there stays as it is."""
    with Store.create(tmp_path, PLAN, {}) as store:
        store.add_records([RECORD])
    with pytest.raises(PlanMismatchError) as caught:
        Store.create(tmp_path, replace(PLAN, **change), {})  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    with Store.create(tmp_path, PLAN, {}) as store:
        assert store.records() == [RECORD]


def test_a_directory_without_a_readable_run_gives_one_line(tmp_path: Path) -> None:
    """Nothing there, a file that is no database, a layout of another version, a directory that cannot be made."""
    with pytest.raises(RunError, match="scoreguard attack --out"):
        Store.open(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(RunError):
        Store.open(tmp_path)
    with pytest.raises(RunError):
        Store.create(tmp_path, PLAN, {})
    with pytest.raises(RunError):
        Store.create(tmp_path / FILE_NAME / "below", PLAN, {})
    Store.create(tmp_path / "new", PLAN, {}).close()
    with sqlite3.connect(tmp_path / "new" / FILE_NAME) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'layout'")
    connection.close()
    with pytest.raises(RunError, match="layout 99"):
        Store.open(tmp_path / "new")


def test_a_plan_reads_back_from_its_canonical_form_with_the_same_digest() -> None:
    """The digest changes with any field and with nothing else."""
    again = Plan.from_json(PLAN.canonical_json())
    assert again == PLAN
    assert again.digest == PLAN.digest
    assert replace(PLAN, seed=4).digest != PLAN.digest


def test_units_cover_every_picture_once_per_attack_and_crafting_chain_in_groups_of_one_size() -> None:
    """Groups hold at most `batch` pictures; adaptive units exist for each chain but `none`."""
    units = list(PLAN.units())
    for crafting in ("none", "dim:factor=0.5"):
        images = [image for unit in units if unit.crafting == crafting for image in unit.images]
        assert sorted(image.name for image in images) == [image.name for image in PLAN.images]
    assert all(len({(image.height, image.width) for image in unit.images}) == 1 for unit in units)
    assert max(len(unit.images) for unit in units) == PLAN.batch
    assert len({unit.key for unit in units}) == len(units)
    assert {unit.crafting for unit in replace(PLAN, adaptive=False).units()} == {"none"}
