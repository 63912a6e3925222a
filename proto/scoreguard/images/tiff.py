"""TIFF: the first page, at its own depth; files that Pillow would misread are refused with the reason."""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL.TiffImagePlugin import TiffImageFile

from scoreguard.images import tiff_tags as t
from scoreguard.images.source import Source, Watch, check_pixels
from scoreguard.images.values import deep_rgb, flat_rgb, upright, upright_array, valid_orientation
from scoreguard.support.shown import shown
from scoreguard.v1.codec import ImageArray
from scoreguard.v1.errors import ImageError, ImageLimitError

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
MAX_PIECES: Final = 500_000
"""Most strips or tiles of a TIFF; each costs a few microseconds that cannot be interrupted."""
MEND: Final = "convert it to a 16-bit PNG"

_COLOUR_SPACES: Final = {
    4: "a transparency mask",
    9: "an ICC Lab image",
    10: "an ITU Lab image",
    32803: "a raw sensor image (CFA)",
    32844: "a LogL image",
    32845: "a LogLuv image",
    34892: "a linear raw image",
}
_COLOURS_OF: Final = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
"""The colour spaces that are read, and the number of samples per colour."""
_MOST_EXTRAS: Final = {WHITE_IS_ZERO: 0, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 2, YCBCR: 0, LAB: 0}
"""Allowed number of samples in addition to the colours."""
_READ_COMPRESSIONS: Final = frozenset({*range(1, 9), 32771, 32773, 32946, 34925, 50000})
"""None, fax, LZW, JPEG, Deflate, PackBits, LZMA, Zstandard."""
_COMPRESSIONS: Final = {
    **dict.fromkeys((9, 10, 34661), "JBIG"),
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    34887: "LERC",
    34892: "lossy JPEG of raw photographs",
    34933: "PNG",
    50001: "WebP",
}
_GREYS: Final = (WHITE_IS_ZERO, BLACK_IS_ZERO)
_SAMPLE_FORMATS: Final = {
    2: "signed integers",
    3: "floating-point numbers",
    4: "of no defined type",
    5: "complex",
    6: "complex",
}
_UNSIGNED: Final = 1
_UNCOMPRESSED: Final = 1
_SEPARATE: Final = 2
_COEFFICIENTS: Final = (0.299, 0.587, 0.114)
_BLACK_WHITE: Final = (0, 255, 128, 255, 128, 255)
_STRAIGHT_ALPHA: Final = 2
_LOW_BIT_FIRST: Final = 2
_REDUCED, _MASK = 1, 4
_PREMULTIPLIED: Final = "RGBa;16"


def read_tiff(data: bytes, *, max_pixels: int, watch: Watch) -> ImageArray:
    """Return the values of the first page of a TIFF file.

    Raises:
        ImageError: it cannot be read correctly; Pillow's own errors if it is damaged.
    """
    watch.look()
    tags = t.read_tags(data)
    if tags.big and tags.order == ">":
        # Pillow takes it for a classic TIFF.
        raise ImageError("a big-endian BigTIFF is not read: save it as little-endian or as classic TIFF")
    width, height = tags.first(t.WIDTH, 0), tags.first(t.HEIGHT, 0)
    check_pixels(width, height, max_pixels)
    check_layout(tags, max_pixels)
    check_compression(tags)
    depth = check_samples(tags)
    check_colours(tags, depth)
    check_planes(tags)
    orientation = valid_orientation(tags.first(t.ORIENTATION, 1))
    if depth <= 8:
        with _open(tags.rewritten(data), watch) as image:
            return flat_rgb(upright(image, orientation))
    values = _deep_grey(tags, data, depth, watch) if _space(tags) in _GREYS else _deep_colours(tags, data, watch)
    return upright_array(values, orientation)


