"""Every depth, colour space and kind of transparency: read rightly, or refused by name."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import tifffile
from tests.proto.images.files import (
    HEIGHT,
    WIDTH,
    bmp,
    gif,
    packed,
    photo,
    png,
    png_chunk,
    pnm,
    samples,
    saved,
    tiff,
)

from scoreguard.images import read_image, read_pillow
from scoreguard.v1.errors import ImageError

Values = npt.NDArray[np.float64]
LEVEL = 1 / 255


@dataclass(frozen=True)
class Case:
    """A file, and the values that it has by the definition of its format."""

    name: str
    data: bytes
    expected: Values
    """(H, W, 3) in [0, 1]."""
    within: float = 1e-6
    """Largest difference."""
    deep: bool = False
    """Whether it must be read as float32."""


def rgb(values: Any, top: int = 1) -> Values:
    """(H, W), (H, W, 1) or (H, W, 3) samples as RGB in [0, 1]."""
    unit = np.asarray(values, np.float64) / top
    unit = unit[..., None] if unit.ndim == 2 else unit
    return np.broadcast_to(unit, (*unit.shape[:2], 3))


def over_white(colours: Values, opacity: Any) -> Values:
    """Colours in [0, 1] composed over white."""
    return np.asarray(rgb(colours) * opacity + (1 - np.asarray(opacity)))


def keyed(values: Any, key: Any, top: int) -> Values:
    """Samples where those of the key's colour are white."""
    out = np.array(rgb(values, top))
    out[(values == np.asarray(key)).all(axis=2)] = 1
    return out


def png_cases() -> list[Case]:
    """PNG: five colour types at every depth, colour keys, interlacing."""
    cases = []
    for depth in (1, 2, 4, 8, 16):
        grey, top = samples(depth), 2**depth - 1
        deep, key = depth == 16, int(grey[2, 3, 0])
        trns = png_chunk(b"tRNS", key.to_bytes(2, "big"))
        # Only the low bits of a key count.
        high = png_chunk(b"tRNS", (key | (0 if deep else 0x4000)).to_bytes(2, "big"))
        cases += [
            Case(f"png grey {depth}", png(grey, depth, 0), rgb(grey, top), deep=deep),
            Case(f"png grey {depth} interlaced", png(grey, depth, 0, interlaced=True), rgb(grey, top), deep=deep),
            Case(f"png grey {depth} key", png(grey, depth, 0, before=trns), keyed(grey, key, top), deep=deep),
            Case(f"png grey {depth} odd key", png(grey, depth, 0, before=high), keyed(grey, key, top), deep=deep),
        ]
    for depth in (8, 16):
        colour, top, deep = samples(depth, 3), 2**depth - 1, depth == 16
        # A neighbour that differs from the key in the low byte only must stay.
        key3 = (770, 513, 257) if deep else (3, 2, 1)
        colour[3, 3], colour[3, 4] = key3, (*key3[:2], key3[2] + 1)
        trns = png_chunk(b"tRNS", np.array(key3, ">u2").tobytes())
        colour_alpha, grey_alpha = samples(depth, 4), samples(depth, 2)
        within = 1e-6 if deep else LEVEL
        for lines in (False, True):
            name = f"{depth}{' interlaced' if lines else ''}"
            cases += [
                Case(f"png rgb {name}", png(colour, depth, 2, interlaced=lines), rgb(colour, top), deep=deep),
                Case(
                    f"png rgb {name} key",
                    png(colour, depth, 2, before=trns, interlaced=lines),
                    keyed(colour, key3, top),
                    deep=deep,
                ),
                Case(
                    f"png rgba {name}",
                    png(colour_alpha, depth, 6, interlaced=lines),
                    over_white(rgb(colour_alpha[..., :3], top), colour_alpha[..., 3:] / top),
                    within,
                    deep,
                ),
                Case(
                    f"png grey alpha {name}",
                    png(grey_alpha, depth, 4, interlaced=lines),
                    over_white(rgb(grey_alpha[..., :1], top), grey_alpha[..., 1:] / top),
                    within,
                    deep,
                ),
            ]
    for depth in (1, 2, 4, 8):
        index = samples(depth)[..., 0]
        palette = np.random.default_rng(2).integers(0, 256, (2**depth, 3)).astype(np.uint8)
        alphas = np.random.default_rng(4).integers(0, 256, 2**depth - 1).astype(np.uint8)
        opacity = np.append(alphas, 255)[index][..., None] / 255
        plte = png_chunk(b"PLTE", palette.tobytes())
        trns = png_chunk(b"tRNS", alphas.tobytes())
        table = palette[index]
        cases += [
            Case(f"png palette {depth}", png(index[..., None], depth, 3, before=plte), rgb(table, 255)),
            Case(
                f"png palette {depth} alphas",
                png(index[..., None], depth, 3, before=plte + trns),
                over_white(rgb(table, 255), opacity),
                LEVEL,
            ),
        ]
    return cases


