"""Arrays and tensors of whole batches, over gRPC: both layouts, single images, and what is refused with what words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scoreguard_client import AsyncScoringClient, ImageError, Score, ScoringClient
from scoreguard_client._batches import items_of
from scoreguard_client._images import to_image

RNG = np.random.default_rng(1)
LAST = RNG.random((4, 5, 7, 3), dtype=np.float32)
FIRST = np.ascontiguousarray(LAST.transpose(0, 3, 1, 2))
AMBIGUOUS = RNG.random((2, 3, 5, 3), dtype=np.float32)


class Tensor:
    """What the client asks of a torch tensor, without torch: an array that must be detached and fetched first."""

    def __init__(self, array: Any, steps: tuple[str, ...] = ()) -> None:
        self.array, self.steps = array, steps
        self.dtype = f"fake.{array.dtype}"

    def detach(self) -> Tensor:
        """Without the graph."""
        return Tensor(self.array, (*self.steps, "detach"))

    def cpu(self) -> Tensor:
        """In memory."""
        return Tensor(self.array, (*self.steps, "cpu"))

    def numpy(self) -> Any:
        """The array; torch refuses what has a graph, is elsewhere, or is of a type that NumPy has not."""
        if self.steps != ("detach", "cpu") or self.array.dtype == np.float16:
            raise TypeError("Got unsupported ScalarType")
        return self.array


@pytest.mark.parametrize(
    "batch", [LAST, FIRST, Tensor(LAST), Tensor(FIRST), list(LAST)], ids=["NHWC", "NCHW", "tensor", "first", "list"]
)
async def test_a_batch_of_any_layout_is_scored_like_its_images(batch: Any, running: Any) -> None:
    """By batch and by stream, on both clients."""
    with ScoringClient(running.target) as client:
        expected = [client.score(image, metric="bright").score for image in LAST]
        found = [client.score_batch(batch, metric="bright"), list(client.score_stream(batch, metric="bright"))]
    async with AsyncScoringClient(running.target) as other:
        found += [
            await other.score_batch(batch, metric="bright"),
            [outcome async for outcome in other.score_stream(batch, metric="bright")],
        ]
    for outcomes in found:
        assert [outcome.score for outcome in outcomes if isinstance(outcome, Score)] == expected


def test_nothing_is_copied_before_the_message_is_made() -> None:
    """The items are views of the caller's memory."""
    for batch in (LAST, FIRST, Tensor(FIRST)):
        items: Any = items_of(batch, None)
        assert all(np.shares_memory(item, getattr(batch, "array", batch)) for item in items)
        assert [item.shape for item in items] == [(5, 7, 3)] * 4


@pytest.mark.parametrize(("layout", "shape"), [("NHWC", (3, 5, 3)), ("NCHW", (5, 3, 3))])
def test_the_layout_decides_where_both_fit(layout: Any, shape: tuple[int, ...]) -> None:
    """The caller says which."""
    items: Any = items_of(AMBIGUOUS, layout)
    assert [item.shape for item in items] == [shape] * 2
    expected = AMBIGUOUS if layout == "NHWC" else AMBIGUOUS.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(np.stack(items), expected)


@pytest.mark.parametrize(
    ("batch", "layout", "said"),
    [
        (AMBIGUOUS, None, r"has \(2, 3, 5, 3\): both fit, say which by layout='NHWC' or layout='NCHW'"),
        (LAST, "NCHW", r"has \(4, 5, 7, 3\): it is not NCHW"),
        (Tensor(FIRST), "NHWC", r"has \(4, 3, 5, 7\): it is not NHWC"),
        (LAST[..., :2], None, r"must have the shape \(N, height, width, 3\) or \(N, 3, height, width\), this one has"),
        (LAST[None], None, r"this one has \(1, 4, 5, 7, 3\)"),
        (Tensor(LAST[0]), None, "a list of images is wanted, not one Tensor: put it in brackets, or call score"),
        (list(LAST), "NHWC", "layout='NHWC' goes with one array or tensor that holds the whole batch"),
        (Tensor(LAST.astype(np.float16)), None, r"not fake\.float16: call tensor\.float\(\)"),
    ],
)
def test_a_batch_that_cannot_be_read_gets_the_line_that_mends_it(batch: Any, layout: Any, said: str) -> None:
    """Before anything is sent."""
    with ScoringClient("localhost:1") as client, pytest.raises(ImageError, match=said):
        client.score_batch(batch, metric="bright", layout=layout)


def test_a_single_tensor_has_its_channels_at_either_end() -> None:
    """Torch has them first, arrays last; where both ends have three, the caller must say."""
    for tensor in (Tensor(LAST[0]), Tensor(FIRST[0])):
        assert to_image(tensor) == to_image(LAST[0])
    with pytest.raises(ImageError, match="may have its channels at either end: pass it in a batch with layout="):
        to_image(Tensor(AMBIGUOUS[0]))
    with pytest.raises(ImageError, match="must have the shape"):
        to_image(Tensor(LAST[0, 0]))


def test_one_bad_image_of_a_batch_fails_alone(running: Any) -> None:
    """Values are checked image by image."""
    batch = FIRST.copy()
    batch[2, 0, 0, 0] = np.nan
    with ScoringClient(running.target) as client:
        outcomes = client.score_batch(batch, metric="bright")
    assert [type(outcome) for outcome in outcomes] == [Score, Score, ImageError, Score]
