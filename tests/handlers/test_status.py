"""The wire form of an error: whatever it was made of, it fits into what carries it, and says when to try again."""

from __future__ import annotations

import pytest
from gateways import unpack

from scoreguard_handlers.errors import (
    BackendUnavailableError,
    InvalidRequestError,
    ResourceLimitError,
    ServingError,
    TooLateError,
    UnknownNameError,
)
from scoreguard_handlers.worker.status import cut, to_status

FULL = ResourceLimitError("queue full", metadata={"waiting": "2", "limit": "2", "retry_after_seconds": "2.5"})


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (BackendUnavailableError("down"), 1.0),
        (FULL, 2.5),
        (ResourceLimitError("too big"), None),
        (TooLateError("late"), None),
    ],
)
def test_overload_says_when_to_try_again(error: ServingError, seconds: float | None) -> None:
    """UNAVAILABLE and a full queue carry RetryInfo; what would fail again does not."""
    details = unpack(to_status(error).details)
    assert ("RetryInfo" in details) is (seconds is not None)
    if seconds is not None:
        assert details["RetryInfo"].retry_delay.ToNanoseconds() == seconds * 1e9


LONG = "\U0001f600é\n" * 5000


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError(LONG, field=LONG, metadata={f"key{index}": LONG for index in range(50)}),
        UnknownNameError("defence", LONG, [f"a-rather-long-name-{index}" for index in range(500)], field="defences[0]"),
    ],
)
def test_a_status_is_small_whatever_the_error_holds(error: ServingError) -> None:
    """Below 4 KB with its details, and the message is one line; numbers are kept before lists."""
    error.metadata["limit"] = "5"
    status = to_status(error)
    assert status.ByteSize() < 4096
    assert "\n" not in status.message and len(status.message.encode()) <= 700
    assert unpack(status.details)["ErrorInfo"].metadata["limit"] == "5"


@pytest.mark.parametrize("size", range(3, 12))
def test_a_cut_never_splits_a_character(size: int) -> None:
    """What is left is text of at most the given bytes."""
    text = cut("aé\U0001f600é\U0001f600", size)
    assert len(text.encode()) <= size
    assert text.endswith("…") or text == "aé\U0001f600é\U0001f600"
