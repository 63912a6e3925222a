"""Distance of one image from another: PSNR, SSIM, L-infinity; images are (H, W, 3) in [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity
from skimage.transform import resize

ImageArray = npt.NDArray[np.floating[Any]]

IDENTICAL_PSNR: Final = 150.0
"""PSNR in dB reported for identical images, whose PSNR is infinite (the code of arXiv 2404.06957)."""
_WINDOW: Final = 7
_BAND_PIXELS: Final = 2_000_000
"""Pixels compared at once: double precision and SSIM's moments take about 150 bytes per pixel."""


def psnr(reference: ImageArray, image: ImageArray) -> float:
    """Compute the peak signal-to-noise ratio in dB for a peak of 1; at most `IDENTICAL_PSNR`."""
    squares = sum(float(((a - b) ** 2).sum()) for a, b in _bands(reference, image))
    error = squares / reference.size
    return IDENTICAL_PSNR if error == 0 else float(min(-10 * np.log10(error), IDENTICAL_PSNR))


def ssim(reference: ImageArray, image: ImageArray) -> float:
    """Structural similarity (Wang et al. 2004) with a uniform 7 x 7 window, mean over channels, as in the benchmark.

    Images with a side below 7 pixels take the largest odd window that fits. A window of one pixel has no
    variance: there only brightness is compared.
    """
    side: int = min(_WINDOW, *reference.shape[:2])
    window = side if side % 2 else side - 1
    total = 0.0
    for a, b in _bands(reference, image, overlap=window - 1):
        mean = structural_similarity(  # type: ignore[no-untyped-call]
            a, b, channel_axis=2, data_range=1.0, win_size=window, use_sample_covariance=window > 1
        )
        total += (len(a) - window + 1) * float(mean)  # pyright: ignore[reportArgumentType]
    return total / (len(reference) - window + 1)


def l_infinity(reference: ImageArray, image: ImageArray) -> float:
    """Largest absolute difference of any value."""
    return max(float(np.abs(a - b).max()) for a, b in _bands(reference, image))


def _bands(reference: ImageArray, image: ImageArray, overlap: int = 0) -> Iterator[tuple[ImageArray, ImageArray]]:
    """Yield both in double precision, a few rows at a time; each band begins with the last rows of the one before."""
    height, width = reference.shape[:2]
    rows = max(_BAND_PIXELS // width, overlap + 1)
    for top in range(0, height - overlap, rows):
        band = slice(top, top + rows + overlap)
        yield reference[band].astype(np.float64), image[band].astype(np.float64)


def like(reference: ImageArray, image: ImageArray) -> ImageArray:
    """Resize an image to the reference's size, bilinear and antialiased; unchanged if the sizes agree.

    A defence such as `resize` returns a smaller image, and full-reference scores need equal sizes.
    """
    if image.shape == reference.shape:
        return image
    resized = resize(image, reference.shape, order=1, anti_aliasing=True)  # type: ignore[no-untyped-call]
    return np.asarray(resized)
