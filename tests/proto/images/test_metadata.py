"""Metadata never decides whether an image can be read, and the orientation is the only thing that it changes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tests.proto.images.files import packed, photo, png, png_chunk, pnm, samples, saved, tiff

from scoreguard.images import read_image, read_pillow
from scoreguard.v1.errors import ImageError

pytestmark = pytest.mark.base

PHOTO = photo()
BLOCKS = {
    "short": b"Exif\0\0" + b"\0\x08\0\x02\x01\x12\0\x03\0\0",
    "text": b"Exif\0\0prompt: a cat",
    "empty": b"Exif\0\0",
    "far": b"Exif\0\0II*\0\xff\xff\xff\xff",
    "many tags": b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
    "cut off": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0",
}


def exif(value: Any, kind: int = 3) -> bytes:
    """An EXIF block with an orientation of any type."""
    raw = value if isinstance(value, bytes) else struct.pack("<H", value)
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI", 0x0112, kind, 1) + raw.ljust(4, b"\0") + b"\0" * 4


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_a_damaged_exif_block_costs_nobody_the_image(kind: str, block: bytes) -> None:
    """The image is read as if the block were not there."""
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    plain = saved(PHOTO, kind, **options)
    np.testing.assert_array_equal(read_image(with_exif(kind, plain, block, options)), read_image(plain))


def with_exif(kind: str, plain: bytes, block: bytes, options: dict[str, Any]) -> bytes:
    """The image with an EXIF block that Pillow may refuse to write."""
    if kind == "JPEG":
        return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
    if kind == "AVIF":
        # A valid block of the same length is written first: the boxes hold lengths.
        fair = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4s", 0x010F, 2, 4, b"abc") + b"\0" * 4
        stored = fair[6:]
        data = saved(PHOTO, kind, exif=fair, **options)
        assert stored in data
        return data.replace(stored, block[6:].ljust(len(stored), b"\0")[: len(stored)])
    return saved(PHOTO, kind, exif=block, **options)


@pytest.mark.parametrize(
    ("value", "kind", "turned"),
    [
        *((n, 3, n in (5, 6, 7, 8)) for n in range(1, 9)),
        (0, 3, False),
        (9, 3, False),
        (65535, 3, False),
        (b"6\0", 2, False),
        (b"\x06\0\0\0", 7, False),
        (b"\x06\0\0\0", 4, True),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_only_the_orientations_1_to_8_turn_an_image(value: Any, kind: int, turned: bool, form: str) -> None:
    """0, 9, texts and bytes count as upright; 2 to 8 are what Pillow's own tool makes of them."""
    data = saved(PHOTO, form, exif=exif(value, kind))
    width, height = PHOTO.size
    assert read_image(data).shape == ((width, height, 3) if turned else (height, width, 3))


def test_orientation_turns_deep_images_as_it_turns_others() -> None:
    """A 16-bit PNG and the same samples in 8 bits are turned alike, by each of the eight orientations."""
    values = samples(8, 3)
    for number in range(1, 9):
        chunk = png_chunk(b"eXIf", exif(number)[6:])
        shallow = read_image(png(values, 8, 2, before=chunk))
        deep = read_image(png(values * 257, 16, 2, before=chunk))
        np.testing.assert_allclose(deep, shallow / 255, atol=1e-6)
        tagged = read_image(tiff(packed(values * 257, 16, "<"), (16,) * 3, 2, t274=number))
        np.testing.assert_array_equal(tagged, deep)


GREY = samples(8)
PLAIN = png(GREY, 8, 0)
BIG_TEXT = b"Comment\0\0" + zlib.compress(bytes(80_000_000))
CHUNKS = {
    "checksum of a text": png_chunk(b"tEXt", b"Title\0x", crc=1),
    "checksum of a profile": png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"abc"), crc=1),
    "profile": png_chunk(b"iCCP", b"name\0\0not deflate"),
    "profile without a name": png_chunk(b"iCCP", b""),
    "profile of an unknown kind": png_chunk(b"iCCP", b"name\0\x09" + zlib.compress(b"x")),
    "profile too large": png_chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(80_000_000))),
    "text too large": png_chunk(b"zTXt", BIG_TEXT),
    "international text": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(80_000_000))),
    "text of an unknown kind": png_chunk(b"zTXt", b"Comment\0\x07abc"),
    "date": png_chunk(b"tIME", b"\xff"),
    "resolution": png_chunk(b"pHYs", b"\0"),
    "gamma": png_chunk(b"gAMA", b"\0"),
    "chromaticities": png_chunk(b"cHRM", b"\0\1"),
    "rendering intent": png_chunk(b"sRGB", b""),
    "animation": png_chunk(b"acTL", b"\0\0\0\2\0\0\0\0"),
    "frame": png_chunk(b"fcTL", b"\0"),
    "private": png_chunk(b"prVt", b"?" * 9, crc=0),
    "many": png_chunk(b"tEXt", b"k\0v") * 20_000,
}


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS)
def test_damaged_chunks_of_a_png_are_ignored(chunk: bytes) -> None:
    """Before the data and after them: text, profile, dates, animation."""
    expected = read_image(PLAIN)
    np.testing.assert_array_equal(read_image(png(GREY, 8, 0, before=chunk)), expected)
    end = PLAIN.rindex(b"IEND") - 4
    np.testing.assert_array_equal(read_image(PLAIN[:end] + chunk + PLAIN[end:]), expected)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour", [0, 2, 4, 6])
