"""The BF-CNN defence against its formula in numpy, and against the published denoising quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from photographs import crop, to_batch
from restorers import (
    assert_both_exports_are_it,
    convolved,
    generated,
    kodak_centres,
    looked_at,
    noisy,
    psnr,
    untrained,
)

from scoreguard_export.defences.bfcnn import BfCnn
from scoreguard_export.errors import WeightsError


def test_it_is_its_formula(tmp_path: Path) -> None:
    """With generated weights, the result is that of the paper's formula in double precision by numpy."""
    files = generated(BfCnn, tmp_path)
    weights, batch = torch.load(files["bfcnn"], weights_only=True), to_batch(crop(0, 7, 9, 9, 14), crop(1, 7, 9, 9, 14))
    features = np.maximum(convolved(batch.double().numpy(), weights["conv_layers.0.weight"]), 0.0)
    for layer in range(1, 19):
        gain = weights[f"gammas.{layer - 1}"].double().numpy() / weights[f"running_sd.{layer - 1}"].double().numpy()
        features = np.maximum(convolved(features, weights[f"conv_layers.{layer}.weight"]) * gain, 0.0)
    expected = np.clip(batch.double().numpy() - convolved(features, weights["conv_layers.19.weight"]), 0.0, 1.0)
    result = BfCnn.from_weights(files)(batch).numpy()
    assert np.mean((expected > 0.0) & (expected < 1.0)) > 0.2
    assert np.abs(result - expected).max() < 1e-4


def test_the_official_weights_denoise(shared_data: Path) -> None:
    """Of noise of 25 levels on five Kodak centres, it leaves what the publisher's network leaves; a copy is as good."""
    defence = BfCnn.from_weights({"bfcnn": shared_data / "weights/bfcnn_color_0to100.pt"})
    images = kodak_centres(shared_data, 96)
    assert psnr(noisy(images, 25.0), images) == pytest.approx(20.17, abs=0.02)
    assert psnr(defence(noisy(images, 25.0)), images) == pytest.approx(31.90, abs=0.1)
    assert psnr(defence(noisy(images, 5.0)), images) > 38.0
    assert psnr(defence(images), images) > 45.0


def test_it_reaches_the_known_quality(shared_data: Path) -> None:
    """Noise of 25 levels on five Kodak photographs leaves 31.87 dB; on their larger centres, about as much."""
    defence = BfCnn.from_weights({"bfcnn": shared_data / "weights/bfcnn_color_0to100.pt"})
    images = kodak_centres(shared_data, 160)
    assert psnr(defence(noisy(images, 25.0)), images) == pytest.approx(31.87, abs=0.3)


def test_it_looks_as_far_as_it_says(tmp_path: Path) -> None:
    """The gradient of a pixel reaches exactly the stated distance."""
    defence = untrained(BfCnn, tmp_path)
    assert looked_at(defence, 49, 23, 24) == (BfCnn.reach, BfCnn.reach)


def test_both_exports_are_the_module(tmp_path: Path) -> None:
    """TorchScript and ONNX agree at odd sizes, one pixel and batches."""
    assert_both_exports_are_it(untrained(BfCnn, tmp_path), tmp_path, [(1, 1, 1), (3, 7, 12), (1, 61, 40)])


def test_its_gradient_is_the_derivative(tmp_path: Path) -> None:
    """Autograd agrees with finite differences in double precision."""
    defence = untrained(BfCnn, tmp_path).double()
    image = (torch.rand(1, 3, 3, 4, generator=torch.Generator().manual_seed(1)).double() * 0.4 + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(defence, (image,))


def test_missing_weights_say_what_to_do(tmp_path: Path) -> None:
    """No file named, no file there: the message names the option, the source and the licence."""
    with pytest.raises(WeightsError, match=r"bfcnn.*--weights bfcnn=PATH.*universal_inverse_problem.*licence: none"):
        BfCnn.from_weights({})
    with pytest.raises(WeightsError, match=r"no weights of bfcnn at .*absent\.pt.*universal_inverse_problem"):
        BfCnn.from_weights({"bfcnn": tmp_path / "absent.pt"})
    with pytest.raises(WeightsError, match="not shipped"):
        BfCnn.variants({})
