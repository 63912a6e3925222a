"""Convert Pillow images to values, by the same rules as files, and from the file itself if Pillow would lose depth."""

from __future__ import annotations

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageChops, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from scoreguard.images.reader import read_image
from scoreguard.images.source import MAX_PIXELS, check_pixels
from scoreguard.images.values import deep_rgb, flat_rgb, orientation_of, upright
from scoreguard.support.shown import shown
from scoreguard.v1.codec import ImageArray
from scoreguard.v1.errors import ImageError

_READ_FROM_FILE = ("PNG", "TIFF", "PPM", "BMP")
_EIGHT_BIT, _SIXTEEN_BIT = 255, 65535


def read_pillow(image: PillowImage.Image, *, max_pixels: int = MAX_PIXELS) -> ImageArray:
    """Return the values of a Pillow image, (H, W, 3): uint8, or float32 in [0, 1] if it is deeper than 8 bits.

    An image that was opened but not loaded yet is read from its file, as if its path were given. A loaded one has only
    what Pillow kept: 16-bit grey, but 8 bits of 16-bit colours.

    Raises:
        ImageLimitError: it has more than `max_pixels` pixels.
        ImageError: it cannot be loaded, has no pixels, or the white level of its values is unknown.
    """
    check_pixels(*image.size, max_pixels)
    data = _unloaded_file(image)
    if data is not None:
        return read_image(data, max_pixels=max_pixels)
    try:
        image.load()
    # Pillow loads lazily, and on a damaged file its readers raise all kinds of errors (struct.error, TypeError).
    except Exception as error:
        raise ImageError(f"the image cannot be loaded: {shown(error)}") from error
    if 0 in image.size:
        raise ImageError(f"the image has no pixels: its size is {image.size[0]} x {image.size[1]}")
    image = upright(image, orientation_of(image.info.get("exif")))
    if image.mode in {"F", "I"} or image.mode.startswith("I;16"):
        return _deep(image)
    if image.mode == "RGB" and isinstance(key := image.info.get("transparency"), tuple) and max(key) > _EIGHT_BIT:
        raise ImageError("a 16-bit image with a transparent colour loses it when Pillow loads it: pass its path")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # as for files: Pillow inverts CMYK even if Photoshop did not write it
    return flat_rgb(image)


def _unloaded_file(image: PillowImage.Image) -> bytes | None:
    """Return the file of an image that was only opened; None if Pillow reads it as this package does."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.fp is None:
        return None
    if image.format not in _READ_FROM_FILE or image.tell() != 0:
        return None
    place = image.fp.tell()
    image.fp.seek(0)
    data = image.fp.read()
    image.fp.seek(place)
    return data


def _deep(image: PillowImage.Image) -> ImageArray:
    if isinstance(image, TiffImageFile):
        tags = image.tag_v2
        form = (tags.get(258, (1,)), tags.get(262), tags.get(339, (1,)))
        if form != ((16,), 1, (1,)):
            raise ImageError("a TIFF of this depth loses its white when Pillow loads it: pass its path or its bytes")
    samples = np.asarray(image)
    top = 1 if image.mode == "F" else _SIXTEEN_BIT
    # NaN fails the comparison as well.
    if not (samples.min() >= 0 and samples.max() <= top):
        known = "float images lie in [0, 1]" if image.mode == "F" else "integers lie in 0..65535"
        raise ImageError(f"the image's values span {samples.min():g} to {samples.max():g}, and {known}; rescale it")
    key = image.info.get("transparency")
    return deep_rgb(samples[..., None], top=top, key=(key,) if isinstance(key, int) else None)
