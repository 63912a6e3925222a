"""Which files are images, by their first bytes and by their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from scoreguard.support.shown import shown
from scoreguard.v1.errors import ImageError

KINDS: Final = ("PNG", "JPEG", "WebP", "AVIF", "TIFF", "BMP", "PPM", "GIF")
"""The kinds that are read. PPM covers PBM and PGM as well."""
SUFFIXES: Final = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif"),
        *(".tif", ".tiff", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm"),
    }
)
"""Suffixes of image files, in lower case."""
MEND: Final = "convert it to PNG, JPEG or AVIF"
"""Advice for a file of another kind."""

_SIGNATURES: Final = (
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("JPEG", b"\xff\xd8\xff"),
    *(("TIFF", start) for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("BMP", b"BM"),
    ("GIF", b"GIF87a"),
    ("GIF", b"GIF89a"),
)
_PNM: Final = re.compile(rb"P[1-6][\s#]")
_BRANDS: Final = {
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"},
}
_OTHERS: Final = (
    *(("a JPEG XL image", start) for start in (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    *(("a JPEG 2000 image", start) for start in (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    ("a PAM image", b"P7"),
    *(("a floating-point PFM image", start) for start in (b"PF\n", b"Pf\n")),
    ("a Photoshop document", b"8BPS"),
    ("an OpenEXR image", b"\x76\x2f\x31\x01"),
    ("a Radiance HDR image", b"#?"),
    ("a DDS texture", b"DDS "),
    ("a QOI image", b"qoif"),
    ("a JPEG XR image", b"II\xbc"),
    ("a GIMP document", b"gimp xcf"),
    ("a FITS image", b"SIMPLE  ="),
    ("a NumPy array", b"\x93NUMPY"),
    ("a Windows icon", b"\0\0\1\0"),
    ("a PDF document", b"%PDF"),
    ("an SVG drawing", b"<svg"),
    ("an XML or SVG document", b"<?xml"),
)
_NO_IMAGES: Final = (
    ("a ZIP archive is not read: unpack it first", b"pk\3\4"),
    ("a gzip archive is not read: unpack it first", b"\x1f\x8b"),
    *(("a Web page is not read: fetch the image itself", start) for start in (b"<!doctype html", b"<html")),
    *(
        ("base64 text is not read: decode it to the bytes of the image", start)
        for start in (b"data:image/", b"ivborw0kggo", b"/9j/")
    ),
)
"""First bytes, in lower case, of what is often sent instead of an image."""


def kind_of(data: bytes) -> str:
    """Return the kind of an image file, one of `KINDS`.

    Raises:
        ImageError: empty, or not an image that is read here; the message names its kind if that is known.
    """
    if not data:
        raise ImageError("the image file is empty (0 bytes)")
    for kind, start in _SIGNATURES:
        if data.startswith(start):
            return kind
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if _PNM.match(data):
        return "PPM"
    if data[4:8] == b"ftyp":
        return _kind_of_boxes(data)
    other = next((name for name, start in _OTHERS if data.startswith(start)), None)
    if other:
        raise ImageError(f"{other} is not read: {MEND}")
    begin = data[:16].lower()
    if (problem := next((text for text, start in _NO_IMAGES if begin.startswith(start)), None)) is not None:
        raise ImageError(problem)
    raise ImageError(f"not an image of {', '.join(KINDS)}: {len(data)} bytes that begin with '{shown(data, 24)}'")


def is_image_path(path: Path) -> bool:
    """Whether a file is an image by its name: a suffix of `SUFFIXES`, and not hidden (`.x`, macOS's `._x`)."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def image_files(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the image files in a folder by `is_image_path`, sorted; hidden folders below it are skipped."""
    found = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        path
        for path in found
        if is_image_path(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def _kind_of_boxes(data: bytes) -> str:
    size = min(max(int.from_bytes(data[:4], "big"), 16), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, size, 4))}
    if brands & _BRANDS["AVIF"]:
        return "AVIF"
    if brands & _BRANDS["HEIC"] or data[8:12] in (b"mif1", b"msf1"):
        raise ImageError(f"a HEIC image is not read: {MEND}")
    raise ImageError(f"a video or another file of brand '{shown(data[8:12])}' is not read: {MEND}")
