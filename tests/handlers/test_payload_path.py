"""The path of an image through the server: from the bytes that gRPC hands over to what a worker reads."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gateways import connected
from tiny_archives import write_tiny_archive

from scoreguard.v1.codec import to_tensor
from scoreguard.v1.scoring_pb2 import (
    Image,
    PurifyRequest,
    ScoreDefendedBatchRequest,
    ScoreDefendedRequest,
    ScoreDefendedStreamRequest,
    ScoreDefendedStreamResponse,
)
from scoreguard.v1.worker_pb2 import WorkerResponse
from scoreguard_handlers.backends.local import LocalBackend
from scoreguard_handlers.config import AdmissionConfig, WorkerConfig
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.torchserve.spool import INLINE, SPOOLED, VARIABLE, Spool, answer_spooled
from scoreguard_handlers.worker.catalogue import Catalogue
from scoreguard_handlers.worker.pieces import Piece, read_call
from scoreguard_handlers.worker.received import Received, read_batch, read_request, read_stream_message
from scoreguard_handlers.worker.wire import Buffer
from scoreguard_handlers.worker.worker import Worker

SIDE = 2048
"""Of a float image of 48 MiB: glibc gives what is larger than 32 MiB back to the system at once."""
PAYLOAD = SIDE * SIDE * 3 * 4
MIB = 1 << 20


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with one metric."""
    folder = tmp_path_factory.mktemp("store")
    write_tiny_archive(folder)
    return folder


@pytest.fixture(scope="module")
def frame() -> ScoreDefendedRequest:
    """A float image of 48 MiB."""
    values = np.full((SIDE, SIDE, 3), 0.25, np.float32)  # every sum of which float32 holds exactly
    return ScoreDefendedRequest(image=Image(tensor=to_tensor(values)), metric="bright")


class Watched:
    """The local backend of a gateway, whose pieces are kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pieces: list[Piece] = []
        run = LocalBackend.run

        async def noted(backend: LocalBackend, metric: str, pieces: Sequence[Piece]) -> WorkerResponse:
            self.pieces.extend(pieces)
            return await run(backend, metric, pieces)

        monkeypatch.setattr(LocalBackend, "run", noted)

    def requests(self) -> list[Received[Any]]:
        """What callers sent; the canaries are small."""
        return [piece.request for piece in self.pieces if piece.request and piece.request.size > MIB]


async def unary(line: Any, frame: ScoreDefendedRequest) -> list[float]:
    """One image."""
    return [(await line.stub.ScoreDefended(frame)).score]


async def purified(line: Any, frame: ScoreDefendedRequest) -> list[float]:
    """One image, purified only; its brightness."""
    request = PurifyRequest(image=frame.image, metric="bright")
    request.defences.add(name="gain").parameters["factor"] = 1
    answer = await line.stub.Purify(request)
    return [100 * float(np.frombuffer(answer.purified_image.tensor.data, "<f4").mean())]


async def batch(line: Any, frame: ScoreDefendedRequest) -> list[float]:
    """Two images in one message."""
    answer = await line.stub.ScoreDefendedBatch(ScoreDefendedBatchRequest(requests=[frame, frame]))
    return [result.response.score for result in answer.results]


async def stream(line: Any, frame: ScoreDefendedRequest) -> list[float]:
    """Two messages of one image each."""
    call = line.stub.ScoreDefendedStream(iter([ScoreDefendedStreamRequest(request=frame)] * 2))
    answers: list[ScoreDefendedStreamResponse] = [answer async for answer in call]
    return [answer.result.response.score for answer in answers]


@pytest.mark.parametrize(
    ("call", "messages"),
    [(unary, 1), (purified, 1), (batch, 1), (stream, 2)],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_the_bytes_of_a_request_reach_the_backend_as_they_came(
    store: Path,
    frame: ScoreDefendedRequest,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[Any, ScoreDefendedRequest], Coroutine[Any, Any, list[float]]],
    messages: int,
) -> None:
    """Image and message of an item are views of the one object that gRPC handed over, batch or not."""
    watched = Watched(monkeypatch)
    async with connected(store, max_message_bytes=256 * MIB) as line:
        assert await call(line, frame) == pytest.approx([25] * len(watched.requests()), abs=1e-3)
    requests = watched.requests()
    whole = [memoryview(request.wire).obj for request in requests]
    assert len(requests) in {1, 2}
    assert all(isinstance(held, bytes) for held in whole)
    assert all(
        request.cut is not None and request.cut.obj is held for request, held in zip(requests, whole, strict=True)
    )
    assert len({id(held) for held in whole}) == messages
    for request in requests:
        assert bytes(request.image) == frame.image.tensor.data
        assert request.head.ByteSize() < 100


def memory(key: str) -> int:
    """A line of this process's status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) << 10


