"""The FFDNet defence against its formula in numpy, and against the published denoising quality."""

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

from scoreguard_export.defences.ffdnet import FfdNet
from scoreguard_export.errors import WeightsError


@pytest.mark.parametrize(("height", "width"), [(8, 12), (9, 13), (1, 1)])
def test_it_is_its_formula(height: int, width: int, tmp_path: Path) -> None:
    """Generated weights give the paper's formula by numpy, also where a row and a column are repeated."""
    files = generated(FfdNet, tmp_path)
    weights = torch.load(files["ffdnet"], weights_only=True)
    batch = to_batch(crop(0, 7, 9, height, width), crop(1, 7, 9, height, width))
    even = np.pad(batch.double().numpy(), ((0, 0), (0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    # Channel 4c + 2i + j of a square is row i and column j of colour c.
    squares = [even[:, colour, row::2, column::2] for colour in range(3) for row in (0, 1) for column in (0, 1)]
    features = np.stack([*squares, np.full_like(squares[0], 20.0 / 255.0)], axis=1)
    for layer in range(0, 24, 2):
        features = convolved(features, weights[f"model.{layer}.weight"], weights[f"model.{layer}.bias"])
        features = np.maximum(features, 0.0) if layer < 22 else features
    expected = np.zeros_like(even)
    for channel in range(12):
        expected[:, channel // 4, channel % 4 // 2 :: 2, channel % 2 :: 2] = features[:, channel]
    result = FfdNet.from_weights(files)(batch, torch.tensor(20.0)).numpy()
    assert np.abs(result - np.clip(expected[:, :, :height, :width], 0.0, 1.0)).max() < 1e-4


def test_the_official_weights_denoise(shared_data: Path) -> None:
    """Of noise of 25 levels on five Kodak centres, it leaves what the publisher's network leaves."""
    defence = FfdNet.from_weights({"ffdnet": shared_data / "weights/ffdnet_color.pt"})
    images = kodak_centres(shared_data, 96)
    told = [psnr(defence(noisy(images, 25.0), torch.tensor(sigma)), images) for sigma in (15.0, 25.0, 40.0)]
    assert told[1] == pytest.approx(32.03, abs=0.1)
    assert told[1] > max(told[0], told[2]) + 0.3
    assert psnr(defence(images, torch.tensor(0.0)), images) > 40.0


def test_it_reaches_the_known_quality(shared_data: Path) -> None:
    """Noise of 25 levels on five Kodak photographs leaves 31.94 dB; on their larger centres, about as much."""
    defence = FfdNet.from_weights({"ffdnet": shared_data / "weights/ffdnet_color.pt"})
    images = kodak_centres(shared_data, 224)
    assert psnr(defence(noisy(images, 25.0), torch.tensor(25.0)), images) == pytest.approx(31.94, abs=0.3)


def test_it_looks_no_farther_than_it_says(tmp_path: Path) -> None:
    """The farther pixel of a square reaches exactly the stated distance."""
    defence = untrained(FfdNet, tmp_path)
    reached = [looked_at(defence, 66, 30 + odd, 32 + odd, torch.tensor(20.0)) for odd in (0, 1)]
    assert max(reached) == (FfdNet.reach, FfdNet.reach)


def test_both_exports_are_the_module(tmp_path: Path) -> None:
    """TorchScript and ONNX agree at odd and even sizes, one pixel, batches, and each end of the strength."""
    defence = untrained(FfdNet, tmp_path)
    for sigma in (0.0, 75.0):
        assert_both_exports_are_it(defence, tmp_path, [(1, 1, 1), (3, 8, 13), (1, 61, 40)], sigma=sigma)


def test_its_gradient_is_the_derivative(tmp_path: Path) -> None:
    """Autograd agrees with finite differences in double precision."""
    defence = untrained(FfdNet, tmp_path).double()
    image = (torch.rand(1, 3, 3, 4, generator=torch.Generator().manual_seed(1)).double() * 0.4 + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: defence(x, torch.tensor(20.0)), (image,))


def test_another_networks_weights_are_refused(shared_data: Path) -> None:
    """The message names what does not fit, the source and the licence."""
    with pytest.raises(WeightsError, match=r"not the checkpoint of ffdnet \(24 tensors missing.*cszn/FFDNet.*licence"):
        FfdNet.from_weights({"ffdnet": shared_data / "weights/bfcnn_color_0to100.pt"})