def tiff_cases() -> list[Case]:
    """TIFF: grey of every depth in both directions, colours, planes, opacity, palettes."""
    cases = []
    for order, depth, photometric in [
        *((o, d, p) for o in "<>" for d in (1, 2, 4, 8, 16) for p in (0, 1)),
        *(("<", 12, p) for p in (0, 1)),
    ]:
        grey, top = samples(depth), 2**depth - 1
        expected = rgb(top - grey if photometric == 0 else grey, top)
        name = f"tiff grey {depth} {order} {'white' if photometric == 0 else 'black'} is zero"
        raw = packed(grey, depth, order)
        height, row = HEIGHT, len(raw) // HEIGHT
        strips = [raw[i * row : (i + 2) * row] for i in range(0, height, 2)]
        deep = depth > 8
        plain = tiff(raw, depth, photometric, order=order)
        zipped = tiff(zlib.compress(raw), depth, photometric, order=order, t259=8)
        cases += [
            Case(name, plain, expected, deep=deep),
            Case(f"{name} strips", tiff(strips, depth, photometric, order=order, rows=2), expected, deep=deep),
            Case(f"{name} deflate", zipped, expected, deep=deep),
        ]
        if order == "<":
            cases.append(Case(f"{name} big", tiff(raw, depth, photometric, big=True), expected, deep=deep))
    for order in "<>":
        for depth in (8, 16):
            top, deep = 2**depth - 1, depth == 16
            colour, four = samples(depth, 3), samples(depth, 4)
            within = 1e-6 if deep else LEVEL
            opacity = four[..., 3:] / top
            # Colours that were multiplied by the opacity cannot exceed it.
            product = np.concatenate([four[..., :3] * opacity, four[..., 3:]], axis=2).astype(int)
            raw, raw4 = packed(colour, depth, order), packed(four, depth, order)
            zipped = zlib.compress(raw)
            for name, data in [
                ("", tiff(raw, (depth,) * 3, 2, order=order)),
                (" deflate", tiff(zipped, (depth,) * 3, 2, order=order, t259=8)),
                (" oriented", tiff(raw, (depth,) * 3, 2, order=order, t274=1)),
            ]:
                cases.append(Case(f"tiff rgb {depth} {order}{name}", data, rgb(colour, top), deep=deep))
            turned = tiff(raw, (depth,) * 3, 2, order=order, t274=6)
            cases += [
                Case(f"tiff rgb {depth} {order} turned", turned, rgb(np.rot90(colour, -1), top), deep=deep),
                Case(
                    f"tiff rgbx {depth} {order}",
                    tiff(raw4, (depth,) * 4, 2, order=order, t338=0),
                    rgb(four[..., :3], top),
                    deep=deep,
                ),
                Case(
                    f"tiff rgba {depth} {order}",
                    tiff(raw4, (depth,) * 4, 2, order=order, t338=2),
                    over_white(rgb(four[..., :3], top), opacity),
                    within,
                    deep,
                ),
                Case(
                    f"tiff premultiplied rgba {depth} {order}",
                    tiff(packed(product, depth, order), (depth,) * 4, 2, order=order, t338=1),
                    rgb(product[..., :3], top) + (1 - opacity),
                    1e-6 if deep else 2 * LEVEL,
                    deep,
                ),
            ]
    colour = samples(8, 3)
    planes = [packed(colour[..., i : i + 1], 8) for i in range(3)]
    cases.append(Case("tiff planes", tiff(planes, (8, 8, 8), 2, t284=2), rgb(colour, 255)))
    zipped_planes = [zlib.compress(plane) for plane in planes]
    cases.append(Case("tiff planes deflate", tiff(zipped_planes, (8, 8, 8), 2, t284=2, t259=8), rgb(colour, 255)))
    for depth in (1, 2, 4, 8):
        index = samples(depth)
        palette = np.random.default_rng(2).integers(0, 256, (2**depth, 3))
        colours = (3, tuple((palette * 257).T.ravel().tolist()))
        cases.append(
            Case(
                f"tiff palette {depth}",
                tiff(packed(index, depth), depth, 3, t320=colours),
                rgb(palette[index[..., 0]], 255),
            )
        )
    cmyk = samples(8, 4)
    expected = rgb((255 - cmyk[..., :3]) / 255 * (255 - cmyk[..., 3:]) / 255)
    cases.append(Case("tiff cmyk", tiff(packed(cmyk, 8), (8,) * 4, 5), expected, LEVEL))
    lab = np.stack(np.meshgrid([30, 50, 70, 80, 60], [-20, -10, 0, 5, 10, 15, 20], indexing="ij"), axis=2)
    lab = np.concatenate([lab, np.full((*lab.shape[:2], 1), 12)], axis=2)
    stored = np.stack([np.rint(lab[..., 0] * 2.55), lab[..., 1] & 255, lab[..., 2] & 255], axis=2).astype(np.uint8)
    cases.append(Case("tiff lab", tiff(packed(stored, 8), (8, 8, 8), 8), rgb_of_lab(lab), 4 * LEVEL))
    return cases


