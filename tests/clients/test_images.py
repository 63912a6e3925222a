"""What becomes of an image before it is sent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scoreguard.v1 import codec
from scoreguard_client import AsyncScoringClient, ImageError, ScoreRequest, ScoringClient
from scoreguard_client._images import from_pillow, to_image, to_pillow
from scoreguard_handlers.worker import images as server_images

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))
UNIT = st.floats(0, 1, width=32)


def sent(image: Any) -> codec.ImageArray:
    """The values that travel."""
    return codec.from_tensor(to_image(image).tensor)


def file_of(image: PIL.Image.Image, file_format: str, **options: Any) -> bytes:
    """An image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@given(array=hnp.arrays(np.float32, SHAPES, elements=UNIT))
@settings(max_examples=30, deadline=None)
def test_float32_travels_bit_for_bit(array: Any) -> None:
    """No rounding: an attack below 1/255 survives."""
    arrived = sent(array)
    assert arrived.dtype == np.float32
    assert arrived.tobytes() == array.tobytes()


@given(array=hnp.arrays(np.uint8, SHAPES))
@settings(max_examples=30, deadline=None)
def test_uint8_travels_as_uint8(array: Any) -> None:
    """Eight bits stay eight bits, in any memory layout."""
    for view in (array, array[::-1], np.asfortranarray(array)):
        arrived = sent(view)
        assert arrived.dtype == np.uint8
        np.testing.assert_array_equal(arrived, view)


@given(array=hnp.arrays(np.float64, SHAPES, elements=st.floats(0, 1)))
@settings(max_examples=30, deadline=None)
def test_float64_is_rounded_to_float32(array: Any) -> None:
    """The nearest float32 values travel, whatever the byte order was."""
    for form in (array, array.astype(">f8")):
        np.testing.assert_array_equal(sent(form), array.astype(np.float32))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4), np.uint8), "shape"),
        (np.zeros((3, 4, 4), np.uint8), "shape"),
        (np.zeros((4, 4, 4), np.uint8), "shape"),
        (np.zeros((1, 4, 4, 3), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 0, 3), np.float32), "shape"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((4, 4, 3), np.float16), "float16"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.full((4, 4, 3), np.nan, np.float32), "NaN"),
        (np.full((4, 4, 3), np.inf), "inf"),
        (np.full((4, 4, 3), -0.01), "-0.01"),
        (np.full((4, 4, 3), 1.01, np.float32), "1.01"),
        (np.full((4, 4, 3), 255.0), "255"),
        (np.full((4, 4, 3), 1e300), r"1e\+300"),
    ],
    ids=str,
)
def test_an_array_that_is_no_image_is_refused(array: Any, message: str) -> None:
    """Shape, type, range and NaN are checked before any call, and the line says what was wrong."""
    with pytest.raises(ImageError, match=message) as caught:
        to_image(array)
    assert "\n" not in str(caught.value)


def test_one_bad_value_among_good_ones_is_found() -> None:
    """A single NaN is enough."""
    array = np.full((50, 50, 3), 0.5, np.float32)
    array[31, 7, 1] = np.nan
    with pytest.raises(ImageError, match="NaN"):
        to_image(array)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "GIF"])
def test_files_travel_as_their_bytes(file_format: str, tmp_path: Path) -> None:
    """Paths, path texts and bytes are sent unchanged: the server decodes."""
    data = file_of(PIL.Image.new("RGB", (5, 4), (10, 20, 30)), file_format)
    path = tmp_path / "image"
    path.write_bytes(data)
    forms: list[Any] = [data, bytearray(data), memoryview(data), path, str(path)]
    assert {to_image(form).encoded for form in forms} == {data}


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"hello", "not an image of PNG"), (b"%PDF-1.7", "a PDF document is")]
)
def test_a_file_that_is_no_image_is_refused_by_name(content: bytes, message: str, tmp_path: Path) -> None:
    """Empty files and other formats raise; the message names the path."""
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        to_image(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ImageError, match=message):
        to_image(content)


def test_a_file_deep_in_folders_is_named_whole(tmp_path: Path) -> None:
    """Its name stands at the end, where other echoes are cut; a line break in it is escaped."""
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)
    (folder / "photo\n1.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"deeper/photo\\n1\.png: the image file is empty"):
        to_image(folder / "photo\n1.png")
    with pytest.raises(ImageError, match=r"deeper/photo2\.png: No such file"):
        to_image(folder / "photo2.png")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """The line names the path and the reason."""
    with pytest.raises(ImageError, match=r"cannot read .*missing\.png: No such file"):
        to_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="cannot read"):
        to_image(tmp_path)


@pytest.mark.parametrize("thing", [None, 3, [[1, 2]], object()], ids=["None", "a number", "a list", "an object"])
def test_anything_else_is_refused_by_type(thing: Any) -> None:
    """The line names what an image can be."""
    with pytest.raises(ImageError, match="an image is an array"):
        to_image(thing)


