"""NIMA on Inception and VGG networks against timm's own networks on images of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from reference_scores import filled, state_of
from thin_towers import THIN_TOWERS, ThinNimaInception, tower_weights
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.catalogue import CATALOGUE
from scoreguard_export.metrics.linear import RowConv2d
from scoreguard_export.metrics.nima_ava import NimaInceptionResnetV2

NETWORKS = {
    "nima-inceptionresnetv2": ("inception_resnet_v2", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "nima-vgg16": ("vgg16", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""timm's name of each network, mean and deviation."""


@pytest.fixture(scope="module", params=NETWORKS)
def metric(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NimaInceptionResnetV2:
    """The small metric with generated weights."""
    kind = THIN_TOWERS[request.param]
    made: Any = kind.from_weights(tower_weights(kind, tmp_path_factory.mktemp("nima")))
    return made  # type: ignore[no-any-return]


def _reference(metric: NimaInceptionResnetV2, network: nn.Module, image: Tensor) -> float:
    """Resized with smoothing and cut by torchvision, mean and deviation as timm states them, a softmax of ten."""
    transforms = library("torchvision.transforms.functional", "backbones", "a test")
    _, mean, deviation = NETWORKS[metric.facts.name]
    centre = transforms.center_crop(transforms.resize(image, metric.side, antialias=True), metric.side)
    state = state_of(metric, "classifier.2.")
    with torch.no_grad():
        features = functional.adaptive_avg_pool2d(network(transforms.normalize(centre, mean, deviation))[-1], 1)
        shares = functional.linear(features.flatten(1), state["weight"], state["bias"]).softmax(dim=1)
    return sum(rating * float(share) for rating, share in enumerate(shares[0], start=1))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (139, 64), (299, 299), (400, 303), (201, 600)])
def test_the_score_equals_an_independent_implementation(metric: NimaInceptionResnetV2, height: int, width: int) -> None:
    """Enlarged and reduced, high and wide."""
    image = photographs(1, height, width, 3)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, metric.base_model, image), abs=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_published_network_is_timms(name: str, tmp_path: Path) -> None:
    """With the convolutions as timm has them, at the official size."""
    metric: Any = CATALOGUE[name].from_weights(tower_weights(CATALOGUE[name], tmp_path))
    network = library("timm", "timm", "a test").create_model(NETWORKS[name][0], features_only=True)
    filled(network, state_of(metric, "base_model."))
    config = network.pretrained_cfg
    assert (config["mean"], config["std"], config["input_size"][1]) == (*NETWORKS[name][1:], metric.side)
    image = photographs(1, 310, 400, 4)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, network, image), abs=2e-5)


@pytest.mark.parametrize("kernel", [(1, 3), (3, 1), (3, 3), (1, 7)])
@pytest.mark.parametrize("count", [1, 3, 17])
def test_a_convolution_as_a_product_is_the_convolution(kernel: tuple[int, int], count: int) -> None:
    """To within rounding, with its gradient; an image's cells have the same bits alone."""
    torch.manual_seed(0)
    layer = nn.Conv2d(192, 224, kernel, padding=(kernel[0] // 2, kernel[1] // 2), bias=False)
    mine = RowConv2d.of(layer)
    image = torch.randn(count, 192, 8, 8, requires_grad=True)
    result, wanted = mine(image), layer(image)
    assert float((result - wanted).detach().abs().max()) <= 5e-6
    assert torch.equal(mine(image[-1:]), result[-1:])
    slopes = [torch.autograd.grad(values.square().sum(), image)[0] for values in (result, wanted)]
    assert torch.allclose(slopes[0], slopes[1], atol=1e-4, rtol=1e-4)


def test_the_short_network_has_the_products_too(tmp_path: Path) -> None:
    """So that its graphs are checked with them."""
    network = ThinNimaInception().base_model
    assert len([module for module in network.modules() if isinstance(module, RowConv2d)]) == 4
