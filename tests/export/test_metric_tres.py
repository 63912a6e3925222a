"""TReS against the network's own layers, PyTorch's attention, and loops over crops and positions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_scores import by_numpy, by_pillow, filled, state_of
from thin_metrics import FourStages, ThinTres, weights_of
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.encoder import Encoder, sine_positions
from scoreguard_export.metrics.tres import Tres


def _positions(width: int) -> Tensor:
    """Place by place and number by number: the first half tells the row, the second the column."""
    found = np.zeros((7, 7, width))
    half = width // 2
    for row in range(7):
        for column in range(7):
            for number in range(width):
                place = row if number < half else column
                angle = (place + 1) / (7 + 1e-6) * 2 * math.pi / 10000 ** (2 * (number % half // 2) / half)
                found[row, column, number] = math.sin(angle) if number % 2 == 0 else math.cos(angle)
    return torch.from_numpy(found.reshape(49, width).astype(np.float32))


def _encoded(state: Mapping[str, Tensor], tokens: Tensor, heads: int) -> Tensor:
    """(1, 49, C) through PyTorch's attention, its linear layers and norms."""
    width = tokens.shape[2]
    for layer in (0, 1):
        own = {key.split(".", 2)[2]: value for key, value in state.items() if key.startswith(f"layers.{layer}.")}
        attention = nn.MultiheadAttention(width, heads, batch_first=True).eval()
        attention.load_state_dict({key[10:]: value for key, value in own.items() if key.startswith("self_attn.")})
        normed = functional.layer_norm(tokens, (width,), own["norm1.weight"], own["norm1.bias"])
        placed = normed + _positions(width)
        tokens = tokens + attention(placed, placed, normed)[0]
        normed = functional.layer_norm(tokens, (width,), own["norm2.weight"], own["norm2.bias"])
        hidden = functional.relu(functional.linear(normed, own["linear1.weight"], own["linear1.bias"]))
        tokens = tokens + functional.linear(hidden, own["linear2.weight"], own["linear2.bias"])
    return functional.layer_norm(tokens, (width,), state["norm.weight"], state["norm.bias"])


def _pooled(maps: Tensor, square: int) -> Tensor:
    """Hann's window of five without its zeros, on the squares of maps of length 1."""
    window = np.outer(np.hanning(5)[1:-1], np.hanning(5)[1:-1])
    filters = torch.from_numpy((window / window.sum()).astype(np.float32)).expand(maps.shape[1], 1, 3, 3)
    units = maps / maps.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
    roots = (functional.conv2d(units.square(), filters, padding=1, groups=maps.shape[1]) + 1e-12).sqrt()
    return functional.avg_pool2d(roots, square)


def _score(metric: Tres, network: nn.Module, crop: Tensor) -> float:
    maps, found = crop, []
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        maps = network.get_submodule(name)(maps)
        if name.startswith("layer"):
            found.append(_pooled(maps, {"1": 8, "2": 4, "3": 2, "4": 1}[name[-1]]))
    tokens = torch.cat(found, dim=1).flatten(2).transpose(1, 2)
    encoded = _encoded(state_of(metric, "transformer.encoder."), tokens, metric.heads).mean(dim=1)
    reduced = functional.linear(encoded, metric.state_dict()["fc2.weight"], metric.state_dict()["fc2.bias"])
    features = torch.cat([reduced, functional.avg_pool2d(maps, 7).flatten(1)], dim=1)
    return float(functional.linear(features, metric.state_dict()["fc.weight"], metric.state_dict()["fc.bias"]))


def _reference(metric: Tres, network: nn.Module, image: Tensor, count: int) -> float:
    """The mean over the first `count` crops of the grid, row by row."""
    values = by_numpy(image)[None]
    steps = [(length - 224) // int(math.sqrt(count)) for length in image.shape[1:]]
    rows = math.ceil(math.sqrt(count))
    places = [(row * steps[0], column * steps[1]) for row in range(rows) for column in range(rows)][:count]
    filled(network, state_of(metric, "model."))
    with torch.no_grad():
        scores = [_score(metric, network, values[:, :, top : top + 224, left : left + 224]) for top, left in places]
    return sum(scores) / count


@pytest.mark.parametrize(
    ("variant", "height", "width"),
    [("", 32, 32), ("", 301, 700), ("", 512, 384), ("as-benchmark", 225, 225), ("as-benchmark", 301, 471)],
)
def test_the_score_equals_an_independent_implementation(variant: str, height: int, width: int, tmp_path: Path) -> None:
    """Resized to one size, or at native size from the smallest."""
    metric = ThinTres.from_weights(weights_of(ThinTres, tmp_path), variant)
    image = photographs(1, height, width, 3)
    with torch.no_grad():
        score = float(metric(image))
    read = image[0] if variant else by_pillow(image[0], 512, 384)
    assert score == pytest.approx(_reference(metric, FourStages(ThinTres.widths), read, 6), abs=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_published_network_is_torchvisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNet-50 and the encoder for its 3840 features, on four crops of the smallest image at native size."""
    monkeypatch.setattr(Tres, "crops", 4)
    metric = Tres.from_weights(weights_of(Tres, tmp_path), "as-benchmark")
    network = library("torchvision.models", "backbones", "a test").resnet50()
    image = photographs(1, 225, 231, 4)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, network, image[0], 4), abs=1e-3)


def test_the_positions_are_those_of_the_loop() -> None:
    """For the published width, to single precision."""
    assert torch.allclose(sine_positions(3840, 7), _positions(3840), atol=1e-6)


def test_an_item_is_encoded_alone_as_with_others() -> None:
    """To the last bit, also with as many numbers as the published network has."""
    torch.manual_seed(3)
    encoder = Encoder(480, heads=16, hidden=64, layers=2).eval()
    tokens, positions = torch.randn(3, 49, 480), torch.randn(49, 480)
    with torch.no_grad():
        together = encoder(tokens, positions)
        assert torch.equal(torch.cat([encoder(item[None], positions) for item in tokens]), together)


def test_only_the_benchmarks_way_needs_room_for_the_crops(tmp_path: Path) -> None:
    """Images that are resized may be small; the benchmark's metric enlarges those, which is refused here."""
    files = weights_of(ThinTres, tmp_path)
    usual, benchmark = ThinTres.from_weights(files), ThinTres.from_weights(files, "as-benchmark")
    assert (usual.facts.minimum_size, benchmark.facts.minimum_size) == (32, 225)