RGB = (200, 100, 50)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (PIL.Image.new("RGB", (2, 2), RGB), RGB),
        (PIL.Image.new("L", (2, 2), 77), (77, 77, 77)),
        (PIL.Image.new("1", (2, 2), 1), (255, 255, 255)),
        (PIL.Image.new("RGB", (2, 2), RGB).quantize(4), RGB),
        (PIL.Image.new("RGBA", (2, 2), (*RGB, 255)), RGB),
        (PIL.Image.new("RGBA", (2, 2), (*RGB, 0)), (255, 255, 255)),
        (PIL.Image.new("LA", (2, 2), (77, 0)), (255, 255, 255)),
        (PIL.Image.new("CMYK", (2, 2), (0, 255, 255, 0)), (255, 0, 0)),
    ],
    ids=["RGB", "grey", "bilevel", "palette", "opaque", "transparent", "transparent grey", "CMYK"],
)
def test_every_colour_space_becomes_rgb(image: PIL.Image.Image, expected: tuple[int, int, int]) -> None:
    """Grey is repeated, transparency shows white, the rest is converted."""
    values = from_pillow(image)
    assert values.dtype == np.uint8
    np.testing.assert_array_equal(values, np.broadcast_to(np.array(expected, np.uint8), (2, 2, 3)))


def test_half_transparency_is_composed_over_white() -> None:
    """The mixed colour is the weighted mean with 255, within rounding."""
    values = from_pillow(PIL.Image.new("RGBA", (2, 2), (*RGB, 128)))
    weight = 128 / 255
    expected = weight * np.array(RGB) + (1 - weight) * 255
    assert np.abs(values.astype(float) - expected).max() <= 1


def test_a_transparent_palette_colour_shows_white() -> None:
    """A colour key in a palette PNG counts as transparency."""
    image = PIL.Image.new("P", (2, 2), 0)
    image.putpalette([*RGB, 0, 0, 0])
    data = file_of(image, "PNG", transparency=0)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(from_pillow(opened), np.full((2, 2, 3), 255))


def test_sixteen_bit_grey_keeps_its_depth() -> None:
    """The values are divided by 65535 and stay float: neighbours stay apart."""
    grey = np.array([[0, 1, 257], [30000, 65534, 65535]], np.uint16)
    with PIL.Image.open(io.BytesIO(file_of(PIL.Image.fromarray(grey), "PNG"))) as opened:
        values = from_pillow(opened)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, np.repeat((grey / 65535)[..., None], 3, axis=2), atol=1e-7)
    assert len(np.unique(values)) == grey.size


def test_integers_beyond_sixteen_bits_are_refused() -> None:
    """A 32-bit grey image has no known white, so it is not guessed."""
    with pytest.raises(ImageError, match=r"0\.\.65535"):
        from_pillow(PIL.Image.fromarray(np.full((2, 2), 70000, np.int32)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_rotation_is_applied(orientation: int) -> None:
    """All eight orientations show the same scene, as Pillow's own tag table defines them."""
    scene = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    undo = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.transpose(1, 0, 2),
        6: np.rot90(scene),
        7: scene[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(scene, -1),
    }
    stored = PIL.Image.fromarray(np.ascontiguousarray(undo[orientation]))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    with PIL.Image.open(io.BytesIO(file_of(stored, "PNG", exif=exif))) as opened:
        np.testing.assert_array_equal(from_pillow(opened), scene)


def test_an_image_without_pixels_is_refused() -> None:
    """Pillow can make one; there is nothing to score."""
    with pytest.raises(ImageError, match="no pixels"):
        to_image(PIL.Image.new("RGB", (0, 4)))


def test_a_truncated_pillow_image_is_refused() -> None:
    """Pillow reads lazily, so the damage shows when the image is sent; it is still one line."""
    data = file_of(PIL.Image.effect_noise((64, 64), 50).convert("RGB"), "PNG")
    with PIL.Image.open(io.BytesIO(data[:500])) as opened, pytest.raises(ImageError, match="damaged or truncated"):
        to_image(opened)


def noise(mode: str, file_format: str, **options: Any) -> Any:
    """A noise image of a mode, as a file."""
    image = PIL.Image.effect_noise((13, 9), 120)
    coloured = PIL.Image.merge("RGB", [image, image.rotate(180), image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)])
    if mode == "I;16":
        image = PIL.Image.fromarray(np.random.default_rng(1).integers(0, 65536, (9, 13), dtype=np.uint16))
    elif mode.endswith("A"):
        image = coloured.convert(mode)
        image.putalpha(PIL.Image.effect_noise((13, 9), 120))
    else:
        image = coloured.convert(mode)
    return pytest.param(file_of(image, file_format, **options), id=f"{mode} {file_format} {options or ''}")


@pytest.mark.parametrize(
    "data",
    [
        *(noise(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        noise("P", "PNG", transparency=3),
        noise("P", "GIF", transparency=3),
        noise("RGB", "PNG", transparency=(0, 0, 0)),
        *(noise(mode, "JPEG") for mode in ("L", "RGB", "CMYK")),
        *(noise(mode, "TIFF") for mode in ("L", "RGB", "RGBA", "CMYK", "I;16", "LAB", "YCbCr")),
        *(noise(mode, "WEBP", lossless=True) for mode in ("RGB", "RGBA")),
        noise("L", "BMP"),
        noise("RGB", "PPM"),
    ],
)
def test_a_pillow_image_is_read_as_the_server_reads_its_file(data: bytes) -> None:
    """A path and the opened image are the same image: the two rules agree value for value."""
    theirs = server_images.decode(to_image(data), max_pixels=10_000).values
    with PIL.Image.open(io.BytesIO(data)) as opened:
        ours = from_pillow(opened)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_a_damaged_exif_entry_is_ignored() -> None:
    """A tag of no type, on which Pillow's own rotation fails, costs nobody the image or its orientation."""
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    data = bytearray(file_of(PIL.Image.new("RGB", (40, 30)), "JPEG", exif=exif))
    type_of_first_tag = data.index(b"Exif") + 17
    data[type_of_first_tag] = 0
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert from_pillow(opened).shape == (40, 30, 3)


@given(array=hnp.arrays(np.uint8, SHAPES))
@settings(max_examples=20, deadline=None)
def test_saving_a_float_image_gives_its_levels_back(array: Any) -> None:
    """Eight-bit values survive the way through float and a Pillow image."""
    np.testing.assert_array_equal(np.asarray(to_pillow(array.astype(np.float32) / 255)), array)


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros((3, 8, 9), np.uint8), "array.transpose(1, 2, 0)"),
        (np.zeros((1, 3, 8, 9), np.float32), "array[0].transpose(1, 2, 0)"),
        (np.zeros((1, 8, 9, 3), np.float32), "array[0]"),
        (np.zeros((4, 8, 9, 3), np.float32), "score_batch"),
        (np.zeros((8, 9)), "np.repeat(array[..., None], 3, axis=2)"),
        (np.zeros((8, 9, 4), np.uint8), "array[..., :3]"),
        (np.full((8, 9, 3), 255.0), "divide it by 255, or send it as uint8"),
        (np.full((8, 9, 3), 128, np.int64), "array.astype(np.uint8)"),
        (np.full((8, 9, 3), 0.5, np.float16), "array.astype(np.float32)"),
        (np.full((8, 9, 3), 40_000, np.uint16), "np.float32(65535)"),
        (np.linspace(-1, 1, 72 * 3).reshape(8, 9, 3), "(array + 1) / 2"),
    ],
    ids=lambda value: f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "",
)
def test_an_array_of_another_layout_gets_the_hint_that_mends_it(array: Any, hint: str) -> None:
    """The line says which expression makes an image of it."""
    with pytest.raises(ImageError) as caught:
        to_image(array)
    assert hint in str(caught.value)


