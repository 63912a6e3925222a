"""The rotate defence against SciPy, OpenCV and numpy's quarter turns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from scipy.ndimage import affine_transform
from torch import Tensor

from scoreguard_export.archive.parity import check_parity
from scoreguard_export.defences.rotate import Rotate
from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.signature import input_names
from scoreguard_export.exporters.torchscript import export_torchscript


def turned(batch: Tensor, angles: list[float], bilinear: float) -> np.ndarray:
    """Turn each image by its angle in degrees, through the range of 180."""
    turn = torch.tensor([0.5 + angle / 360.0 for angle in angles], dtype=torch.float64)
    result: np.ndarray = Rotate(bilinear=bilinear)(batch, torch.tensor(180.0), turn).numpy()
    return result


def scipys(image: np.ndarray, angle: float) -> np.ndarray:
    """Nearest pixel of each channel (3, H, W), by SciPy in double precision; black outside."""
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    matrix = np.array([[cosine, sine], [-sine, cosine]])
    centre = (np.array(image.shape[1:]) - 1) / 2
    # A border of black pixels, because SciPy's own constant border begins half a pixel early.
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
    offset = centre + 2 - matrix @ (centre + 2)
    return np.stack([affine_transform(each, matrix, offset, order=0, cval=0.0) for each in padded])[:, 2:-2, 2:-2]


def ties(height: int, width: int, angle: float) -> np.ndarray:
    """(H, W): where a source lies midway between two pixels, so that either may be taken."""
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    down, across = (np.arange(length) - (length - 1) / 2 for length in (height, width))
    rows = cosine * down[:, None] + sine * across + (height - 1) / 2
    columns = cosine * across - sine * down[:, None] + (width - 1) / 2
    tied: np.ndarray = np.minimum(np.abs(rows % 1 - 0.5), np.abs(columns % 1 - 0.5)) < 1e-9
    return tied


@settings(max_examples=40, deadline=None)
@given(angles=st.tuples(st.floats(-50, 50), st.floats(-50, 50)), height=st.integers(1, 60), width=st.integers(1, 60))
def test_the_nearest_pixel_is_scipys(angles: tuple[float, float], height: int, width: int) -> None:
    """Two images turn by their own angles, to the same pixels as SciPy's, ties aside."""
    batch = to_batch(crop(0, 7, 9, height, width), crop(1, 7, 9, height, width))
    result = turned(batch, list(angles), 0.0)
    for image, given_back, angle in zip(batch.numpy(), result, angles, strict=True):
        differs = (given_back != scipys(image, angle)).any(axis=0)
        assert not (differs & ~ties(height, width, angle)).any()


@pytest.mark.parametrize(("height", "width", "angle"), [(61, 87, 5.0), (100, 64, -15.0), (33, 33, 50.0)])
def test_bilinear_is_opencvs_warp(height: int, width: int, angle: float) -> None:
    """OpenCV's warp rounds positions to 1/32 pixel, which bounds the difference."""
    image = crop(2, 20, 30, height, width)
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, angle, 1.0)
    reference = cv2.warpAffine(image.astype(np.float32) / 255.0, matrix, (width, height), flags=cv2.INTER_LINEAR)
    result = turned(to_batch(image), [angle], 1.0)[0].transpose(1, 2, 0)
    assert np.abs(result - reference).max() < 0.03
    assert np.abs(result - reference).mean() < 1e-3


@pytest.mark.parametrize("bilinear", [0.0, 1.0])
def test_quarter_turns_are_numpys(bilinear: float) -> None:
    """Counter-clockwise is positive, and the middle of the draws does not turn at all."""
    batch = to_batch(*(crop(1, 20, 30, 41, 41) for _ in range(4)))
    result = turned(batch, [0.0, 90.0, -90.0, -180.0], bilinear)
    reference = [np.rot90(each, k, axes=(1, 2)) for each, k in zip(batch.numpy(), (0, 1, -1, 2), strict=True)]
    assert np.abs(result - np.stack(reference)).max() < 1e-4


