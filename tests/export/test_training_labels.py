"""Distortions, labels and the agreement with human scores."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folder import DATA, WHY_SKIPPED
from PIL import Image
from scipy.stats import spearmanr
from skimage import data
from torch import Tensor

from scoreguard_export.errors import TrainingError
from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.training.crops import draw_recipe
from scoreguard_export.training.distortions import DISTORTIONS, WEIGHTS
from scoreguard_export.training.evaluate_mos import concordance, evaluate_on_human_scores
from scoreguard_export.training.labels import quality_labels

needs_data = pytest.mark.skipif(not (DATA / "mos").is_dir(), reason=WHY_SKIPPED)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A colourful crop with fine and smooth parts."""
    portrait = np.asarray(data.astronaut(), np.float32)  # type: ignore[no-untyped-call]
    return portrait[20:180, 130:290] / np.float32(255.0)


def _batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def _label(distorted: np.ndarray, pristine: np.ndarray) -> float:
    return float(quality_labels(_batch(distorted), _batch(pristine))[0])


@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_distortion_keeps_the_layout_and_the_range(photo: np.ndarray, name: str) -> None:
    """Shape and type stay, and no value leaves [0, 1], at either end of the severity."""
    for severity in (0.0, 1.0):
        distorted = DISTORTIONS[name](photo, severity, np.random.default_rng(0))
        assert distorted.shape == photo.shape
        assert distorted.dtype == np.float32
        assert 0.0 <= float(distorted.min()) <= float(distorted.max()) <= 1.0


@pytest.mark.parametrize("name", DISTORTIONS)
def test_labels_fall_with_the_severity(photo: np.ndarray, name: str) -> None:
    """From barely visible to severe, the label goes down."""
    labels = [_label(DISTORTIONS[name](photo, s, np.random.default_rng(2)), photo) for s in (0.0, 0.35, 0.7, 1.0)]
    assert labels == sorted(labels, reverse=True)
    assert labels[0] > 85.0
    assert labels[-1] < labels[0] - 8.0


def test_no_distortion_has_the_best_label(photo: np.ndarray) -> None:
    """An image compared with itself gets 100."""
    assert _label(photo, photo) == pytest.approx(100.0, abs=0.01)


def test_every_distortion_is_drawn_as_often_as_it_should_be() -> None:
    """Among single distortions, the shares follow the weights; some crops stay pristine, some get two."""
    rng = np.random.default_rng(0)
    recipes = [draw_recipe(rng) for _ in range(8000)]
    single = [recipe[0][0] for recipe in recipes if len(recipe) == 1]
    for name, weight in WEIGHTS.items():
        assert single.count(name) / len(single) == pytest.approx(weight / sum(WEIGHTS.values()), abs=0.02)
    assert {len(recipe) for recipe in recipes} == {0, 1, 2}
    assert all(0.0 <= severity <= 1.0 for recipe in recipes for _, severity in recipe)


@needs_data
@pytest.mark.slow
def test_labels_agree_with_people_on_live() -> None:
    """The labels themselves, which see the reference, rank blur, noise and JPEG as people do."""
    folder = DATA / "mos" / "live_subset"
    with (folder / "labels.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["distortion"] != "reference"]
    labels = [_label(_read(folder / row["file"]), _read(folder / row["reference"])) for row in rows]
    assert len(rows) == 24
    assert spearmanr(labels, [-float(row["dmos"]) for row in rows]).statistic >= 0.95


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float32) / np.float32(255.0)


class _Brightness(Metric):
    """The mean of all values: a metric whose order is known."""

    def __init__(self, *, higher_is_better: bool) -> None:
        super().__init__()
        self.facts = MetricFacts(
            name="brightness",
            title="Brightness",
            paper="none",
            year=2026,
            score_range=ScoreRange(low=0.0, high=1.0, higher_is_better=higher_is_better),
            input_rule="RGB at native size",
            minimum_size=1,
            parity_tolerance=1e-6,
        )

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        return image.mean(dim=(1, 2, 3))


@pytest.fixture
def human_scores(tmp_path: Path) -> Path:
    """Grey images whose people like them bright: LIVE in DMOS, the samples in MOS."""
    live, samples = (tmp_path / "mos" / name for name in ("live_subset", "iqa_samples"))
    for folder in (live, samples):
        folder.mkdir(parents=True)
        for level in (40, 80, 120, 160):
            Image.new("RGB", (8, 8), (level, level, level)).save(folder / f"{level}.png")
    live_rows = [f"{level}.png,{kind},{200 - level},{match}" for level, kind, match in (
        (40, "wn", "bijection"), (80, "wn", "bijection"), (120, "jpeg", "inferred"), (160, "reference", "pristine")
    )]  # fmt: skip
    (live / "labels.csv").write_text("\n".join(["file,distortion,dmos,match", *live_rows]) + "\n")
    sample_rows = ["40.png,TID2013,1", "80.png,TID2013,3", "120.png,TID2013,2", "160.png,TID2013 reference,"]
    (samples / "labels.csv").write_text("\n".join(["file,dataset,mos", *sample_rows]) + "\n")
    return tmp_path


@pytest.mark.parametrize(("higher_is_better", "sign"), [(True, 1.0), (False, -1.0)])
def test_agreement_turns_the_sign_by_both_directions(human_scores: Path, higher_is_better: bool, sign: float) -> None:
    """DMOS counts as low = good, and a metric where lower is better is turned round."""
    scored: list[int] = []
    rows = evaluate_on_human_scores(_Brightness(higher_is_better=higher_is_better), human_scores, scored.append)
    found = {(row.dataset, row.group): row for row in rows}
    live, certain, samples = (
        found[key] for key in (("LIVE subset", "all"), ("LIVE subset", "bijection"), ("TID2013", "all"))
    )
    assert sum(scored) == 6
    assert [row.count for row in (live, certain, samples)] == [3, 2, 3]
    assert live.srocc == pytest.approx(sign)
    assert certain.srocc is None
    assert samples.srocc == pytest.approx(0.5 * sign)


def test_concordance_counts_pairs() -> None:
    """Of three pairs that people tell apart, two are ordered as they do; ties of theirs do not count."""
    assert concordance(np.array([1.0, 3.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 3)
    assert concordance(np.array([1.0, 1.0, 2.0]), np.array([5.0, 6.0, 7.0])) == 1.0


def test_a_folder_without_human_scores_is_named(tmp_path: Path) -> None:
    """The message says which folder to give."""
    with pytest.raises(TrainingError, match=r"no human scores at .*labels\.csv.*--data"):
        evaluate_on_human_scores(_Brightness(higher_is_better=True), tmp_path)