def other_cases() -> list[Case]:
    """PBM, PGM, PPM, BMP, GIF, JPEG, WebP."""
    cases = []
    for top in (1, 15, 100, 255, 1000, 4095, 65535):
        grey, colour = samples(16)[..., :1] % (top + 1), samples(16, 3) % (top + 1)
        deep, within = top > 255, 1e-6 if top != 100 else LEVEL / 2
        cases += [
            Case(f"pgm {top}", pnm(5, grey, top), rgb(grey, top), within, deep),
            Case(f"ppm {top}", pnm(6, colour, top, comment=b"# text 12 34\n"), rgb(colour, top), within, deep),
            Case(f"plain pgm {top}", pnm(2, grey, top), rgb(grey, top), 1e-5 if deep else within, deep),
        ]
        if not deep:
            cases.append(Case(f"plain ppm {top}", pnm(3, colour, top), rgb(colour, top), within))
    bits = samples(1)
    cases += [Case(f"pbm P{form}", pnm(form, bits, 1), rgb(1 - bits)) for form in (1, 4)]

    rows = np.random.default_rng(5).integers(0, 65536, (HEIGHT, WIDTH + 1)).astype("<u2")
    shown = rows[::-1, :WIDTH].astype(int)
    rgb565 = np.stack([(shown >> 11 & 31) / 31, (shown >> 5 & 63) / 63, (shown & 31) / 31], axis=2)
    rgb555 = np.stack([(shown >> 10 & 31) / 31, (shown >> 5 & 31) / 31, (shown & 31) / 31], axis=2)
    four = samples(8, 4)
    flipped = four[::-1].astype(np.uint8)
    masks = (0xFF0000, 0xFF00, 0xFF)
    cases += [
        Case("bmp 565", bmp(rows.tobytes(), 16, masks=(0xF800, 0x7E0, 0x1F)), rgb565, LEVEL),
        Case("bmp 555", bmp(rows.tobytes(), 16), rgb555, LEVEL),
        Case("bmp 32 without opacity", bmp(flipped.tobytes(), 32), rgb(four[..., 2::-1], 255)),
        Case(
            "bmp 32 with opacity",
            bmp(flipped.tobytes(), 32, masks=(*masks, 0xFF000000)),
            over_white(rgb(four[..., 2::-1], 255), four[..., 3:] / 255),
            LEVEL,
        ),
    ]
    index = samples(4)[..., 0]
    palette = np.random.default_rng(6).integers(0, 256, (16, 3))
    expected = rgb(palette[index], 255)
    hole = over_white(expected, (index != 3)[..., None])
    wide = np.ones((HEIGHT + 2, WIDTH + 3, 3))
    wide[:HEIGHT, :WIDTH] = hole
    cases += [
        Case("gif", gif(index, palette), expected),
        Case("gif key", gif(index, palette, key=3), hole),
        Case("gif smaller than its screen", gif(index, palette, key=3, screen=(WIDTH + 3, HEIGHT + 2)), wide),
    ]
    image = photo()
    unit = rgb(np.asarray(image), 255)
    layer = image.copy()
    layer.putalpha(PIL.Image.linear_gradient("L").resize(image.size))
    opacity = np.asarray(layer)[..., 3:] / 255
    cases += [
        Case("webp", saved(image, "WEBP", lossless=True), unit),
        Case("webp opacity", saved(layer, "WEBP", lossless=True, exact=True), over_white(unit, opacity), LEVEL),
        Case("avif", saved(image, "AVIF", quality=100, subsampling="4:4:4"), unit, 4 * LEVEL),
        Case(
            "avif opacity", saved(layer, "AVIF", quality=100, subsampling="4:4:4"), over_white(unit, opacity), 6 * LEVEL
        ),
        Case("jpeg", saved(image, "JPEG", quality=100, subsampling=0), unit, 4 * LEVEL),
        Case("jpeg progressive", saved(image, "JPEG", quality=100, subsampling=0, progressive=True), unit, 4 * LEVEL),
        # Pillow writes CMYK as Photoshop does: inverted, with Adobe's marker.
        Case("jpeg adobe cmyk", saved(image.convert("CMYK"), "JPEG", quality=100), unit, 8 * LEVEL),
        Case("jpeg ycck", ycck(), rgb(np.full((16, 16, 3), YCCK_COLOUR)), 3 * LEVEL),
        Case("jpeg cmyk", without_adobe(saved(inverted_cmyk(image), "JPEG", quality=100)), unit, 8 * LEVEL),
    ]
    return cases


