"""Frames of video files as images of a campaign: evenly spaced, each with a name of its own.

A frame is attacked and scored as any image is. The frames of one video resemble each other, so scores take the video
as the unit of resampling (`images.unit_of`), as they take the image with all its draws.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from scoreguard.images import MAX_PIXELS
from scoreguard.support.digests import sha256_of
from scoreguard.support.shown import shown_path
from scoreguard.v1.codec import ImageArray
from scoreguard.v1.errors import ImageLimitError, VideoError
from scoreguard.video import EXTRA, SUFFIXES, frames_of
from scoreguard_client._exceptions import ImageError, MissingExtraError
from scoreguard_client.target.images import ImageRef, ListedFile, frame_name

_KEPT: Final = 2
"""Videos whose frames are kept: a unit may have the last frames of one and the first of the next."""


def is_video_path(path: Path) -> bool:
    """Whether a file is a video by its name: such a suffix, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def video_files(folder: Path) -> list[Path]:
    """Return the videos below a folder, sorted; hidden folders are skipped."""
    return sorted(
        path
        for path in folder.rglob("*")
        if is_video_path(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def places_of(count: int, frames: int) -> tuple[int, ...]:
    """Return the places of some frames: the middles of as many equal parts, or all frames if there are not more.

    Args:
        count: frames of the video.
        frames: how many to take.
    """
    if count <= frames:
        return tuple(range(count))
    return tuple((2 * number + 1) * count // (2 * frames) for number in range(frames))


def frame_refs(file: ListedFile, frames: int) -> list[ImageRef]:
    """Identify evenly spaced frames of a video.

    Raises:
        ImageError: the file cannot be decoded.
        MissingExtraError: PyAV is not installed.
    """
    with _decoded(file.path, ()) as decoded:
        count = sum(1 for _ in decoded)
    found = frames_at(file.path, places_of(count, frames))
    return [frame_ref(frame_name(file.name, place), place, values) for place, values in found.items()]


def frame_ref(name: str, place: int, values: ImageArray) -> ImageRef:
    """Identify a frame by its values and its place: a still video has many frames with the same values."""
    height, width, _ = values.shape
    digest = sha256_of(f"{place} {height} {width}\n".encode() + values.tobytes())
    return ImageRef(name=name, sha256=digest, height=height, width=width)


def frames_at(path: Path, places: Sequence[int]) -> dict[int, ImageArray]:
    """Decode frames of a video, (H, W, 3) uint8 each, by their places; the last few videos are kept.

    Raises:
        ImageError: the file cannot be decoded, or has no such frame.
        MissingExtraError: PyAV is not installed.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ImageError(f"cannot read {shown_path(path)}: {error.strerror}") from error
    return _frames(path, (state.st_mtime_ns, state.st_size), tuple(sorted(places)))


@lru_cache(maxsize=_KEPT)
def _frames(path: Path, state: tuple[int, int], places: tuple[int, ...]) -> dict[int, ImageArray]:
    del state  # a file that was changed is read again
    found: dict[int, ImageArray] = {}
    with _decoded(path, places) as decoded:
        for place, frame in enumerate(decoded):
            if frame is not None:
                frame.flags.writeable = False
                found[place] = frame
            if len(found) == len(places):
                break
    if missing := [place for place in places if place not in found]:
        raise ImageError(f"{shown_path(path)} has no frame {missing[0]}")
    return found


@contextmanager
def _decoded(path: Path, places: Collection[int]) -> Iterator[Iterator[np.typing.NDArray[np.uint8] | None]]:
    """Decode a video; only the frames at these places are converted."""
    try:
        with (
            path.open("rb") as file,
            closing(frames_of(file, max_pixels=MAX_PIXELS, wanted=frozenset(places))) as frames,
        ):
            yield frames
    except ModuleNotFoundError as error:
        raise MissingExtraError("decoding a video", EXTRA, "av") from error
    except OSError as error:
        raise ImageError(f"cannot read {shown_path(path)}: {error.strerror or error}") from error
    except (VideoError, ImageLimitError) as error:
        raise ImageError(f"{shown_path(path)}: {error}") from error
