"""The clean pictures of a campaign: found in a folder, identified by digest, read as RGB."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np

from scoreguard.images import SUFFIXES, image_files
from scoreguard.v1.codec import Picture
from scoreguard_client._exceptions import PictureError
from scoreguard_client._pictures import from_file, read_bytes
from scoreguard_client.campaign.errors import PlanError
from scoreguard_client.campaign.plan import ImageRef
from scoreguard_client.oracles.base import Images

TOP: Final = 255


def find_images(folder: Path, limit: int | None = None) -> tuple[ImageRef, ...]:
    """The pictures below a folder, by name; with a limit the first ones.

    Raises:
        PlanError: the folder is missing or holds no picture.
        PictureError: a file is not a picture.
    """
    if not folder.is_dir():
        raise PlanError(f"{folder} is not a folder of pictures")
    paths = image_files(folder, recursive=True)
    if not paths:
        raise PlanError(f"{folder} holds no picture ({', '.join(sorted(SUFFIXES))})")
    return tuple(image_ref(path, folder) for path in paths[:limit])


def read_image(folder: Path, image: ImageRef) -> Picture:
    """The values of a picture, (H, W, 3): uint8, or float32 for 16-bit files.

    Raises:
        PictureError: the file is gone, or is not the one of the plan.
    """
    data = read_bytes(folder / image.name)
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise PictureError(f"{folder / image.name} was changed since the campaign was planned")
    return from_file(folder / image.name, data)


def as_batch(pictures: list[Picture]) -> Images:
    """Pictures of one size as (N, 3, H, W) float32 in [0, 1]."""
    unit = [picture / np.float32(TOP) if picture.dtype == np.uint8 else picture for picture in pictures]
    return np.ascontiguousarray(np.stack(unit).transpose(0, 3, 1, 2), dtype=np.float32)


def image_ref(path: Path, folder: Path) -> ImageRef:
    """A picture below a folder, identified by its digest and size.

    Raises:
        PictureError: the file cannot be read, or is not a picture.
    """
    data = read_bytes(path)
    height, width, _ = from_file(path, data).shape
    name = path.relative_to(folder).as_posix()
    return ImageRef(name=name, sha256=hashlib.sha256(data).hexdigest(), height=height, width=width)
