"""How well a metric orders images as people do: rank correlation with the human scores of `shared/data/mos`.

LIVE (Sheikh et al. 2006) gives DMOS, low = good; TID2013, KADID-10k, LIVE Challenge and KonIQ-10k give MOS, high =
good. All correlations here are sign-corrected: 1 is full agreement, whichever direction scores and metric have.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr

from scoreguard.chain.devices import THE_CPU, Device
from scoreguard.chain.numerics import DEFAULT
from scoreguard_export.errors import TrainingError
from scoreguard_export.metrics.base import Metric
from scoreguard_export.training.photos import read_photo

_FEWEST = 3
"""Least number of images for a meaningful correlation."""


@dataclass(frozen=True, kw_only=True)
class HumanScore:
    """One image with its human score."""

    path: Path
    dataset: str
    quality: float
    """Higher is better: MOS, or minus DMOS."""
    groups: tuple[str, ...]
    """Subsets that the image belongs to, within its data set."""


@dataclass(frozen=True, kw_only=True)
class AgreementRow:
    """Agreement of a metric with people on one group of images."""

    dataset: str
    group: str
    count: int
    srocc: float | None
    """Spearman's rank correlation; None for fewer than three images."""
    plcc: float | None
    """Pearson's correlation with the raw scores; None for fewer than three images."""
    concordance: float
    """Share of pairs of images that the metric orders as people do."""


def read_live(data_root: Path) -> list[HumanScore]:
    """Read the distorted images of the LIVE subset; `bijection` rows are those whose DMOS is certain."""
    folder = data_root / "mos" / "live_subset"
    return [
        HumanScore(
            path=folder / row["file"],
            dataset="LIVE subset",
            quality=-float(row["dmos"]),
            groups=("all", row["distortion"], *(("bijection",) if row["match"] == "bijection" else ())),
        )
        for row in _rows(folder / "labels.csv")
        if row["distortion"] != "reference"
    ]


def read_samples(data_root: Path) -> list[HumanScore]:
    """Read the labelled single images of four other data sets."""
    folder = data_root / "mos" / "iqa_samples"
    return [
        HumanScore(path=folder / row["file"], dataset=row["dataset"], quality=float(row["mos"]), groups=("all",))
        for row in _rows(folder / "labels.csv")
        if row["mos"]
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise TrainingError(f"no human scores at {path}: give the folder that holds `mos` by --data")
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@torch.no_grad()
def score_file(metric: Metric, path: Path, device: Device = THE_CPU) -> float:
    """Return the score of one image file, in 8 bits, at its native size, by a metric that is on the device."""
    pixels = torch.from_numpy(read_photo(path).copy())
    with DEFAULT.applied(device.torch):
        return float(metric((pixels.permute(2, 0, 1)[None].float() / 255.0).to(device.torch))[0])


def evaluate_on_human_scores(
    metric: Metric,
    data_root: Path,
    progress: Callable[[int], None] = lambda count: None,
    device: Device = THE_CPU,
) -> list[AgreementRow]:
    """Compute the agreement of a metric with people, by data set and group.

    Args:
        metric: in evaluation mode.
        data_root: the folder that holds `mos/live_subset` and `mos/iqa_samples`.
        progress: called with 1 for each image scored.
        device: where the metric scores; it is moved there.

    Raises:
        TrainingError: the folder holds no human scores.
    """
    images = read_live(data_root) + read_samples(data_root)
    sign = 1.0 if metric.facts.higher_is_better else -1.0
    metric, predicted = metric.to(device.torch), []
    for image in images:
        predicted.append(sign * score_file(metric, image.path, device))
        progress(1)
    return list(_agreements(images, np.array(predicted)))


def _agreements(images: list[HumanScore], predicted: np.ndarray) -> Iterator[AgreementRow]:
    keys = dict.fromkeys((image.dataset, group) for image in images for group in image.groups)
    for dataset, group in keys:
        members = [i for i, p in enumerate(images) if p.dataset == dataset and group in p.groups]
        yield agreement(dataset, group, np.array([images[i].quality for i in members]), predicted[members])


def agreement(dataset: str, group: str, quality: np.ndarray, predicted: np.ndarray) -> AgreementRow:
    """Make one row from human qualities and predictions, both higher = better, in the same order."""
    enough = len(quality) >= _FEWEST
    return AgreementRow(
        dataset=dataset,
        group=group,
        count=len(quality),
        srocc=float(spearmanr(predicted, quality).statistic) if enough else None,
        plcc=float(pearsonr(predicted, quality).statistic) if enough else None,
        concordance=concordance(quality, predicted),
    )


def concordance(quality: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of pairs that people rate differently which the prediction orders alike; NaN if none."""
    pairs = [(i, j) for i, j in combinations(range(len(quality)), 2) if quality[i] != quality[j]]
    same = [(quality[i] > quality[j]) == (predicted[i] > predicted[j]) for i, j in pairs]
    return float(np.mean(same)) if same else float("nan")
