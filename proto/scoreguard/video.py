"""Read the frames of a video file, the same on the server and on the client; PyAV (extra `[video]`) decodes.

Every pixel format is converted to 8-bit RGB by FFmpeg's swscale, with the matrix and the range that the file states,
else BT.601 and the usual range of its format. Deeper formats are rounded to 8 bits, transparency is dropped, and
interlaced frames stay so. Frames are turned as the file says, by quarter turns. Nothing outside the file is opened:
formats that refer to other files, such as playlists, are refused.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Container, Generator
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from scoreguard.support.shown import shown
from scoreguard.v1.errors import ImageLimitError, VideoError

Frame = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""
EXTRA: Final = "video"
"""Extra of the package that installs PyAV."""
SUFFIXES: Final = frozenset(
    {*(".3gp", ".asf", ".avi", ".flv", ".ivf", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mxf", ".nut"),
     *(".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m")}
)  # fmt: skip
"""Suffixes of video files, in lower case."""
_FORMATS: Final = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "ogg"),
    *("asf", "ivf", "mxf", "nut", "yuv4mpegpipe", "h264", "hevc", "m4v"),
)
"""Containers that hold their frames themselves."""
_QUARTER: Final = 90


def is_video(name: str, start: bytes) -> bool:
    """Whether a file is a video, by its name or its first bytes (at least 12): MP4, Matroska and AVI have a mark."""
    suffix = f".{name.rpartition('.')[2].lower()}"
    marks = start[4:8] == b"ftyp" and start[8:12] not in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
    return suffix in SUFFIXES or marks or start[:4] == b"\x1a\x45\xdf\xa3" or start[8:12] == b"AVI "


def frames_of(
    file: BinaryIO, *, max_pixels: int, every: int = 1, wanted: Container[int] | None = None
) -> Generator[Frame | None, None, None]:
    """Decode the frames of a video one by one, in the order in which they are shown.

    Args:
        file: The video, which can be read from any position.
        max_pixels: Largest frame.
        every: Only each so many-th frame is converted, from the first on.
        wanted: Only the frames at these places are, if given.

    Yields:
        A frame, or None for one that is not converted.

    Raises:
        ModuleNotFoundError: PyAV is not installed.
        VideoError: the file is not a video, holds no frame, or is damaged.
        ImageLimitError: its frames are too large; none was decoded.
    """
    av: Any = importlib.import_module("av")
    converted: Container[int] = range(0, sys.maxsize, every) if wanted is None else wanted
    index = -1
    try:
        with av.open(file, options={"format_whitelist": ",".join(_FORMATS)}, metadata_errors="replace") as container:
            if not container.streams.video:
                raise VideoError("the video has no frames: the file holds no video stream")
            stream = container.streams.video[0]
            _check_size(stream.codec_context.width, stream.codec_context.height, max_pixels)
            stream.codec_context.thread_count = 1
            # A size may grow on the way; FFmpeg counts whole blocks, so the exact limit is checked here.
            stream.codec_context.options = {"max_pixels": str(2 * max_pixels)}
            for index, frame in enumerate(container.decode(stream)):
                _check_size(frame.width, frame.height, max_pixels)
                yield _converted(frame) if index in converted else None
    except av.FFmpegError as error:
        where = f"after {index + 1} frames" if index >= 0 else "before its first frame"
        raise VideoError(
            f"the video cannot be decoded {where}: {shown(error.strerror or str(error), 100)}; "
            "send a complete MP4, Matroska, WebM, AVI or MPEG file"
        ) from error
    if index < 0:
        raise VideoError("the video has no frames: send a complete file")


def _converted(frame: Any) -> Frame:
    values: Frame = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / _QUARTER) % 4
    return np.ascontiguousarray(np.rot90(values, turns)) if turns else values


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageLimitError(
            f"the video's frames have {width} x {height} = {width * height} pixels: the limit is {max_pixels}",
            what="pixels",
            value=width * height,
            limit=max_pixels,
        )
