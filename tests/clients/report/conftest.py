"""A small run whose numbers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scoreguard_client.campaign import ImageRef, Ledger, Plan, PlannedMetric, Record
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.results import ShownImage

FGSM, SQUARE = "fgsm:eps=0.1", "square:eps=0.1:queries=5:p_init=0.05:mode=paper"
DIM = "dim:factor=0.5"
NAMES = tuple(f"image{number}.png" for number in range(6))
MakeRun = Callable[..., Path]

METRIC = PlannedMetric(
    name="bright",
    archive_sha256="ab" * 32,
    range_low=0,
    range_high=100,
    higher_is_better=True,
    chains=("none", DIM),
    gradients="live",
)
PLAN = Plan(
    metrics=(METRIC,),
    attacks=(FGSM, SQUARE),
    adaptive=True,
    images=tuple(ImageRef(name=name, sha256="00", height=24, width=32) for name in NAMES),
    seed=0,
    draws=1,
    crafting_draws=1,
    batch=8,
)


def record(number: int, attack: str, chain: str, crafting: str, gain: float) -> Record:
    """An attack that raises the defended score by `gain`; scores are 40, 42, ... undefended, and half of it dimmed."""
    clean = 40.0 + 2 * number
    share = 0.5 if chain == DIM else 1.0
    return Record(
        image=NAMES[number],
        attack=attack,
        attacked_through=crafting,
        chain=chain,
        draw=0,
        image_sha256="00",
        metric="bright",
        adaptive=crafting != "none",
        seed=number,
        clean_score=clean,
        clean_defended=share * clean,
        attacked_score=clean + 20,
        attacked_defended=share * clean + gain,
        attacked_score_8bit=clean + 19,
        attacked_defended_8bit=share * clean + gain,
        crafting_score=clean + 20,
        psnr=32.0,
        ssim=0.9,
        l_inf=0.1,
        l_inf_8bit=25 / 255,
        purified_psnr=16.0,
        purified_ssim=0.4,
        queries=5,
        crafting_seconds=0.1,
        scoring_seconds=0.1,
    )


def sound_records() -> list[Record]:
    """Plain attacks lose most behind the chain, adaptive ones do not."""
    records = []
    for number in range(len(NAMES)):
        for attack in (FGSM, SQUARE):
            records.append(record(number, attack, "none", "none", 20.0))
            records.append(record(number, attack, DIM, "none", 4.0))
            records.append(record(number, attack, DIM, DIM, 12.0))
    return records


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A function that writes a run with images."""

    def make(records: list[Record] | None = None, **facts: Any) -> Path:
        plan = facts.pop("plan", PLAN)
        plan = replace(plan, metrics=tuple(replace(metric, **facts.pop("range", {})) for metric in plan.metrics))
        records = sound_records() if records is None else records
        of_metric = {
            "title": "Mean <brightness>",
            "labels": {"none": "none", DIM: "dim"},
            "transfer": False,
            "calibration": None,
            "rounding": [],
            "expected": len(records) // len(plan.metrics),
        } | facts
        told = {
            "metrics": dict.fromkeys(plan.names, of_metric),
            "server_version": "9.8.7",
            "computation": {},
            "shown": list(NAMES[:3]),
        }
        run = tmp_path / "run"
        with Ledger.create(run, plan, told) as ledger:
            ledger.add_records(records)
        write_images(run)
        return run

    return make


def write_images(run: Path, metric: str = METRIC.name) -> None:
    """Write the clean, attacked and purified images of three photos."""
    gallery, rng = Gallery(run, NAMES[:3]), np.random.default_rng(0)
    for name in NAMES[:3]:
        clean = rng.integers(30, 200, (24, 32, 3), dtype=np.uint8)
        gallery.keep(ShownImage(image=name, levels=clean))
        for attack in (FGSM, SQUARE):
            for crafting in ("none", DIM):
                attacked = ShownImage(
                    image=name,
                    levels=clean + np.uint8(25),
                    metric=metric,
                    attack=attack,
                    attacked_through=crafting,
                )
                gallery.keep(attacked)
                gallery.keep(replace(attacked, levels=clean // 2, chain=DIM))


def failed(one: Record) -> Record:
    """The same record as a failure."""
    return replace(one, attacked_defended=None, clean_score=None, error="worker died")