class Peak:
    """The most memory that this process takes beyond what it has now, in images."""

    def __init__(self) -> None:
        self._before = memory("VmRSS")

    def since_last(self) -> float:
        """Since the last look."""
        peak = memory("VmHWM")
        Path("/proc/self/clear_refs").write_text("5")
        return (peak - self._before) / PAYLOAD


class SpoolBackend(LocalBackend):
    """Both sides of TorchServe's backend without TorchServe between them; says what each takes of memory."""

    def __init__(self, worker: Worker, folder: Path) -> None:
        super().__init__({}, workers=1)
        self._worker, self._folder = worker, folder
        self.gateway: list[float] = []
        """Peak from the bytes of the message until they are sent, for each call."""
        self.both: list[float] = []
        """Peak while the worker reads and answers them."""

    async def run(self, metric: str, pieces: Sequence[Piece]) -> WorkerResponse:
        """Carry the pieces through a file."""

        async def send(fields: Mapping[str, bytes]) -> bytes:
            if INLINE in fields:
                return answer(fields[INLINE])
            self.gateway.append(self.peak.since_last())
            reply = answer_spooled(fields[SPOOLED], answer, {VARIABLE: str(self._folder)})
            self.both.append(self.peak.since_last())
            return reply

        def answer(payload: Buffer) -> bytes:
            return self._worker.answer(read_call(payload)).SerializeToString()

        return WorkerResponse.FromString(await Spool(self._folder).carry(pieces, send))

    def measure(self) -> None:
        """Measure from here on."""
        self.peak = Peak()
        self.peak.since_last()


def read_one(data: bytes) -> list[Received[Any]]:
    """As ScoreDefended does."""
    return [read_request(data, ScoreDefendedRequest)]


def read_two(data: bytes) -> list[Received[Any]]:
    """As ScoreDefendedBatch does."""
    return list(read_batch(data).requests)


def read_streamed(data: bytes) -> list[Received[Any]]:
    """As ScoreDefendedStream does."""
    return [read_stream_message(data)]


READERS: dict[str, tuple[Callable[[ScoreDefendedRequest], Any], Callable[[bytes], list[Received[Any]]]]] = {
    "unary": (lambda frame: frame, read_one),
    "batch": (lambda frame: ScoreDefendedBatchRequest(requests=[frame, frame]), read_two),
    "stream": (lambda frame: ScoreDefendedStreamRequest(request=frame), read_streamed),
}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is Linux's")
@pytest.mark.parametrize("kind", READERS)
async def test_an_image_is_not_held_twice(tmp_path: Path, store: Path, frame: ScoreDefendedRequest, kind: str) -> None:
    """From gRPC's bytes to the file nothing of an image's size is taken; a worker takes its planes.

    Here, where both are one process, the pages of the file count as well while the worker reads them.
    """
    make, read = READERS[kind]
    data, catalogue = make(frame).SerializeToString(), Catalogue.open(store)
    worker = Worker.load(catalogue["bright"].archive, WorkerConfig())
    backend = SpoolBackend(worker, tmp_path)
    router = RequestRouter(catalogue, backend, AdmissionConfig(), Telemetry())
    tiny = ScoreDefendedRequest(image=Image(tensor=to_tensor(np.full((8, 8, 3), 0.25, np.float32))), metric="bright")
    await router.route(Received.of(tiny), 60)  # what is loaded once is not counted
    backend.measure()
    for request in read(data):
        assert (await router.route(request, 60)).score.score == pytest.approx(25, abs=1e-3)
    assert len(backend.gateway) == len(read(data))
    assert max(backend.gateway) < 0.2
    assert max(backend.both) < 2.2
    await backend.close()
