"""KonCept512 against timm's own network and functions of PyTorch, on images of Pillow and torchvision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from official_towers import PARTS
from reference_scores import NORM, by_pillow, filled, state_of
from thin_towers import ThinKoncept512, tower_weights
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.koncept512 import Koncept512

THRESHOLD = 1e-3
"""Added to the variances of the Inception network's batch norms."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Generated weights of the small network."""
    return tower_weights(ThinKoncept512, tmp_path_factory.mktemp("koncept512"))


def _prepared(image: Tensor, variant: str) -> Tensor:
    """The port's size by Pillow; the benchmark's by torchvision on tensors, without smoothing."""
    if not variant:
        return by_pillow(image, 384, 512) * 2.0 - 1.0
    transforms = library("torchvision.transforms.functional", "backbones", "a test")
    resized: Tensor = transforms.resize(image, [512, 384], antialias=False)
    return resized * 2.0 - 1.0


def _regression(state: dict[str, Tensor], hidden: Tensor) -> Tensor:
    for place in (0, 4, 8):
        hidden = functional.relu(functional.linear(hidden, state[f"{place}.weight"], state[f"{place}.bias"]))
        mean, variance, scale, shift = (state[f"{place + 2}.{part}"] for part in NORM)
        hidden = functional.batch_norm(hidden, mean, variance, scale, shift)
    return functional.linear(hidden, state["12.weight"], state["12.bias"])


def _reference(metric: Koncept512, network: nn.Module, image: Tensor, variant: str) -> float:
    with torch.no_grad():
        cells = network(_prepared(image, variant)[None])
        assert cells.shape[2:] == ((14, 10) if variant else (10, 14))
        return float(_regression(state_of(metric, "fc."), cells[:, :, :8, :8].mean(dim=(2, 3))))


@pytest.mark.parametrize("variant", ["", "as-benchmark"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (299, 299), (384, 512), (512, 384), (501, 777)])
def test_the_score_equals_an_independent_implementation(
    files: dict[str, Path], variant: str, height: int, width: int
) -> None:
    """Enlarged and reduced, and at the sizes of either way."""
    metric = ThinKoncept512.from_weights(files, variant)
    image = photographs(1, height, width, 3)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, metric.base[:-1], image[0], variant), abs=1e-3)


@pytest.mark.slow
def test_the_published_network_is_timms(tmp_path: Path) -> None:
    """With its parts by their names, and batch norms with the constant of the Inception networks."""
    metric = Koncept512.from_weights(tower_weights(Koncept512, tmp_path))
    network = library("timm", "timm", "a test").create_model("inception_resnet_v2", num_classes=0, global_pool="")
    parts = {str(index): name for index, name in enumerate(PARTS)}
    state = state_of(metric, "base.")
    filled(network, {f"{parts[name.partition('.')[0]]}.{name.partition('.')[2]}": state[name] for name in state})
    norms = [module for module in metric.base.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {module.eps for module in norms} == {THRESHOLD}
    image = photographs(1, 300, 400, 4)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, network, image[0], ""), abs=1e-3)


@pytest.mark.parametrize(("variant", "size"), [("", (384, 512)), ("as-benchmark", (512, 384))])
def test_only_the_cells_at_the_top_left_count(files: dict[str, Path], variant: str, size: tuple[int, int]) -> None:
    """The small network's cells are 36 pixels: what is not in the first 8×8 changes nothing."""
    metric = ThinKoncept512.from_weights(files, variant)
    image = photographs(1, *size, 3)
    other = image.clone()
    other[:, :, 8 * 36 :] = 0.0
    other[:, :, :, 8 * 36 :] = 0.0
    with torch.no_grad():
        assert torch.equal(metric(other), metric(image))
        other[:, :, 8 * 36 - 1, 8 * 36 - 1] = 1.0 - image[:, :, 8 * 36 - 1, 8 * 36 - 1].round()
        assert not torch.equal(metric(other), metric(image))
