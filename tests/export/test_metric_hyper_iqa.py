"""HyperIQA against torchvision's ResNet, grouped convolutions with the written weights, and a loop over crops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from reference_scores import by_numpy, by_pillow, filled, state_of
from thin_metrics import ThinHyperIqa, thin_resnet, weights_of
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.hyper_iqa import HyperIqa

WIDTHS = (224, 112, 56, 28, 14, 1)


def _linear(state: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    return functional.linear(values, state[f"{name}.weight"], state[f"{name}.bias"])


def _vector(state: Mapping[str, Tensor], network: nn.Module, crop: Tensor) -> tuple[Tensor, Tensor]:
    """What the four stages give, and the last maps."""
    maps, found = crop, []
    for name, layer in list(network.named_children())[:8]:
        maps = layer(maps)
        if name.startswith("layer"):
            stage, kept = int(name[-1]), maps
            if stage < 4:
                kept = functional.conv2d(maps, state[f"res.lda{stage}_pool.0.weight"])
            averages = functional.avg_pool2d(kept, 7, stride=7).reshape(1, -1)
            found.append(_linear(state, f"res.lda{stage}_fc", averages))
    return torch.cat(found, dim=1), maps


def _written(state: Mapping[str, Tensor], maps: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """Weights as for a convolution (outputs, inputs, 1, 1), and biases."""
    averages = functional.adaptive_avg_pool2d(maps, 1).flatten(1)
    if layer == 5:
        weights = _linear(state, "fc5w_fc", averages)
    else:
        name = f"fc{layer}w_conv"
        weights = functional.conv2d(maps, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)
    return weights.reshape(WIDTHS[layer], WIDTHS[layer - 1], 1, 1), _linear(state, f"fc{layer}b_fc", averages)[0]


def _score(state: Mapping[str, Tensor], network: nn.Module, crop: Tensor) -> float:
    vector, maps = _vector(state, network, crop)
    for place in (0, 2, 4):
        maps = functional.relu(functional.conv2d(maps, state[f"conv1.{place}.weight"], state[f"conv1.{place}.bias"]))
    values = vector.reshape(1, -1, 1, 1)
    for layer in range(1, 6):
        weights, bias = _written(state, maps, layer)
        values = functional.conv2d(values, weights, bias)
        values = torch.sigmoid(values) if layer < 5 else values
    return float(values)


def _reference(metric: HyperIqa, network: nn.Module, image: Tensor, rows: int) -> float:
    """The mean over rows × rows crops of the resized image."""
    del network.fc
    own = {name: value for name, value in state_of(metric, "res.").items() if not name.startswith("lda")}
    filled(network, own)
    values = by_numpy(by_pillow(image, 512, 384))[None]
    tops = [row * ((512 - 224) // rows) for row in range(rows)]
    lefts = [column * ((384 - 224) // rows) for column in range(rows)]
    crops = [values[:, :, top : top + 224, left : left + 224] for top in tops for left in lefts]
    with torch.no_grad():
        return sum(_score(metric.state_dict(), network, crop) for crop in crops) / len(crops)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (301, 1000), (512, 384)])
def test_the_score_equals_an_independent_implementation(height: int, width: int, tmp_path: Path) -> None:
    """Images are resized to one size, whichever way they lie."""
    metric = ThinHyperIqa.from_weights(weights_of(ThinHyperIqa, tmp_path))
    image = photographs(1, height, width, 3)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, thin_resnet(1), image[0], 2), abs=1e-3)


@pytest.mark.slow
def test_the_published_network_is_torchvisions(tmp_path: Path) -> None:
    """ResNet-50 on 25 crops."""
    metric = HyperIqa.from_weights(weights_of(HyperIqa, tmp_path))
    network = library("torchvision.models", "backbones", "a test").resnet50()
    image = photographs(1, 150, 200, 4)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, network, image[0], 5), abs=1e-3)


def test_images_differ_in_more_than_the_last_bias(tmp_path: Path) -> None:
    """No layer is saturated with the weights of these tests: scores of four photographs spread."""
    metric = ThinHyperIqa.from_weights(weights_of(ThinHyperIqa, tmp_path))
    with torch.no_grad():
        scores = metric(photographs(4, 100, 120, 3))
    assert float(scores.max() - scores.min()) > 0.05
