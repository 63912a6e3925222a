"""Forms of TIFF that Pillow opens and misreads, or calls damaged: read rightly, or refused by name."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from tests.proto.images.files import packed, samples, tiff

from scoreguard.images import read_image
from scoreguard.v1.errors import ImageError

pytestmark = pytest.mark.base

UNASSOCIATED, ASSOCIATED, UNSPECIFIED = 2, 1, 0


def planes(values: Any, *, deflate: bool = True) -> list[bytes]:
    """Each channel of 8-bit values as a plane of its own."""
    raw = [packed(values[..., i : i + 1], 8) for i in range(values.shape[2])]
    return [zlib.compress(plane) for plane in raw] if deflate else raw


@pytest.mark.parametrize("photometric", [1, 3], ids=["grey", "palette"])
@pytest.mark.parametrize("extra", [UNASSOCIATED, ASSOCIATED, UNSPECIFIED])
def test_one_colour_and_opacity_in_separate_planes_are_refused(photometric: int, extra: int) -> None:
    """Pillow took the first plane for both, so the opacity was the grey: off by up to 0.93."""
    colours: dict[str, Any] = {"t320": (3, tuple(range(0, 65536, 256)) * 3)} if photometric == 3 else {}
    data = tiff(planes(samples(8, 2)), (8, 8), photometric, t284=2, t259=8, t338=extra, **colours)
    with pytest.raises(ImageError, match=r"separate planes is not read: save it interleaved"):
        read_image(data)


@pytest.mark.parametrize("tags", [{}, {"t338": ASSOCIATED}, {"t338": UNSPECIFIED}, {"t338": 9}], ids=str)
@pytest.mark.parametrize("deflate", [True, False])
def test_rgb_and_a_fourth_plane_that_is_no_straight_opacity_are_refused(tags: dict[str, Any], deflate: bool) -> None:
    """Pillow misread some of them by 0.23 and called others damaged."""
    data = tiff(planes(samples(8, 4), deflate=deflate), (8,) * 4, 2, t284=2, t259=8 if deflate else 1, **tags)
    with pytest.raises(ImageError, match=r"separate planes is not read"):
        read_image(data)


@pytest.mark.parametrize("deflate", [True, False])
def test_rgb_and_straight_opacity_in_separate_planes_are_composed_over_white(deflate: bool) -> None:
    """The one kind of opacity in planes that is read."""
    values = samples(8, 4)
    data = tiff(planes(values, deflate=deflate), (8,) * 4, 2, t284=2, t338=UNASSOCIATED, t259=8 if deflate else 1)
    opacity = values[..., 3:] / 255
    expected = values[..., :3] * opacity + 255 * (1 - opacity)
    np.testing.assert_allclose(read_image(data), expected, atol=1.01)


def test_separate_planes_with_the_low_bit_first_are_refused() -> None:
    """Pillow ignores FillOrder there."""
    with pytest.raises(ImageError, match="low bit first"):
        read_image(tiff(planes(samples(8, 3), deflate=False), (8,) * 3, 2, t284=2, t266=2))


def test_premultiplied_grey_is_composed_over_white() -> None:
    """Grey that was multiplied by its opacity, interleaved, in 8 bits."""
    values = samples(8, 2)
    values[..., 0] = values[..., 0] * values[..., 1] // 255
    data = tiff(packed(values, 8), (8, 8), 1, t338=ASSOCIATED)
    expected = np.repeat(values[..., :1] + 255 - values[..., 1:], 3, axis=2)
    np.testing.assert_allclose(read_image(data), expected, atol=2)


LIMITED = (5, tuple(part for level in (16, 235, 128, 240, 128, 240) for part in (level, 1)))
FULL = (5, tuple(part for level in (0, 255, 128, 255, 128, 255) for part in (level, 1)))
REC_709 = (5, (2126, 10000, 7152, 10000, 722, 10000))
REC_601 = (5, (299, 1000, 587, 1000, 114, 1000))


@pytest.mark.parametrize("tags", [{"t532": LIMITED}, {"t529": REC_709}, {"t532": (5, (0, 0) * 6)}], ids=str)
def test_uncompressed_ycbcr_of_another_range_or_coefficients_is_refused(tags: dict[str, Any]) -> None:
    """Without libtiff Pillow knows JPEG's definition only: off by up to 0.10."""
    with pytest.raises(ImageError, match=r"coefficients or range"):
        read_image(tiff(packed(samples(8, 3), 8), (8,) * 3, 6, t530=(1, 1), **tags))


def test_uncompressed_ycbcr_may_say_what_holds_anyway() -> None:
    """Naming the defaults changes nothing."""
    plain = tiff(packed(samples(8, 3), 8), (8,) * 3, 6, t530=(1, 1))
    named = tiff(packed(samples(8, 3), 8), (8,) * 3, 6, t530=(1, 1), t532=FULL, t529=REC_601)
    np.testing.assert_array_equal(read_image(named), read_image(plain))


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (34712, "JPEG 2000"),
        (33005, "JPEG 2000"),
        (34934, "JPEG XR"),
        (50002, "JPEG XL"),
        (34887, "LERC"),
        (34933, "PNG"),
        (50001, "WebP"),
        (34661, "JBIG"),
        (12345, "method 12345"),
    ],
)
def test_compressions_that_are_not_read_are_named(method: int, name: str) -> None:
    """They used to be "damaged or truncated: 34712"."""
    with pytest.raises(ImageError, match=rf"a TIFF compressed by {name} is not read: save it with Deflate or LZW"):
        read_image(tiff(packed(samples(8), 8), 8, 1, t259=method))


def test_more_samples_than_the_colours_need_are_refused_by_their_number() -> None:
    """Spectral images have many; Pillow said "damaged"."""
    for photometric, count, extras in ((1, 3, 2), (2, 8, 5), (5, 7, 3), (0, 2, 1)):
        data = tiff(packed(samples(8, count), 8), (8,) * count, photometric, t338=(0,) * extras)
        with pytest.raises(ImageError, match=rf"with {extras} more sample\(s\) for each pixel than its colours"):
            read_image(data)


def test_fewer_samples_than_the_colours_need_are_damage() -> None:
    """An RGB file of two samples."""
    with pytest.raises(ImageError, match=r"damaged or truncated: it has 2 samples for each pixel instead of 3"):
        read_image(tiff(packed(samples(8, 2), 8), (8, 8), 2))
