"""Large messages between gateway and worker as files, so that TorchServe's Java side only ever carries small ones.

Java would hold up to five copies of a message, and keeps the memory. A message above `INLINE_BYTES`, and one whose
answer may be, lies in a file of this instance's folder; TorchServe passes on its name. The worker writes the answer
into the same open file: where the gateway has given up and unlinked it, the answer vanishes with it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem
from scoreguard_handlers.errors import InvalidRequestError, ResourceLimitError

VARIABLE: Final = "SCOREGUARD_SPOOL"
"""How TorchServe's workers learn of the folder; nothing = no files are read."""
INLINE: Final = "data"
"""Key of a message itself in TorchServe's request."""
SPOOLED: Final = "spool"
"""Key of the name of a file with the message."""
MARK: Final = b"\0"
"""Answer of a worker that wrote its answer into the file; no protobuf message begins so."""
INLINE_BYTES: Final = 512 << 10
_NAME: Final = re.compile(r"[0-9a-f]{32}\Z")

Send = Callable[[Mapping[str, bytes]], Awaitable[bytes]]


class Spool:
    """The gateway's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def carry(self, request: WorkerRequest, send: Send) -> bytes:
        """Send a request in the form that fits its size, and give back the answer's bytes.

        Args:
            request: what a worker shall do.
            send: passes the fields of TorchServe's request on and returns the worker's answer.

        Raises:
            ResourceLimitError: the folder is full.
        """
        payload = request.SerializeToString()
        if len(payload) <= INLINE_BYTES and not any(_may_answer_large(item) for item in request.items):
            return await send({INLINE: payload})
        return await self._carry_in_file(payload, send)

    async def _carry_in_file(self, payload: bytes, send: Send) -> bytes:
        name = secrets.token_hex(16)
        path = self.folder / name
        try:
            # Opened here, written on a thread: a caller who leaves meanwhile leaves no file behind.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            await asyncio.to_thread(_write_and_close, file, payload)
            answer = await send({SPOOLED: name.encode()})
            return await asyncio.to_thread(path.read_bytes) if answer == MARK else answer
        except OSError as error:
            raise _full(error, len(payload)) from error
        finally:
            path.unlink(missing_ok=True)


def answer_spooled(name: bytes, answer: Callable[[bytes], bytes], environment: Mapping[str, str] = os.environ) -> bytes:
    """The worker's side: read the message, answer it, leave the answer in the same file.

    Args:
        name: of the file.
        answer: turns the bytes of a request into those of its response.
        environment: names the folder.

    Returns:
        MARK: the answer is in the file.

    Raises:
        InvalidRequestError: this worker has no such folder, or this is no name of such a file.
        ResourceLimitError: the folder is full.
    """
    folder, text = environment.get(VARIABLE), name.decode("ascii", "replace")
    if not folder or not _NAME.match(text):
        raise InvalidRequestError("this server reads no files by name; send the request under 'data'", field=SPOOLED)
    try:
        with (Path(folder) / text).open("r+b", buffering=0) as file:
            response = answer(file.readall())
            file.seek(0)
            file.truncate()
            _write(file.fileno(), response)
    except OSError as error:
        raise _full(error, 0) from error
    return MARK


def _may_answer_large(item: WorkItem) -> bool:
    return item.WhichOneof("work") in {"purify", "gradient"} or item.score.return_purified_image


def _write_and_close(file: int, payload: bytes) -> None:
    try:
        _write(file, payload)
    finally:
        os.close(file)


def _write(file: int, payload: bytes) -> None:
    rest = memoryview(payload)
    while rest:
        rest = rest[os.write(file, rest) :]


def _full(error: OSError, size: int) -> ResourceLimitError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    why = "the temporary folder is full" if full else f"no file for the message: {error.strerror}"
    return ResourceLimitError(f"{why}; send a smaller image or try again later", metadata={"size_bytes": str(size)})
