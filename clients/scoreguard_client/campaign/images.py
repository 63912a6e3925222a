"""The clean pictures of a campaign: found in a folder, identified by digest, read as RGB."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Final

import numpy as np
import PIL.Image

from scoreguard.v1.codec import Picture
from scoreguard_client._exceptions import PictureError
from scoreguard_client._pictures import from_pillow
from scoreguard_client.campaign.errors import PlanError
from scoreguard_client.campaign.plan import ImageRef
from scoreguard_client.oracles.base import Images

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
TOP: Final = 255


def find_images(folder: Path, limit: int | None = None) -> tuple[ImageRef, ...]:
    """The pictures below a folder, by name; with a limit the first ones.

    Raises:
        PlanError: the folder is missing or holds no picture.
        PictureError: a file is not a picture.
    """
    if not folder.is_dir():
        raise PlanError(f"{folder} is not a folder of pictures")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise PlanError(f"{folder} holds no picture ({', '.join(sorted(SUFFIXES))})")
    return tuple(image_ref(path, folder) for path in paths[:limit])


def read_image(folder: Path, image: ImageRef) -> Picture:
    """The values of a picture, (H, W, 3): uint8, or float32 for 16-bit files.

    Raises:
        PictureError: the file is gone, or is not the one of the plan.
    """
    data = _read(folder / image.name)
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise PictureError(f"{folder / image.name} was changed since the campaign was planned")
    return _decode(data, folder / image.name)


def as_batch(pictures: list[Picture]) -> Images:
    """Pictures of one size as (N, 3, H, W) float32 in [0, 1]."""
    unit = [picture / np.float32(TOP) if picture.dtype == np.uint8 else picture for picture in pictures]
    return np.ascontiguousarray(np.stack(unit).transpose(0, 3, 1, 2), dtype=np.float32)


def image_ref(path: Path, folder: Path) -> ImageRef:
    """A picture below a folder, identified by its digest and size.

    Raises:
        PictureError: the file cannot be read, or is not a picture.
    """
    data = _read(path)
    height, width, _ = _decode(data, path).shape
    name = path.relative_to(folder).as_posix()
    return ImageRef(name=name, sha256=hashlib.sha256(data).hexdigest(), height=height, width=width)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"cannot read {path}: {error.strerror or error}") from error


def _decode(data: bytes, path: Path) -> Picture:
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            return from_pillow(image)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise PictureError(f"{path} is not a picture: {error}") from error
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
