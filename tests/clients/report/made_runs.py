"""Runs with made-up scores, of any number of chains, attacks and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.campaign import ImageRef, Ledger, Plan, PlannedMetric, Record
from scoreguard_client.report import Report, TableOptions, read_reports

JPEG = tuple(f"jpeg:quality={quality}:subsampling=4:2:0" for quality in (10, 50, 90))
FEW_CHAINS = ("none", *JPEG, "flip")
FEW_ATTACKS = tuple(str(parse_attack(text)) for text in ("fgsm", "ifgsm:eps=2/255", "ifgsm:eps=8/255", "free-jpeg"))
MANY_CHAINS = (
    *FEW_CHAINS,
    "crop:size=256",
    "rotate:angle=5",
    "blur:kernel=3:sigma=0.8",
    "median:kernel=3",
    "resize:scale=0.5",
    "upscale:scale=0.5",
    "bilateral:sigma_color=0.1:sigma_space=2",
    "unsharp:amount=1:sigma=1",
    "fcn",
    "diffpure:steps=5:t=10",
    "mprnet",
    "realesrgan:denoise=0.2",
    "noise:sigma=0.01",
    "quantise:levels=16",
    "blur:kernel=3:sigma=1.5+jpeg:quality=75:subsampling=4:2:0+diffpure:steps=5:t=10",
)
MANY_ATTACKS = (
    *FEW_ATTACKS,
    *(
        str(parse_attack(text))
        for text in (
            "mifgsm",
            "korhonen",
            "ssah",
            "madc",
            "zhang-ssim",
            "apgd",
            "advcf",
            "square",
            "free-sharpen-after-blur",
            "dct-threshold",
        )
    ),
)
Change = Callable[[Record], Record]


def made_reports(
    folder: Path,
    chains: Sequence[str] = FEW_CHAINS,
    attacks: Sequence[str] = FEW_ATTACKS,
    images: int = 6,
    *,
    metrics: Sequence[str] = ("bright",),
    adaptive: bool = True,
    higher_is_better: bool = True,
    change: Change = lambda record: record,
) -> tuple[Report, ...]:
    """Write a run and read its reports; the same arguments give the same scores.

    Args:
        folder: where the run is written.
        chains: before each metric.
        attacks: on each metric.
        images: how many.
        metrics: names of the metrics.
        adaptive: whether attacks that ask the metric also work through each chain.
        higher_is_better: direction of the metrics.
        change: is applied to every record.
    """
    planned = [
        PlannedMetric(
            name=name,
            archive_sha256="ab" * 32,
            range_low=0,
            range_high=100,
            higher_is_better=higher_is_better,
            chains=tuple(chains),
            gradients="live",
        )
        for name in metrics
    ]
    plan = Plan(
        metrics=tuple(planned),
        attacks=tuple(attacks),
        adaptive=adaptive,
        images=tuple(ImageRef(name=f"{n}.png", sha256=f"{n:064x}", height=64, width=64) for n in range(images)),
        seed=0,
        draws=1,
        crafting_draws=1,
        batch=8,
    )
    facts: dict[str, Any] = {
        "title": "Mean <brightness>",
        "labels": {chain: chain.replace(":subsampling=4:2:0", "") for chain in chains},
        "transfer": False,
        "calibration": None,
        "rounding": [],
        "expected": 1,
    }
    told = {"metrics": dict.fromkeys(metrics, facts), "server_version": "0", "computation": {}, "shown": []}
    with Ledger.create(folder, plan, told) as ledger:
        ledger.add_records([change(record) for record in _records(plan)])
    return read_reports(folder, TableOptions(resamples=50))


def _records(plan: Plan) -> list[Record]:
    """Scores from 30 to 70 undefended; an attack adds its power, a chain takes a share of it away."""
    rng, made = np.random.default_rng(0), list[Record]()
    clean: dict[tuple[str, ...], float] = {}
    for unit in plan.units():
        for key in plan.keys(unit):
            before = clean.setdefault((key.metric, key.image), float(rng.uniform(30, 70)))
            defended = clean.setdefault((key.metric, key.image, key.chain), before + float(rng.normal(0, 2)))
            bare = key.chain == "none"
            power, held = float(rng.uniform(5, 25)), 1.0 if bare else float(rng.uniform(0.1, 0.9))
            attacked = before + power
            after = attacked if bare else defended + held * power
            made.append(
                Record(
                    **key._asdict(),
                    image_sha256="00",
                    adaptive=key.attacked_through != "none",
                    seed=1,
                    clean_score=before,
                    clean_defended=before if bare else defended,
                    attacked_score=attacked,
                    attacked_defended=after,
                    attacked_score_8bit=attacked,
                    attacked_defended_8bit=after,
                    crafting_score=attacked,
                    psnr=float(rng.uniform(28, 40)),
                    ssim=float(rng.uniform(0.7, 0.99)),
                    l_inf=0.04,
                    l_inf_8bit=0.04,
                    purified_psnr=float(rng.uniform(20, 40)),
                    purified_ssim=float(rng.uniform(0.6, 0.99)),
                    queries=5,
                    crafting_seconds=0.1,
                    scoring_seconds=0.1,
                )
            )
    return made


def failed(record: Record) -> Record:
    """The same record as a failure."""
    return replace(record, attacked_defended=None, error="worker died")
