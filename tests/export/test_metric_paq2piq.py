"""PaQ-2-PiQ against torchvision's ResNet and RoIPool, bin by bin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from reference_scores import NORM, filled, state_of
from thin_metrics import ThinPaq2Piq, thin_resnet18, weights_of
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.paq2piq import Paq2Piq, quarters


def _pooled(maps: Tensor, height: int, width: int) -> Tensor:
    """RoIPool of Fast R-CNN for the region of the whole image, bin by bin."""
    found = torch.zeros(*maps.shape[:2], 2, 2)
    spans = []
    for length, places in ((height, maps.shape[2]), (width, maps.shape[3])):
        end = math.floor(length / 32 + 0.5)  # the last place of the region, included
        size = (end + 1) / 2
        spans.append([(math.floor(part * size), min(math.ceil((part + 1) * size), places)) for part in (0, 1)])
    for row, (top, bottom) in enumerate(spans[0]):
        for column, (left, right) in enumerate(spans[1]):
            found[:, :, row, column] = maps[:, :, top:bottom, left:right].flatten(2).max(dim=2).values
    return found


def _has_roi_pool() -> bool:
    """Whether torchvision's compiled operators match the installed torch."""
    found: bool = library("torchvision.extension", "backbones", "a test")._has_ops()
    return found


def _scores(state: Mapping[str, Tensor], pooled: Tensor) -> Tensor:
    features = torch.cat([functional.adaptive_max_pool2d(pooled, 1), functional.adaptive_avg_pool2d(pooled, 1)], dim=1)
    hidden = features.flatten(1)
    for place in (2, 6):
        mean, variance, weight, bias = (state[f"{place}.{part}"] for part in NORM)
        hidden = functional.batch_norm(hidden, mean, variance, weight, bias)
        hidden = functional.linear(hidden, state[f"{place + 2}.weight"], state[f"{place + 2}.bias"])
        hidden = functional.relu(hidden) if place == 2 else hidden
    return hidden[:, 0]


def _reference(metric: Paq2Piq, network: nn.Module, image: Tensor) -> Tensor:
    body = filled(nn.Sequential(*list(network.children())[:-2]), state_of(metric, "body."))
    with torch.no_grad():
        return _scores(state_of(metric, "head."), _pooled(body(image), image.shape[2], image.shape[3]))


@pytest.mark.parametrize(("height", "width"), [(33, 33), (47, 48), (64, 65), (80, 79), (97, 130), (301, 224)])
def test_the_score_equals_an_independent_implementation(height: int, width: int, tmp_path: Path) -> None:
    """From the smallest size, on both sides of where the region rounds."""
    metric = ThinPaq2Piq.from_weights(weights_of(ThinPaq2Piq, tmp_path))
    image = photographs(2, height, width, 3)
    with torch.no_grad():
        found = metric(image)
    assert torch.allclose(found, _reference(metric, thin_resnet18(), image), atol=1e-4)


@pytest.mark.parametrize("length", range(33, 33 + 3 * 32))
def test_the_quarters_are_those_of_roi_pool(length: int) -> None:
    """At every length for three more places of the maps, upright and across."""
    maps = torch.rand(2, 5, -(-length // 32), 4, generator=torch.Generator().manual_seed(length))
    assert torch.equal(quarters(maps, length, 128), _pooled(maps, length, 128).flatten(2))
    across = maps.transpose(2, 3)
    assert torch.equal(quarters(across, 128, length), _pooled(across, 128, length).flatten(2))


@pytest.mark.skipif(not _has_roi_pool(), reason="torchvision's operators are not those of the installed torch")
def test_torchvisions_roi_pool_agrees() -> None:
    """Where its compiled operator loads."""
    pool = library("torchvision.ops", "backbones", "a test").roi_pool
    for length in range(33, 200):
        maps = torch.rand(1, 3, -(-length // 32), 4, generator=torch.Generator().manual_seed(length))
        region = torch.tensor([[0.0, 0.0, 128.0, float(length)]])
        assert torch.equal(quarters(maps, length, 128), pool(maps, [region], (2, 2), 1 / 32).flatten(2))


def test_the_published_network_is_torchvisions(tmp_path: Path) -> None:
    """ResNet-18 before its pooling."""
    metric = Paq2Piq.from_weights(weights_of(Paq2Piq, tmp_path))
    network = library("torchvision.models", "backbones", "a test").resnet18()
    image = photographs(1, 100, 75, 4)
    with torch.no_grad():
        found = metric(image)
    assert torch.allclose(found, _reference(metric, network, image), atol=1e-3)