def inverted_cmyk(image: PIL.Image.Image) -> PIL.Image.Image:
    """CMYK samples that mean the image where no marker inverts them."""
    return PIL.Image.fromarray(255 - np.asarray(image.convert("CMYK")), "CMYK")


def rgb_of_lab(lab: Values) -> Values:
    """CIE L*a*b* of white D50 as sRGB, with its primaries adapted to D50 (Bradford)."""
    y = (lab[..., 0] + 16) / 116
    ratios = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=2)
    xyz = np.where(ratios > 6 / 29, ratios**3, 3 * (6 / 29) ** 2 * (ratios - 4 / 29)) * [0.96422, 1, 0.82521]
    matrix = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.033454],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = np.clip(xyz @ np.transpose(matrix), 0, 1)
    return np.asarray(np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear))


YCCK_COLOUR = (1 - np.array([136.8, 114.2, 105.8]) / 255) * 215 / 255
"""What Y 120, Cb 120, Cr 140 and K 215, as Photoshop stores them, mean by JFIF's equations."""


def ycck() -> bytes:
    """A JPEG whose Adobe segment says that its four components are YCCK."""
    data = bytearray(saved(PIL.Image.new("CMYK", (16, 16), (135, 135, 115, 40)), "JPEG", quality=100))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def without_adobe(data: bytes) -> bytes:
    """A JPEG without its Adobe segment."""
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def pillow_reads(case: Case) -> bool:
    """Whether Pillow opens the file by itself: big-endian deep WhiteIsZero it does not."""
    try:
        with PIL.Image.open(io.BytesIO(case.data)):
            return True
    except PIL.UnidentifiedImageError:
        return False


