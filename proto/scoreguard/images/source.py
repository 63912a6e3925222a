"""The bytes that a decoder reads, and the points at which it can be stopped."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Final

from scoreguard.v1.errors import ImageLimitError

MAX_PIXELS: Final = 50_000_000
"""Default for the largest image that is read."""
MAX_SECONDS: Final = 30.0
"""CPU time that reading one image may take."""

Check = Callable[[], None]
"""Called between two pieces of work; raises an exception to stop the reading."""

_SHORT, _LOOK_EVERY = 256, 64
# A scan of a progressive JPEG can be a few bytes long and costs a pass over all blocks.
_JPEG_PIECE: Final = 16384


def never() -> None:
    """Never stop: the check for callers without a time limit."""


class Watch:
    """Stops the reading of one image when the caller's check says so or when it has cost too much."""

    def __init__(self, check: Check, max_seconds: float) -> None:
        self._check, self._limit = check, max_seconds
        self._started = time.thread_time()
        self.stopped: Exception | None = None
        """The exception that stopped the reading; kept, since decoders may swallow or replace it."""

    def look(self) -> None:
        """Raise an exception if the reading has to stop.

        Raises:
            ImageLimitError: the reading has cost more CPU time than it may.
            Exception: any exception that the caller's check raises.
        """
        try:
            self._check()
            spent = time.thread_time() - self._started
            if spent > self._limit:
                raise ImageLimitError(
                    f"the image takes longer than {self._limit:g} s to decode; save it again as PNG or JPEG",
                    what="seconds",
                    value=round(spent, 3),
                    limit=self._limit,
                )
        except Exception as error:
            self.stopped = error
            raise


class Source(io.BytesIO):
    """A file in memory that checks the limits whenever it is read."""

    def __init__(self, data: bytes, watch: Watch, *, in_pieces: bool = False) -> None:
        super().__init__(data)
        self._watch, self._reads = watch, 0
        self.in_pieces = in_pieces
        """Whether long reads are cut short, for decoders that continue with a partial read."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, unless the reading has been stopped."""
        # Headers are read byte by byte, and a check costs more than such a read.
        self._reads += 1
        if size is None or not 0 <= size <= _SHORT or self._reads % _LOOK_EVERY == 0:
            self._watch.look()
        if self.in_pieces and (size is None or size < 0 or size > _JPEG_PIECE):
            size = _JPEG_PIECE
        return super().read(size)


def check_pixels(width: int, height: int, limit: int) -> None:
    """Refuse an image that is too large.

    Raises:
        ImageLimitError: it has more than `limit` pixels.
    """
    if width * height > limit:
        raise ImageLimitError(
            f"the image has {width} x {height} = {width * height} pixels, the limit is {limit}; send a smaller one",
            what="pixels",
            value=width * height,
            limit=limit,
        )
