"""How many calls to keep in flight: enough to fill the server's batches, and few if images are large.

A float32 image of 48 megapixels is a message of 576 MB, of which client and server each hold several copies: eight at
once would fill either machine, and a server runs them one after the other anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import numpy.typing as npt

CALLS_IN_FLIGHT: Final = 8
"""Enough to fill the server's batches."""
BYTES_IN_FLIGHT: Final = 256 << 20
"""Bytes of images in the calls in flight; a larger image is sent alone."""


@contextmanager
def pool_for(images: Iterable[npt.NDArray[Any]], most: int = CALLS_IN_FLIGHT) -> Iterator[ThreadPoolExecutor]:
    """Provide threads that may each have one of these images in flight; after a failure, none starts another."""
    largest = max((image.nbytes for image in images), default=0)
    workers = max(1, min(most, BYTES_IN_FLIGHT // max(largest, 1)))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="scoreguard-calls")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
