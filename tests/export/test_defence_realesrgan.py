"""The Real-ESRGAN defence against its formula in numpy and Pillow, and with the published weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from photographs import crop, to_batch
from PIL import Image
from restorers import assert_both_exports_are_it, convolved, generated, kodak_centres, looked_at, noisy, psnr, untrained

from scoreguard_export.defences.realesrgan import RealEsrgan
from scoreguard_export.errors import ParameterError, WeightsError


def test_it_is_its_formula(tmp_path: Path) -> None:
    """Generated weights give the network's formula by numpy, and the way back is Pillow's bicubic."""
    files = generated(RealEsrgan, tmp_path)
    weights = torch.load(files["realesrgan"], weights_only=True)
    batch = to_batch(crop(0, 7, 9, 7, 10), crop(1, 7, 9, 7, 10))
    features = batch.double().numpy()
    for layer in range(0, 68, 2):
        features = convolved(features, weights[f"body.{layer}.weight"], weights[f"body.{layer}.bias"])
        if layer < 66:
            slope = weights[f"body.{layer + 1}.weight"].double().numpy()[:, None, None]
            features = np.where(features > 0.0, features, slope * features)
    large = batch.double().numpy().repeat(4, axis=2).repeat(4, axis=3)
    for channel in range(48):
        large[:, channel // 16, channel % 16 // 4 :: 4, channel % 4 :: 4] += features[:, channel]
    expected = [
        [Image.fromarray(plane.astype(np.float32)).resize((10, 7), Image.Resampling.BICUBIC) for plane in image]
        for image in large
    ]
    result = RealEsrgan.from_weights(files)(batch).numpy()
    planes = np.array([[np.asarray(plane) for plane in image] for image in expected])
    assert np.abs(result - np.clip(planes, 0.0, 1.0)).max() < 1e-4


def test_the_published_weights_restore(shared_data: Path) -> None:
    """Clean photographs stay close to themselves; of noise of 25 levels (20.2 dB), most goes."""
    defence = RealEsrgan.from_weights({"realesrgan": shared_data / "weights/realesr_general_x4v3.pt"})
    images = kodak_centres(shared_data, 64)
    clean, denoised = psnr(defence(images), images), psnr(defence(noisy(images, 25.0).clamp(0, 1)), images)
    assert clean == pytest.approx(32.44, abs=0.05)
    assert denoised == pytest.approx(28.81, abs=0.05)


def test_the_studys_denoising_mixes_two_files(tmp_path: Path) -> None:
    """At 0.2, each weight is a fifth of the general and four fifths of the other file's."""
    files = generated(RealEsrgan, tmp_path)
    first, second = (torch.load(files[name], weights_only=True) for name in ("realesrgan", "realesrgan-wdn"))
    mixed = RealEsrgan.from_weights(files, denoise=0.2).network.state_dict()
    assert all(torch.allclose(mixed[name], 0.2 * first[name] + 0.8 * second[name], atol=1e-6) for name in mixed)
    pure = RealEsrgan.from_weights(files, denoise=1.0).network.state_dict()
    assert all(torch.equal(pure[name], first[name]) for name in pure)


def test_without_the_second_file_there_is_one_variant(tmp_path: Path) -> None:
    """The files given decide which variants can be built, and the message names the one that is missing."""
    files = generated(RealEsrgan, tmp_path)
    assert RealEsrgan.variants(files) == [{"denoise": 1.0}, {"denoise": 0.2}]
    del files["realesrgan-wdn"]
    assert RealEsrgan.variants(files) == [{"denoise": 1.0}]
    with pytest.raises(WeightsError, match=r"--weights realesrgan-wdn=PATH; it is https.*wdn-x4v3\.pth.*BSD-3-Clause"):
        RealEsrgan.from_weights(files, denoise=0.2)
    with pytest.raises(ParameterError, match=r"no graph for denoise=0\.5: choose from 1, 0\.2"):
        RealEsrgan.from_weights(files, denoise=0.5)


def test_it_looks_as_far_as_it_says(tmp_path: Path) -> None:
    """The gradient of a pixel reaches exactly the stated distance."""
    assert looked_at(untrained(RealEsrgan, tmp_path), 75, 37, 37) == (RealEsrgan.reach, RealEsrgan.reach)


def test_both_exports_are_the_module(tmp_path: Path) -> None:
    """TorchScript and ONNX agree at odd sizes, one pixel and batches."""
    assert_both_exports_are_it(untrained(RealEsrgan, tmp_path), tmp_path, [(1, 1, 1), (3, 7, 12), (1, 45, 30)])


def test_its_gradient_is_the_derivative(tmp_path: Path) -> None:
    """Autograd agrees with finite differences in double precision."""
    defence = untrained(RealEsrgan, tmp_path).double()
    image = (torch.rand(1, 3, 2, 3, generator=torch.Generator().manual_seed(1)).double() * 0.2 + 0.4).requires_grad_()
    assert torch.autograd.gradcheck(defence, (image,))
