"""Tiles: the joined image is the one that a graph gives as a whole, and no tile is larger than it may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from scoreguard.chain.tiles import in_tiles, spans
from scoreguard.v1.manifest_pb2 import Tiling

RADIUS = 3


def join(parts: object, axis: int) -> np.ndarray:
    """Concatenation by numpy."""
    return np.concatenate(list(parts), axis=axis)  # type: ignore[call-overload]


@settings(max_examples=200, deadline=None)
@given(
    length=st.integers(1, 400),
    size=st.integers(20, 90),
    overlap=st.integers(0, 6),
    multiple=st.sampled_from([0, 1, 2, 4, 8]),
)
def test_spans_keep_every_pixel_once_and_read_no_more_than_a_tile(
    length: int, size: int, overlap: int, multiple: int
) -> None:
    """Kept parts follow each other; what is read holds them with the overlap, except at the image's edge."""
    tiling = Tiling(size=size, overlap=overlap, multiple=multiple)
    found = spans(length, tiling)
    assert [span.first for span in found] == [0, *(span.end for span in found[:-1])]
    assert found[-1].end == length
    for span in found:
        assert span.start <= max(span.first - overlap, 0)
        assert span.stop >= min(span.end + overlap, length)
        assert span.stop - span.start <= size + max(multiple, 1)
        assert span.start % max(multiple, 1) == 0
        assert len(found) == 1 or span.stop - span.start >= size - overlap - max(multiple, 1)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 150), width=st.integers(1, 150), seed=st.integers(0, 99))
def test_a_filter_in_tiles_is_the_filter_as_a_whole(height: int, width: int, seed: int) -> None:
    """With an overlap of the filter's radius nothing shows where tiles meet."""
    image = np.random.default_rng(seed).random((2, 3, height, width))

    def filtered(part: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        np.testing.assert_array_equal(part, image[:, :, rows, columns])
        return np.asarray(uniform_filter(part, (0, 0, 2 * RADIUS + 1, 2 * RADIUS + 1), mode="nearest"))

    tiled = in_tiles(image, Tiling(size=40, overlap=RADIUS), filtered, join)
    wanted = uniform_filter(image, (0, 0, 2 * RADIUS + 1, 2 * RADIUS + 1), mode="nearest")
    np.testing.assert_allclose(tiled, wanted, atol=1e-12)


@pytest.mark.parametrize("overlap", [0, RADIUS - 1])
def test_too_small_an_overlap_shows(overlap: int) -> None:
    """The test above can fail."""
    image = np.random.default_rng(0).random((1, 1, 100, 100))

    def filtered(part: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        return np.asarray(uniform_filter(part, (0, 0, 2 * RADIUS + 1, 2 * RADIUS + 1), mode="nearest"))

    tiled = in_tiles(image, Tiling(size=40, overlap=overlap), filtered, join)
    assert np.abs(tiled - filtered(image, slice(None), slice(None))).max() > 1e-3
