"""How far one picture is from another: PSNR, SSIM, L-infinity; pictures are (H, W, 3) in [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity
from skimage.transform import resize

Picture = npt.NDArray[np.floating[Any]]

IDENTICAL_PSNR: Final = 150.0
"""PSNR in dB that stands for identical pictures, where it is infinite (the code of arXiv 2404.06957)."""
_WINDOW: Final = 7
_BAND_PIXELS: Final = 2_000_000
"""Pixels that are compared at once: double precision and SSIM's moments take some 150 bytes for each."""


def psnr(reference: Picture, picture: Picture) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1; `IDENTICAL_PSNR` at most."""
    squares = sum(float(((a - b) ** 2).sum()) for a, b in _bands(reference, picture))
    error = squares / reference.size
    return IDENTICAL_PSNR if error == 0 else float(min(-10 * np.log10(error), IDENTICAL_PSNR))


def ssim(reference: Picture, picture: Picture) -> float:
    """Structural similarity (Wang et al. 2004) with a uniform 7 x 7 window, mean over channels, as in the benchmark.

    Pictures with a side below 7 pixels take the largest odd window that fits.
    """
    side: int = min(_WINDOW, *reference.shape[:2])
    window = side if side % 2 else side - 1
    total = 0.0
    for a, b in _bands(reference, picture, overlap=window - 1):
        mean = structural_similarity(a, b, channel_axis=2, data_range=1.0, win_size=window)  # type: ignore[no-untyped-call]
        total += (len(a) - window + 1) * float(mean)  # pyright: ignore[reportArgumentType]
    return total / (len(reference) - window + 1)


def l_infinity(reference: Picture, picture: Picture) -> float:
    """Largest absolute difference of any value."""
    return max(float(np.abs(a - b).max()) for a, b in _bands(reference, picture))


def _bands(reference: Picture, picture: Picture, overlap: int = 0) -> Iterator[tuple[Picture, Picture]]:
    """The two in double precision, a few rows at a time; each band begins with the last rows of the one before."""
    height, width = reference.shape[:2]
    rows = max(_BAND_PIXELS // width, overlap + 1)
    for top in range(0, height - overlap, rows):
        band = slice(top, top + rows + overlap)
        yield reference[band].astype(np.float64), picture[band].astype(np.float64)


def like(reference: Picture, picture: Picture) -> Picture:
    """The picture at the reference's size, bilinear and antialiased; unchanged where the sizes agree.

    A defence such as `resize` returns a smaller picture, and full-reference scores need equal sizes.
    """
    if picture.shape == reference.shape:
        return picture
    resized = resize(picture, reference.shape, order=1, anti_aliasing=True)  # type: ignore[no-untyped-call]
    return np.asarray(resized)
