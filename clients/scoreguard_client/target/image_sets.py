"""The clean images of a campaign: a folder, the layout of NIPS 2017, a list with people's scores, frames of videos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scoreguard.images import image_files
from scoreguard.support.shown import shown_path
from scoreguard.v1.codec import ImageArray
from scoreguard_client._exceptions import ImageError
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.images import (
    FoundImages,
    ImageRef,
    ListedFile,
    find_images,
    frame_of,
    identified,
    image_ref,
    name_of,
    out_of_reach,
    path_of,
    read_image,
)
from scoreguard_client.target.listed import AS_USUAL, PeopleOptions, nips_list, read_list
from scoreguard_client.target.people import PeopleScores
from scoreguard_client.target.videos import frame_ref, frame_refs, frames_at, is_video_path, video_files

_LIST: Final = ".csv"


@dataclass(frozen=True, kw_only=True)
class ImageReader:
    """Reads the images of a set by their names."""

    root: Path
    """Folder that the names are relative to."""
    places: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Places of all frames that will be read of a video, by its name: they are decoded together."""

    def knowing(self, images: Iterable[ImageRef]) -> ImageReader:
        """Return a reader that knows which frames will be read."""
        places: dict[str, tuple[int, ...]] = {}
        for image in images:
            if (found := frame_of(image.name)) is not None:
                places[found[0]] = (*places.get(found[0], ()), found[1])
        return ImageReader(root=self.root, places=places)

    def read(self, image: ImageRef) -> ImageArray:
        """Read the values of an image, (H, W, 3): uint8, or float32 for 16-bit files.

        Raises:
            ImageError: it is missing, or differs from the plan's.
            MissingExtraError: it is a frame of a video, and PyAV is not installed.
        """
        if (found := frame_of(image.name)) is None:
            return read_image(self.root, image)
        values = self._frame(*found)
        if frame_ref(image.name, found[1], values) != image:
            raise ImageError(f"{image.name} was changed since the campaign was planned")
        return values

    def ref(self, name: str) -> ImageRef:
        """Identify the image of a name as it is now.

        Raises:
            ImageError: it cannot be read.
            MissingExtraError: it is a frame of a video, and PyAV is not installed.
        """
        if (found := frame_of(name)) is None:
            return image_ref(path_of(self.root, name), self.root)
        return frame_ref(name, found[1], self._frame(*found))

    def _frame(self, video: str, place: int) -> ImageArray:
        places = {*self.places.get(video, ()), place}
        return frames_at(path_of(self.root, video), sorted(places))[place]


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """What was found."""

    reader: ImageReader
    """Reads the images."""
    found: FoundImages
    """The images, by name."""
    people: PeopleScores | None = None
    """What people said of them."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """What to take."""

    limit: int | None = None
    """At most this many images, the first ones by name that can be read; None = all."""
    people: PeopleOptions = AS_USUAL
    """How to read people's scores from a list."""
    frames: int | None = None
    """Frames to take of each video; None = no videos."""


EVERYTHING: Final = ImageOptions()
"""All images, and no videos."""


def find_image_set(path: Path, options: ImageOptions = EVERYTHING) -> ImageSet:
    """Find the images of a campaign.

    Args:
        path: a folder, a CSV list of images with people's scores, or a video.
        options: what to take of it.

    Raises:
        PlanError: there is nothing, or a list cannot be read, or no image can, or there are no scores to read.
        MissingExtraError: there are videos, and PyAV is not installed.
    """
    if path.suffix.lower() == _LIST and path.is_file():
        files, scores = read_list(path, options.people)
        return ImageSet(reader=ImageReader(root=path.parent), found=_found(files, path, options), people=scores)
    if options.people != AS_USUAL:
        raise PlanError(f"--mos-column and the direction of its scores are for a CSV list, and --images is {path}")
    if path.is_file() and is_video_path(path):
        return ImageSet(reader=ImageReader(root=path.parent), found=_found([_listed(path, path.parent)], path, options))
    listed = nips_list(path) if path.is_dir() else None
    if listed is not None:
        return ImageSet(reader=ImageReader(root=path), found=_found(listed, path, options))
    return ImageSet(reader=ImageReader(root=path), found=_in_folder(path, options))


def _in_folder(folder: Path, options: ImageOptions) -> FoundImages:
    videos = video_files(folder) if options.frames is not None else []
    if not videos:
        return find_images(folder, options.limit)
    paths = sorted([*image_files(folder, recursive=True), *videos])
    found = _found([_listed(path, folder) for path in paths], folder, options)
    return FoundImages(images=found.images, left_out=(*out_of_reach(folder), *found.left_out))


def _listed(path: Path, folder: Path) -> ListedFile:
    return ListedFile(name=name_of(path, folder), path=path)


def _found(files: Iterable[ListedFile], path: Path, options: ImageOptions) -> FoundImages:
    root = path if path.is_dir() else path.parent

    def images_of(file: ListedFile) -> list[ImageRef]:
        if not is_video_path(file.path):
            return [image_ref(file.path, root)]
        if options.frames is None:
            raise ImageError(f"{shown_path(file.path)} is a video: give --frames")
        return frame_refs(file, options.frames)

    found = identified(files, root, options.limit, images_of)
    if not found.images:
        first = f"; the first: {found.left_out[0].error}" if found.left_out else ""
        raise PlanError(f"no image of {path} can be read{first}")
    return found
