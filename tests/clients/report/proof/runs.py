"""Made runs that meet everything that a table may meet: draws, ties, constants, failures, few images, no number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.clients.report.conftest import FGSM, METRIC, PLAN, SQUARE

from scoreguard.score_range import ScoreRange
from scoreguard_client.attacks.external import External
from scoreguard_client.campaign import ImageRef, Ledger, Plan, PlannedMetric, Record
from scoreguard_client.campaign.external import ExternalRecord
from scoreguard_client.report.build import Report, read_reports
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.scores import DomainTransform, RMode, Sample, Scaling
from scoreguard_client.scores.benchmark_map import BenchmarkMap
from scoreguard_client.target.people import KEY, PeopleScores

DIM, NOISE = "dim:factor=0.5", "noise:sigma=4"
BLUR, JPEG = "degraded-blur:direction=up:strength=3", "degraded-jpeg:direction=up:strength=1"
Change = Callable[[Record, np.random.Generator], Record]
DRAWS = 3


def single(value: float) -> float:
    """A score as a server gives it: float32."""
    return float(np.float32(value))


def plan_of(images: int, metrics: Sequence[PlannedMetric] = (METRIC,)) -> Plan:
    """Attacks of each kind, copies of two kinds, one random chain."""
    refs = tuple(ImageRef(name=f"é {n}.png", sha256=f"{n:064x}", height=8, width=8) for n in range(images))
    chains = ("none", DIM, NOISE)
    planned = tuple(replace(metric, chains=chains, random_chains=(NOISE,)) for metric in metrics)
    return replace(PLAN, metrics=planned, attacks=(FGSM, SQUARE, BLUR, JPEG), images=refs, draws=DRAWS)


def records_of(plan: Plan, metric: PlannedMetric, seed: int, change: Change | None = None) -> Iterator[Record]:
    """Every record of the metric, with scores that differ by image, attack, chain and draw."""
    rng = np.random.default_rng(seed)
    sign = 1 if metric.higher_is_better else -1
    for image in plan.images:
        clean = single(rng.uniform(30, 70))
        served = {(chain, draw): single(clean * 0.9 + rng.normal(0, 2)) for chain in metric.chains for draw in range(3)}
        for attack in plan.attacks:
            is_copy = attack.startswith("degraded")
            for through in ("none",) if is_copy else metric.chains:
                attacked = single(clean + sign * rng.normal(-4 if is_copy else 12, 6))
                for chain in metric.chains if through == "none" else (through,):
                    for draw in range(DRAWS if chain == NOISE else 1):
                        before = clean if chain == "none" else served[chain, draw]
                        after = single(before + sign * rng.normal(-3 if is_copy else 7, 6))
                        record = Record(
                            image=image.name,
                            attack=attack,
                            attacked_through=through,
                            chain=chain,
                            draw=draw,
                            image_sha256=image.sha256,
                            metric=metric.name,
                            adaptive=through != "none",
                            seed=0,
                            clean_score=clean,
                            clean_defended=before,
                            attacked_score=attacked,
                            attacked_defended=after,
                            attacked_score_8bit=single(attacked - 1),
                            attacked_defended_8bit=single(after - 1),
                            psnr=rng.normal(32, 2),
                            ssim=rng.uniform(0.7, 1),
                            perceptual=rng.uniform(0, 0.4),
                            purified_psnr=rng.normal(25, 2),
                            purified_ssim=rng.uniform(0.6, 1),
                            queries=int(rng.integers(1, 50)),
                            scoring_seconds=rng.uniform(0.01, 0.02),
                        )
                        yield record if change is None else change(record, rng)


def reports_of(
    folder: Path, plan: Plan, records: Sequence[Record], options: TableOptions, **facts: Any
) -> list[Report]:
    """Write a run and read its reports."""
    known = {
        "title": "Bright & <fair>",
        "labels": {"none": "none", DIM: "dim", NOISE: "noise:sigma=4"},
        "transfer": False,
        "calibration": None,
        "rounding": [],
        "expected": len(records),
    }
    told = {"metrics": dict.fromkeys(plan.names, known), "server_version": "1", "computation": {}, "shown": []}
    with Ledger.create(folder, plan, told | facts) as ledger:
        ledger.add_records(records)
    return list(read_reports(folder, options))


def usual(folder: Path) -> list[Report]:
    """Sixty-six images: intervals of every kind; people's scores, some failures, and a perceptual distance."""
    plan = replace(plan_of(70), distance="lpips:" + "ab" * 32)

    def change(record: Record, rng: np.random.Generator) -> Record:
        return replace(record, error="worker died", attacked_defended=None) if rng.random() < 0.01 else record

    said = {image.name: float(index % 7) for index, image in enumerate(plan.images[:62])}
    people = PeopleScores(source="list.csv", column="dmos", higher_is_better=False, scores=said)
    records = list(records_of(plan, plan.metrics[0], 1, change))
    return reports_of(folder, plan, records, TableOptions(resamples=200), **{KEY: people.facts()})


def videos(folder: Path) -> list[Report]:
    """Frames of videos: two of each, which people have judged; the video is the unit."""
    plan = plan_of(130)
    names = [f"clips/{n // 2:02}.mp4#frame={10 * (n % 2):06}" for n in range(130)]
    images = tuple(replace(image, name=name) for image, name in zip(plan.images, names, strict=True))
    plan = replace(plan, images=images)
    said = {name: float(int(name[6:8]) % 7) for name in names}
    people = PeopleScores(source="list.csv", column="mos", higher_is_better=True, scores=said)
    records = list(records_of(plan, plan.metrics[0], 13))
    return reports_of(folder, plan, records, TableOptions(resamples=200), **{KEY: people.facts()})


