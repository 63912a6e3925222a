"""Cost of passing one float image from the bytes that gRPC delivers to the planes that a graph reads.

    python benchmarks/payload_path.py --side 1448 --rounds 15

`before` is the earlier path, written out here: a request was parsed, copied into the worker's message, serialised and
parsed again. `now` runs the server's own code. Both paths alternate in one process. Times are ratios to one copy of the
payload into fresh memory, in the same round. `pages` are pages touched for the first time, in payloads: each copy by
protobuf or Python touches as many as the payload has (the planes are huge pages and hardly count). `peak` is the most
memory above what the process held before, in payloads, including the pages of a mapped file (Linux). Java's part is
left out: it only passes a file name.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scoreguard.v1.codec import to_tensor
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest
from scoreguard.v1.worker_pb2 import PoolRequest, WorkerRequest
from scoreguard_handlers.gateway.allocator import return_memory_early
from scoreguard_handlers.torchserve.spool import SPOOLED, VARIABLE, Spool, answer_spooled
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.images import decode
from scoreguard_handlers.worker.pieces import Piece, read_call
from scoreguard_handlers.worker.received import read_request
from scoreguard_handlers.worker.wire import Buffer

MAX_PIXELS = 50_000_000
PARTS = ("gateway", "worker")


@dataclass
class Cost:
    """Cost of one part of one path."""

    seconds: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)


class Meter:
    """Records the cost of each part of the paths, in units of the payload."""

    def __init__(self, payload: int) -> None:
        self._payload = payload
        self.costs: dict[tuple[str, str], Cost] = {}

    @contextmanager
    def part(self, path: str, name: str) -> Iterator[None]:
        """Measure the block."""
        cost = self.costs.setdefault((path, name), Cost())
        held, pages = memory("VmRSS"), faults()
        Path("/proc/self/clear_refs").write_text("5")
        started = time.perf_counter()
        try:
            yield
        finally:
            cost.seconds.append(time.perf_counter() - started)
            cost.pages.append((faults() - pages) * resource.getpagesize() / self._payload)
            cost.peak.append((memory("VmHWM") - held) / self._payload)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=1448, help="of the square float image, in pixels")
    parser.add_argument("--rounds", type=int, default=15)
    plan = parser.parse_args()
    return_memory_early()  # as the gateway does: fresh memory for each large buffer, so that copies show as pages
    values = np.random.default_rng(0).random((plan.side, plan.side, 3), np.float32)
    request = ScoreDefendedRequest(image=Image(tensor=to_tensor(values)), metric="lite", request_id="a")
    data = request.SerializeToString()
    del request
    meter = Meter(values.nbytes)
    expected = np.ascontiguousarray(values.transpose(2, 0, 1))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(meter, data, expected, Path(folder), plan.rounds))
    report(meter, values.nbytes)


async def measure(meter: Meter, data: bytes, expected: Array, folder: Path, rounds: int) -> None:
    """Run all paths in turn; the first round warms up."""
    for number in range(rounds + 1):
        with meter.part("", "copy"):
            bytearray(data)
        message = ScoreDefendedRequest.FromString(data)
        with meter.part("", "serialise"):
            message.SerializeToString()
        del message
        for planes in (
            before_file(meter, data, folder),
            await now_file(meter, data, folder),
            before_local(meter, data),
            now_local(meter, data),
        ):
            np.testing.assert_array_equal(planes, expected)
        if number == 0:
            meter.costs.clear()


def before_call(data: bytes) -> WorkerRequest:
    """Turn the request into a worker call, the earlier way."""
    message = ScoreDefendedRequest.FromString(data)
    message.ByteSize()  # memory held by the calls in progress
    len(message.image.tensor.data)  # check for requests that have crashed workers before
    message.ByteSize()  # memory of the queue
    call = WorkerRequest()
    call.items.add(id=1).score.CopyFrom(message)
    return call


def before_planes(call: WorkerRequest) -> Array:
    """Return what a graph reads, the earlier way: each access to the data is a copy."""
    image = call.items[0].score.image
    len(image.tensor.data)
    return decode(image, max_pixels=MAX_PIXELS).planes()


def before_file(meter: Meter, data: bytes, folder: Path) -> Array:
    """Pass the request through a file to another process, the earlier way."""
    path = folder / "call"
    with meter.part("TorchServe before", "gateway"):
        path.write_bytes(before_call(data).SerializeToString())
    with meter.part("TorchServe before", "worker"):
        return before_planes(WorkerRequest.FromString(path.read_bytes()))


def before_local(meter: Meter, data: bytes) -> Array:
    """Pass the request to a thread of this process, the earlier way."""
    with meter.part("local before", "gateway"):
        call = before_call(data)
    with meter.part("local before", "worker"):
        return before_planes(call)


def now_piece(data: bytes) -> Piece:
    """Turn the request into a piece of work."""
    request = read_request(data, ScoreDefendedRequest)
    _ = request.size, len(request.image)  # counterpart of the checks in `before_call`
    return Piece(request=request, id=1)


def now_planes(piece: Piece) -> Array:
    """Return what a graph reads."""
    if (request := piece.request) is None:
        raise ValueError("the piece of work came without its request")
    if isinstance(request.head, PoolRequest):
        raise ValueError("the piece of work has no image")
    return decode(request.head.image, request.image, max_pixels=MAX_PIXELS).planes()


async def now_file(meter: Meter, data: bytes, folder: Path) -> Array:
    """Pass the request through a file to another process."""
    found: list[Array] = []

    def answer(payload: Buffer) -> bytes:
        found.append(now_planes(read_call(payload)[0]))
        return b""

    async def send(fields: Mapping[str, bytes]) -> bytes:
        gateway.close()
        with meter.part("TorchServe now", "worker"):
            return answer_spooled(fields[SPOOLED], answer, {VARIABLE: str(folder)})

    with ExitStack() as gateway:
        gateway.enter_context(meter.part("TorchServe now", "gateway"))
        await Spool(folder).carry([now_piece(data)], send)
    return found[0]


def now_local(meter: Meter, data: bytes) -> Array:
    """Pass the request to a thread of this process."""
    with meter.part("local now", "gateway"):
        piece = now_piece(data)
    with meter.part("local now", "worker"):
        return now_planes(piece)


def report(meter: Meter, payload: int) -> None:
    """Format the costs as a Markdown table."""
    unit = meter.costs["", "copy"].seconds
    serialised = ratio(meter.costs["", "serialise"].seconds, unit)
    print(f"payload {payload / 2**20:.1f} MiB; serialising it by protobuf takes {serialised:.1f} copies' time\n")
    print("| path | part | time, copies | pages, payloads | peak, payloads |\n|---|---|---|---|---|")
    for path in ("TorchServe before", "TorchServe now", "local before", "local now"):
        for name in PARTS:
            cost = meter.costs[path, name]
            pages, peak = statistics.median(cost.pages), statistics.median(cost.peak)
            print(f"| {path} | {name} | {ratio(cost.seconds, unit):.1f} | {pages:.1f} | {peak:.1f} |")


def ratio(seconds: list[float], unit: list[float]) -> float:
    """Return the median of the ratios within a round."""
    return statistics.median(taken / copy for taken, copy in zip(seconds, unit, strict=True))


def faults() -> int:
    """Return the number of pages that this process has touched for the first time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def memory(key: str) -> int:
    """Read a line of this process's status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) << 10


if __name__ == "__main__":
    main()
