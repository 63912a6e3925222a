"""The submitted images: which file belongs to which clean image, and what is in it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from scoreguard.images import is_image_path, kind_of
from scoreguard.support.digests import sha256_of
from scoreguard.support.near import near_names
from scoreguard.support.shown import shown_path
from scoreguard.v1 import errors as contract
from scoreguard.v1.codec import ImageArray
from scoreguard_client._exceptions import ImageError
from scoreguard_client._images import check_array, from_file, read_bytes
from scoreguard_client.challenge.errors import ChallengeError
from scoreguard_client.target.images import ImageRef, LeftOut, name_of

_ARRAY: Final = ".npy"
_LOSSLESS: Final = ("PNG", "TIFF", "BMP", "PPM")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A file, and the clean image that it is an attack on."""

    path: Path
    """The file."""
    image: ImageRef
    """The clean image."""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What is in a submitted file."""

    values: ImageArray
    """(H, W, 3): uint8, or float32 in [0, 1]."""
    sha256: str
    """Digest of the file, hexadecimal."""


def find_submissions(folder: Path, images: Sequence[ImageRef]) -> tuple[list[Submission], list[LeftOut]]:
    """Find the files below a folder that have the names of a run's images, with the suffix of either, or of both.

    Returns:
        What was found, in the order of the run's images, and the files that belong to no image.

    Raises:
        ChallengeError: there is no folder, no image in it, or none with the name of an image of the run.
    """
    if not folder.is_dir():
        raise ChallengeError(f"{folder} is not a folder of images")
    paths = _files(folder)
    if not paths:
        raise ChallengeError(f"{folder} holds no image and no {_ARRAY}")
    found: dict[ImageRef, Path] = {}
    by_name, left_out = _ByName(images), []
    for path in paths:
        name = name_of(path, folder)
        try:
            image = by_name.find(name)
            if image in found:
                raise ImageError(f"{name_of(found[image], folder)} is an attack on {image.name} too")
            found[image] = path
        except ImageError as error:
            left_out.append(LeftOut(name=name, error=str(error)))
    if not found:
        raise ChallengeError(f"no file in {folder} has the name of an image of the run; the first: {left_out[0].error}")
    return [Submission(path=found[image], image=image) for image in images if image in found], left_out


def read_submission(submission: Submission) -> Submitted:
    """Read a submitted file.

    Raises:
        ImageError: it cannot be read, loses values (JPEG), or has another size than the clean image.
    """
    data = read_bytes(submission.path)
    values = _array(submission.path, data) if submission.path.suffix == _ARRAY else _image(submission.path, data)
    image = submission.image
    if values.shape[:2] != (image.height, image.width):
        there, here = f"{values.shape[1]}x{values.shape[0]}", f"{image.width}x{image.height}"
        raise ImageError(f"{shown_path(submission.path)} is {there} pixels, and the clean image {here}")
    return Submitted(values=values, sha256=sha256_of(data))


def _files(folder: Path) -> list[Path]:
    def is_there(path: Path) -> bool:
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        return (is_image_path(path) or path.suffix == _ARRAY) and not is_hidden and path.is_file()

    return sorted(filter(is_there, folder.rglob("*")))


class _ByName:
    """The images of a run by their names, in full and in short."""

    def __init__(self, images: Sequence[ImageRef]) -> None:
        self._names = [image.name for image in images]
        # Strictest first.
        self._keys = tuple(self._by(images, key) for key in (str, _without_suffix, _stem))

    def find(self, name: str) -> ImageRef:
        """Return the image that a file belongs to.

        Raises:
            ImageError: none, or more than one.
        """
        in_full, without_suffix, stems = self._keys
        short = _without_suffix(name)
        places = ((in_full, name), (in_full, short), (without_suffix, short), (stems, _stem(name)))
        found = next((images[key] for images, key in places if key in images), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise ImageError(f"{name} may be an attack on {found[0].name} or {found[1].name}: name it in full")
        near = near_names(name, self._names)
        hint = f"did you mean {', '.join(near)}?" if near else f"the first is {self._names[0]}"
        raise ImageError(f"{name} is the name of no image of the run; {hint}")

    @staticmethod
    def _by(images: Sequence[ImageRef], key: Callable[[str], str]) -> dict[str, list[ImageRef]]:
        found: dict[str, list[ImageRef]] = {}
        for image in images:
            found.setdefault(key(image.name), []).append(image)
        return found


def _without_suffix(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _array(path: Path, data: bytes) -> ImageArray:
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
        return check_array(np.asarray(values))
    except (ValueError, EOFError, OSError) as error:
        raise ImageError(f"{shown_path(path)} is no NumPy array that is read: {error}") from error
    except ImageError as error:
        raise ImageError(f"{shown_path(path)}: {error}") from error


def _image(path: Path, data: bytes) -> ImageArray:
    values = from_file(path, data)
    try:
        kind = kind_of(data)
    except contract.ImageError as error:
        raise ImageError(f"{shown_path(path)}: {error}") from error
    if kind not in _LOSSLESS:
        raise ImageError(f"{shown_path(path)} is a {kind} file, which may lose values: save the attacked image as PNG")
    return values
