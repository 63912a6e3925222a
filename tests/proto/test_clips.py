"""Which frames of a clip are scored, and with which seeds."""

from __future__ import annotations

import pytest

from scoreguard.chain.clips import Sampling, frame_seed
from scoreguard.v1.scoring_pb2 import CLIP_DRAW_EACH_FRAME, CLIP_DRAW_ONCE, CLIP_DRAW_UNSPECIFIED, FrameSampling


@pytest.mark.parametrize(
    ("every", "limit", "taken"),
    [
        (0, 0, [*range(10)]),
        (1, 3, [0, 1, 2]),
        (3, 0, [0, 3, 6, 9]),
        (4, 2, [0, 4]),
        (20, 0, [0]),
        (4, 9, [0, 4, 8]),
    ],
)
def test_frames_are_taken_from_the_first_on(every: int, limit: int, taken: list[int]) -> None:
    """0, every, 2 * every, until the limit is reached or the clip ends."""
    sampling, found = Sampling.of(FrameSampling(every=every, limit=limit)), list[int]()
    for index in range(10):
        if sampling.takes(index):
            found.append(index)
        if sampling.ends_after(index):
            break
    assert found == taken


def test_one_draw_is_the_seed_of_the_clip() -> None:
    """And the default."""
    seed = (1 << 64) - 1
    assert {
        frame_seed(seed, index, draw) for index in range(5) for draw in (CLIP_DRAW_UNSPECIFIED, CLIP_DRAW_ONCE)
    } == {seed}


def test_a_draw_a_frame_is_a_seed_of_its_own() -> None:
    """Of 64 bits; by the seed of the clip and the place of the frame, and by nothing else."""
    seeds = [frame_seed(seed, index, CLIP_DRAW_EACH_FRAME) for seed in (0, 1, 1 << 63) for index in range(100)]
    assert len(set(seeds)) == 300
    assert max(seeds) > 1 << 63
    assert seeds[7] == frame_seed(0, 7, CLIP_DRAW_EACH_FRAME)
