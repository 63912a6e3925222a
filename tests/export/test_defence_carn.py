"""The CARN-M defence with the authors' weights, and its handling of sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from photographs import crop, to_batch
from restorers import assert_both_exports_are_it, kodak_centres, looked_at, psnr, untrained
from torch.nn import functional

from scoreguard_export.defences.carn import Carn
from scoreguard_export.errors import WeightsError


def test_the_authors_weights_beat_bicubic_enlargement(shared_data: Path) -> None:
    """Doubling the halved photographs is 2 dB better than bicubic."""
    defence, images = Carn.from_weights({"carn": shared_data / "weights/carn_m.pth"}), kodak_centres(shared_data, 96)
    small = functional.interpolate(images, size=[48, 48], mode="bicubic", antialias=True)
    bicubic = functional.interpolate(small, size=[96, 96], mode="bicubic").clamp(0.0, 1.0)
    assert psnr(defence(images), images) == pytest.approx(32.87, abs=0.05)
    assert psnr(bicubic, images) == pytest.approx(30.76, abs=0.05)


def test_an_odd_size_is_that_of_the_extended_image(tmp_path: Path) -> None:
    """The last row and column are repeated, and the result is cropped."""
    defence, batch = untrained(Carn, tmp_path), to_batch(crop(0, 7, 9, 13, 22), crop(1, 7, 9, 13, 22))
    odd = batch[:, :, :, :21]
    even = torch.cat([odd, odd[:, :, :, 20:]], dim=3)
    even = torch.cat([even, even[:, :, 12:]], dim=2)
    assert defence(odd).shape == odd.shape
    assert torch.equal(defence(odd), defence(even)[:, :, :13, :21])


def test_it_looks_as_far_as_it_says(tmp_path: Path) -> None:
    """The gradient of a pixel reaches exactly the stated distance, whichever of its square it is."""
    defence = untrained(Carn, tmp_path)
    assert {looked_at(defence, 100, 48 + odd, 49 + odd) for odd in (0, 1)} == {(Carn.reach, Carn.reach)}


def test_both_exports_are_the_module(tmp_path: Path) -> None:
    """TorchScript and ONNX agree at odd sizes, one pixel and batches."""
    assert_both_exports_are_it(untrained(Carn, tmp_path), tmp_path, [(1, 1, 1), (3, 7, 12), (1, 61, 40)])


def test_its_gradient_is_the_derivative(tmp_path: Path) -> None:
    """Autograd agrees with finite differences in double precision."""
    defence = untrained(Carn, tmp_path).double()
    image = (torch.rand(1, 3, 3, 4, generator=torch.Generator().manual_seed(1)).double() * 0.2 + 0.4).requires_grad_()
    assert torch.autograd.gradcheck(defence, (image,))


def test_missing_weights_say_what_to_do() -> None:
    """The message names the option, the source and the licence."""
    with pytest.raises(WeightsError, match=r"--weights carn=PATH; it is https://.*carn_m\.pth \(licence: MIT\)"):
        Carn.from_weights({})