def test_a_tensor_of_another_library_gets_the_hint_that_mends_it() -> None:
    """What can become an array is told how."""

    class Foreign:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.zeros((2, 2, 3))

    with pytest.raises(ImageError, match=r"not Foreign: pass a tensor as tensor\.detach\(\)\.cpu\(\)\.numpy\(\)"):
        to_image(Foreign())  # type: ignore[arg-type]


def test_avif_travels_and_heic_is_refused_with_the_mend(tmp_path: Path) -> None:
    """AVIF is read here; what phones write is not, and the line says what to do."""
    data = file_of(PIL.Image.new("RGB", (16, 16), (9, 8, 7)), "AVIF")
    assert to_image(data).encoded == data
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50))
    with pytest.raises(ImageError, match=r"phone\.heic: a HEIC image is not read: convert it to PNG, JPEG or AVIF"):
        to_image(path)


def test_a_long_or_odd_name_is_shown_in_short() -> None:
    """At most 80 characters of a path, on one line, and a path that cannot be is refused like one that is missing."""
    for name in ("x" * 5000, "a\nb" * 30, "zero\0byte", "caf\udce9.png"):
        with pytest.raises(ImageError, match="cannot read") as caught:
            to_image(name)
        assert len(str(caught.value)) < 160
        assert len(str(caught.value).splitlines()) == 1
        str(caught.value).encode()


ONE: list[Any] = [
    *("a.png", Path("a.png"), b"\x89PNG", bytearray(b"x")),
    *(np.zeros((8, 9, 3), np.uint8), PIL.Image.new("L", (4, 4))),
    ScoreRequest(image="a.png", metric="lite"),
]


@pytest.mark.parametrize("one", ONE, ids=lambda one: type(one).__name__)
async def test_one_image_is_refused_where_a_list_is_wanted(one: Any) -> None:
    """`score_batch("a.png")` would score the characters; both clients, batch and stream, say what to write."""
    hint = "a list of images is wanted, not one .*: put it in brackets, or call score"
    with ScoringClient("localhost:1") as client:
        with pytest.raises(ImageError, match=hint):
            client.score_batch(one, metric="lite")
        with pytest.raises(ImageError, match=hint):
            next(client.score_stream(one, metric="lite"))
    async with AsyncScoringClient("localhost:1") as client:
        with pytest.raises(ImageError, match=hint):
            await client.score_batch(one, metric="lite")
        with pytest.raises(ImageError, match=hint):
            await anext(client.score_stream(one, metric="lite"))
