"""Large messages as files: both sides, without TorchServe between them."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scoreguard.v1.scoring_pb2 import Image, PurifyRequest, ScoreDefendedRequest, ScoreGradientRequest
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem
from scoreguard_handlers.errors import InvalidRequestError, ResourceLimitError
from scoreguard_handlers.torchserve.spool import INLINE, INLINE_BYTES, MARK, SPOOLED, VARIABLE, Spool, answer_spooled
from scoreguard_handlers.worker.pieces import pieces_of
from scoreguard_handlers.worker.wire import Buffer

LARGE = 20 << 20


def scoring(size: int, **fields: Any) -> WorkerRequest:
    """A request with an image of so many bytes."""
    return WorkerRequest(items=[WorkItem(score=ScoreDefendedRequest(image=Image(encoded=bytes(size)), **fields))])


def carried(folder: Path, request: WorkerRequest, answer: bytes = b"answer") -> tuple[bytes, dict[str, bytes]]:
    """The answer that the gateway gets, and what TorchServe carried."""
    seen: dict[str, bytes] = {}

    async def send(fields: Mapping[str, bytes]) -> bytes:
        seen.update(fields)
        if INLINE in fields:
            return answer

        def run(payload: Buffer) -> bytes:
            assert payload == request.SerializeToString()
            return answer

        return answer_spooled(fields[SPOOLED], run, {VARIABLE: str(folder)})

    return asyncio.run(Spool(folder).carry(pieces_of(request), send)), seen


@pytest.mark.parametrize(
    ("request_message", "key"),
    [
        (scoring(1000), INLINE),
        (scoring(INLINE_BYTES), SPOOLED),
        (scoring(LARGE), SPOOLED),
        (scoring(10, return_purified_image=True), SPOOLED),
        (WorkerRequest(items=[WorkItem(purify=PurifyRequest())]), SPOOLED),
        (WorkerRequest(items=[WorkItem(gradient=ScoreGradientRequest())]), SPOOLED),
    ],
    ids=["small", "at the limit", "large", "image back", "purify", "gradient"],
)
def test_what_is_or_may_become_large_goes_through_a_file(
    tmp_path: Path, request_message: WorkerRequest, key: str
) -> None:
    """TorchServe carries a name of 32 characters then; the file is gone when the call is over."""
    answer = bytes(LARGE) + b"end"
    got, seen = carried(tmp_path, request_message, answer)
    assert got == answer
    assert set(seen) == {key}
    assert key == INLINE or len(seen[SPOOLED]) == 32
    assert list(tmp_path.iterdir()) == []


def test_an_answer_may_be_shorter_or_longer_than_the_request(tmp_path: Path) -> None:
    """Nothing of the request stays behind the answer in the file."""
    assert carried(tmp_path, scoring(LARGE), b"short")[0] == b"short"
    assert carried(tmp_path, scoring(LARGE), bytes(2 * LARGE))[0] == bytes(2 * LARGE)
    assert carried(tmp_path, scoring(LARGE), b"")[0] == b""


def test_a_caller_who_leaves_leaves_no_file(tmp_path: Path) -> None:
    """Neither the request's, nor an answer that comes after all."""
    opened = []

    async def scenario() -> None:
        async def send(fields: Mapping[str, bytes]) -> bytes:
            opened.append((tmp_path / fields[SPOOLED].decode()).open("r+b"))
            await asyncio.sleep(60)
            return MARK

        call = asyncio.create_task(Spool(tmp_path).carry(pieces_of(scoring(LARGE)), send))
        async with asyncio.timeout(20):
            while not opened:
                await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(scenario())
    with opened[0] as late:
        late.write(b"answer")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [b"../" + b"0" * 29, b"/etc/passwd", b"", b"0" * 31, b"0" * 33, b"\xff" * 32])
def test_a_worker_opens_nothing_but_its_own_files(tmp_path: Path, name: bytes) -> None:
    """A name is 32 hexadecimal digits, in the folder that the gateway made."""
    with pytest.raises(InvalidRequestError, match="send the request under 'data'"):
        answer_spooled(name, bytes, {VARIABLE: str(tmp_path)})


def test_without_a_folder_a_worker_reads_no_files(tmp_path: Path) -> None:
    """Plain TorchServe has none: a caller's file name is refused."""
    (tmp_path / ("0" * 32)).touch()
    with pytest.raises(InvalidRequestError):
        answer_spooled(b"0" * 32, bytes, {})


def test_a_full_disk_is_resource_exhausted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for the caller; no file stays."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ResourceLimitError, match="the temporary folder is full"):
        carried(tmp_path, scoring(LARGE))
    assert list(tmp_path.iterdir()) == []
