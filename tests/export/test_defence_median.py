"""The median defence against OpenCV, and a proof that its networks select the median."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch, to_levels
from scipy import ndimage

from scoreguard_export.defences.median import Median
from scoreguard_export.defences.median_network import median_network, sorting_network
from scoreguard_export.errors import ParameterError
from scoreguard_export.exporters.engines import load_onnx
from scoreguard_export.exporters.onnx_graph import export_onnx

KERNELS = [3, 5, 7]


@settings(max_examples=40, deadline=None)
@given(kernel=st.sampled_from(KERNELS), height=st.integers(1, 60), width=st.integers(1, 60), photo=st.integers(0, 3))
def test_it_is_opencvs_median_blur_to_the_last_bit(kernel: int, height: int, width: int, photo: int) -> None:
    """Every kernel and size of 8-bit photographs, borders included, and images smaller than the window."""
    images = [crop(photo, 11, 17, height, width), crop(photo + 1, 3, 5, height, width)]
    output = to_levels(Median(kernel=float(kernel))(to_batch(*images)))
    assert np.array_equal(output, np.stack([cv2.medianBlur(image, kernel) for image in images]))


@pytest.mark.parametrize("kernel", KERNELS)
def test_floats_are_filtered_as_they_are(kernel: int) -> None:
    """Values between the 8-bit levels, against scipy: a median is one of them, never a mean or a rounding."""
    image = torch.rand(2, 3, 23, 34, generator=torch.Generator().manual_seed(kernel))
    expected = ndimage.median_filter(image.numpy(), size=(1, 1, kernel, kernel), mode="nearest")
    assert np.array_equal(Median(kernel=float(kernel))(image).numpy(), expected)


@pytest.mark.parametrize("length", range(1, 12))
def test_the_columns_are_sorted(length: int) -> None:
    """A network that sorts every sequence of zeros and ones sorts everything (the 0–1 principle)."""
    columns = list(np.array(list(product([False, True], repeat=length))).T)
    for low, high in sorting_network(length):
        columns[low], columns[high] = columns[low] & columns[high], columns[low] | columns[high]
    assert all(bool((small <= large).all()) for small, large in pairwise(columns))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_network_selects_the_median_of_every_window(kernel: int) -> None:
    """By the 0–1 principle: every window of zeros and ones with sorted columns, told by the ones in each column."""
    ones = np.indices((kernel + 1,) * kernel, np.int8).reshape(kernel, -1)
    window = [ones[column] >= kernel - row for row in range(kernel) for column in range(kernel)]
    steps, middle = median_network(kernel)
    for low, high, smaller, larger in steps:
        minimum, maximum = window[low] & window[high], window[low] | window[high]
        if smaller:
            window[low] = minimum
        if larger:
            window[high] = maximum
    assert np.array_equal(window[middle], ones.sum(axis=0) > kernel * kernel // 2)


@pytest.mark.parametrize(("kernel", "operations"), [(3, 14), (5, 116), (7, 392)])
def test_the_network_is_as_short_as_it_says(kernel: int, operations: int) -> None:
    """The documented numbers of minima and maxima: no step is computed in vain."""
    steps, _ = median_network(kernel)
    assert sum(smaller + larger for _, _, smaller, larger in steps) == operations


@pytest.mark.parametrize("kernel", KERNELS)
def test_its_gradient_is_the_derivative(kernel: int) -> None:
    """Where all values differ, autograd agrees with finite differences."""
    values = torch.randperm(3 * 6 * 7, generator=torch.Generator().manual_seed(1)).double()
    image = (values / 126.0).reshape(1, 3, 6, 7).requires_grad_()
    assert torch.autograd.gradcheck(Median(kernel=float(kernel)), (image,), fast_mode=True)


@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_values_share_the_gradient(kernel: int) -> None:
    """On flat ground nothing of the gradient is lost, and none of it is negative."""
    image = torch.full((1, 3, 12, 15), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(Median(kernel=float(kernel))(image).sum(), image)
    assert float(gradient.sum()) == pytest.approx(3 * 12 * 15, rel=1e-5)
    assert float(gradient.min()) >= 0.0


@pytest.mark.parametrize("kernel", [2.0, 4.0, 9.0])
def test_a_kernel_without_a_graph_is_refused(kernel: float) -> None:
    """Even and larger kernels; the error names the choices."""
    with pytest.raises(ParameterError, match=f"kernel={kernel:g}: choose from 3, 5, 7"):
        Median(kernel=kernel)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(1, 1), (7, 9000), (211, 160), (463, 389), (1200, 3)])
def test_the_strips_of_the_onnx_graph_fit_together(kernel: int, size: tuple[int, int], tmp_path: Path) -> None:
    """One strip, many strips, a last strip that is not full, and rows longer than a strip."""
    defence = Median(kernel=float(kernel))
    export_onnx(defence, tmp_path / "graph.onnx")
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(4))
    output = load_onnx(tmp_path / "graph.onnx", ["image"])((image,))
    assert np.array_equal(output, ndimage.median_filter(image, size=(1, 1, kernel, kernel), mode="nearest"))
