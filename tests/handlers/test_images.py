"""The server's reading rule for images, format by format."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as PillowImage

from scoreguard.v1.codec import to_tensor
from scoreguard.v1.scoring_pb2 import DATA_TYPE_UINT8, PRECISION_FLOAT32, PRECISION_UINT8, Image, Tensor
from scoreguard_handlers.errors import InvalidRequestError, ResourceLimitError, ServingError, TooLateError
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.images import DecodedImage, decode, encode_png

LIMIT = 10_000
colours = hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)))


def file_of(image: PillowImage.Image, form: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def read(data: bytes) -> DecodedImage:
    """What the server reads."""
    return decode(Image(encoded=data), max_pixels=LIMIT)


def colour(values: list[list[list[int]]]) -> PillowImage.Image:
    """An RGB image."""
    return PillowImage.fromarray(np.array(values, np.uint8))


@settings(max_examples=25, deadline=None)
@given(colours, st.sampled_from(["PNG", "BMP", "PPM", "TIFF"]))
def test_lossless_files_give_their_own_values(values: np.ndarray, form: str) -> None:
    """What was written is what is read, as 8-bit integers."""
    image = read(file_of(PillowImage.fromarray(values), form))
    np.testing.assert_array_equal(image.values, values)
    assert image.precision == PRECISION_UINT8
    assert image.decoder.startswith("Pillow")


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.float32, (3, 4, 3), elements=st.floats(0, 1, width=32)))
def test_float_tensors_are_never_rounded(values: np.ndarray) -> None:
    """float32 in, the same float32 to the graph."""
    image = decode(Image(tensor=to_tensor(values)), max_pixels=LIMIT)
    assert image.precision == PRECISION_FLOAT32
    np.testing.assert_array_equal(image.planes(), values.transpose(2, 0, 1))


def test_8_bit_values_are_divided_by_255() -> None:
    """planes() is value / 255 in float32."""
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    planes = decode(Image(tensor=to_tensor(values)), max_pixels=LIMIT).planes()
    expected = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(16, 16)
    np.testing.assert_array_equal(planes, np.stack([expected] * 3))


def test_transparency_is_laid_over_white() -> None:
    """A clear pixel is white, a half-clear black one is mid-grey."""
    rgba = PillowImage.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 128]]], np.uint8), "RGBA")
    assert read(file_of(rgba)).values[0].tolist() == [[255] * 3, [127] * 3]


def test_a_palette_image_has_its_palette_colours() -> None:
    """Indices are looked up, a transparent index is white."""
    palette = PillowImage.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    assert read(file_of(palette)).values[0].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert read(file_of(palette, transparency=1)).values[0].tolist() == [[10, 20, 30], [255] * 3]


def test_grey_is_repeated_over_three_channels() -> None:
    """L 7 reads as (7, 7, 7)."""
    assert read(file_of(PillowImage.new("L", (2, 2), 7))).values.tolist() == [[[7] * 3] * 2] * 2


def test_16_bit_grey_keeps_its_16_bits() -> None:
    """Level 1 of 65535 is not lost, and the image counts as float."""
    deep = PillowImage.fromarray(np.array([[0, 1], [32768, 65535]], np.uint16))
    image = read(file_of(deep))
    assert image.precision == PRECISION_FLOAT32
    expected = np.array([[0, 1], [32768, 65535]], np.float32) / np.float32(65535)
    np.testing.assert_array_equal(image.planes(), np.stack([expected] * 3))


def test_cmyk_is_converted_to_rgb() -> None:
    """No ink is white, all ink is black."""
    cmyk = PillowImage.new("CMYK", (16, 8), (0, 0, 0, 0))
    cmyk.paste((0, 0, 0, 255), (8, 0, 16, 8))
    values = read(file_of(cmyk, "JPEG", quality=95)).values.astype(int)
    assert values[:, :8].min() > 250
    assert values[:, 8:].max() < 5


def test_exif_rotation_is_applied() -> None:
    """Orientation 6 (turn right by 90°) turns the image."""
    image = colour([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]])
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    expected = np.rot90(np.asarray(image), -1)
    np.testing.assert_array_equal(read(file_of(image, exif=exif)).values, expected)


def bomb() -> bytes:
    """A PNG of 100,000 × 100,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


PHOTO = file_of(PillowImage.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)))
HALF = np.full((2, 2, 3), 0.5, np.float32)


def with_value(value: float) -> Image:
    """A float image with one odd value."""
    values = HALF.copy()
    values[0, 0, 0] = value
    return Image(tensor=to_tensor(values))


