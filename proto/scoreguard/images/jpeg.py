"""JPEG: the segments that define the pixels, and the cost of decoding them."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ImageChops
from PIL.JpegImagePlugin import JpegImageFile

from scoreguard.images.source import Source, Watch, check_pixels
from scoreguard.images.values import flat_rgb, orientation_of, upright
from scoreguard.v1.errors import ImageError, ImageLimitError

MAX_SCANS: Final = 100
"""Most scans of a JPEG; encoders write 1 to about 20, and each one costs a pass over the whole image."""

MAX_SEGMENTS: Final = 50_000
"""Most segments before the first scan; a 64 MiB file with metadata in every possible place has a few thousand."""

_SOS: Final = b"\xff\xda"
_EXIF: Final = b"Exif\0\0"
_FRAMES: Final = frozenset({*range(0xC0, 0xC4), *range(0xC9, 0xCC)})
_OTHER_FRAMES: Final = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "a hierarchical JPEG"),
    0xF7: "a JPEG-LS image",
}
_SEQUENTIAL: Final = frozenset({0xC0, 0xC1, 0xC9})
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_JFIF, _ADOBE, _COMMENT = 0xE0, 0xEE, 0xFE
_SHORT_HEADER: Final = 1 << 18
_COLOUR_SEGMENTS: Final = {_JFIF: 16, _ADOBE: 14}
"""The segments that define how colours are coded, and their minimum length."""
# In a scan 0xFF is followed by 0, a restart marker or another 0xFF, until the next segment begins.
_NEXT_SEGMENT: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


@dataclass(frozen=True, kw_only=True)
class _Jpeg:
    """The contents of the segments before the first scan."""

    file: bytes
    """The file without its metadata."""
    exif: bytes
    """The first EXIF block."""
    adobe: bool
    """Whether Adobe's segment is present."""
    is_quick: bool
    """Whether decoding it is cheap: a short header, and one scan."""


def read_jpeg(data: bytes, *, max_pixels: int, watch: Watch) -> npt.NDArray[np.uint8]:
    """Return the values of a JPEG file; for a multi-image file, those of the first image.

    Raises:
        ImageError: it cannot be read; Pillow's own errors if it is damaged.
    """
    jpeg = _take_apart(data, max_pixels, watch)
    source = io.BytesIO(jpeg.file) if jpeg.is_quick else Source(jpeg.file, watch)
    with JpegImageFile(source) as image:
        check_pixels(*image.size, max_pixels)
        if isinstance(source, Source):
            source.in_pieces = True
        turned = upright(image, orientation_of(jpeg.exif))
        # Pillow assumes that every CMYK file is from Photoshop, which stores the inks inverted.
        return flat_rgb(ImageChops.invert(turned) if turned.mode == "CMYK" and not jpeg.adobe else turned)


def _take_apart(data: bytes, max_pixels: int, watch: Watch) -> _Jpeg:
    """Walk over the segments up to the first scan; a file without one is left to the decoder."""
    kept, exif, adobe, at, copied = [], b"", False, 2, 0
    components = segments = begin = 0
    is_sequential = single = False
    while (found := _NEXT_SEGMENT.search(data, at)) is not None:
        watch.look()
        segments += 1
        if segments > MAX_SEGMENTS:
            raise _too_many("segments", MAX_SEGMENTS)
        marker, begin = found[1][0], found.end()
        if marker in _ALONE:
            at = begin
            continue
        end = begin + int.from_bytes(data[begin : begin + 2], "big")
        if marker == _SOS[1]:
            # The first scan of a sequential file has all components: the decoder reads no other scan.
            single = is_sequential and data[begin + 2 : begin + 3] == bytes([components])
            break
        if end < begin + 2:
            break
        if marker in _OTHER_FRAMES:
            raise ImageError(f"{_OTHER_FRAMES[marker]} is not read: convert it to PNG")
        if marker in _FRAMES:
            components = _check_frame(data[begin:end], max_pixels)
            is_sequential = marker in _SEQUENTIAL
        if _is_metadata(marker, end - begin):
            if not exif and data[begin + 2 : begin + 8] == _EXIF:
                exif = data[begin + 2 : end]
            kept.append(data[copied : found.start()])
            copied = end
        elif marker == _ADOBE:
            adobe = adobe or data[begin + 2 : begin + 7] == b"Adobe"
        at = end
    # Most files have few scans, and counting the marker's bytes is a cheap upper bound.
    if not single and data.count(_SOS, at) > MAX_SCANS:
        _check_scans(data, at, watch)
    file = b"".join([*kept, data[copied:]]) if kept else data
    # Standalone markers and padding make a header longer than its segments, so it ends where the scan begins.
    return _Jpeg(file=file, exif=exif, adobe=adobe, is_quick=single and begin < _SHORT_HEADER)


def _is_metadata(marker: int, size: int) -> bool:
    """Comments and application segments, except the two that define how colours are coded, if those are complete."""
    return marker == _COMMENT or (_JFIF <= marker < 0xF0 and size < _COLOUR_SEGMENTS.get(marker, size + 1))


def _check_frame(segment: bytes, max_pixels: int) -> int:
    """Return the number of components."""
    if len(segment) < 8:
        raise ValueError("its frame header is cut off")
    if segment[2] != 8:
        raise ImageError(f"a JPEG of {segment[2]} bits for each sample is not read: convert it to a 16-bit PNG")
    check_pixels(int.from_bytes(segment[5:7], "big"), int.from_bytes(segment[3:5], "big"), max_pixels)
    return segment[7]


def _check_scans(data: bytes, at: int, watch: Watch) -> None:
    scans = 0
    while (found := _NEXT_SEGMENT.search(data, at)) is not None and found[1] != b"\xd9":
        watch.look()
        at = found.end()
        if found[1][0] not in _ALONE:
            at += max(int.from_bytes(data[at : at + 2], "big"), 2)
        scans += found[1] == _SOS[1:]
        if scans > MAX_SCANS:
            raise _too_many("scans", MAX_SCANS)


def _too_many(what: str, limit: int) -> ImageLimitError:
    text = f"the JPEG has more than {limit} {what}; save it again with an ordinary encoder"
    return ImageLimitError(text, what=what, value=limit + 1, limit=limit)
