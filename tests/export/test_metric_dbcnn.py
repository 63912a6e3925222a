"""DB-CNN against torchvision's VGG, the S-CNN by PyTorch's functions, and loops over channels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folder import DATA, WHY_SKIPPED
from official_states import dbcnn, drawn, synthetic
from thin_metrics import ThinDbCnn, shapes_of, weights_of
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.dbcnn import DbCnn, aligned, synthetic_features

SCNN = DATA / "weights" / "dbcnn_scnn.pt"
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _normalised(image: Tensor) -> Tensor:
    values = (image.permute(1, 2, 0).double().numpy() - MEAN) / DEVIATION
    return torch.from_numpy(values.transpose(2, 0, 1).astype(np.float32))[None]


def _synthetic(state: Mapping[str, Tensor], prefix: str, values: Tensor) -> Tensor:
    """The S-CNN, layer by layer; every second one halves the size."""
    for place, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 2)):
        convolution, norm = f"{prefix}{3 * place}", f"{prefix}{3 * place + 1}"
        weight, bias = state[f"{convolution}.weight"], state[f"{convolution}.bias"]
        values = functional.conv2d(values, weight, bias, stride=stride, padding=1)
        mean, variance, scale, shift = (
            state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        values = functional.relu(functional.batch_norm(values, mean, variance, scale, shift))
    return values


def _reference(metric: DbCnn, network: nn.Module, image: Tensor) -> float:
    """Products in double precision, channel by channel."""
    state = metric.state_dict()
    prefix = "features1."
    network.load_state_dict({name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)})
    with torch.no_grad():
        values = _normalised(image)
        photographic = network.eval()(values)
        maps = _synthetic(state, "features2.", values)
        if maps.shape[2:] != photographic.shape[2:]:
            maps = functional.interpolate(maps, photographic.shape[2:], mode="bilinear", align_corners=True)
    first, second = photographic[0].double().numpy(), maps[0].double().numpy()
    products = np.array([[(one * other).mean() for other in second] for one in first]).reshape(-1)
    roots = np.sqrt(products + 1e-8)
    last = {part: state[f"fc.{part}"].double().numpy() for part in ("weight", "bias")}
    return float(last["weight"][0] @ (roots / np.linalg.norm(roots)) + last["bias"][0])


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (64, 95), (130, 200)])
def test_the_score_equals_an_independent_implementation(height: int, width: int, tmp_path: Path) -> None:
    """Where both networks divide alike, where one rounds up and the other down, and maps of a few pixels."""
    metric, image = ThinDbCnn.from_weights(weights_of(ThinDbCnn, tmp_path)), photographs(1, height, width, 3)
    with torch.no_grad():
        assert float(metric(image)) == pytest.approx(_reference(metric, metric.untrained(), image[0]), abs=1e-3)


@pytest.mark.slow
def test_the_published_network_is_torchvisions(tmp_path: Path) -> None:
    """VGG-16 up to its last pooling."""
    torch.save(drawn(dict(dbcnn()), metric="dbcnn"), tmp_path / "dbcnn.pkl")
    metric, image = DbCnn.from_weights({"dbcnn": tmp_path / "dbcnn.pkl"}), photographs(1, 97, 130, 3)
    features = library("torchvision.models", "backbones", "a test").vgg16(weights=None).features[:-1]
    with torch.no_grad():
        assert float(metric(image)) == pytest.approx(_reference(metric, features, image[0]), abs=1e-3)


@pytest.mark.parametrize(("length", "target"), [(2, 1), (3, 2), (14, 14), (20, 19), (7, 20), (1, 3)])
def test_maps_are_resized_as_pytorch_does(length: int, target: int) -> None:
    """With aligned corners; the same length changes no bit."""
    maps = torch.rand(2, 3, length, 5, generator=torch.Generator().manual_seed(length))
    expected = functional.interpolate(maps, (target, 5), mode="bilinear", align_corners=True)
    assert torch.allclose(aligned(maps, 2, target), expected, atol=1e-6)
    assert torch.allclose(aligned(maps.transpose(2, 3), 3, target), expected.transpose(2, 3), atol=1e-6)
    assert torch.equal(aligned(maps, 2, length), maps)


def test_a_file_without_counters_loads(tmp_path: Path) -> None:
    """PyTorch before 0.4.1 saved no `num_batches_tracked`, and the S-CNN was trained then; with several devices."""
    state = drawn(shapes_of(ThinDbCnn()))
    old = {f"module.{name}": value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert len(old) == len(state) - 9
    torch.save(old, tmp_path / "old.pkl")
    metric = ThinDbCnn.from_weights({"dbcnn": tmp_path / "old.pkl"})
    assert all(torch.equal(metric.state_dict()[name], state[name]) for name in state if not name.endswith("tracked"))


@pytest.mark.skipif(not SCNN.is_file(), reason=WHY_SKIPPED)
def test_the_published_s_cnn_fits_and_computes_the_same() -> None:
    """Its features, with the official weights; without their last layers, which tell distortions apart."""
    state = torch.load(SCNN, weights_only=True)
    features = {name: value for name, value in state.items() if name.startswith("features.")}
    assert {name: tuple(value.shape) for name, value in features.items()} == dict(synthetic(counters=False))
    network = synthetic_features().eval()
    missing = network.load_state_dict(
        {name.removeprefix("features."): value for name, value in features.items()}, strict=False
    )
    assert not missing.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    values = _normalised(photographs(1, 97, 130, 3)[0])
    with torch.no_grad():
        found = network(values)
        assert torch.allclose(found, _synthetic(state, "features.", values), atol=1e-4)
    assert float(found.max()) > 0.0
