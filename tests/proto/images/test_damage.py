"""Any bytes: an image, or one line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.proto.images.files import bmp, gif, packed, photo, png, pnm, samples, saved, tiff

from scoreguard.images import KINDS, read_image
from scoreguard.v1.errors import ImageError

pytestmark = pytest.mark.base

FILES = [
    *(saved(photo(16, 12), kind.upper()) for kind in KINDS),
    saved(photo(16, 12), "JPEG", progressive=True),
    *(png(samples(16, channels), 16, colour) for channels, colour in ((1, 0), (3, 2), (2, 4), (4, 6))),
    png(samples(4), 4, 0, interlaced=True),
    *(tiff(packed(samples(depth), depth, "<"), depth, 0) for depth in (1, 8, 12, 16)),
    tiff(packed(samples(16, 4), 16, ">"), (16,) * 4, 2, order=">", t338=1),
    tiff(packed(samples(8, 3), 8), (8,) * 3, 2, big=True),
    pnm(2, samples(12), 4095),
    pnm(5, samples(12), 4095),
    bmp(bytes(200), 16, masks=(0xF800, 0x7E0, 0x1F)),
    gif(samples(4)[..., 0], np.zeros((16, 3)), key=3),
]
CHANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(FILES), CHANGES, st.integers(0, 3000))
@pytest.mark.filterwarnings("ignore")  # Pillow warns of damage that it can read past
def test_damaged_files_give_an_image_or_one_line(data: bytes, changes: list[tuple[int, int]], kept: int) -> None:
    """Whatever bytes are changed or cut off: values in range, or an error of the package on one short line."""
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        values = read_image(bytes(damaged[: max(kept, 8)]), max_pixels=10_000)
    except ImageError as error:
        assert len(str(error)) < 300
        assert len(str(error).splitlines()) == 1
    else:
        assert values.shape[2] == 3
        assert values.dtype == np.uint8 or (values.min() >= 0 and values.max() <= 1)
