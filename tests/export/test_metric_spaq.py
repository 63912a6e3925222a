"""The SPAQ baseline against torchvision's ResNet on Pillow's images, cut by a loop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from official_states import checkpoint
from reference_scores import by_pillow, filled, state_of
from thin_metrics import ThinSpaq, thin_resnet, weights_of
from torch import Tensor, nn

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.spaq import Spaq


def _prepared(image: Tensor, resizes: bool) -> Tensor:
    """The official rule: the shorter side to 512 if neither is below."""
    height, width = image.shape[1:]
    if not resizes or min(height, width) < 512:
        return image
    shorter = min(height, width)
    return by_pillow(image, int(512 * height / shorter), int(512 * width / shorter))


def _starts(length: int) -> list[int]:
    found = [index * 112 for index in range((length - 224) // 112 + 1)]
    return found if found[-1] == length - 224 else [*found, length - 224]


def _reference(network: nn.Module, image: Tensor, *, resizes: bool) -> float:
    """The mean of the patches, each alone in the network."""
    image = _prepared(image, resizes)
    with torch.no_grad():
        scores = [
            float(network(image[None, :, top : top + 224, left : left + 224]))
            for top in _starts(image.shape[1])
            for left in _starts(image.shape[2])
        ]
    return sum(scores) / len(scores)


@pytest.mark.parametrize("variant", ["", "as-benchmark"])
@pytest.mark.parametrize(
    ("height", "width"), [(224, 224), (225, 337), (512, 511), (512, 512), (512, 700), (701, 523), (600, 1100)]
)
def test_the_score_equals_an_independent_implementation(variant: str, height: int, width: int, tmp_path: Path) -> None:
    """At the smallest size, at odd ones, and at both sides of the limit above which images are resized."""
    metric = ThinSpaq.from_weights(weights_of(ThinSpaq, tmp_path), variant)
    network = filled(thin_resnet(1), state_of(metric, "backbone."))
    image = photographs(1, height, width, 3)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(network, image[0], resizes=not variant), abs=2e-4)


def test_the_published_network_is_torchvisions(tmp_path: Path) -> None:
    """ResNet-50 with one output, on two patches."""
    metric = Spaq.from_weights(weights_of(Spaq, tmp_path))
    network = filled(
        library("torchvision.models", "backbones", "a test").resnet50(num_classes=1), state_of(metric, "backbone.")
    )
    image = photographs(1, 224, 250, 4)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(network, image[0], resizes=True), abs=1e-3)


def test_only_large_images_tell_the_benchmarks_way_apart(tmp_path: Path) -> None:
    """Below 512 pixels neither is resized; above, the benchmark reads more patches."""
    files = weights_of(ThinSpaq, tmp_path)
    usual, benchmark = ThinSpaq.from_weights(files), ThinSpaq.from_weights(files, "as-benchmark")
    small, large = photographs(1, 511, 640, 3), photographs(1, 640, 640, 3)
    with torch.no_grad():
        assert torch.equal(usual(small), benchmark(small))
        assert abs(float(usual(large) - benchmark(large))) > 0.01


def test_a_training_of_several_devices_loads_too(tmp_path: Path) -> None:
    """With the prefix of each name, and with more beside the tensors."""
    files = weights_of(ThinSpaq, tmp_path)
    state = ThinSpaq.from_weights(files).state_dict()
    parallel = {f"module.{name}": value for name, value in state.items()}
    torch.save({**checkpoint("spaq", parallel), "epoch": 7}, tmp_path / "parallel.pt")
    loaded = ThinSpaq.from_weights({"spaq": tmp_path / "parallel.pt"}).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