def check_layout(tags: t.Tags, max_pixels: int) -> None:
    """Refuse a first page that is not the image, and tiles that are far larger than the page.

    Raises:
        ImageError: a thumbnail, a mask, a raw photograph, or tiles that are too large or too many.
    """
    if t.DNG_VERSION in tags.values:
        raise ImageError("a DNG raw photograph is not read: develop it to PNG or JPEG")
    if tags.first(t.SUBFILE, 0) & (_REDUCED | _MASK):
        raise ImageError("the TIFF's first page is a thumbnail or a mask: save the full image as its first page")
    if tags.pieces > MAX_PIECES:
        raise ImageLimitError(
            f"the TIFF has {tags.pieces} strips or tiles, the limit is {MAX_PIECES}; save it with larger ones",
            what="pieces",
            value=tags.pieces,
            limit=MAX_PIECES,
        )
    tile = tags.first(t.TILE_WIDTH, 0) * tags.first(t.TILE_HEIGHT, 0)
    if tile > max_pixels:
        raise ImageLimitError(
            f"a tile of the TIFF has {tile} pixels, the limit is {max_pixels}; save it with smaller tiles",
            what="pixels",
            value=tile,
            limit=max_pixels,
        )


def check_compression(tags: t.Tags) -> None:
    """Refuse compressions that Pillow's wheels do not decode.

    Raises:
        ImageError: the message names the kind and says what to do.
    """
    compression = tags.first(t.COMPRESSION, _UNCOMPRESSED)
    if compression not in _READ_COMPRESSIONS:
        name = _COMPRESSIONS.get(compression, f"method {compression}")
        raise ImageError(f"a TIFF compressed by {name} is not read: save it with Deflate or LZW, or {MEND}")


def check_samples(tags: t.Tags) -> int:
    """Return the bits of a sample: 1, 2, 4, 8, 12 or 16.

    Raises:
        ImageError: the samples are not unsigned integers of such a depth.
    """
    formats = set(tags.values.get(t.SAMPLE_FORMAT, ())) - {_UNSIGNED}
    if formats:
        name = _SAMPLE_FORMATS.get(min(formats), "of an unknown type")
        raise ImageError(f"the TIFF's samples are {name}, without a defined white: send a float32 array in [0, 1]")
    bits = set(tags.values.get(t.BITS, (1,)))
    allowed = {1, 2, 4, 8, 12, 16} if _space(tags) in _GREYS else {1, 2, 4, 8, 16}
    if len(bits) != 1 or not bits <= allowed:
        depth = shown(" and ".join(str(bit) for bit in sorted(bits)))
        raise ImageError(f"a TIFF of {depth} bits for each sample is not read: {MEND}")
    return bits.pop()


def check_colours(tags: t.Tags, depth: int) -> None:
    """Refuse colour encodings that Pillow does not decode, or decodes wrongly.

    Raises:
        ImageError: the message names the kind and says what to do.
    """
    if t.PHOTOMETRIC not in tags.values:
        raise ImageError(f"the TIFF does not say what its samples mean (no PhotometricInterpretation): {MEND}")
    space = _space(tags)
    if space not in _COLOURS_OF:
        name = _COLOUR_SPACES.get(space, f"a TIFF of colour space {space}")
        raise ImageError(f"{name} is not read: convert it to PNG or JPEG")
    extras = tags.first(t.SAMPLES, 1) - _COLOURS_OF[space]
    if extras < 0:
        raise ValueError(f"it has {tags.first(t.SAMPLES, 1)} samples for each pixel instead of {_COLOURS_OF[space]}")
    if extras > _MOST_EXTRAS[space]:
        raise ImageError(f"a TIFF with {extras} more sample(s) for each pixel than its colours is not read: {MEND}")
    if depth > 8 and (tags.first(t.PLANAR, 1) == _SEPARATE or space == CMYK):
        what = "CMYK" if space == CMYK else "separate planes"
        raise ImageError(f"a TIFF of {depth} bits in {what} is not read: convert it to a 16-bit PNG")
    if space == PALETTE and 0 < max(tags.values.get(t.COLOUR_MAP, (0,))) < 256:
        raise ImageError("the TIFF's colour map has 8 bits where 16 are defined: convert it to PNG")
    if space == CMYK and tags.first(t.INK_SET, 1) != 1:
        raise ImageError("a TIFF of inks other than CMYK is not read: convert it to PNG")
    if space == YCBCR and tags.first(t.COMPRESSION, 1) == _UNCOMPRESSED and not _is_plain_ycbcr(tags):
        raise ImageError(
            "an uncompressed TIFF of subsampled YCbCr, or of other coefficients or range than JPEG's, is not read: "
            "convert it to PNG"
        )


