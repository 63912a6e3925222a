"""Photographs and helpers that the tests of the defences share."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from torch import Tensor

Bytes = NDArray[np.uint8]

READERS: tuple[Callable[[], Bytes], ...] = (data.astronaut, data.coffee, data.chelsea, data.rocket)


@cache
def photographs() -> tuple[Bytes, ...]:
    """Photographs (H, W, 3) that come with scikit-image."""
    images = [read() for read in READERS]
    return tuple(np.asarray(image, dtype=np.uint8) for image in images)


def crop(photo: int, top: int, left: int, height: int, width: int) -> Bytes:
    """Cut a piece out; the corner wraps so that the piece always fits."""
    whole = photographs()[photo % len(photographs())]
    top, left = top % (whole.shape[0] - height + 1), left % (whole.shape[1] - width + 1)
    return np.ascontiguousarray(whole[top : top + height, left : left + width])


def to_batch(*images: Bytes) -> Tensor:
    """Images (H, W, 3) of one size as (N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255.0


def to_levels(batch: Tensor) -> NDArray[np.int64]:
    """(N, 3, H, W) in [0, 1] as levels (N, H, W, 3)."""
    levels: NDArray[np.int64] = (batch * 255.0).round().permute(0, 2, 3, 1).numpy().astype(np.int64)
    return levels


def pillow_jpeg(image: Bytes, quality: int, subsampling: int) -> NDArray[np.int64]:
    """Code and decode by Pillow."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling={420: 2, 444: 0}[subsampling])
    return np.asarray(Image.open(file)).astype(np.int64)
