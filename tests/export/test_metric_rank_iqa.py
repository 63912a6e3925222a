"""RankIQA against torchvision's VGG and loops over crops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from official_states import VGG, drawn, rank_iqa
from thin_metrics import ThinRankIqa, shapes_of, weights_of
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import WeightsError
from scoreguard_export.libraries import library
from scoreguard_export.metrics.rank_iqa import RankIqa


def _names() -> list[str]:
    """Caffe's layers in the order of torchvision's."""
    convolutions = [f"conv{stage}_{place}" for stage, (_, count) in enumerate(VGG, 1) for place in range(1, count + 1)]
    return [*convolutions, "fc6_m", "fc7_m", "fc8_m"]


def _vgg(state: Mapping[str, Tensor]) -> nn.Module:
    """The VGG-16 of torchvision with these weights."""
    network: nn.Module = library("torchvision.models", "backbones", "a test").vgg16(weights=None, num_classes=1)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for name, layer in zip(_names(), layers, strict=True):
        layer.load_state_dict({part: state[f"{name}.{part}"] for part in ("weight", "bias")})
    return network.eval()


def _small_vgg(state: Mapping[str, Tensor], crop: Tensor) -> float:
    """The same layers by PyTorch's functions, in double precision."""
    features = crop.double()
    for stage, (_, count) in enumerate(VGG, start=1):
        for place in range(1, count + 1):
            weight, bias = (state[f"conv{stage}_{place}.{part}"].double() for part in ("weight", "bias"))
            features = functional.relu(functional.conv2d(features, weight, bias, padding=1))
        features = functional.max_pool2d(features, kernel_size=2, stride=2)
    hidden = features.flatten(1)
    for name in ("fc6_m", "fc7_m", "fc8_m"):
        hidden = functional.linear(hidden, state[f"{name}.weight"].double(), state[f"{name}.bias"].double())
        hidden = hidden if name == "fc8_m" else functional.relu(hidden)
    return float(hidden)


def _starts(length: int) -> list[int]:
    found = [start for start in range(0, length, 112) if start + 224 <= length]
    return found if found[-1] + 224 == length else [*found, length - 224]


def _crops(image: Tensor) -> list[Tensor]:
    """Crops as OpenCV would read them: BGR, 0 to 255."""
    levels = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[:, :, ::-1]) * np.float32(255.0)
    tops, lefts = _starts(levels.shape[0]), _starts(levels.shape[1])
    grid = [levels[top : top + 224, left : left + 224] for top in tops for left in lefts]
    return [torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))[None] for crop in grid]


@pytest.mark.parametrize(("height", "width"), [(224, 224), (225, 301), (336, 500)])
def test_the_score_equals_an_independent_implementation(height: int, width: int, tmp_path: Path) -> None:
    """One crop, overlapping ones at the border, and a grid."""
    metric, image = ThinRankIqa.from_weights(weights_of(ThinRankIqa, tmp_path)), photographs(1, height, width, 3)
    expected = np.mean([_small_vgg(metric.state_dict(), crop) for crop in _crops(image[0])])
    with torch.no_grad():
        assert float(metric(image)) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.slow
def test_the_published_network_is_torchvisions() -> None:
    """Renamed weights give the same output."""
    state = drawn(dict(rank_iqa()), metric="rank-iqa")
    metric, network = RankIqa().eval(), _vgg(state)
    metric.load_state_dict(state)
    crops = _crops(photographs(1, 224, 301, 3)[0])
    with torch.no_grad():
        expected = float(torch.cat([network(crop) for crop in crops]).mean())
        assert float(metric(photographs(1, 224, 301, 3))) == pytest.approx(expected, abs=1e-3)


def test_the_dimensions_that_caffe_adds_are_dropped(tmp_path: Path) -> None:
    """Older versions write a bias as (1, 1, 1, N), and a matrix as (1, 1, outputs, inputs)."""
    state = drawn(shapes_of(ThinRankIqa()))
    caffe = {name: value.reshape((1,) * (4 - value.dim()) + tuple(value.shape)) for name, value in state.items()}
    torch.save(caffe, tmp_path / "caffe.pt")
    metric = ThinRankIqa.from_weights({"rank-iqa": tmp_path / "caffe.pt"})
    assert all(torch.equal(value, state[name]) for name, value in metric.state_dict().items())


@pytest.mark.parametrize("renamed", [("fc8_m",), ("fc6_m", "fc7_m", "fc8_m")])
def test_the_networks_of_other_scales_are_refused(renamed: tuple[str, ...], tmp_path: Path) -> None:
    """Those fine-tuned on ratings: on TID2013 the last layer has another name, on LIVE the last three."""
    state = drawn(shapes_of(ThinRankIqa()))
    for layer in renamed:
        for part in ("weight", "bias"):
            state[f"{layer.removesuffix('_m')}.{part}"] = state.pop(f"{layer}.{part}")
    torch.save(state, tmp_path / "tuned.pt")
    with pytest.raises(WeightsError, match=rf"missing: {renamed[0]}\.bias.*Rank_live\.caffemodel"):
        ThinRankIqa.from_weights({"rank-iqa": tmp_path / "tuned.pt"})


def test_another_shape_of_as_many_numbers_is_refused(tmp_path: Path) -> None:
    """Only lengths of 1 are dropped."""
    state = drawn(shapes_of(ThinRankIqa()))
    state["fc7_m.weight"] = state["fc7_m.weight"].reshape(16, 64)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"fc7_m\.weight is \(16, 64\), not \(32, 32\)"):
        ThinRankIqa.from_weights({"rank-iqa": tmp_path / "other.pt"})
