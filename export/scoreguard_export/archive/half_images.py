"""The images that half precision is measured on: of many qualities, so that a metric's order of them can change.

Four images like photographs, each as it is and in twelve worse versions (blur, noise, JPEG and low contrast, at three
strengths each), and the patterns of the parity check: 65 images, made from seeds alone.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from scoreguard_export.archive.parity_images import PATTERNS, patterns, photographs

PHOTOGRAPHS: Final = 4
_Pixels = npt.NDArray[np.floating[Any]]
"""(3, H, W) in [0, 1]."""


def half_images(height: int, width: int, seed: int = 0) -> Tensor:
    """Draw the images: (`COUNT`, 3, H, W) in [0, 1], of 8-bit levels."""
    versions = [
        worse(photograph, strength)
        for photograph in photographs(PHOTOGRAPHS, height, width, seed).numpy().astype(np.float64)
        for worse, strengths in _WORSE.values()
        for strength in strengths
    ]
    levels = np.round(np.clip(np.stack(versions), 0.0, 1.0) * 255.0) / 255.0
    return torch.cat([torch.from_numpy(levels.astype(np.float32)), patterns(height, width, seed)])


def _blurred(pixels: _Pixels, sigma: float) -> _Pixels:
    """Blur with a Gaussian of `sigma` pixels; borders wrap around."""
    rows, columns = np.fft.fftfreq(pixels.shape[1])[:, None], np.fft.rfftfreq(pixels.shape[2])[None, :]
    response = np.exp(-2.0 * (np.pi * sigma) ** 2 * (rows**2 + columns**2))
    blurred: _Pixels = np.fft.irfft2(np.fft.rfft2(pixels) * response, s=pixels.shape[1:])
    return blurred


def _noisy(pixels: _Pixels, sigma: float) -> _Pixels:
    noisy: _Pixels = pixels + sigma * np.random.default_rng(1).standard_normal(pixels.shape)
    return noisy


def _compressed(pixels: _Pixels, quality: float) -> _Pixels:
    buffer = io.BytesIO()
    levels = np.round(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)
    Image.fromarray(levels.transpose(1, 2, 0)).save(buffer, "JPEG", quality=int(quality))
    with Image.open(buffer) as image:
        return np.asarray(image, np.float64).transpose(2, 0, 1) / 255.0


def _faded(pixels: _Pixels, factor: float) -> _Pixels:
    faded: _Pixels = pixels.mean() + factor * (pixels - pixels.mean())
    return faded


_WORSE: Final[Mapping[str, tuple[Callable[[_Pixels, float], _Pixels], tuple[float, ...]]]] = {
    "as it is": (lambda pixels, strength: pixels, (0.0,)),
    "blur": (_blurred, (0.7, 1.5, 4.0)),
    "noise": (_noisy, (0.02, 0.06, 0.2)),
    "jpeg": (_compressed, (60.0, 20.0, 5.0)),
    "low contrast": (_faded, (0.7, 0.4, 0.15)),
}
"""Versions by name, with their strengths: pixels, deviations, qualities and factors."""

COUNT: Final = PHOTOGRAPHS * sum(len(strengths) for _, strengths in _WORSE.values()) + len(PATTERNS)
"""Number of images."""
