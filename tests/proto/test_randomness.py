"""Randomness: the same for the same seed, another for every other, up to the last bit of 64."""

from __future__ import annotations

import numpy as np
import pytest

from scoreguard.chain.randomness import draw
from scoreguard.v1.manifest_pb2 import (
    DISTRIBUTION_STANDARD_NORMAL,
    DISTRIBUTION_UNIFORM,
    RANDOM_SHAPE_IMAGE,
    RANDOM_SHAPE_ITEM,
    RandomInput,
)

pytestmark = pytest.mark.base

NOISE = RandomInput(name="noise", distribution=DISTRIBUTION_STANDARD_NORMAL, shape=RANDOM_SHAPE_IMAGE)
PLACE = RandomInput(name="place", distribution=DISTRIBUTION_UNIFORM, shape=RANDOM_SHAPE_ITEM)
SHAPE = (1, 3, 8, 8)


@pytest.mark.parametrize("seed", [0, 1, 2**53, 2**63 - 1, 2**63, 2**64 - 2])
def test_neighbouring_seeds_never_share_numbers(seed: int) -> None:
    """Not even where a float64 could not tell them apart."""
    first, again, other = (draw([NOISE], SHAPE, [value], 0)[0] for value in (seed, seed, seed + 1))
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


def test_images_of_a_batch_draw_by_their_own_seeds_and_steps_by_their_place() -> None:
    """An image's numbers do not depend on its batch."""
    together = draw([NOISE, PLACE], (2, 3, 8, 8), [5, 6], 1)
    alone = draw([NOISE, PLACE], SHAPE, [6], 1)
    for batch, single in zip(together, alone, strict=True):
        np.testing.assert_array_equal(batch[1:], single)
    assert not np.any(draw([NOISE], SHAPE, [6], 2)[0] == alone[0])


def test_numbers_have_the_law_and_the_shape_that_is_asked_for() -> None:
    """Standard normal for each value, uniform on [0, 1) for each image."""
    noise, places = draw([NOISE, PLACE], (400, 3, 8, 8), range(400), 0)
    assert (noise.shape, places.shape) == ((400, 3, 8, 8), (400,))
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    assert places.min() >= 0 and places.max() < 1
    assert abs(places.mean() - 0.5) < 0.06
