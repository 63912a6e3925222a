"""The clean images of a campaign: a folder, a data set in the layout of NIPS 2017, or a list with people's scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scoreguard.v1.codec import ImageArray
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.images import (
    FoundImages,
    ImageRef,
    find_images,
    identified,
    image_ref,
    path_of,
    read_image,
)
from scoreguard_client.target.listed import PeopleOptions, nips_list, read_list
from scoreguard_client.target.people import PeopleScores

_LIST: Final = ".csv"


@dataclass(frozen=True, kw_only=True)
class ImageReader:
    """Reads the images of a set by their names."""

    root: Path
    """Folder that the names are relative to."""

    def read(self, image: ImageRef) -> ImageArray:
        """Read the values of an image, (H, W, 3): uint8, or float32 for 16-bit files.

        Raises:
            ImageError: it is missing, or differs from the plan's.
        """
        return read_image(self.root, image)

    def ref(self, name: str) -> ImageRef:
        """Identify the image of a name as it is now.

        Raises:
            ImageError: it cannot be read.
        """
        return image_ref(path_of(self.root, name), self.root)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """What was found."""

    reader: ImageReader
    """Reads the images."""
    found: FoundImages
    """The images, by name."""
    people: PeopleScores | None = None
    """What people said of them."""


def find_image_set(path: Path, limit: int | None = None, people: PeopleOptions | None = None) -> ImageSet:
    """Find the images of a campaign.

    Args:
        path: a folder, or a CSV list of images with people's scores.
        limit: take only the first ones by name that can be read.
        people: how to read people's scores; None = as the list says.

    Raises:
        PlanError: there is nothing, or a list cannot be read, or no image can, or there are no scores to read.
    """
    if path.suffix.lower() == _LIST and path.is_file():
        files, scores = read_list(path, people or PeopleOptions())
        found = identified(files, path.parent, limit)
        return ImageSet(reader=ImageReader(root=path.parent), found=_some(found, path), people=scores)
    if people is not None and people != PeopleOptions():
        raise PlanError(f"--mos-column and the direction of its scores are for a CSV list, and --images is {path}")
    reader, listed = ImageReader(root=path), nips_list(path)
    if listed is not None:
        return ImageSet(reader=reader, found=_some(identified(listed, path, limit), path))
    return ImageSet(reader=reader, found=find_images(path, limit))


def _some(found: FoundImages, path: Path) -> FoundImages:
    if not found.images:
        first = f"; the first: {found.left_out[0].error}" if found.left_out else ""
        raise PlanError(f"no image of {path} can be read{first}")
    return found
