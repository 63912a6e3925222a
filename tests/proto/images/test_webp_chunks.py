"""WebP files whose metadata or header sizes are wrong are read as if nothing were; lost pixels are damage."""

from __future__ import annotations

import struct

import numpy as np
import PIL.Image
import pytest
from tests.proto.images.files import photo, saved

from scoreguard.images import read_image
from scoreguard.v1.errors import ImageError, ImageLimitError

pytestmark = pytest.mark.base

PHOTO = photo()
LOSSY = saved(PHOTO, "WEBP", quality=80)
LOSSLESS = saved(PHOTO, "WEBP", lossless=True)
PLAIN = {"lossy": LOSSY, "lossless": LOSSLESS}
PROFILE, OPACITY, EXIF, XMP = 0x20, 0x10, 0x08, 0x04

Chunks = list[tuple[bytes, bytes]]


def riff(chunks: Chunks) -> bytes:
    """A WebP file of these chunks."""
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def extended(flags: int) -> tuple[bytes, bytes]:
    """The header of a file with more than an image."""
    width, height = (struct.pack("<I", side - 1)[:3] for side in PHOTO.size)
    return b"VP8X", bytes([flags, 0, 0, 0]) + width + height


def image(plain: bytes) -> tuple[bytes, bytes]:
    """The image chunk of a plain file."""
    return plain[12:16], plain[20 : 20 + int.from_bytes(plain[16:20], "little")]


@pytest.mark.parametrize("plain", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("kind", [b"EXIF", b"XMP ", b"ICCP", b"ABCD"])
@pytest.mark.parametrize("claimed", [99, 10_000, 0xFFFFFFF0])
def test_metadata_that_breaks_off_costs_nobody_the_image(plain: bytes, kind: bytes, claimed: int) -> None:
    """The last chunk claims more bytes than the file has, as after an interrupted copy."""
    whole = riff([extended(PROFILE | EXIF | XMP), image(plain), (kind, b"x" * 50)])
    at = whole.rindex(kind) + 4
    for data in (whole[:-20], whole[:at] + struct.pack("<I", claimed) + whole[at + 4 :]):
        np.testing.assert_array_equal(read_image(data), read_image(plain))


@pytest.mark.parametrize("plain", PLAIN.values(), ids=PLAIN)
def test_what_the_header_says_beside_the_size_does_not_decide(plain: bytes) -> None:
    """A wrong length of the file, and flags of chunks that are not there, of animation too."""
    expected = read_image(plain)
    for claimed in (0, 20, 999_999):
        np.testing.assert_array_equal(read_image(plain[:4] + struct.pack("<I", claimed) + plain[8:]), expected)
    for flags in range(0, 64, 2):
        if not flags & OPACITY:
            np.testing.assert_array_equal(read_image(riff([extended(flags), image(plain)])), expected)


def test_of_an_animation_whose_end_is_lost_the_first_frame_is_read() -> None:
    """The first frame is what is read, so only that must be whole."""
    both = saved(PHOTO, "WEBP", save_all=True, append_images=[photo(seed=9)], lossless=True)
    np.testing.assert_array_equal(read_image(both[:-30]), read_image(LOSSLESS))


def test_opacity_is_kept_where_metadata_is_cut_out() -> None:
    """A lossy image has its opacity in a chunk of its own."""
    layer = PHOTO.copy()
    layer.putalpha(PIL.Image.linear_gradient("L").resize(PHOTO.size))
    plain = saved(layer, "WEBP", quality=80)
    cut = saved(layer, "WEBP", quality=80, exif=b"Exif\0\0" + b"x" * 99)[:-40]
    assert (read_image(plain) != read_image(LOSSY)).any()
    np.testing.assert_array_equal(read_image(cut), read_image(plain))


def test_an_image_that_breaks_off_is_damage() -> None:
    """Metadata never decides, pixels do."""
    for data, problem in (
        (LOSSY[:-40], r"its image ends \d+ bytes after the file"),
        (riff([extended(0), (b"EXIF", b"x")]), "."),
        (riff([(b"EXIF", b"x")]), "it has no image"),
        (riff([(b"VP8X", b"\0\0"), image(LOSSY)]), "its header is cut off"),
    ):
        with pytest.raises(ImageError, match=rf"^the image is damaged or truncated: ({problem})"):
            read_image(data)


def test_the_canvas_counts_as_pixels() -> None:
    """The decoder allocates it whatever the image is."""
    header = b"VP8X", b"\0" * 4 + b"\xff\x3f\0" * 2
    with pytest.raises(ImageLimitError, match="16384 x 16384"):
        read_image(riff([header, image(LOSSY)]))
