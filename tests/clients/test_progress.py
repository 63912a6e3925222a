"""Progress in a log: how far, how fast, and how long it will take."""

from __future__ import annotations

import io

from rich.console import Console

from scoreguard_client.commands._progress import _Lines


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time, in seconds."""
        return self.now


def test_a_line_every_ten_seconds_says_the_speed_and_what_is_left() -> None:
    """What a resumed run has already comes in the first moment, and does not count as speed."""
    clock, out = Clock(), io.StringIO()
    lines = _Lines(Console(file=out, width=200), clock)
    lines.begin(1000)
    lines.advance(400, "clean images")
    for second in range(1, 31):
        clock.now = 101.0 + second
        lines.advance(4, f"step {second}")
    lines.advance(480, "")
    assert out.getvalue().splitlines() == [
        "440/1000, 3.64/s, 3 min to go step 10",
        "484/1000, 3.82/s, 2 min to go step 21",
        "1000/1000, 19.4/s",
    ]


def test_a_run_that_is_there_already_has_no_speed() -> None:
    """One line, at once."""
    clock, out = Clock(), io.StringIO()
    lines = _Lines(Console(file=out, width=200), clock)
    lines.begin(24)
    for _ in range(4):
        lines.advance(6, "")
    assert out.getvalue() == "24/24\n"
