"""Which files count as images, by their first bytes and by their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import features
from tests.proto.images.files import photo, saved

from scoreguard.images import KINDS, SUFFIXES, image_files, is_image_path, kind_of, read_image
from scoreguard.v1.errors import ImageError

pytestmark = pytest.mark.base


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_known_by_its_first_bytes(kind: str) -> None:
    """What Pillow writes as a kind is that kind."""
    assert kind_of(saved(photo(), kind.upper())) == kind


def boxed(brand: bytes, *others: bytes) -> bytes:
    """The beginning of an ISO media file."""
    body = brand + bytes(4) + b"".join(others)
    return (8 + len(body)).to_bytes(4, "big") + b"ftyp" + body + bytes(40)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty"),
        (b"hello", "not an image of PNG, JPEG, WebP, AVIF.*5 bytes that begin with 'hello'"),
        (b"\0\1\n\xff" * 99, r"begin with '\\x00\\x01\\n"),
        (boxed(b"heic"), "a HEIC image is not read: convert it to PNG, JPEG or AVIF"),
        (boxed(b"mif1", b"heic", b"miaf"), "a HEIC image"),
        (boxed(b"mif1"), "a HEIC image"),
        (boxed(b"isom", b"mp42"), "brand 'isom'.*convert"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
        (b"II\xbc\1", "JPEG XR.*convert"),
        (b"gimp xcf v011", "GIMP.*convert"),
        (b"\x93NUMPY\1\0", "NumPy.*convert"),
        (b"PK\3\4\x14\0", "ZIP archive is not read: unpack"),
        (b"\x1f\x8b\x08\0", "gzip archive is not read: unpack"),
        (b"<!DOCTYPE HTML>", "Web page is not read: fetch the image"),
        (b"<html lang=", "Web page is not read: fetch the image"),
        (b"iVBORw0KGgoAAAANSUhEUgAA", "base64 text is not read: decode it"),
        (b"/9j/4AAQSkZJRgABAQ", "base64 text is not read: decode it"),
        (b"data:image/png;base64,iVBO", "base64 text is not read: decode it"),
        (b"<svg xmlns=", "SVG"),
        (b"P7\nWIDTH 1", "PAM"),
        (b"RIFF\0\0\0\0WAVEfmt ", "not an image"),
        (b"P9\n1 1", "not an image"),
    ],
    ids=repr,
)
def test_other_files_are_refused_by_name(data: bytes, problem: str) -> None:
    """The line says what it is, where that is known, and what to do."""
    with pytest.raises(ImageError, match=problem) as caught:
        kind_of(data)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_avif_is_refused_with_the_mend_where_pillow_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some builds of Pillow have no AVIF; they can send such a file all the same."""
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(ImageError, match=r"built without AVIF.*install Pillow's own wheel"):
        read_image(boxed(b"avif"))
    assert kind_of(boxed(b"avif")) == kind_of(boxed(b"mif1", b"avif")) == "AVIF"


def test_names_of_images_are_told_by_suffix_and_hidden_files_are_none(tmp_path: Path) -> None:
    """Any case; macOS's companions, hidden files and folders, and folders with an image's name are left out."""
    wanted = ["a.png", "b.JPG", "c.jfif", "d.gif", "e.ppm", "f.AVIF", "inner/g.tiff", "inner/h.jpe"]
    others = ["._a.png", ".hidden.png", "notes.txt", "png", ".thumbnails/x.png", "inner/.cache/y.png", "i.heic"]
    for name in wanted + others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path, recursive=True)]
    assert found == sorted(wanted, key=lambda name: Path(name))
    assert [path.name for path in image_files(tmp_path)] == sorted(name for name in wanted if "/" not in name)
    assert all(is_image_path(Path("x" + suffix)) for suffix in SUFFIXES)


def test_a_folder_inside_a_hidden_one_can_be_named(tmp_path: Path) -> None:
    """Only what lies below the named folder counts as hidden."""
    folder = tmp_path / ".cache" / "images"
    folder.mkdir(parents=True)
    (folder / "a.png").touch()
    assert image_files(folder, recursive=True) == [folder / "a.png"]
