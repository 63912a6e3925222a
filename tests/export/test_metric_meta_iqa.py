"""MetaIQA against torchvision's ResNet on scikit-image's images, and a regression of PyTorch's functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_scores import NORM, by_numpy, by_scikit_image, filled, state_of
from skimage import transform
from thin_metrics import weights_of
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.errors import WeightsError
from scoreguard_export.libraries import library
from scoreguard_export.metrics.meta_iqa import MetaIqa
from scoreguard_export.metrics.resize import two_tap_bilinear


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Generated weights of the published network."""
    return weights_of(MetaIqa, tmp_path_factory.mktemp("meta-iqa"))


def _resnet(metric: MetaIqa) -> nn.Module:
    network: nn.Module = library("torchvision.models", "backbones", "a test").resnet18()
    return filled(network, state_of(metric, "resnet_layer."))


def _regression(state: Mapping[str, Tensor], features: Tensor) -> Tensor:
    for index in (1, 2):
        features = functional.linear(features, state[f"fc{index}.weight"], state[f"fc{index}.bias"])
        mean, variance, *scale = (state[f"bn{index}.{part}"] for part in NORM)
        features = functional.batch_norm(features, mean, variance, scale[0], scale[1])
        features = functional.prelu(features, state[f"relu{index}.weight"])
    return torch.sigmoid(functional.linear(features, state["fc3.weight"], state["fc3.bias"]))


def _reference(metric: MetaIqa, image: Tensor, *, resizes: bool) -> float:
    if resizes:
        image = by_scikit_image(image, 224, 224)
    with torch.no_grad():
        return float(_regression(state_of(metric, "net."), _resnet(metric)(by_numpy(image)[None])))


@pytest.mark.parametrize("variant", ["", "as-benchmark"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (224, 224), (225, 301), (299, 299), (500, 131)])
def test_the_score_equals_an_independent_implementation(
    files: Mapping[str, Path], variant: str, height: int, width: int
) -> None:
    """Smaller and larger than 224 pixels, odd and oblong; the benchmark's way at native size."""
    metric = MetaIqa.from_weights(files, variant)
    image = photographs(1, height, width, 3)
    with torch.no_grad():
        score = float(metric(image))
    assert score == pytest.approx(_reference(metric, image[0], resizes=not variant), abs=2e-5)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (384, 512), (500, 500), (301, 1000)])
def test_reduced_images_are_those_of_the_authors_version(height: int, width: int) -> None:
    """It warped by a scaling about the corner of the first pixel, with zeros outside, which reductions never reach."""
    image = photographs(1, height, width, 6)
    scale = np.array([width / 224, height / 224])
    mapping = transform.AffineTransform(scale=scale, translation=scale / 2 - 0.5)  # type: ignore[no-untyped-call]
    values = image[0].permute(1, 2, 0).double().numpy()
    options = {"output_shape": (224, 224), "order": 1, "mode": "constant"}
    warped = transform.warp(values, mapping, **options)  # type: ignore[no-untyped-call]
    mine = two_tap_bilinear(image, 224, 224)[0].permute(1, 2, 0).numpy()
    assert np.abs(mine - warped).max() <= 1e-5


def test_the_benchmarks_way_differs_where_the_size_does(files: Mapping[str, Path]) -> None:
    """At 224×224 nothing is resized."""
    usual, benchmark = MetaIqa.from_weights(files), MetaIqa.from_weights(files, "as-benchmark")
    same, other = photographs(1, 224, 224, 3), photographs(1, 299, 299, 3)
    with torch.no_grad():
        assert torch.equal(usual(same), benchmark(same))
        assert abs(float(usual(other) - benchmark(other))) > 1e-3


def test_the_official_file_of_a_module_is_refused(tmp_path: Path) -> None:
    """A pickled module could run code; the message says which file holds its tensors."""
    torch.save(MetaIqa(), tmp_path / "module.pt")
    with pytest.raises(WeightsError, match=r"weights convert meta-iqa .*a state_dict of the module"):
        MetaIqa.from_weights({"meta-iqa": tmp_path / "module.pt"})