def few(folder: Path) -> list[Report]:
    """Six images are too few for an interval; somebody else's images are scored too."""
    plan = plan_of(6)
    records = list(records_of(plan, plan.metrics[0], 2))
    theirs = str(External(by="Ada & co", eps=8 / 255))
    elsewhere = [
        ExternalRecord(**vars(replace(record, attack=theirs)), submitted_sha256="ab" * 32)
        for record in records
        if record.attack == FGSM and not record.adaptive
    ]
    reports_of(folder, plan, records, TableOptions(resamples=50))
    with Ledger.open(folder) as ledger:
        ledger.replace_external([theirs], elsewhere)
    return list(read_reports(folder, TableOptions(resamples=50)))


def two(folder: Path) -> list[Report]:
    """Two are too few for a correlation."""
    plan = plan_of(2)
    return reports_of(folder, plan, list(records_of(plan, plan.metrics[0], 3)), TableOptions(resamples=50))


def tied(folder: Path) -> list[Report]:
    """Scores of few kinds: an attack that changes nothing, a chain that answers with one number, ties everywhere."""
    plan = plan_of(60)

    def change(record: Record, rng: np.random.Generator) -> Record:
        clean = 10.0 * round((record.clean_score or 0) / 10)
        before = 50.0 if record.chain == DIM else 10.0 * round((record.clean_defended or 0) / 10)
        after = (
            before if record.attack == SQUARE else 50.0 if record.chain == DIM else before + 10 * rng.integers(-1, 3)
        )
        return replace(
            record,
            clean_score=clean,
            clean_defended=before,
            attacked_score=clean,
            attacked_defended=float(after),
            psnr=150.0,
        )

    records = list(records_of(plan, plan.metrics[0], 4, change))
    return reports_of(folder, plan, records, TableOptions(resamples=100))


def lacking(folder: Path) -> list[Report]:
    """Numbers without a value: clean scores of 0 and below the scale; an attack of which all records failed."""
    plan = plan_of(32)

    def change(record: Record, rng: np.random.Generator) -> Record:
        if record.attack == SQUARE and record.chain == DIM:
            return replace(record, error="gone", clean_score=None)
        if record.image.startswith("é 1"):
            return replace(record, clean_score=-5.0, clean_defended=-8.0, attacked_defended=108.0)
        return record

    records = list(records_of(plan, plan.metrics[0], 5, change))
    return reports_of(folder, plan, records, TableOptions(resamples=100))


def lower_is_better(folder: Path) -> list[Report]:
    """A metric whose low scores are good, scaled by the clean scores, with the benchmark's R."""
    plan = plan_of(40, [replace(METRIC, higher_is_better=False)])
    options = TableOptions(resamples=100, scaling=Scaling.CLEAN_SELECTION, r_mode=RMode.BENCHMARK)
    return reports_of(folder, plan, list(records_of(plan, plan.metrics[0], 6)), options)


def several(folder: Path) -> list[Report]:
    """Two metrics, one of either direction; the scores of one are full doubles."""
    plan = plan_of(30, [METRIC, replace(METRIC, name="fair", higher_is_better=False, range_high=120)])

    def change(record: Record, rng: np.random.Generator) -> Record:
        return replace(record, attacked_defended=(record.attacked_defended or 0) + rng.normal() / 3)

    records = [*records_of(plan, plan.metrics[0], 7), *records_of(plan, plan.metrics[1], 8, change)]
    return reports_of(folder, plan, records, TableOptions(resamples=100))


def fitted(folder: Path) -> list[Report]:
    """Scores mapped onto a metric whose low scores are good, some of them beyond the fitted ones."""
    rng = np.random.default_rng(9)
    sides = [Sample(metric=name, higher_is_better=good, images=50, sha256="0" * 64) for name, good in _SIDES]
    bent = DomainTransform.fit(
        rng.uniform(35, 65, 50),
        rng.normal(5, 1, 30),
        source=sides[0],
        reference=sides[1],
        reference_range=ScoreRange(low=0, high=10, higher_is_better=False),
    )
    path = folder.parent / f"{folder.name}.json"
    path.write_text(bent.to_json(), encoding="utf-8")
    plan = plan_of(31)
    options = TableOptions(resamples=100, domain_transform=str(path))
    return reports_of(folder, plan, list(records_of(plan, plan.metrics[0], 10)), options)


_SIDES = (("bright", True), ("stars", False))


def network(seed: int = 11) -> BenchmarkMap:
    """A network of the benchmark's form with weights of ours."""
    rng = np.random.default_rng(seed)
    shapes = ((100, 2), (100, 100), (100, 100), (1, 100))
    layers = tuple(
        (rng.normal(0, 0.1, shape).astype(np.float32), rng.normal(0, 0.1, shape[0]).astype(np.float32))
        for shape in shapes
    )
    return BenchmarkMap(metric="bright", layers=layers, factor=0.01, shift=0.0, sha256="0" * 64)


RUNS = {
    "usual": usual,
    "videos": videos,
    "few": few,
    "two": two,
    "tied": tied,
    "lacking": lacking,
    "lower is better": lower_is_better,
    "several": several,
    "fitted": fitted,
}
