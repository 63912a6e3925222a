"""Photographs of folders: found by name, read as the server reads them, in 8 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from scoreguard_export.errors import TrainingError
from scoreguard_export.training.photos import photos_in, read_photo


def test_deep_and_transparent_photographs_are_read_as_the_server_reads_them(tmp_path: Path) -> None:
    """16-bit grey is divided and not clipped, transparency is composed over white, hidden files are left out."""
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    PIL.Image.fromarray(grey).save(tmp_path / "deep.png")
    PIL.Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(tmp_path / "clear.webp", lossless=True)
    (tmp_path / "._deep.png").write_bytes(b"companion")
    photos = photos_in((tmp_path,))
    assert set(photos) == {"deep", "clear"}
    np.testing.assert_array_equal(photos["deep"][..., 0], np.rint(grey / 65535 * 255))
    assert photos["clear"].min() == 255


def test_a_photograph_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """One line with the path, instead of Pillow's own error."""
    (tmp_path / "bad.png").write_bytes(b"no image")
    for path in (tmp_path / "bad.png", tmp_path / "missing.png"):
        with pytest.raises(TrainingError, match=f"cannot read the photograph .*{path.name}"):
            read_photo(path)
