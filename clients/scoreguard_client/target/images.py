"""The clean images of a campaign: found in a folder, identified by digest, read as RGB."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from scoreguard.images import SUFFIXES, image_files, is_image_path
from scoreguard.support.digests import sha256_of
from scoreguard.support.shown import path_text
from scoreguard.v1.codec import TOP, ImageArray
from scoreguard.video import SUFFIXES as VIDEOS
from scoreguard_client._exceptions import ImageError
from scoreguard_client._images import from_file, read_bytes
from scoreguard_client._models import FloatImage
from scoreguard_client.oracles.base import Images
from scoreguard_client.target.errors import PlanError

_ESCAPED: Final = re.compile(r"\\x([89a-f][0-9a-f])")
"""Form of a non-UTF-8 byte of a file name in a record."""
_FRAME: Final = re.compile(
    r"(.+\.(?:" + "|".join(suffix[1:] for suffix in sorted(VIDEOS)) + r"))#frame=([0-9]{6,})", re.IGNORECASE | re.DOTALL
)
"""Form of the name of a video's frame; no image file has it, since its suffix is that of a video."""


@dataclass(frozen=True, kw_only=True)
class ImageRef:
    """An image of the campaign."""

    name: str
    """Path below the image folder, with forward slashes; of a video's frame with `#frame=` and its place, from 0."""
    sha256: str
    """Digest of the file, or of the place and the values of a video's frame, hexadecimal."""
    height: int
    """Height in pixels, EXIF rotation applied."""
    width: int
    """Width in pixels, EXIF rotation applied."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file that has an image's name but cannot be attacked."""

    name: str
    """Path below the image folder."""
    error: str
    """Why, in one line."""


@dataclass(frozen=True, kw_only=True)
class FoundImages:
    """What a folder holds."""

    images: tuple[ImageRef, ...]
    """The images, by name."""
    left_out: tuple[LeftOut, ...] = ()
    """Files with an image's name that cannot be read; one bad file does not affect the rest."""


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """A file that ought to be an image of the campaign."""

    name: str
    """Its name in records."""
    path: Path
    """Where it is."""
    place: str = ""
    """Where it is listed, for messages; empty = it was found in a folder."""


def find_images(folder: Path, limit: int | None = None) -> FoundImages:
    """Find the images below a folder, by name; with a limit, the first ones that can be read.

    Raises:
        PlanError: the folder is missing or holds no image that can be read.
    """
    if not folder.is_dir():
        raise PlanError(f"{folder} is not a folder of images, and no CSV list of them")
    paths = image_files(folder, recursive=True)
    left_out = out_of_reach(folder)
    if not paths and not left_out:
        raise PlanError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}); of videos give --frames")
    found = identified([ListedFile(name=name_of(path, folder), path=path) for path in paths], folder, limit)
    left_out.extend(found.left_out)
    if not found.images:
        raise PlanError(f"no image in {folder} can be read; the first: {left_out[0].error}")
    return FoundImages(images=found.images, left_out=tuple(left_out))


def identified(
    files: Iterable[ListedFile],
    folder: Path,
    limit: int | None = None,
    images_of: Callable[[ListedFile], Iterable[ImageRef]] | None = None,
) -> FoundImages:
    """Identify files as images, in their order; with a limit, the first ones that can be read.

    Args:
        files: the files, below the folder.
        folder: what their names are relative to.
        limit: the most images to take; None = all.
        images_of: identifies the images of a file, if it may have several; raises ImageError.
    """
    images: dict[str, ImageRef] = {}
    left_out: list[LeftOut] = []
    for file in files:
        if limit is not None and len(images) >= limit:
            break
        try:
            if file.name in images:
                raise ImageError(f"{file.name} is the name of two files")
            found = images_of(file) if images_of else [image_ref(file.path, folder)]
            images.update(
                (image.name, image) for image in islice(found, None if limit is None else limit - len(images))
            )
        except ImageError as error:
            place = f"{file.place}: " if file.place else ""
            left_out.append(LeftOut(name=file.name, error=f"{place}{error}"))
    return FoundImages(images=tuple(images.values()), left_out=tuple(left_out))


def out_of_reach(folder: Path) -> list[LeftOut]:
    """Find folders that may not be read, and image names that are not files: broken links, pipes."""
    errors: list[OSError] = []
    found: list[Path] = []
    for directory, folders, names in os.walk(folder, onerror=errors.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [path for name in names if is_image_path(path := Path(directory, name)) and not path.is_file()]
    return [
        *(LeftOut(name=name_of(Path(error.filename), folder), error=f"{error.strerror}") for error in errors),
        *(LeftOut(name=name_of(path, folder), error="it is no file, or a link that leads nowhere") for path in found),
    ]


def name_of(path: Path, folder: Path) -> str:
    """Return an image's name in records: its path below the folder with forward slashes, printable in any encoding.

    Bytes of a file name that are not UTF-8 are written as backslash escapes; `path_of` finds the file again.
    """
    return path_text(path.relative_to(folder).as_posix())


def frame_name(video: str, place: int) -> str:
    """Return the name of a frame in records, from the name of its video and its place; names sort as frames do."""
    return f"{video}#frame={place:06}"


def frame_of(name: str) -> tuple[str, int] | None:
    """Return the video and the place of a frame from its name in records; None if it is the name of an image file."""
    found = _FRAME.fullmatch(name)
    return None if found is None else (found[1], int(found[2]))


def unit_of(name: str) -> str:
    """Return the unit of resampling that an image belongs to: itself, or the video that it is a frame of."""
    found = frame_of(name)
    return name if found is None else found[0]


def path_of(folder: Path, name: str) -> Path:
    """Return the file of an image from its name in records."""
    path = folder / name
    if _ESCAPED.search(name) is None or path.is_file():
        return path
    return folder / _ESCAPED.sub(lambda match: chr(0xDC00 + int(match[1], 16)), name)


def read_image(folder: Path, image: ImageRef) -> ImageArray:
    """Read the values of an image, (H, W, 3): uint8, or float32 for 16-bit files.

    Raises:
        ImageError: the file is missing, or differs from the plan's.
    """
    path = path_of(folder, image.name)
    data = read_bytes(path)
    if sha256_of(data) != image.sha256:
        raise ImageError(f"{image.name} was changed since the campaign was planned")
    return from_file(path, data)


def as_batch(images: list[ImageArray]) -> Images:
    """Convert images of one size to (N, 3, H, W) float32 in [0, 1]."""
    return np.ascontiguousarray(np.stack([unit_values(image) for image in images]).transpose(0, 3, 1, 2))


def unit_values(image: ImageArray) -> FloatImage:
    """Convert an image (H, W, 3) to float32 in [0, 1]."""
    scale = TOP if image.dtype == np.uint8 else 1
    return np.asarray(image / np.float32(scale), dtype=np.float32)


def image_ref(path: Path, folder: Path) -> ImageRef:
    """Identify an image below a folder by its digest and size.

    Raises:
        ImageError: the file cannot be read, or is not an image.
    """
    data = read_bytes(path)
    height, width, _ = from_file(path, data).shape
    return ImageRef(name=name_of(path, folder), sha256=sha256_of(data), height=height, width=width)