def test_a_palette_that_makes_no_pixel_does_not_decide(colour: int, depth: int) -> None:
    """Colours may suggest a palette for poor displays; a damaged one is ignored. So is a key beside opacity."""
    values = samples(depth, {0: 1, 2: 3, 4: 2, 6: 4}[colour])
    expected = read_image(png(values, depth, colour))
    chunks = [png_chunk(b"PLTE", b"abc", crc=1), png_chunk(b"PLTE", b"abcd"), png_chunk(b"PLTE", b"")]
    if colour in (4, 6):
        chunks += [png_chunk(b"tRNS", b"\0", crc=1), png_chunk(b"tRNS", b"\0\1" * 3)]
    for chunk in chunks:
        np.testing.assert_array_equal(read_image(png(values, depth, colour, before=chunk)), expected)


def test_an_unfinished_end_of_a_png_is_ignored() -> None:
    """Without IEND, cut off inside it, or with something behind it."""
    end = PLAIN.rindex(b"IEND") - 4
    for data in (PLAIN[:end], PLAIN[: end + 6], PLAIN + b"trailer" * 99):
        np.testing.assert_array_equal(read_image(data), read_image(PLAIN))


@pytest.mark.parametrize(
    "segment",
    [
        b"\xff\xe0\0\x04JF",
        b"\xff\xe0\0\x07JFIF\0",
        b"\xff\xe1\0\x08http:/",
        b"\xff\xe2\0\x0fICC_PROFILE\0\1",
        b"\xff\xe2\0\x0aMPF\0II*\0",
        b"\xff\xe2\0\x12MPF\0II*\0\xff\xff\xff\xff\0\0\0\0",
        b"\xff\xed\0\x16Photoshop 3.0\0" + b"8BIM\xff\xff",
        b"\xff\xee\0\x08Adobe\0",
        b"\xff\xfe\0\x03x",
        b"\xff\xef\0\x02",
    ],
    ids=repr,
)
def test_damaged_segments_of_a_jpeg_are_ignored(segment: bytes) -> None:
    """JFIF, XMP, profile, multi-image and Photoshop segments that end too early."""
    plain = saved(PHOTO, "JPEG")
    np.testing.assert_array_equal(read_image(plain[:2] + segment + plain[2:]), read_image(plain))


def test_damaged_tags_of_a_tiff_are_ignored() -> None:
    """Text, resolution, profile, XMP, EXIF and Photoshop tags of wrong types or outside the file."""
    values = samples(8, 3)
    raw = packed(values, 8)
    far = (4, (2**31, 2**31 + 5))
    for tags in (
        {"t270": (4, (7, 7, 7))},
        {"t282": (5, (1, 0)), "t283": (5, (0, 0))},
        {"t34665": far, "t34853": far},
        {"t700": (3, (1, 2, 3)), "t34675": (7, b"profile?"), "t34377": (7, b"8BI")},
        {"t274": (2, b"upright\0")},
        {"t274": 77},
        {"t254": (2, b"x\0")},
    ):
        np.testing.assert_array_equal(read_image(tiff(raw, (8, 8, 8), 2, **tags)), values)


def test_a_missing_word_before_a_refusal() -> None:
    """'Damaged or truncated' stands before what is damaged or truncated, and before nothing else."""
    whole = saved(PHOTO, "PNG")
    for data in (whole[: len(whole) // 2], saved(PHOTO, "JPEG")[:300], saved(PHOTO, "WEBP")[:60], b"P5\n4 4\n255\nxx"):
        with pytest.raises(ImageError, match=r"^the image is damaged or truncated: .+"):
            read_image(data)
    for data in (b"", b"hello", b"%PDF", tiff(bytes(8), 10, 1), pnm(3, samples(12, 3), 4095)):
        with pytest.raises(ImageError) as caught:
            read_image(data)
        assert "damaged" not in str(caught.value)


def test_a_transparent_colour_of_wrong_length_is_damage() -> None:
    """A tRNS chunk is no metadata: it makes pixels, so it must be whole."""
    for depth, chunk in ((8, b"\0"), (16, b"\0\1\0"), (16, b"")):
        data = png(
            samples(depth), depth, 0, before=png_chunk(b"tRNS", chunk) if chunk else png_chunk(b"tRNS", b"\0" * 6)
        )
        with pytest.raises(ImageError, match="damaged"):
            read_image(data)
    with pytest.raises(ImageError, match="damaged"):
        read_image(png(GREY, 8, 0, before=png_chunk(b"tRNS", b"\0\1", crc=5)))
    with pytest.raises(ImageError, match="unknown critical chunk"):
        read_image(png(GREY, 8, 0, before=png_chunk(b"XRIT", b"critical")))


def test_an_opened_image_with_damaged_metadata_is_read() -> None:
    """Pillow opens the WebP and the JPEG; their EXIF blocks must not stop the client either."""
    for kind in ("WEBP", "JPEG"):
        data = saved(PHOTO, kind, exif=BLOCKS["text"])
        with PIL.Image.open(io.BytesIO(data)) as opened:
            np.testing.assert_array_equal(read_pillow(opened), read_image(data))
