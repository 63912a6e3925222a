"""The shipped metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data_folder import DATA, WHY_SKIPPED
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from skimage import data
from torch import Tensor

from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.catalogue import load_metric
from scoreguard_export.metrics.lite import Lite
from scoreguard_export.training.distortions import DISTORTIONS
from scoreguard_export.training.evaluate_mos import evaluate_on_human_scores

needs_data = pytest.mark.skipif(not (DATA / "mos").is_dir(), reason=WHY_SKIPPED)


@pytest.fixture(scope="module")
def lite() -> Lite:
    """The metric with its shipped weights."""
    metric = load_metric("lite")
    assert isinstance(metric, Lite)
    return metric


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A photograph that the training does not use."""
    left = np.asarray(data.stereo_motorcycle()[0], np.float32)  # type: ignore[no-untyped-call]
    return left[100:356, 200:520] / np.float32(255.0)


def _batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def test_the_shipped_weights_are_small_and_complete() -> None:
    """The file has at most 2 MB and at most a million trained numbers."""
    shipped = Lite.sources["lite"].shipped
    assert shipped is not None
    assert shipped.stat().st_size < 2_000_000
    assert sum(p.numel() for p in Lite().parameters()) < 1_000_000
    assert set(load_file(shipped)) == set(Lite().state_dict())


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(32, 97),
    width=st.integers(32, 97),
    count=st.integers(1, 3),
    seed=st.integers(0, 2**16),
    level=st.sampled_from(["noise", "black", "white"]),
)
def test_scores_stay_in_the_declared_range(
    lite: Lite, height: int, width: int, count: int, seed: int, level: str
) -> None:
    """Any image of at least 32 pixels a side gets one finite score in [0, 100]."""
    noise = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))
    image = {"noise": noise, "black": torch.zeros_like(noise), "white": torch.ones_like(noise)}[level]
    with torch.no_grad():
        scores = lite(image)
    assert scores.shape == (count,)
    assert bool(((scores >= Lite.facts.score_range.low) & (scores <= Lite.facts.score_range.high)).all())


@pytest.mark.parametrize("name", ["gaussian_blur", "white_noise", "jpeg", "jpeg2000", "rescale"])
def test_more_distortion_scores_lower(lite: Lite, photo: np.ndarray, name: str) -> None:
    """On a photograph it never saw, the score falls from pristine through mild to severe."""
    distorted = [DISTORTIONS[name](photo, severity, np.random.default_rng(0)) for severity in (0.5, 0.75, 1.0)]
    with torch.no_grad():
        scores = [float(lite(_batch(image))) for image in (photo, *distorted)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 25.0


def test_the_gradient_raises_the_score(lite: Lite, photo: np.ndarray) -> None:
    """A small step along the sign of the gradient raises the score: the metric can be attacked, hence defended."""
    blurred = _batch(DISTORTIONS["gaussian_blur"](photo, 0.6, np.random.default_rng(0))).requires_grad_()
    score = lite(blurred)
    score.sum().backward()
    assert blurred.grad is not None
    with torch.no_grad():
        stepped = lite((blurred + 1.0 / 255.0 * blurred.grad.sign()).clamp(0.0, 1.0))
    assert float(stepped) > float(score.detach())


def test_a_flat_image_has_a_finite_gradient(lite: Lite) -> None:
    """The deviation over space has no infinite slope where all features are equal."""
    image = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    lite(image).sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message says which file is missing and how to make one."""
    with pytest.raises(WeightsError, match=r"absent\.safetensors.*scoreguard-export train lite"):
        Lite.from_weights({"lite": tmp_path / "absent.safetensors"})


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Bytes that are not safetensors are no weights."""
    path = tmp_path / "text.safetensors"
    path.write_text("no weights")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        Lite.from_weights({"lite": path})


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    """Other names or shapes are refused before anything is scored."""
    path = tmp_path / "other.safetensors"
    save_file({"output.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(WeightsError, match="another network") as caught:
        Lite.from_weights({"lite": path})
    assert "\n" not in str(caught.value)


@needs_data
@pytest.mark.slow
def test_lite_orders_the_live_subset_as_people_do(lite: Lite) -> None:
    """Rank correlation with human DMOS of images whose references were never trained on."""
    rows = {(row.dataset, row.group): row for row in evaluate_on_human_scores(lite, DATA)}
    every, certain = rows["LIVE subset", "all"], rows["LIVE subset", "bijection"]
    assert (every.count, certain.count) == (24, 10)
    assert every.srocc is not None and every.srocc >= 0.85
    assert certain.srocc is not None and certain.srocc >= 0.85
