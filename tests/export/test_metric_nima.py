"""NIMA against Pillow, against published values, and against human scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from data_folder import DATA, WHY_SKIPPED
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.catalogue import load_metric
from scoreguard_export.metrics.nima import Nima, nearest_rows, resized
from scoreguard_export.training.evaluate_mos import score_file

FILES = {
    "nima": ("nima_mobilenet_technical.pt", "nima_quality_stable_diffusion.json"),
    "nima-aesthetic": ("nima_mobilenet_aesthetic.pt", "nima_appeal_stable_diffusion.json"),
}
needs_data = pytest.mark.skipif(not (DATA / "weights").is_dir(), reason=WHY_SKIPPED)


def _random_metric() -> Nima:
    torch.manual_seed(4)
    return Nima().eval()


def _batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0


def _pillow_rows(size: int) -> np.ndarray:
    """Which columns Pillow takes, read off an image of column numbers."""
    numbers = Image.fromarray(np.arange(size, dtype=np.int32)[None])
    taken: np.ndarray = np.asarray(numbers.resize((224, 1), Image.Resampling.NEAREST))[0]
    return taken


def test_the_rows_taken_are_those_of_pillow_for_every_size() -> None:
    """All sizes from 1 to 2048, ties included."""
    wrong = [n for n in range(1, 2049) if not np.array_equal(nearest_rows(torch.zeros(1), n).numpy(), _pillow_rows(n))]
    assert wrong == []


@settings(max_examples=20, deadline=None)
@given(height=st.integers(32, 1200), width=st.integers(32, 1200), seed=st.integers(0, 99))
def test_resizing_equals_pillow(height: int, width: int, seed: int) -> None:
    """A colour image is resized as Pillow's NEAREST does, to the last bit."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = Image.fromarray(image).resize((224, 224), Image.Resampling.NEAREST)
    mine = (resized(_batch(image))[0].permute(1, 2, 0) * 255.0).round().to(torch.uint8).numpy()
    assert np.array_equal(mine, np.asarray(expected))


def test_the_gradient_reaches_exactly_the_pixels_taken() -> None:
    """Pixels that the resizing skips get none; those that it takes get some."""
    image = torch.rand(1, 3, 300, 450, generator=torch.Generator().manual_seed(0)).requires_grad_()
    _random_metric()(image).sum().backward()
    taken = np.zeros((300, 450), bool)
    taken[np.ix_(_pillow_rows(300), _pillow_rows(450))] = True
    assert image.grad is not None
    touched = (image.grad[0].abs().sum(dim=0) > 0).numpy()
    assert not touched[~taken].any()
    assert touched[taken].mean() > 0.9


@settings(max_examples=5, deadline=None)
@given(height=st.integers(32, 300), width=st.integers(32, 300), count=st.integers(1, 2))
def test_scores_stay_between_one_and_ten(height: int, width: int, count: int) -> None:
    """The score is a mean of ratings, whatever the weights."""
    with torch.no_grad():
        scores = _random_metric()(torch.rand(count, 3, height, width))
    assert scores.shape == (count,)
    assert bool(((scores >= 1.0) & (scores <= 10.0)).all())


@pytest.mark.parametrize("name", FILES)
def test_without_weights_the_message_says_where_they_are_from(name: str) -> None:
    """The official weights are not shipped: file, source, licence and option are named."""
    with pytest.raises(WeightsError, match=rf"{name} are not shipped.*--weights.*{FILES[name][0]}.*Apache-2\.0"):
        load_metric(name)


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "least_plcc", "largest_mae"), [("nima", 0.99, 0.1), ("nima-aesthetic", 0.98, 0.07)])
def test_official_weights_give_the_published_values(name: str, least_plcc: float, largest_mae: float) -> None:
    """Published float scores of Stable Diffusion images; the weights here come from an 8-bit model."""
    weights, published = FILES[name]
    folder, metric = DATA / "mos" / "avt_ai_images", load_metric(name, {name: DATA / "weights" / weights})
    rows = json.loads((folder / published).read_text())
    known = {row["image_id"]: row["mean_score_prediction"] for row in rows}
    paths = {name: folder / f"stable_diffusion_{name}.png" for name in known}
    present = [name for name in known if paths[name].is_file()]
    mine = np.array([score_file(metric, paths[name]) for name in present])
    theirs = np.array([known[name] for name in present])
    assert len(present) >= 20
    assert np.corrcoef(mine, theirs)[0, 1] >= least_plcc
    assert np.abs(mine - theirs).mean() <= largest_mae
