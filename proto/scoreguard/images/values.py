"""Convert decoded samples to (H, W, 3) values: orientation, transparency, grey."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags
from PIL import Image as PillowImage

from scoreguard.v1.codec import ImageArray

_TRANSPOSES: Final = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}
_CHANNELS: Final = 3


def orientation_of(exif: object) -> int:
    """Return the orientation given by an EXIF block, 1 to 8; 1 if it is absent, damaged or anything else."""
    if not isinstance(exif, bytes):
        return 1
    block = PillowImage.Exif()
    # Pillow's reader raises all kinds of errors, and a damaged block must not make the image unreadable.
    try:
        block.load(exif)
        asked = block.get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return valid_orientation(asked)


def valid_orientation(asked: object) -> int:
    """The orientation as 1 to 8; anything else counts as 1."""
    return asked if isinstance(asked, int) and asked in _TRANSPOSES else 1


def upright(image: PillowImage.Image, orientation: int) -> PillowImage.Image:
    """Return the image rotated or flipped by its orientation."""
    return image.transpose(_TRANSPOSES[orientation]) if orientation != 1 else image


def upright_array(values: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return (H, W, ...) values rotated or flipped by the orientation."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    down = orientation in (3, 4, 7, 8)
    left = orientation in (2, 3, 6, 7)
    return values[:: -1 if down else 1, :: -1 if left else 1]


def flat_rgb(image: PillowImage.Image) -> npt.NDArray[np.uint8]:
    """Return (H, W, 3) in 8 bits: transparency over white, every colour space converted by Pillow."""
    if image.mode == "La":
        image = image.convert("LA")  # the only mode that Pillow converts premultiplied grey to
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = PillowImage.new("RGBA", layer.size, "white")
        image = PillowImage.alpha_composite(white, layer)
    # Converting to the mode that it already has would copy the image.
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def deep_rgb(
    samples: npt.NDArray[Any],
    *,
    top: int,
    alpha: bool = False,
    premultiplied: bool = False,
    key: tuple[int, ...] | None = None,
) -> ImageArray:
    """Return (H, W, 3) float32 in [0, 1] for samples deeper than 8 bits.

    Args:
        samples: (H, W, channels) integers from 0 to `top`; 1 or 3 colours, and the opacity last if `alpha`.
        top: the sample that is white.
        alpha: whether the last channel is the opacity.
        premultiplied: whether the colours were multiplied by the opacity.
        key: the colour that counts as transparent.
    """
    colours = samples[..., :-1] if alpha else samples
    values = np.divide(colours, np.float32(top), dtype=np.float32)
    if alpha:
        opacity = np.divide(samples[..., -1:], np.float32(top), dtype=np.float32)
        if not premultiplied:
            values *= opacity
        values += 1 - opacity
        np.clip(values, 0, 1, out=values)
    if key is not None:
        values[(colours == np.array(key)).all(axis=2)] = 1
    if values.shape[2] == 1:
        values = np.repeat(values, _CHANNELS, axis=2)
    return np.ascontiguousarray(values)
