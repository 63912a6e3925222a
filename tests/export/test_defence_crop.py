"""The crop defence against numpy's slicing and OpenCV's enlargement."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from torch import Tensor

from scoreguard_export.archive.parity import check_parity
from scoreguard_export.defences.crop import Crop
from scoreguard_export.errors import ParameterError
from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.signature import input_names
from scoreguard_export.exporters.torchscript import export_torchscript

DRAW = st.floats(0.0, 1.0, exclude_max=True, width=32)


def sliced(batch: Tensor, size: int, vertical: list[float], horizontal: list[float]) -> np.ndarray:
    """Cut each image by numpy, at the documented place."""
    height, width = batch.shape[2:]
    high, wide = min(size, height), min(size, width)
    tops = [int(np.float32(draw) * np.float32(height - high + 1)) for draw in vertical]
    lefts = [int(np.float32(draw) * np.float32(width - wide + 1)) for draw in horizontal]
    places = zip(batch.numpy(), tops, lefts, strict=True)
    return np.stack([image[:, top : top + high, left : left + wide] for image, top, left in places])


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    size=st.integers(1, 60),
    vertical=st.tuples(DRAW, DRAW),
    horizontal=st.tuples(DRAW, DRAW),
)
def test_it_is_numpys_slice_at_a_place_of_each_images_own(
    height: int, width: int, size: int, vertical: tuple[float, float], horizontal: tuple[float, float]
) -> None:
    """Every size, also beyond the image's, gives exactly the slice; the two images have their own places."""
    batch = to_batch(crop(0, 7, 9, height, width), crop(1, 7, 9, height, width))
    result = Crop()(batch, torch.tensor(float(size)), torch.tensor(vertical), torch.tensor(horizontal))
    assert np.array_equal(result.numpy(), sliced(batch, size, list(vertical), list(horizontal)))


def test_every_place_is_as_likely_as_any_other() -> None:
    """Evenly spread draws reach each of the nine places equally often, and the last draw below 1 the last place."""
    ramp = torch.linspace(0.0, 1.0, 16).expand(900, 3, 16, 16)
    draws = torch.arange(900) / 900.0
    left = Crop()(ramp, torch.tensor(8.0), torch.zeros(900), draws)[:, 0, 0, 0]
    places = torch.round(left * 15.0).to(torch.int64)
    assert torch.equal(torch.bincount(places), torch.full((9,), 100))
    almost = torch.tensor([float(np.nextafter(np.float32(1.0), np.float32(0.0)))])
    assert float(Crop()(ramp[:1], torch.tensor(8.0), almost, almost)[0, 0, 0, 0]) == pytest.approx(8.0 / 15.0)


def test_restore_enlarges_the_piece_to_the_images_size() -> None:
    """The way back is OpenCV's bilinear enlargement, also of an image that is not square."""
    batch = to_batch(crop(1, 20, 30, 41, 67))
    given_inputs = (torch.tensor(23.0), torch.tensor([0.3]), torch.tensor([0.8]))
    piece = Crop()(batch, *given_inputs)[0].permute(1, 2, 0).numpy()
    restored = Crop(restore=1.0)(batch, *given_inputs)[0].permute(1, 2, 0).numpy()
    assert piece.shape == (23, 23, 3)
    assert np.abs(restored - cv2.resize(piece, (67, 41), interpolation=cv2.INTER_LINEAR)).max() < 1e-4


def test_an_image_no_larger_than_the_piece_passes_unchanged() -> None:
    """The default of 256 pixels leaves small images whole, restored or not."""
    batch = to_batch(crop(1, 20, 30, 41, 67))
    for restore in (0.0, 1.0):
        assert torch.allclose(
            Crop(restore=restore)(batch, torch.tensor(256.0), torch.tensor([0.9]), torch.tensor([0.9])),
            batch,
            atol=1e-6,
        )


def test_a_piece_is_a_copy() -> None:
    """One image's piece lies in memory of its own, row after row, and changes with the image no more."""
    batch = to_batch(crop(1, 20, 30, 41, 67))
    piece = Crop()(batch, torch.tensor(23.0), torch.tensor([0.3]), torch.tensor([0.8]))
    before = piece.clone()
    batch.zero_()
    assert piece.is_contiguous()
    assert torch.equal(piece, before)


@pytest.mark.parametrize("variant", Crop.facts.variants())
def test_its_gradient_is_the_derivative(variant: dict[str, float]) -> None:
    """Autograd agrees with finite differences in double precision; what is cut off has none."""
    image = (torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(1)).double() * 0.8 + 0.1).requires_grad_()
    defence, draws = Crop(**variant), (torch.tensor([0.2, 0.7]), torch.tensor([0.9, 0.0]))
    assert torch.autograd.gradcheck(lambda x: defence(x, torch.tensor(3.0), *draws), (image,))


def test_a_switch_between_on_and_off_is_refused() -> None:
    """`restore` is 0 or 1."""
    with pytest.raises(ParameterError, match=r"no graph for restore=0\.5"):
        Crop(restore=0.5)


@pytest.mark.parametrize("variant", Crop.facts.variants())
def test_both_exports_are_the_module(variant: dict[str, float], tmp_path: Path) -> None:
    """TorchScript and ONNX agree with it at every parity case: sizes smaller than the image and larger."""
    defence = Crop(**variant).eval()
    export_torchscript(defence, tmp_path / "crop.pt")
    export_onnx(defence, tmp_path / "crop.onnx")
    assert check_parity(defence, tmp_path / "crop.pt", tmp_path / "crop.onnx")
    batch = to_batch(crop(0, 7, 9, 61, 87), crop(1, 7, 9, 61, 87), crop(2, 7, 9, 61, 87))
    draws = torch.rand(2, 3, generator=torch.Generator().manual_seed(6))
    script, graph = load_torchscript(tmp_path / "crop.pt"), load_onnx(tmp_path / "crop.onnx", input_names(defence))
    for size in (2.0, 33.0, 60.0, 61.0, 70.0):
        inputs = (batch, torch.tensor(size), *draws)
        expected = defence(*inputs)
        assert torch.allclose(script(inputs), expected, atol=1e-6)
        assert torch.allclose(graph(inputs), expected, atol=1e-5)