@pytest.mark.parametrize("variant", Rotate.facts.variants())
def test_no_degrees_are_the_identity(variant: dict[str, float]) -> None:
    """At the range of 0, every draw leaves the image as it is."""
    batch = to_batch(crop(3, 20, 30, 33, 47))
    result = Rotate(**variant)(batch, torch.tensor(0.0), torch.tensor([0.9]))
    assert torch.allclose(result, batch, atol=1e-5)


def test_corners_turn_black_and_nothing_else_changes_its_range() -> None:
    """White turns to white with black corners, in [0, 1]."""
    for bilinear in (0.0, 1.0):
        result = turned(torch.ones(1, 3, 40, 60), [30.0], bilinear)
        assert result[0, :, 0, 0].max() == 0.0
        assert result[0, :, 20, 30].min() == pytest.approx(1.0, abs=1e-6)
        assert 0.0 <= result.min() <= result.max() <= 1.0


@pytest.mark.parametrize("variant", Rotate.facts.variants())
def test_its_gradient_is_the_derivative(variant: dict[str, float]) -> None:
    """Autograd agrees with finite differences in double precision."""
    image = (torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(1)).double() * 0.8 + 0.1).requires_grad_()
    turn = torch.tensor([0.1, 0.8])
    assert torch.autograd.gradcheck(lambda x: Rotate(**variant)(x, torch.tensor(40.0), turn), (image,))


@pytest.mark.parametrize("variant", Rotate.facts.variants())
def test_both_exports_are_the_module(variant: dict[str, float], tmp_path: Path) -> None:
    """TorchScript and ONNX agree at every parity case; the nearest pixel is the same one for 48 turns of a photo."""
    defence = Rotate(**variant).eval()
    export_torchscript(defence, tmp_path / "rotate.pt")
    export_onnx(defence, tmp_path / "rotate.onnx")
    records = check_parity(defence, tmp_path / "rotate.pt", tmp_path / "rotate.onnx")
    script, graph = load_torchscript(tmp_path / "rotate.pt"), load_onnx(tmp_path / "rotate.onnx", input_names(defence))
    batch = to_batch(*(crop(photo, 7, 9, 187, 261) for photo in range(3)))
    for draws in torch.rand(16, 3, generator=torch.Generator().manual_seed(6)):
        inputs = (batch, torch.tensor(50.0), draws)
        for engine in (script, graph):
            assert float((engine(inputs) - defence(*inputs)).abs().max()) <= (1e-4 if defence.bilinear else 0.0)
    assert defence.bilinear or max(record.max_abs_error for record in records) == 0.0


@pytest.mark.parametrize("variant", Rotate.facts.variants())
@pytest.mark.parametrize(("height", "width"), [(1, 9), (9, 1), (1, 1), (6, 5)])
def test_each_image_of_a_batch_ends_in_its_own_border(
    variant: dict[str, float], height: int, width: int, tmp_path: Path
) -> None:
    """Nothing of a neighbour comes in from outside: half and whole turns of white, and of black beside it."""
    defence = Rotate(**variant).eval()
    export_torchscript(defence, tmp_path / "rotate.pt")
    export_onnx(defence, tmp_path / "rotate.onnx")
    script, graph = load_torchscript(tmp_path / "rotate.pt"), load_onnx(tmp_path / "rotate.onnx", input_names(defence))
    batch = torch.tensor([1.0, 0.0, 1.0])[:, None, None, None].expand(3, 3, height, width).contiguous()
    for draws in ([0.5, 0.1, 0.0], [0.6, 0.7, 0.85]):
        inputs = (batch, torch.tensor(180.0), torch.tensor(draws))
        alone = torch.cat([defence(batch[i : i + 1], inputs[1], inputs[2][i : i + 1]) for i in range(3)])
        assert alone[1].abs().max() == 0.0
        assert torch.allclose(script(inputs), alone, atol=1e-6)
        assert torch.allclose(graph(inputs), alone, atol=1e-5)
