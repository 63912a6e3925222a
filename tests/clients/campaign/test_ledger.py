"""The ledger: nothing doubled, nothing lost, one plan for one directory."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scoreguard_client.attacks import FGSM, AttackResult
from scoreguard_client.campaign import (
    CleanScore,
    ImageRef,
    Ledger,
    Plan,
    PlanMismatchError,
    PlannedMetric,
    Record,
    RecordKey,
    RunError,
)
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.ledger import FILE_NAME
from scoreguard_client.target.crafting import CraftedBatch

METRIC = PlannedMetric(
    name="bright",
    archive_sha256="ab",
    range_low=0,
    range_high=100,
    higher_is_better=True,
    chains=("none", "dim:factor=0.5"),
    gradients="live",
)
PLAN = Plan(
    metrics=(METRIC,),
    attacks=("fgsm:eps=0.1",),
    adaptive=True,
    images=tuple(ImageRef(name=f"{n}.png", sha256=str(n), height=8 + n // 3, width=8) for n in range(5)),
    seed=3,
    draws=1,
    crafting_draws=1,
    batch=2,
)
RECORD = Record(
    image="a.png",
    attack="fgsm:eps=0.1",
    attacked_through="none",
    chain="dim",
    draw=0,
    image_sha256="00",
    metric="bright",
    adaptive=False,
    seed=2**53 - 1,
    clean_score=1.5,
    queries=2,
)
BATCH = CraftedBatch(
    result=AttackResult(
        attacked=np.linspace(0, 1, 2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8),
        attacked_8bit=np.arange(2 * 3 * 8 * 8, dtype=np.int64).astype(np.uint8).reshape(2, 3, 8, 8),
        scores=np.array([1 / 3, 50.0]),
        queries=np.array([2, 3]),
        trace=np.array([[0.1, 40.0], [1 / 3, 50.0]]),
        flags=("", "out-of-range"),
    ),
    seconds=0.75,
)
COLUMNS = """
    image attack crafting chain draw image_sha256 metric adaptive seed
    clean_score clean_defended attacked_score attacked_defended attacked_score_8bit attacked_defended_8bit
    crafting_score psnr ssim l_inf l_inf_8bit changed_pixels purified_psnr purified_ssim queries
    crafting_seconds scoring_seconds metric_sha256 steps_sha256 engine flags error retryable perceptual
