"""LinearityIQA against torchvision's ResNeXt on Pillow's images, and heads of PyTorch's functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folder import DATA
from PIL import Image
from reference_scores import NORM, by_numpy, by_pillow, filled, state_of
from thin_metrics import ThinLinearity, thin_resnet, weights_of
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import WeightsError
from scoreguard_export.libraries import library
from scoreguard_export.metrics.linearity import Linearity

OFFICIAL = sorted(DATA.rglob("p1q2.pth"))
IMAGE = sorted(DATA.rglob("1000.JPG"))
PUBLISHED = 10.430044178601875
"""Score of data/1000.JPG by p1q2.pth, from the authors' page."""


def _features(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Sequential:
    """The children of a ResNet without pooling and classifier, with the tensors of `features`."""
    features = nn.Sequential(*list(network.children())[:-2])
    filled(features, state)
    return features


def _reduced(state: Mapping[str, Tensor], features: Tensor) -> Tensor:
    for place in (0, 2, 4):
        features = functional.linear(features, state[f"{place}.weight"], state[f"{place}.bias"])
        mean, variance, *scale = (state[f"{place + 1}.{part}"] for part in NORM)
        features = functional.batch_norm(features, mean, variance, scale[0], scale[1])
    return functional.relu(features)


def _reference(metric: Linearity, network: nn.Module, image: Tensor, *, resizes: bool) -> float:
    features = by_numpy(by_pillow(image, 498, 664) if resizes else image)[None]
    reduced = []
    with torch.no_grad():
        for index, layer in enumerate(_features(network, state_of(metric, "features."))):
            features = layer(features)
            if index in (6, 7):
                pooled = functional.avg_pool2d(features, features.shape[2:]).flatten(1)
                reduced.append(_reduced(state_of(metric, f"dr{index}."), pooled))
        quality = functional.linear(torch.cat(reduced, dim=1), *state_of(metric, "regression.").values())
    return float(quality) * 9.5 + 48.25


@pytest.mark.parametrize("variant", ["", "as-benchmark"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (498, 664), (664, 498), (301, 1000)])
def test_the_score_equals_an_independent_implementation(variant: str, height: int, width: int, tmp_path: Path) -> None:
    """Smaller and larger than 498×664, upright and oblong; the benchmark's way at native size."""
    metric = ThinLinearity.from_weights(weights_of(ThinLinearity, tmp_path), variant)
    image = photographs(1, height, width, 3)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, thin_resnet(1), image[0], resizes=not variant), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["", "as-benchmark"])
def test_the_published_network_is_torchvisions(variant: str, tmp_path: Path) -> None:
    """ResNeXt-101 of 32 groups of 8 channels."""
    metric = Linearity.from_weights(weights_of(Linearity, tmp_path), variant)
    network = library("torchvision.models", "backbones", "a test").resnext101_32x8d()
    image = photographs(1, 150, 200, 4)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, network, image[0], resizes=not variant), abs=1e-3)


def test_the_benchmarks_way_differs_where_the_size_does(tmp_path: Path) -> None:
    """At 498×664 nothing is resized."""
    files = weights_of(ThinLinearity, tmp_path)
    usual, benchmark = ThinLinearity.from_weights(files), ThinLinearity.from_weights(files, "as-benchmark")
    same, other = photographs(1, 498, 664, 3), photographs(1, 299, 299, 3)
    with torch.no_grad():
        assert torch.equal(usual(same), benchmark(same))
        assert abs(float(usual(other) - benchmark(other))) > 0.1


@pytest.mark.parametrize(
    "lists",
    [
        {},
        {"k": [2.0]},
        {"k": [], "b": [1.0]},
        {"k": "2", "b": [1.0]},
        {"k": [None], "b": [1.0]},
        {"k": [float("nan")], "b": [1.0]},
    ],
)
def test_a_checkpoint_without_its_linear_map_is_refused(lists: dict[str, object], tmp_path: Path) -> None:
    """The tensors alone give predictions on no scale."""
    path = weights_of(ThinLinearity, tmp_path)["linearity"]
    torch.save({"model": torch.load(path, weights_only=True)["model"], **lists}, path)
    with pytest.raises(WeightsError, match=r"holds no linear map, k and b, beside the tensors: .*p1q2\.pth") as caught:
        ThinLinearity.from_weights({"linearity": path})
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not (OFFICIAL and IMAGE), reason="p1q2.pth and 1000.JPG are not in the data folder")
def test_the_official_weights_give_the_published_score() -> None:
    """To 0.02: the authors' image is rounded to 8 bits after the resize, and their library decoded the file."""
    metric = Linearity.from_weights({"linearity": OFFICIAL[0]}, "as-benchmark")
    with Image.open(IMAGE[0]) as photograph:
        resized = photograph.convert("RGB").resize((664, 498), Image.Resampling.BILINEAR)
    levels = torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        assert float(metric(levels / 255.0)) == pytest.approx(PUBLISHED, abs=0.02)
