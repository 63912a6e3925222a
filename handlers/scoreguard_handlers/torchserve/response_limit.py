"""Keep answers small enough to send: TorchServe's Java side crashes on a message larger than its heap."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from scoreguard.v1.worker_pb2 import WorkerResponse, WorkResult
from scoreguard_handlers.errors import ResourceLimitError
from scoreguard_handlers.worker.status import to_status

VARIABLE: Final = "SCOREGUARD_MAX_RESPONSE_BYTES"
"""Environment variable that passes the limit to TorchServe's workers; 0 or unset = no limit."""


def limit_from(environment: Mapping[str, str] = os.environ) -> int:
    """Return the limit of this worker, in bytes."""
    return int(environment.get(VARIABLE) or 0)


def serialised(response: WorkerResponse, limit: int) -> bytes:
    """Return the answers as bytes; one above the limit is replaced by RESOURCE_EXHAUSTED with both sizes."""
    written = response.SerializeToString()  # asking protobuf for the size would serialise it as well
    return written if not limit or len(written) <= limit else _within(response, limit).SerializeToString()


def _within(response: WorkerResponse, limit: int) -> WorkerResponse:
    kept, total = WorkerResponse(), 0
    for result in response.results:
        size = result.ByteSize()
        fits = total + size <= limit
        total += size if fits else 0
        kept.results.append(result if fits else _refusal(size, limit))
    return kept


def _refusal(size: int, limit: int) -> WorkResult:
    error = ResourceLimitError(
        f"the answer has {size} bytes, the limit is {limit}: ask for a PNG, or send a smaller image",
        metadata={"size_bytes": str(size), "limit_bytes": str(limit)},
    )
    return WorkResult(status=to_status(error))