CASES = [*png_cases(), *tiff_cases(), *other_cases()]
OPENED = [case for case in CASES if pillow_reads(case)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_has_the_values_of_its_samples(case: Case) -> None:
    """Each file is built from raw samples, and read as the values that its format gives them."""
    values = read_image(case.data)
    assert values.dtype == (np.float32 if case.deep else np.uint8)
    assert values.flags.c_contiguous or values.dtype == np.float32
    np.testing.assert_allclose(rgb(values, 1 if case.deep else 255), case.expected, rtol=0, atol=case.within)


@pytest.mark.parametrize("case", OPENED, ids=lambda case: case.name)
def test_an_opened_image_is_read_as_its_file(case: Case) -> None:
    """What Pillow has opened, and not loaded yet, has the values of the file, bit for bit."""
    with PIL.Image.open(io.BytesIO(case.data)) as opened:
        np.testing.assert_array_equal(read_pillow(opened), read_image(case.data))


@pytest.mark.parametrize("case", [case for case in OPENED if case.deep], ids=lambda case: case.name)
def test_a_loaded_deep_image_is_read_within_one_level_or_refused(case: Case) -> None:
    """Pillow keeps 8 bits of deep colours; what it loads wrongly is refused and never scored."""
    with PIL.Image.open(io.BytesIO(case.data)) as opened:
        opened.load()
        try:
            values = read_pillow(opened)
        except ImageError as error:
            assert "pass its path" in str(error)
            return
        top = 255 if values.dtype == np.uint8 else 1
        np.testing.assert_allclose(rgb(values, top), case.expected, rtol=0, atol=3 * LEVEL)


def test_independent_libraries_write_the_same_values() -> None:
    """OpenCV's 16-bit PNG and tifffile's 16-bit TIFFs are read bit for bit."""
    colour = samples(16, 3).astype(np.uint16)
    _, encoded = cv2.imencode(".png", colour[..., ::-1])
    expected = (colour / np.float32(65535)).astype(np.float32)
    np.testing.assert_array_equal(read_image(encoded.tobytes()), expected)
    for options in ({}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}):
        orders: tuple[Literal["<", ">"], ...] = ("<", ">")
        for order in orders:
            buffer = io.BytesIO()
            tifffile.imwrite(buffer, colour, photometric="rgb", byteorder=order, **options)
            np.testing.assert_array_equal(read_image(buffer.getvalue()), expected)


