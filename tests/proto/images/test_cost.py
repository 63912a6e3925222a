"""What reading an image may cost, and that it can be stopped."""

from __future__ import annotations

import io
import re
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
from tests.proto.images.files import bmp, gif, packed, photo, png, png_chunk, pnm, samples, saved, tiff

from scoreguard.images import read_image, read_pillow
from scoreguard.images.jpeg import MAX_SCANS, MAX_SEGMENTS
from scoreguard.v1.errors import ImageError, ImageLimitError

pytestmark = pytest.mark.base

END = b"\xff\xd9"


def many_scans(extra: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = saved(photo(*size), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * extra + END


def scans_of(data: bytes) -> int:
    """The scans of a JPEG without metadata."""
    return data.count(b"\xff\xda")


def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded() -> None:
    """At the limit it is read, one above it is refused by name, and thousands cost no time."""
    few = scans_of(many_scans(0))
    assert read_image(many_scans(MAX_SCANS - few)).shape == (48, 64, 3)
    for extra in (MAX_SCANS - few + 1, 20_000):
        data = many_scans(extra)
        started = time.process_time()
        with pytest.raises(ImageLimitError, match=f"more than {MAX_SCANS} scans; save it again") as caught:
            read_image(data)
        assert time.process_time() - started < 1
        assert caught.value.what == "scans"


@pytest.mark.parametrize("segment", [b"\xff\xfe\0\2", b"\xff\xdb\0\2", b"\xff\xdd\0\4\0\0", b"\xff\xe5\0\2"])
def test_a_jpeg_of_too_many_segments_is_refused_before_it_is_decoded(segment: bytes) -> None:
    """Comments, tables, restart intervals and markers: millions cost seconds and say nothing."""
    data = saved(photo(), "JPEG")
    own = 10
    assert read_image(data[:2] + segment * (MAX_SEGMENTS - own) + data[2:]).shape == read_image(data).shape
    started = time.process_time()
    with pytest.raises(ImageLimitError, match=f"more than {MAX_SEGMENTS} segments; save it again"):
        read_image(data[:2] + segment * 1_000_000 + data[2:])
    assert time.process_time() - started < 1


@pytest.mark.parametrize("form", [1, 2, 3])
def test_the_comments_of_a_plain_file_cost_no_more_than_its_samples(form: int) -> None:
    """Half a million comments between the samples; a number ends where a comment begins."""
    levels = samples(1 if form == 1 else 8, 3 if form == 3 else 1)
    data = pnm(form, levels, 1 if form == 1 else 255)
    plain, begin = read_image(data), data.index(b"\n", data.index(b"\n", 3) + 1 if form != 1 else 3) + 1
    body = b"#x\n".join(token + b"\n" for token in data[begin:].split())
    started = time.process_time()
    np.testing.assert_array_equal(read_image(data[:begin] + b"#\n" * 500_000 + body), plain)
    np.testing.assert_array_equal(read_image(data[:begin] + data[begin:].replace(b" ", b"#x\n")), plain)
    assert time.process_time() - started < 2


def test_bytes_that_look_like_scans_do_not_count() -> None:
    """A film behind the image (motion photos), a thumbnail's scans in EXIF, and a sequential file's stuffed bytes."""
    for data in (many_scans(0), saved(photo(), "JPEG")):
        plain = read_image(data)
        tail = b"\0\xff\xda\0\x08" * 5000
        np.testing.assert_array_equal(read_image(data + tail), plain)
        block = b"Exif\0\0" + b"\xff\xda" * 3000
        segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
        np.testing.assert_array_equal(read_image(data[:2] + segment + data[2:]), plain)


def huge() -> dict[str, bytes]:
    """Small files that claim 12,000 x 12,000 pixels."""
    side = 12_000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    flat = png_chunk(b"IDAT", zlib.compress(b"\0" * 4_000_000, 9))
    jpeg = bytearray(saved(photo(), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    canvas = (side - 1).to_bytes(3, "little") * 2
    jpeg[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return {
        "png": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + flat + png_chunk(b"IEND", b""),
        "jpeg": bytes(jpeg),
        "webp": b"RIFF\x1a\0\0\0WEBPVP8L\x0e\0\0\0/" + struct.pack("<I", (side - 1) | (side - 1) << 14) + bytes(9),
        "webp extended": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + canvas + bytes(9),
        "tiff": tiff(bytes(99), (8, 8, 8), 2, size=(side, side)),
        "bmp": bmp(bytes(99), 24, size=(side, side)),
        "gif": gif(samples(4)[..., 0], np.zeros((16, 3)), screen=(side, side)),
        "ppm": pnm(6, samples(8, 3), 255).replace(b"7 5", b"12000 12000"),
        "plain pgm": pnm(2, samples(8), 255).replace(b"7 5", b"12000 12000"),
        "pbm": pnm(4, samples(1), 1).replace(b"7 5", b"12000 12000"),
    }


@pytest.mark.parametrize("data", huge().values(), ids=huge())
def test_too_many_pixels_are_refused_before_decoding(data: bytes) -> None:
    """By name, with both numbers, by files and by opened images alike."""
    with pytest.raises(ImageLimitError, match="12000 x 12000 = 144000000 pixels, the limit is 50000000") as caught:
        read_image(data)
    assert (caught.value.what, caught.value.value, caught.value.limit) == ("pixels", 144_000_000, 50_000_000)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_opened_image_of_too_many_pixels_is_refused() -> None:
    """The client's own reader has the limit, and a limit of one's own."""
    with PIL.Image.open(io.BytesIO(huge()["png"])) as opened, pytest.raises(ImageLimitError, match="144000000 pixels"):
        read_pillow(opened)
    with pytest.raises(ImageLimitError, match="the limit is 100"):
        read_pillow(photo(), max_pixels=100)
    with pytest.raises(ImageLimitError, match="the limit is 100"):
        read_image(saved(photo(), "PNG"), max_pixels=100)


class TooLateError(Exception):
    """What the caller's check raises."""


def slow_files() -> dict[str, bytes]:
    """Files whose reading takes many steps, in the header or in the data."""
    noise = PIL.Image.effect_noise((900, 700), 90)
    run = b"\1\7" * 400_000
    info = struct.pack("<IiiHHIIiiII", 40, 900, 900, 1, 8, 1, len(run), 0, 0, 256, 0) + bytes(1024)
    return {
        "png": saved(noise, "PNG"),
        "deep png": png(np.zeros((700, 900, 3), int), 16, 2),
        "png chunks": b"\x89PNG\r\n\x1a\n" + png_chunk(b"tEXt", b"") * 50_000,
        "jpeg scans": many_scans(40, (900, 700)),
        "jpeg junk": b"\xff\xd8\xff" + b"\0" * 500_000,
        "jpeg segments": b"\xff\xd8" + b"\xff\xdd\0\4\0\0" * 100_000,
        "jpeg markers": saved(photo(), "JPEG").replace(b"\xff\xda", b"\xff\xd0" * 200_000 + b"\xff\xda", 1),
        "jpeg fill": saved(photo(), "JPEG").replace(b"\xff\xda", b"\xff" * 400_000 + b"\xff\xda", 1),
        "plain pgm comments": b"P2\n5 5\n255\n" + b"#\n" * 100_000 + b"1 " * 25,
        "gif comment": b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0, 0, 0) + b"!\xfe" + b"\1x" * 300_000 + b"\0;",
        "bmp runs": b"BM" + struct.pack("<IHHI", 14 + len(info) + len(run), 0, 0, 14 + len(info)) + info + run,
        "plain ppm": pnm(3, np.zeros((700, 900, 3), int), 255),
        "tiff strips": tiff([bytes(300)] * 20_000, (8, 8, 8), 2, size=(100, 20_000), rows=1),
        "deep tiff": tiff(zlib.compress(bytes(900 * 700 * 6)), (16,) * 3, 2, size=(900, 700), t259=8),
    }


@pytest.mark.parametrize("data", slow_files().values(), ids=slow_files())
def test_reading_stops_where_the_check_says_so(data: bytes) -> None:
    """The check is looked at while the file is read; its own error comes out, whatever decoders make of it."""
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise TooLateError

    with pytest.raises(TooLateError):
        read_image(data, check=check)
    assert calls == 3


@pytest.mark.parametrize("name", ["jpeg markers", "jpeg fill"])
def test_a_header_that_is_long_without_segments_has_moments_to_stop(name: str) -> None:
    """Pillow walks over it byte by byte: it is looked at all along, not only before and after."""
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1

    read_image(slow_files()[name], check=check)
    assert calls > 1000


def test_reading_gives_up_after_its_time() -> None:
    """A limit of its own, for callers without a deadline."""
    with pytest.raises(ImageLimitError, match=r"takes longer than 0\.001 s to decode; save it again") as caught:
        read_image(slow_files()["plain ppm"], max_seconds=0.001)
    assert caught.value.what == "seconds"


def test_a_tile_larger_than_the_limit_is_refused() -> None:
    """A decoder would make room for the whole tile of a tiny image."""
    data = tiff(zlib.compress(bytes(100)), 8, 1, size=(16, 16), t259=8, t322=(4, (60_000,)), t323=(4, (60_000,)))
    with pytest.raises(ImageLimitError, match="a tile of the TIFF has 3600000000 pixels"):
        read_image(data)


def test_too_many_strips_are_refused() -> None:
    """Half a million strips of one byte each: every one costs time in a loop that cannot be stopped."""
    data = tiff(b"x" * 500_001, 8, 1, size=(1, 500_001), rows=1, t273=(4, (8,) * 500_001), t279=(4, (1,) * 500_001))
    with pytest.raises(ImageLimitError, match="500001 strips or tiles"):
        read_image(data)


def test_tags_that_claim_the_same_bytes_again_and_again_cost_nothing() -> None:
    """3000 tags of one megabyte each, all the same: 3 GB for a reader that copies them."""
    body = packed(samples(8), 8)
    rest = b"x" * 1_000_000
    whole = tiff(body, 8, 1, t40000=(7, rest))
    np.testing.assert_array_equal(read_image(whole)[..., 0], samples(8)[..., 0])
    crowded = repeat_last_entry(whole, 3000)
    started = time.process_time()
    np.testing.assert_array_equal(read_image(crowded)[..., 0], samples(8)[..., 0])
    assert time.process_time() - started < 1


def repeat_last_entry(data: bytes, times: int) -> bytes:
    """The file with a longer first page: its last tag under other numbers as well."""
    (begin,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, begin)
    entries = data[begin + 2 : begin + 2 + count * 12]
    more = b"".join(struct.pack("<H", 41_000 + i) + entries[-10:] for i in range(times))
    page = struct.pack("<H", count + times) + entries + more + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + page


def test_tags_of_pixels_that_lie_outside_the_file_are_damage() -> None:
    """Strips beyond the end, more tags than bytes, and offsets into nowhere."""
    whole = tiff(packed(samples(8), 8), 8, 1)
    for data in (whole[:40], whole[:8], b"II*\0\xff\xff\xff\x7f", b"II*\0\x08\0\0\0\xff\xff" + bytes(50)):
        with pytest.raises(ImageError, match="damaged or truncated"):
            read_image(data)


WIDE = 7000


def bombs() -> dict[str, Callable[[], bytes]]:
    """Small files of 49 megapixels that decoders read in one piece, or nearly so."""
    flat = PIL.Image.new("RGB", (WIDE, WIDE), (3, 2, 1))
    return {
        "16-bit RGBA TIFF, deflate": lambda: tiff(
            zlib.compress(bytes(WIDE * WIDE * 8)), (16,) * 4, 2, size=(WIDE, WIDE), t259=8, t338=2
        ),
        "TIFF, LZMA": lambda: saved(flat, "TIFF", compression="lzma"),
        "TIFF, JPEG": lambda: saved(flat, "TIFF", compression="jpeg"),
        "WebP, lossless": lambda: saved(flat, "WEBP", lossless=True, method=0, quality=0),
        "AVIF": lambda: saved(flat, "AVIF", speed=10),
        "GIF": lambda: saved(flat.convert("P"), "GIF"),
        "JPEG of 90 scans": lambda: many_scans(80, (3000, 2000)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", bombs())
def test_the_largest_files_outlive_their_deadline_by_seconds_only(name: str) -> None:
    """49 megapixels, a deadline of 0.2 s: how much CPU time passes beyond it (printed with -s)."""
    data = bombs()[name]()
    started = time.process_time()

    def check() -> None:
        if time.process_time() - started > 0.2:
            raise TooLateError

    with pytest.raises(TooLateError):
        read_image(data, check=check)
    beyond = time.process_time() - started - 0.2
    print(f"{name}: {len(data) / 1e6:.2f} MB, {beyond:.2f} s beyond the deadline")
    assert beyond < 10


def test_a_refusal_of_cost_is_one_line() -> None:
    """And carries what was counted, for programs."""
    with pytest.raises(ImageLimitError) as caught:
        read_image(saved(photo(), "PNG"), max_pixels=1)
    assert re.fullmatch(r"the image has 32 x 24 = 768 pixels, the limit is 1; .+", str(caught.value))
