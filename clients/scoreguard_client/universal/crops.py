"""Training crops: every image as one square of the perturbation's size.

- paper: the centre of the image; an image that is too small is first enlarged, keeping its aspect ratio.
- windows (kind `momentum`): anywhere in the image, flipped left to right half of the time.
- benchmark: the centre only if height and width are both at least twice the size (512 for 256); every other image is
  squeezed to the square, ignoring its aspect ratio.

Resizing uses Pillow's bilinear filter on float values, with antialiasing when it shrinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import PIL.Image

from scoreguard.support.digests import sha256_of
from scoreguard.v1.codec import ImageArray
from scoreguard_client.oracles.base import Images
from scoreguard_client.target.images import ImageRef, as_batch, read_image

_ENOUGH: Final = 2
"""The benchmark crops if half the height and half the width reach the size."""


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """The training images, read and cropped on demand."""

    folder: Path
    """Their folder."""
    references: tuple[ImageRef, ...]
    """The images, by name."""

    @property
    def sha256(self) -> str:
        """Digest of the digests, in order."""
        return sha256_of("\n".join(image.sha256 for image in self.references).encode())

    def crops(self, indices: Iterable[int], size: int, *, benchmark: bool) -> Images:
        """Return some of the images as squares, (N, 3, size, size).

        Raises:
            ImageError: an image is missing or was changed.
        """
        return np.concatenate([crop(image, size, benchmark=benchmark) for image in self._read(indices)])

    def windows(self, indices: Iterable[int], size: int, rng: np.random.Generator) -> Images:
        """Return random windows of some of the images, each flipped or not, (N, 3, size, size).

        Raises:
            ImageError: an image is missing or was changed.
        """
        return np.concatenate([window(image, size, rng) for image in self._read(indices)])

    def _read(self, indices: Iterable[int]) -> Iterator[ImageArray]:
        return (read_image(self.folder, self.references[index]) for index in indices)


def crop(image: ImageArray, size: int, *, benchmark: bool = False) -> Images:
    """Crop one image (H, W, 3) to a square, (1, 3, size, size) in [0, 1]."""
    values, (height, width) = as_batch([image]), image.shape[:2]
    if benchmark:
        large = min(height, width) >= _ENOUGH * size
        return _centre(values, size) if large else _resized(values, size, size)
    return _centre(_enlarged(values, size), size)


def window(image: ImageArray, size: int, rng: np.random.Generator) -> Images:
    """Cut a random square from one image (H, W, 3), flipped half of the time, (1, 3, size, size) in [0, 1]."""
    values = _enlarged(as_batch([image]), size)
    top, left = (int(rng.integers(0, length - size + 1)) for length in values.shape[2:])
    found = values[:, :, top : top + size, left : left + size]
    return found[..., ::-1] if rng.integers(0, 2) else found


def _enlarged(values: Images, size: int) -> Images:
    height, width = values.shape[2:]
    if min(height, width) >= size:
        return values
    scale = size / min(height, width)
    return _resized(values, max(size, round(height * scale)), max(size, round(width * scale)))


def _centre(values: Images, size: int) -> Images:
    top, left = ((length - size) // 2 for length in values.shape[2:])
    return values[:, :, top : top + size, left : left + size]


def _resized(values: Images, height: int, width: int) -> Images:
    filters = PIL.Image.Resampling.BILINEAR
    planes = [PIL.Image.fromarray(plane).resize((width, height), filters) for plane in values[0]]
    # The filter's weights add up to 1 except for rounding.
    return np.clip(np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])[None], 0, 1)
