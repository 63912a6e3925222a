"""CNNIQA against an independent reimplementation in NumPy, SciPy and Pillow, and against human scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folder import DATA, WHY_SKIPPED
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.signal import convolve2d, correlate2d
from torch import Tensor

from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.cnniqa import CnnIqa, grey_levels, patches_of
from scoreguard_export.training.evaluate_mos import evaluate_on_human_scores, score_file

WEIGHTS = DATA / "weights" / "cnniqa_live.pth"
needs_data = pytest.mark.skipif(not WEIGHTS.is_file(), reason=WHY_SKIPPED)


def _image(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0


def _random_metric() -> CnnIqa:
    torch.manual_seed(3)
    return CnnIqa().eval()


def _reference_patches(image: np.ndarray) -> list[np.ndarray]:
    """The official loop: Pillow's grey, 32-pixel crops, local normalisation with symmetric borders."""
    grey = Image.fromarray(image).convert("L")
    box, patches = np.full((3, 3), 1.0 / 9.0), []
    for top in range(0, grey.height - 32, 32):
        for left in range(0, grey.width - 32, 32):
            patch = np.asarray(grey.crop((left, top, left + 32, top + 32)), np.float64) / 255.0
            mean = convolve2d(patch, box, boundary="symm", mode="same")
            square = convolve2d(patch**2, box, boundary="symm", mode="same")
            patches.append((patch - mean) / (np.sqrt(np.maximum(square - mean**2, 0.0)) + 1.0))
    return patches


def _reference_score(metric: CnnIqa, image: np.ndarray) -> float:
    weights = {name: value.double().numpy() for name, value in metric.state_dict().items()}
    scores = []
    for patch in _reference_patches(image):
        maps = [correlate2d(patch, kernel[0], mode="valid") for kernel in weights["conv1.weight"]]
        maps = [each + bias for each, bias in zip(maps, weights["conv1.bias"], strict=True)]
        hidden = np.array([each.max() for each in maps] + [each.min() for each in maps])
        for layer in ("fc1", "fc2"):
            hidden = np.maximum(weights[f"{layer}.weight"] @ hidden + weights[f"{layer}.bias"], 0.0)
        scores.append(weights["fc3.weight"] @ hidden + weights["fc3.bias"])
    return float(np.mean(scores))


@pytest.mark.parametrize(("height", "width"), [(33, 33), (64, 65), (70, 101), (97, 40)])
def test_the_score_equals_an_independent_implementation(height: int, width: int) -> None:
    """Scores of 8-bit images equal those of the loop over Pillow crops."""
    metric, image = _random_metric(), _image(height, width, height)
    with torch.no_grad():
        assert float(metric(_batch(image))) == pytest.approx(_reference_score(metric, image), abs=1e-5)


def test_grey_levels_equal_pillow_for_every_level_and_many_colours() -> None:
    """On 8-bit images the grey value is Pillow's, to the last bit."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    for image in (levels, _image(1000, 1000, 5)):
        mine = (grey_levels(_batch(image))[0] * 255.0).round().to(torch.uint8).numpy()
        assert np.array_equal(mine, np.asarray(Image.fromarray(image).convert("L")))


@settings(max_examples=25, deadline=None)
@given(height=st.integers(33, 200), width=st.integers(33, 200))
def test_there_are_as_many_patches_as_the_official_loop_takes(height: int, width: int) -> None:
    """A patch that ends at the last row or column is left out."""
    expected = len(range(0, height - 32, 32)) * len(range(0, width - 32, 32))
    assert patches_of(torch.zeros(2, height, width)).shape == (2 * expected, 1, 32, 32)


def test_the_gradient_passes_the_rounding_of_the_grey_value() -> None:
    """Every channel gets a finite gradient, in the proportion of the grey weights."""
    image = _batch(_image(70, 70, 1)).requires_grad_()
    _random_metric()(image).sum().backward()
    assert image.grad is not None
    red, green, blue = image.grad[0]
    assert float(green.abs().max()) > 0.0
    assert torch.allclose(red, green * (19595.0 / 38470.0), atol=1e-8)
    assert torch.allclose(blue, green * (7471.0 / 38470.0), atol=1e-8)


def test_a_flat_image_has_a_finite_gradient() -> None:
    """The local deviation has no infinite slope where all pixels are equal."""
    image = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    _random_metric()(image).sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())


def test_a_missing_file_says_which_is_needed(tmp_path: Path) -> None:
    """The message names the file, its source, its licence and the option."""
    with pytest.raises(WeightsError, match=r"absent\.pth.*--weights.*lidq92/CNNIQA.*licence") as caught:
        CnnIqa.from_weights({"cnniqa": tmp_path / "absent.pth"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc3.bias": None}, "1 tensors missing: fc3.bias"),
        ({"extra": torch.zeros(1)}, "1 tensors too many: extra"),
        ({"conv1.weight": torch.zeros(50, 3, 7, 7)}, r"conv1.weight is \(50, 3, 7, 7\), not \(50, 1, 7, 7\)"),
        ({"conv1.weight": "text"}, "no dictionary of tensors"),
    ],
)
def test_another_checkpoint_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    """Missing, surplus and misshapen tensors are named."""
    state = dict(CnnIqa().state_dict()) | change
    path = tmp_path / "other.pth"
    torch.save({name: value for name, value in state.items() if value is not None}, path)
    with pytest.raises(WeightsError, match=message):
        CnnIqa.from_weights({"cnniqa": path})


def test_a_pickle_of_a_module_is_never_loaded(tmp_path: Path) -> None:
    """Only dictionaries of tensors are read: a whole module could run code."""
    path = tmp_path / "module.pth"
    torch.save(CnnIqa(), path)
    with pytest.raises(WeightsError, match="a pickled or scripted module, which is never run"):
        CnnIqa.from_weights({"cnniqa": path})


@needs_data
def test_official_weights_give_the_recorded_scores() -> None:
    """Ten NIPS 2017 images score as an earlier implementation of the same rule did."""
    recorded = json.loads((DATA / "benchmark" / "metric_ranges_nips2017.json").read_text())["cnniqa_live"]
    metric = CnnIqa.from_weights({"cnniqa": WEIGHTS})
    for name, score in list(recorded["per_image"].items())[:10]:
        assert score_file(metric, DATA / "images" / "nips2017" / name) == pytest.approx(score, abs=1e-3)


@needs_data
def test_official_weights_agree_with_people_on_live() -> None:
    """The rows whose DMOS is beyond doubt are ranked as the publisher's test does."""
    rows = {
        (row.dataset, row.group): row
        for row in evaluate_on_human_scores(CnnIqa.from_weights({"cnniqa": WEIGHTS}), DATA)
    }
    certain = rows["LIVE subset", "bijection"]
    assert certain.count == 10
    assert certain.srocc is not None and certain.srocc >= 0.97
