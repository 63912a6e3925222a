"""The methods of the catalogue: (H, W, 3) in [0, 1] -> the same, worse; results may leave [0, 1] and are clipped."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image

from scoreguard_client.degradations.base import Floats

_LUMA: Final = np.array([0.299, 0.587, 0.114])
"""Weights of brightness (ITU-R BT.601)."""
_HALVED_CHROMA: Final = 2
"""Pillow's number for 4:2:0, what cameras and web pages use."""


def gaussian_blur(image: Floats, sigma: float, rng: np.random.Generator) -> Floats:
    """Blur by a Gaussian of `sigma` pixels; the border is mirrored."""
    from scipy import ndimage  # lists of attacks and of degradations do without it

    del rng
    return np.asarray(ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="mirror"))


def white_noise(image: Floats, deviation: float, rng: np.random.Generator) -> Floats:
    """Add normal noise of this standard deviation, in units of [0, 1], to each channel."""
    return image + deviation * rng.standard_normal(image.shape)


def jpeg(image: Floats, quality: float, rng: np.random.Generator) -> Floats:
    """Code and decode as JPEG with halved chroma; the image is rounded to 8 bits first."""
    del rng
    file = io.BytesIO()
    levels = np.rint(255 * image).astype(np.uint8)
    Image.fromarray(levels).save(file, "JPEG", quality=int(quality), subsampling=_HALVED_CHROMA)
    with Image.open(file) as decoded:
        return np.asarray(decoded) / 255.0


def downscale(image: Floats, factor: float, rng: np.random.Generator) -> Floats:
    """Shrink by a factor, antialiased, and enlarge to the old size, both bicubic."""
    del rng
    height, width = image.shape[:2]
    small = max(1, round(width / factor)), max(1, round(height / factor))
    channels = []
    for channel in np.moveaxis(image, 2, 0):
        # One channel of single precision at a time: Pillow resizes colours with 8 bits only.
        shrunk = Image.fromarray(channel.astype(np.float32)).resize(small, Image.Resampling.BICUBIC)
        channels.append(np.asarray(shrunk.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64))
    return np.stack(channels, axis=2)


def low_contrast(image: Floats, factor: float, rng: np.random.Generator) -> Floats:
    """Multiply every distance from the mean brightness by a factor below 1."""
    del rng
    middle = float((image @ _LUMA).mean())
    return middle + factor * (image - middle)


def banding(image: Floats, levels: float, rng: np.random.Generator) -> Floats:
    """Round each channel to this many levels, without dithering."""
    del rng
    return np.rint(image * (levels - 1)) / (levels - 1)