"""


def test_a_record_that_is_written_twice_is_there_once_with_its_first_values(tmp_path: Path) -> None:
    """Writing again changes nothing."""
    with Ledger.create(tmp_path, PLAN, {}) as ledger:
        ledger.add_records([RECORD, RECORD])
        ledger.add_records([replace(RECORD, clean_score=9.0)])
        assert ledger.records() == [RECORD]
        assert ledger.done() == {RECORD.key}


def test_a_failed_record_is_replaced_by_the_next_attempt(tmp_path: Path) -> None:
    """It does not count as done until an attempt succeeds, and is never put back to failed."""
    failed = replace(RECORD, clean_score=None, error="queue full")
    with Ledger.create(tmp_path, PLAN, {}) as ledger:
        ledger.add_records([failed])
        assert (ledger.records(), ledger.done()) == ([failed], set())
        ledger.add_records([RECORD])
        ledger.add_records([failed])
        assert ledger.records() == [RECORD]


@pytest.mark.parametrize(
    "change",
    [{"draw": 1}, {"chain": "flip"}, {"attacked_through": "dim"}, {"attack": "x"}, {"image": "b"}, {"metric": "lite"}],
)
def test_every_part_of_the_key_makes_another_record(change: dict[str, object], tmp_path: Path) -> None:
    """Metric, image, attack, crafting chain, chain and draw."""
    other = replace(RECORD, **change)  # type: ignore[arg-type]
    with Ledger.create(tmp_path, PLAN, {}) as ledger:
        ledger.add_records([RECORD, other])
        assert {record.key for record in ledger.records()} == {RECORD.key, other.key}


def test_a_run_keeps_the_names_of_its_columns(tmp_path: Path) -> None:
    """Readers of the file and runs of earlier versions know the chain attacked through as `crafting`."""
    with Ledger.create(tmp_path, PLAN, {}) as ledger:
        ledger.add_records([replace(RECORD, attacked_through="blur")])
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(records)")]
        (row,) = connection.execute("SELECT metric, image, attack, crafting, chain, draw FROM records")
    assert columns == COLUMNS.split()
    assert RecordKey._make(row) == replace(RECORD, attacked_through="blur").key


def test_values_and_types_survive_the_disk(tmp_path: Path) -> None:
    """Floats exactly, large seeds, missing numbers, flags, the plan and the facts."""
    record = replace(RECORD, adaptive=True, psnr=0.1 + 0.2, ssim=None, error="")
    clean = CleanScore(
        metric="bright",
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
    with Ledger.create(tmp_path, PLAN, {"shown": ["a.png"]}) as ledger:
        ledger.add_records([record])
        ledger.add_clean([clean, clean])
    with Ledger.open(tmp_path) as ledger:
        assert ledger.records() == [record]
        assert ledger.records()[0].adaptive is True
        assert ledger.clean() == [clean]
        assert ledger.plan == PLAN
        assert ledger.facts == {"shown": ["a.png"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 4}, "seed: 3 there, 4 here"),
        ({"attacks": ("square:queries=5",)}, "attacks: fgsm:eps=0.1 there, square:queries=5 here"),
        ({"images": PLAN.images[:2]}, "images: 5 images there, 2 images here"),
        ({"metrics": (replace(METRIC, archive_sha256="cd"),)}, "(archive_sha256: ab there, cd here)"),
        ({"metrics": (replace(METRIC, chains=("none", "flip")),)}, "(defences: dim:factor=0.5 there, flip here)"),
        ({"metrics": (replace(METRIC, name="lite"),)}, "metric: bright there, lite here"),
        ({"metrics": (METRIC, replace(METRIC, name="lite"))}, "metric: nothing there, lite here"),
        ({"adaptive": False, "draws": 7}, "adaptive: True there, False here; draws: 1 there, 7 here"),
    ],
)
def test_the_directory_of_another_plan_is_refused_in_one_line_that_names_what_differs(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    """And what is there stays as it is."""
    with Ledger.create(tmp_path, PLAN, {}) as ledger:
        ledger.add_records([RECORD])
    with pytest.raises(PlanMismatchError) as caught:
        Ledger.create(tmp_path, replace(PLAN, **change), {})  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    with Ledger.create(tmp_path, PLAN, {}) as ledger:
        assert ledger.records() == [RECORD]


def test_a_directory_without_a_readable_run_gives_one_line(tmp_path: Path) -> None:
    """Nothing there, a file that is no database, a layout of another version, a directory that cannot be made."""
    with pytest.raises(RunError, match="scoreguard attack --out"):
        Ledger.open(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(RunError):
        Ledger.open(tmp_path)
    with pytest.raises(RunError):
        Ledger.create(tmp_path, PLAN, {})
    with pytest.raises(RunError):
        Ledger.create(tmp_path / FILE_NAME / "below", PLAN, {})
    Ledger.create(tmp_path / "new", PLAN, {}).close()
    with sqlite3.connect(tmp_path / "new" / FILE_NAME) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'layout'")
    connection.close()
    with pytest.raises(RunError, match="layout 99"):
        Ledger.open(tmp_path / "new")


def test_processes_that_start_together_find_the_same_run(tmp_path: Path) -> None:
    """None sees a file that another has only half prepared, or finds it locked."""
    together = threading.Barrier(8)

    def create(run: Path) -> str:
        together.wait()
        with Ledger.create(run, PLAN, {}) as ledger:
            return ledger.plan.digest

    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            assert set(pool.map(create, [tmp_path / str(number)] * 8)) == {PLAN.digest}


def test_a_plan_reads_back_from_its_canonical_form_with_the_same_digest() -> None:
    """The digest changes with any field and with nothing else."""
    again = Plan.from_json(PLAN.canonical_json())
    assert again == PLAN
    assert again.digest == PLAN.digest
    assert replace(PLAN, seed=4).digest != PLAN.digest


def test_the_units_of_a_plan_hold_its_attacks_ready_to_run() -> None:
    """Each is made once for all units, and is exactly what the text says."""
    units = list(PLAN.units())
    assert {unit.attack for unit in units} == {FGSM(eps=0.1)}
    assert len({id(unit.attack) for unit in units}) == 1


def test_the_name_of_a_units_files_follows_from_its_texts_and_digests() -> None:
    """A resumed run finds its batches again."""
    unit = next(PLAN.units())
    text = "\n".join(["bright", str(FGSM(eps=0.1)), "none", "0", "1"])
    assert unit.key == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_batch_reads_back_as_it_was_written_and_one_without_a_trace_still_does(tmp_path: Path) -> None:
    """Earlier versions kept no trace; a batch that lacks more is made again."""
    unit, gallery = next(PLAN.units()), Gallery(tmp_path, ())
    gallery.save(unit, BATCH)
    again = gallery.load(unit)
    assert again is not None
    assert again.seconds == BATCH.seconds
    for name, expected in vars(BATCH.result).items():
        assert np.array_equal(getattr(again.result, name), expected), name
    (path,) = tmp_path.glob("images/batches/*.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **{name: values for name, values in arrays.items() if name != "trace"})
    older = gallery.load(unit)
    assert older is not None
    assert np.array_equal(older.result.attacked, BATCH.result.attacked)
    assert older.result.trace.shape == (0, 2)
    np.savez(path, **{name: values for name, values in arrays.items() if name != "scores"})
    assert gallery.load(unit) is None


def test_units_cover_every_image_once_per_attack_and_crafting_chain_in_groups_of_one_size() -> None:
    """Groups hold at most `batch` images; adaptive units exist for each chain but `none`."""
    units = list(PLAN.units())
    for crafting in ("none", "dim:factor=0.5"):
        images = [image for unit in units if unit.attacked_through == crafting for image in unit.images]
        assert sorted(image.name for image in images) == [image.name for image in PLAN.images]
    assert all(len({(image.height, image.width) for image in unit.images}) == 1 for unit in units)
    assert max(len(unit.images) for unit in units) == PLAN.batch
    assert len({unit.key for unit in units}) == len(units)
    assert {unit.attacked_through for unit in replace(PLAN, adaptive=False).units()} == {"none"}
