"""Large messages between gateway and worker as files, so TorchServe's Java side only handles small ones.

Java would hold up to five copies of a message, and keeps the memory. A message above `INLINE_BYTES`, or one whose
answer may be, is in a file in this instance's folder; TorchServe passes on its name. The gateway writes the requests
there as they arrived, which is the only copy of an image: the worker maps the file. The worker writes the answer into
the same open file: if the gateway has given up and unlinked it, the answer disappears with it.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from scoreguard_handlers.errors import InvalidRequestError, ResourceLimitError
from scoreguard_handlers.worker.pieces import Piece, write_call
from scoreguard_handlers.worker.wire import Buffer

VARIABLE: Final = "SCOREGUARD_SPOOL"
"""Environment variable that passes the folder to TorchServe's workers; unset = no files are read."""
INLINE: Final = "data"
"""Key of a message itself in TorchServe's request."""
SPOOLED: Final = "spool"
"""Key of the name of a file with the message."""
MARK: Final = b"\0"
"""Reply of a worker that wrote its answer into the file; no protobuf message begins this way."""
INLINE_BYTES: Final = 512 << 10
_NAME: Final = re.compile(r"[0-9a-f]{32}\Z")

Send = Callable[[Mapping[str, bytes]], Awaitable[bytes]]


class Spool:
    """The gateway's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def carry(self, pieces: Sequence[Piece], send: Send) -> bytes:
        """Send a worker call in the form that suits its size, and return the answer's bytes.

        Args:
            pieces: the work for the worker.
            send: passes the fields of TorchServe's request on and returns the worker's answer.

        Raises:
            ResourceLimitError: the folder is full.
        """
        parts = write_call(pieces)
        if sum(map(len, parts)) <= INLINE_BYTES and not any(piece.may_answer_large for piece in pieces):
            return await send({INLINE: b"".join(parts)})
        return await self._carry_in_file(parts, send)

    async def _carry_in_file(self, parts: Sequence[Buffer], send: Send) -> bytes:
        name = secrets.token_hex(16)
        path = self.folder / name
        try:
            # Opened here, written on a thread: if the caller leaves meanwhile, no file is left behind.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            await asyncio.to_thread(_write_and_close, file, parts)
            answer = await send({SPOOLED: name.encode()})
            return await asyncio.to_thread(path.read_bytes) if answer == MARK else answer
        except OSError as error:
            raise _full(error, sum(map(len, parts))) from error
        finally:
            path.unlink(missing_ok=True)


def answer_spooled(
    name: bytes, answer: Callable[[Buffer], bytes], environment: Mapping[str, str] = os.environ
) -> bytes:
    """The worker's side: read the message, answer it, write the answer into the same file.

    Args:
        name: name of the file.
        answer: converts the bytes of a request, which are gone when it returns, to those of its response.
        environment: names the folder.

    Returns:
        MARK: the answer is in the file.

    Raises:
        InvalidRequestError: this worker has no such folder, or the name is not that of such a file.
        ResourceLimitError: the folder is full.
    """
    folder, text = environment.get(VARIABLE), name.decode("ascii", "replace")
    if not folder or not _NAME.match(text):
        raise InvalidRequestError("this server reads no files by name; send the request under 'data'", field=SPOOLED)
    try:
        with (Path(folder) / text).open("r+b", buffering=0) as file:
            response = answer(_mapped(file.fileno()))
            file.seek(0)
            file.truncate()
            _write(file.fileno(), response)
    except OSError as error:
        raise _full(error, 0) from error
    return MARK


def _mapped(file: int) -> Buffer:
    """Map the bytes of a file. It may be truncated only when nothing reads them any more."""
    return memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ)) if os.fstat(file).st_size else b""


def _write_and_close(file: int, parts: Sequence[Buffer]) -> None:
    try:
        for part in parts:
            _write(file, part)
    finally:
        os.close(file)


def _write(file: int, payload: Buffer) -> None:
    rest = memoryview(payload)
    while rest:
        rest = rest[os.write(file, rest) :]


def _full(error: OSError, size: int) -> ResourceLimitError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    why = "the temporary folder is full" if full else f"no file for the message: {error.strerror}"
    return ResourceLimitError(f"{why}; send a smaller image or try again later", metadata={"size_bytes": str(size)})