GREY12 = packed(samples(12), 12)
REFUSED = [
    ("10-bit grey", tiff(packed(samples(10), 10), 10, 1), "10 bits.*16-bit PNG"),
    ("14-bit grey", tiff(packed(samples(14), 14), 14, 0), "14 bits.*16-bit PNG"),
    ("24-bit grey", tiff(packed(samples(16), 24), 24, 1), "24 bits"),
    ("32-bit grey", tiff(packed(samples(16), 32, "<"), 32, 1), "32 bits.*16-bit PNG"),
    ("big-endian 12-bit grey", tiff(GREY12, 12, 1, order=">"), "16-bit PNG"),
    ("12-bit colours", tiff(packed(samples(12, 3), 12), (12, 12, 12), 2), "12 bits"),
    ("5-6-5 colours", tiff(b"\0" * 99, (5, 6, 5), 2), "5 and 6 bits"),
    ("signed 8-bit", tiff(packed(samples(8), 8), 8, 1, t339=2), "signed integers"),
    ("signed 16-bit", tiff(packed(samples(16), 16, "<"), 16, 1, t339=2), "signed integers"),
    ("float", tiff(samples(8).astype("<f4").tobytes(), 32, 1, t339=3), "floating-point.*float32 array"),
    ("half float", tiff(samples(8).astype("<f2").tobytes(), 16, 1, t339=3), "floating-point"),
    ("float colours", tiff(samples(8, 3).astype("<f4").tobytes(), (32,) * 3, 2, t339=(3, 3, 3)), "floating-point"),
    ("complex", tiff(samples(8).astype("<c8").tobytes(), 64, 1, t339=6), "complex"),
    ("undefined format", tiff(packed(samples(8), 8), 8, 1, t339=4), "no defined type"),
    ("16-bit planes", tiff([packed(samples(16), 16)] * 3, (16,) * 3, 2, t284=2), "separate planes"),
    ("16-bit CMYK", tiff(packed(samples(16, 4), 16), (16,) * 4, 5), "CMYK is not read"),
    ("other inks", tiff(packed(samples(8, 4), 8), (8,) * 4, 5, t332=2), "inks"),
    ("grey with opacity in 16 bits", tiff(packed(samples(16, 2), 16), (16, 16), 1, t338=2), "16-bit PNG"),
    ("no photometric", tiff(packed(samples(8), 8), 8, None), "PhotometricInterpretation"),
    ("sensor data", tiff(packed(samples(8), 8), 8, 32803), "raw sensor"),
    ("a mask", tiff(packed(samples(1), 1), 1, 4), "transparency mask"),
    ("ICC Lab", tiff(packed(samples(8, 3), 8), (8,) * 3, 9), "ICC Lab"),
    ("unknown colours", tiff(packed(samples(8, 3), 8), (8,) * 3, 99), "colour space 99"),
    ("raw photograph", tiff(packed(samples(8), 8), 8, 1, t50706=(1, (1, 4, 0, 0))), "DNG"),
    ("thumbnail first", tiff(packed(samples(8), 8), 8, 1, t254=(4, (1,))), "thumbnail"),
    ("8-bit palette", tiff(packed(samples(8), 8), 8, 3, t320=(3, tuple(range(256)) * 3)), "colour map has 8 bits"),
    ("subsampled YCbCr", tiff(packed(samples(8, 3), 8), (8,) * 3, 6), "YCbCr"),
    ("16-bit palette PNG", png(samples(16), 16, 3), "cannot have 16 bits"),
    ("deep plain PPM", pnm(3, samples(12, 3), 4095), "plain PPM"),
    ("big-endian BigTIFF", tiff(packed(samples(8), 8), 8, 1, order=">", big=True), "big-endian BigTIFF.*save it"),
    ("PFM", b"Pf\n2 2\n-1.0\n" + bytes(16), "PFM.*convert it to PNG, JPEG or AVIF"),
    ("PAM", b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n\0\0\0", "PAM.*convert it"),
]


@pytest.mark.parametrize(("data", "problem"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_read_rightly_is_refused_by_name(data: bytes, problem: str) -> None:
    """One line that names the kind and what to do, and does not call the file damaged."""
    with pytest.raises(ImageError, match=problem) as caught:
        read_image(data)
    assert "\n" not in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_a_twelve_bit_jpeg_is_refused_by_name() -> None:
    """The depth is in the frame header; Pillow would call the file unidentified."""
    data = bytearray(saved(photo(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match=r"a JPEG of 12 bits.*16-bit PNG"):
        read_image(bytes(data))


@pytest.mark.parametrize(("marker", "kind"), [(0xF7, "a JPEG-LS image"), (0xC5, "a hierarchical JPEG")])
def test_other_kinds_of_jpeg_are_refused_by_name(marker: int, kind: str) -> None:
    """They begin as every JPEG does; Pillow would call them damaged."""
    data = bytearray(saved(photo(), "JPEG"))
    data[data.index(b"\xff\xc0") + 1] = marker
    with pytest.raises(ImageError, match=rf"^{kind} is not read: convert it to PNG$"):
        read_image(bytes(data))


def test_a_bmp_of_16_bits_with_opacity_is_refused_by_name() -> None:
    """Pillow drops the bit of opacity: off by 1.0 where it is 0. Without a mask of it the file is read."""
    rows = np.random.default_rng(5).integers(0, 65536, (HEIGHT, WIDTH + 1)).astype("<u2").tobytes()
    masks = (0x7C00, 0x3E0, 0x1F)
    with pytest.raises(ImageError, match="a BMP of 16 bits with opacity is not read"):
        read_image(bmp(rows, 16, masks=(*masks, 0x8000)))
    np.testing.assert_array_equal(read_image(bmp(rows, 16, masks=(*masks, 0))), read_image(bmp(rows, 16)))


def test_of_several_pages_and_frames_the_first_is_read() -> None:
    """Multi-page TIFF, animated GIF, WebP, AVIF and PNG, and a multi-image JPEG."""
    first, second = photo(seed=1), photo(seed=9)
    for kind in ("TIFF", "GIF", "WEBP", "AVIF", "PNG", "MPO"):
        alone = saved(first, "JPEG" if kind == "MPO" else kind, **({"lossless": True} if kind == "WEBP" else {}))
        both = saved(
            first, kind, save_all=True, append_images=[second], **({"lossless": True} if kind == "WEBP" else {})
        )
        assert len(both) > len(alone)
        difference = np.abs(read_image(both).astype(int) - read_image(alone)).max()
        assert difference <= (8 if kind == "AVIF" else 0), kind


def test_a_refusal_of_many_depths_stays_short() -> None:
    """A damaged page can claim hundreds of depths; the line lists no more than fits."""
    data = tiff(bytes(99), tuple(range(100, 400)), 2)
    with pytest.raises(ImageError, match="a TIFF of 100 and 101") as caught:
        read_image(data)
    assert len(str(caught.value)) < 200