@pytest.mark.parametrize(
    ("image", "error", "problem"),
    [
        (Image(), InvalidRequestError, "has no image"),
        (Image(encoded=b""), InvalidRequestError, "empty"),
        (Image(encoded=b"hello"), InvalidRequestError, "not an image"),
        (Image(encoded=PHOTO[: len(PHOTO) // 2]), InvalidRequestError, "damaged or truncated"),
        (Image(encoded=bomb()), ResourceLimitError, "10000000000 pixels"),
        (Image(encoded=file_of(PillowImage.new("F", (2, 2)), "TIFF")), InvalidRequestError, "float32 array"),
        (with_value(np.nan), InvalidRequestError, "finite values"),
        (with_value(np.inf), InvalidRequestError, "finite values"),
        (with_value(-1e-6), InvalidRequestError, "finite values"),
        (with_value(1.000001), InvalidRequestError, "finite values"),
        (Image(tensor=to_tensor(np.zeros((101, 100, 3), np.uint8))), ResourceLimitError, "limit is 10000"),
    ],
)
def test_a_bad_image_is_one_clear_line(image: Image, error: type[ServingError], problem: str) -> None:
    """The error has the right class, names the field and is one line."""
    with pytest.raises(error, match=problem) as caught:
        decode(image, max_pixels=LIMIT)
    assert caught.value.field.startswith("image")
    assert "\n" not in str(caught.value)


def test_a_purified_image_as_png_is_rounded_to_the_nearest_level() -> None:
    """0.5 becomes level 128 (127.5 rounds to even)."""
    assert np.asarray(PillowImage.open(io.BytesIO(encode_png(HALF)))).tolist() == [[[128] * 3] * 2] * 2


def odd_files() -> list[bytes]:
    """One file of each format, with an EXIF block where there can be one."""
    exif = PillowImage.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    image = PillowImage.fromarray(np.random.default_rng(1).integers(0, 255, (9, 7, 3), np.uint8))
    plain = [file_of(image, form) for form in ("BMP", "PPM", "GIF")]
    return plain + [file_of(image, form, exif=exif) for form in ("PNG", "JPEG", "WEBP", "TIFF")]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(odd_files()), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
@pytest.mark.filterwarnings("ignore")  # Pillow warns of damage that it can read past
def test_a_damaged_file_never_raises_anything_but_a_serving_error(data: bytes, changes: list[tuple[int, int]]) -> None:
    """Whatever bytes are changed, the answer is an image or one line."""
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        assert read(bytes(damaged)).values.shape[2] == 3
    except ServingError as error:
        assert error.field.startswith("image")
        assert "\n" not in str(error)


def test_decoding_stops_at_the_deadline() -> None:
    """A deadline that passes while the file is read ends the work, and says where."""
    plain = b"P3\n900 700\n255\n" + b"1 " * (900 * 700 * 3)
    with pytest.raises(TooLateError, match="decode") as caught:
        decode(Image(encoded=plain), max_pixels=10**6, deadline=Deadline(time.time() + 0.02))
    assert caught.value.metadata == {"stage": "decode"}
    with pytest.raises(TooLateError):
        decode(Image(encoded=PHOTO), max_pixels=LIMIT, deadline=Deadline(1.0))


def test_limits_name_their_numbers_for_programs() -> None:
    """Pixels, and scans of a JPEG: what there is, and the most there may be."""
    with pytest.raises(ResourceLimitError) as caught:
        decode(Image(encoded=bomb()), max_pixels=LIMIT)
    assert caught.value.metadata == {"pixels": "10000000000", "limit": "10000"}
    data = file_of(PillowImage.open(io.BytesIO(PHOTO)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ResourceLimitError, match="more than 100 scans") as caught:
        decode(Image(encoded=data[:-2] + data[last:-2] * 100 + b"\xff\xd9"), max_pixels=LIMIT)
    assert caught.value.metadata == {"scans": "101", "limit": "100"}


@pytest.mark.parametrize(
    ("tensor", "hint"),
    [
        (Tensor(data=bytes(12), shape=(3, 2, 2), data_type=DATA_TYPE_UINT8), r"transpose\(1, 2, 0\)"),
        (Tensor(data=bytes(4), shape=(2, 2), data_type=DATA_TYPE_UINT8), "np.repeat"),
        (to_tensor(np.full((2, 2, 3), 200, np.float32)), "divide it by 255, or send it as uint8"),
    ],
    ids=["channels first", "grey", "0 to 255"],
)
def test_a_tensor_that_is_no_image_gets_the_hint_that_mends_it(tensor: Tensor, hint: str) -> None:
    """Clients without this project's library learn it as well."""
    with pytest.raises(InvalidRequestError, match=hint) as caught:
        decode(Image(tensor=tensor), max_pixels=LIMIT)
    assert caught.value.field == "image.tensor"
