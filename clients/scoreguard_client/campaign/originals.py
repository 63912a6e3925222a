"""The clean images of a run, long after it was made: found by name or by content, and only if they are the same."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import PIL.Image

from scoreguard.images import image_files
from scoreguard.support.digests import sha256_of
from scoreguard.v1.codec import ImageArray
from scoreguard_client._exceptions import ImageError
from scoreguard_client._images import from_file, read_bytes
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.image_sets import ImageReader
from scoreguard_client.target.images import ImageRef, frame_of, path_of

FOLDERS: Final = "folders"
"""Where the clean images were, in the facts of a run."""


class Originals:
    """The clean images of a run."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """Look for them in these folders, in this order."""
        self._folders = tuple(folders)

    @classmethod
    def of(cls, facts: Mapping[str, Any], folder: Path | None) -> Originals:
        """Look where a run had them, or in a folder given anew.

        Raises:
            PlanError: the run does not say where they were.
        """
        known = [Path(text) for text in facts.get(FOLDERS, ())] if folder is None else [folder]
        if not known:
            raise PlanError("the run does not say where its clean images are: give their folder with --images DIR")
        return cls(known)

    def file(self, image: ImageRef) -> tuple[Path, bytes]:
        """Return the file of a clean image, and its bytes; a frame of a video is encoded as PNG.

        Raises:
            PlanError: no file of the folders has its content.
        """
        if frame_of(image.name) is not None:
            return Path(f"{image.name}.png"), _png(self._frame(image))
        for path in (path_of(folder, image.name) for folder in self._folders):
            try:
                data = read_bytes(path)
            except ImageError:
                continue
            if sha256_of(data) == image.sha256:
                return path, data
        if (renamed := self._by_digest.get(image.sha256)) is not None:
            return renamed, read_bytes(renamed)
        raise self._gone(image)

    def read(self, image: ImageRef) -> ImageArray:
        """Read the values of a clean image, (H, W, 3): uint8, or float32 for 16-bit files.

        Raises:
            PlanError: no file of the folders has its content.
        """
        return self._frame(image) if frame_of(image.name) is not None else from_file(*self.file(image))

    def _frame(self, image: ImageRef) -> ImageArray:
        for folder in self._folders:
            try:
                return ImageReader(root=folder).read(image)
            except ImageError:
                continue
        raise self._gone(image)

    def _gone(self, image: ImageRef) -> PlanError:
        places = ", ".join(map(str, self._folders))
        return PlanError(
            f"the clean image {image.name} of the run is not in {places}, or was changed: "
            "give the folder of the run's images with --images DIR"
        )

    @cached_property
    def _by_digest(self) -> dict[str, Path]:
        """Files by content, for images that were renamed since."""
        there = (folder for folder in self._folders if folder.is_dir())
        paths = (path for folder in there for path in image_files(folder, recursive=True))
        return {sha256_of(read_bytes(path)): path for path in paths}


def _png(levels: ImageArray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(levels).save(buffer, "PNG")
    return buffer.getvalue()
