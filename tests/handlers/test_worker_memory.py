"""A worker with a limit on its memory: what is too large fails alone, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_archives import write_tiny_archive

from scoreguard_handlers.config import MIB
from scoreguard_handlers.torchserve.worker_memory import VARIABLE

PROGRAM = """
import sys
from pathlib import Path

import numpy as np

from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import to_tensor
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.worker.worker import Worker
from scoreguard_handlers.torchserve.worker_memory import limit_memory

def item(side):
    image = Image(tensor=to_tensor(np.full((side, side, 3), 51, np.uint8)))
    request = ScoreDefendedRequest(image=image, metric="bright")
    request.defences.add(name="gain")
    return WorkItem(score=request)

worker = Worker.load(Archive(Path(sys.argv[1])), WorkerConfig())
worker.canary()
small, large = WorkerRequest(items=[item(64)]), WorkerRequest(items=[item(3500), item(64)])
limit_memory()
for request in (small, large, small):
    for result in worker.run(request).results:
        print(result.WhichOneof("result"), result.status.code, result.status.message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_an_image_that_is_too_large_for_the_memory_fails_alone(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED in a sentence; its neighbour and those after it are scored by the same process."""
    archive = write_tiny_archive(tmp_path)
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(archive)],
        env=os.environ | {VARIABLE: str(100 * MIB)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    first, large, neighbour, last = found.stdout.splitlines()
    assert first.split() == neighbour.split() == last.split() == ["score", "0"]
    assert large.startswith("status 8 out of memory")