def _is_plain_ycbcr(tags: t.Tags) -> bool:
    """Whether each pixel has its own YCbCr as JPEG defines it; without libtiff, Pillow reads nothing else."""
    coefficients = tags.fractions.get(t.COEFFICIENTS, _COEFFICIENTS)
    black_white = tags.values.get(t.REFERENCE_BLACK_WHITE, tags.fractions.get(t.REFERENCE_BLACK_WHITE, _BLACK_WHITE))
    return (
        tags.values.get(t.SUBSAMPLING, (2, 2)) == (1, 1)
        and np.allclose(coefficients, _COEFFICIENTS, atol=1e-3)
        and black_white == _BLACK_WHITE
    )


def check_planes(tags: t.Tags) -> None:
    """Refuse separate planes, except for plain colours and RGB with straight opacity: Pillow mixes up the others.

    Raises:
        ImageError: the message says what to do.
    """
    samples = tags.first(t.SAMPLES, 1)
    if tags.first(t.PLANAR, 1) != _SEPARATE or samples == 1:
        return
    space = _space(tags)
    is_rgba = space == RGB and tags.values.get(t.EXTRA_SAMPLES) == (_STRAIGHT_ALPHA,)
    if samples != _COLOURS_OF[space] + is_rgba:
        raise ImageError("a TIFF of opacity or further samples in separate planes is not read: save it interleaved")
    if tags.first(t.FILL_ORDER, 1) == _LOW_BIT_FIRST:
        raise ImageError("a TIFF of separate planes with the low bit first is not read: save it interleaved")


def _space(tags: t.Tags) -> int:
    return tags.first(t.PHOTOMETRIC, WHITE_IS_ZERO)


def _open(data: bytes, watch: Watch) -> TiffImageFile:
    try:
        return TiffImageFile(Source(data, watch))
    except SyntaxError as error:
        if "unknown pixel mode" in str(error):
            raise ImageError(f"a TIFF of such samples (depth, order of bits, opacity) is not read: {MEND}") from error
        raise


def _deep_grey(tags: t.Tags, data: bytes, depth: int, watch: Watch) -> ImageArray:
    # Pillow reads deep WhiteIsZero as if black were zero, and only in one byte order, so the file declares the other.
    with _open(tags.rewritten(data, photometric=BLACK_IS_ZERO), watch) as image:
        samples = np.asarray(image)
    top = 2**depth - 1
    samples = top - samples if _space(tags) == WHITE_IS_ZERO else samples
    return deep_rgb(samples[..., None], top=top)


def _deep_colours(tags: t.Tags, data: bytes, watch: Watch) -> ImageArray:
    file = tags.rewritten(data)
    with _open(file, watch) as image:
        raw_mode = _raw_mode(image)
        if not raw_mode.startswith("RGB") or not raw_mode[:-1].endswith(";16"):
            raise ImageError(f"a TIFF of such colours in 16 bits is not read: {MEND}")
    # Pillow keeps the high byte of each sample; with the other byte order declared, it keeps the low one.
    order = raw_mode[-1] if raw_mode[-1] != "N" else ("L" if sys.byteorder == "little" else "B")
    plain = raw_mode[:-1].replace("RGBa", "RGBA")
    high = _octets(file, f"{plain}{order}", watch).astype(np.uint16)
    high <<= 8
    high |= _octets(file, f"{plain}{'L' if order == 'B' else 'B'}", watch)
    alpha = plain.startswith("RGBA")
    return deep_rgb(high, top=65535, alpha=alpha, premultiplied=raw_mode.startswith(_PREMULTIPLIED))


def _raw_mode(image: TiffImageFile) -> str:
    args = image.tile[0].args
    return str(args[0]) if isinstance(args, tuple) else str(args)


def _octets(file: bytes, raw_mode: str, watch: Watch) -> npt.NDArray[np.uint8]:
    # libtiff decodes a page in one piece, so it can only be stopped before and after it.
    watch.look()
    with _open(file, watch) as image:
        image.tile = [tile._replace(args=_with_raw_mode(tile.args, raw_mode)) for tile in image.tile]
        return np.asarray(image)


def _with_raw_mode(args: Any, raw_mode: str) -> tuple[Any, ...]:
    return (raw_mode, *args[1:])
