"""The images that the parity check runs on: some like photographs, others hard because they are plain.

A metric divides by deviations and takes roots and logarithms of them. On a flat image all of these are 0, and only a
small constant guards them. An exporter may lose that constant, and textured images never show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Plane = npt.NDArray[np.floating[Any]]
"""(H, W) or (3, H, W), values in [0, 1]."""
_Pattern = Callable[[int, int, np.random.Generator], Plane]
"""Makes an image from height, width and a random generator."""
_LINE: Final = 12
"""Height of a line of the page of text, in pixels; its letters take 7."""


def photographs(batch: int, height: int, width: int, seed: int) -> Tensor:
    """Draw images like photographs: 1/f texture on a smooth ground, an edge, and clipped highlights.

    Args:
        batch: Number of images, N.
        height: In pixels.
        width: In pixels.
        seed: Seed of the texture.

    Returns:
        (N, 3, H, W) in [0, 1]; every second image holds 8-bit levels.
    """
    images = _photographs(batch, height, width, np.random.default_rng(seed))
    images[::2] = _levels(images[::2])
    return torch.from_numpy(images.astype(np.float32))


def patterns(height: int, width: int, seed: int) -> Tensor:
    """Draw one image of each of `PATTERNS`, in its order: (N, 3, H, W) in [0, 1], of 8-bit levels."""
    generator = np.random.default_rng(seed)
    images = [np.broadcast_to(draw(height, width, generator), (3, height, width)) for draw in PATTERNS.values()]
    return torch.from_numpy(_levels(np.stack(images)).astype(np.float32))


def _levels(images: Plane) -> Plane:
    """Round to the values of 8-bit files."""
    levels: Plane = np.round(images * 255.0) / 255.0
    return levels


def _photographs(batch: int, height: int, width: int, generator: np.random.Generator) -> Plane:
    shape = (batch, 3, height, width)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    falloff = 1.0 / np.maximum(np.hypot(rows, columns), 1.0 / max(height, width))
    texture = np.fft.irfft2(np.fft.rfft2(generator.standard_normal(shape)) * falloff, s=shape[2:])
    texture /= np.abs(texture).max(axis=(2, 3), keepdims=True) + 1e-9
    ramp = np.linspace(0.0, 0.8, width)[None, None, None, :]
    edge = 0.3 * (np.arange(height) > height * 0.6)[None, None, :, None]
    images: Plane = np.clip(ramp + edge + 0.6 * texture, 0.0, 1.0)
    return images


def _flat(*colour: float) -> _Pattern:
    return lambda height, width, generator: np.array(colour)[:, None, None] * np.ones((1, height, width))


def _one_pixel(height: int, width: int, generator: np.random.Generator) -> Plane:
    image = np.full((height, width), 128.0 / 255.0)
    image[height // 2, width // 2] = 1.0
    return image


def _across(height: int, width: int, generator: np.random.Generator) -> Plane:
    return np.linspace(0.0, 1.0, width)[None, :] * np.ones((height, 1))


def _checks(height: int, width: int, generator: np.random.Generator) -> Plane:
    rows, columns = np.ogrid[:height, :width]
    checks: Plane = ((rows + columns) % 2).astype(np.float64)
    return checks


def _stripes(height: int, width: int, generator: np.random.Generator) -> Plane:
    return (np.arange(height) // 4 % 2)[:, None] * np.ones((1, width))


def _two_levels(height: int, width: int, generator: np.random.Generator) -> Plane:
    """Draw two neighbouring levels: the least deviation that an 8-bit image can have."""
    noise: Plane = (127.0 + generator.integers(0, 2, (height, width))) / 255.0
    return noise


def _page(height: int, width: int, generator: np.random.Generator) -> Plane:
    """Draw black strokes in lines on white; the lower part of the page and its margins are empty."""
    rows, columns = np.ogrid[:height, :width]
    lines = (rows % _LINE >= 5) & (rows < 0.6 * height) & (columns > 0.05 * width) & (columns < 0.9 * width)
    page: Plane = 1.0 - (lines & (generator.random((height, width)) < 0.4))
    return page


def _on_white(height: int, width: int, generator: np.random.Generator) -> Plane:
    image = np.ones((3, height, width))
    top, left = height // 2, width // 2
    image[:, top:, left:] = _photographs(1, height - top, width - left, generator)[0]
    return image


PATTERNS: Final[Mapping[str, _Pattern]] = {
    "photographic": lambda height, width, generator: _photographs(1, height, width, generator)[0],
    "flat black": _flat(0.0, 0.0, 0.0),
    "flat white": _flat(1.0, 1.0, 1.0),
    "flat mid-grey": _flat(*(128.0 / 255.0,) * 3),
    "flat red": _flat(1.0, 0.0, 0.0),
    "one-pixel": _one_pixel,
    "horizontal gradient": _across,
    "vertical gradient": lambda height, width, generator: _across(width, height, generator).T,
    "checkerboard": _checks,
    "striped": _stripes,
    "two-level noise": _two_levels,
    "page-of-text": _page,
    "photograph-on-white": _on_white,
}
"""Images by their name in errors: "the … image"."""
