"""Tell answers of workers from statuses."""

from __future__ import annotations

from scoreguard.service import StatusError
from scoreguard.v1.worker_pb2 import WorkResult


def succeeded(result: WorkResult) -> WorkResult:
    """Return the result unchanged, if it is not a status.

    Raises:
        StatusError: it is.
    """
    if result.WhichOneof("result") in {None, "status"}:
        raise StatusError(result.status)
    return result
