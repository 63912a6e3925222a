"""Which files of a folder a campaign attacks, and how it reads them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from scoreguard_client.campaign import PlanError
from scoreguard_client.commands.bench import _folder
from scoreguard_client.target.images import find_images, read_image


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_every_kind_of_image_is_found_and_hidden_files_are_none(tmp_path: Path) -> None:
    """GIF, PPM, JFIF and AVIF as well; not macOS's companion files, which have the suffix of an image."""
    gradient = PIL.Image.linear_gradient("L").resize((8, 8)).convert("RGB")
    for name in ("a.gif", "b.ppm", "c.jfif", "d.avif", "e.PNG"):
        gradient.save(tmp_path / name, {".jfif": "JPEG"}.get(Path(name).suffix))
    for name in ("._e.PNG", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"no image")
    assert [image.name for image in find_images(tmp_path).images] == ["a.gif", "b.ppm", "c.jfif", "d.avif", "e.PNG"]
    assert len(_folder(tmp_path)) == 5


def test_an_image_of_too_many_pixels_is_refused_by_name_before_decoding(tmp_path: Path) -> None:
    """17 KB that claim 144 megapixels, which the server refuses: the line names file, size and limit."""
    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(12_001 * 1200), 9)) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body)
    with pytest.raises(PlanError, match=r"huge\.png: the image has 12000 x 12000 = 144000000 pixels, the limit is"):
        find_images(tmp_path)


def test_a_deep_image_is_read_at_its_depth(tmp_path: Path) -> None:
    """A campaign attacks the values that the server scores."""
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    PIL.Image.fromarray(grey).save(tmp_path / "deep.png")
    (image,) = find_images(tmp_path).images
    np.testing.assert_array_equal(read_image(tmp_path, image)[..., 0], grey.astype(np.float32) / np.float32(65535))
