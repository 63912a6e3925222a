"""A worker pools the features of frames; what cannot be pooled has a status and harms no other item."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from tiny_archives import png, write_tiny_archive

from scoreguard.v1.archive import Archive
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest
from scoreguard.v1.worker_pb2 import PoolRequest, WorkerRequest, WorkItem, WorkResult
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.worker.pieces import pieces_of, read_call, write_call
from scoreguard_handlers.worker.worker import Worker


def worker_of(metric: str, folder: Path) -> Worker:
    """A loaded archive."""
    return Worker.load(Archive(write_tiny_archive(folder, metric)), WorkerConfig())


def frame(value: int, *, undefended: bool = False) -> WorkItem:
    """A grey frame of a clip."""
    request = ScoreDefendedRequest(image=Image(encoded=png(value)), return_undefended_score=undefended)
    return WorkItem(score=request, frame=True)


def pool(*features: bytes, frames: int = 0) -> WorkItem:
    """A request to pool these frames."""
    return WorkItem(pool=PoolRequest(features=b"".join(features), frames=frames or len(features)))


def answers(worker: Worker, *items: WorkItem) -> list[WorkResult]:
    """The outcomes, by way of the wire form that the gateway writes."""
    pieces = read_call(b"".join(write_call(pieces_of(WorkerRequest(items=items)))))
    return list(worker.answer(pieces).results)


def test_features_of_frames_pool_to_the_score_of_the_clip(tmp_path: Path) -> None:
    """Those behind the defences and those without; the graphs are named by their digests."""
    worker = worker_of("motion", tmp_path)
    first, last = answers(worker, frame(51, undefended=True), frame(102))
    assert first.features.purified == first.features.undefended
    assert np.frombuffer(first.features.purified, "<f4") == pytest.approx([0.2] * 3)
    assert last.features.undefended == b""
    assert first.score.provenance.metric_sha256 == worker.archive.digest_of("frame.onnx")
    (pooled,) = answers(worker, pool(first.features.purified, last.features.purified))
    assert pooled.pool.score == pytest.approx(0.5 * 40 + 0.5 * 30)
    assert pooled.pool.sha256 == worker.archive.digest_of("pool.onnx")
    assert [timing.stage for timing in pooled.pool.timings] == ["pool"]


def test_a_frame_of_a_metric_of_images_has_no_features(tmp_path: Path) -> None:
    """Its score is what it always is."""
    (found,) = answers(worker_of("bright", tmp_path), frame(51))
    assert found.score.score == pytest.approx(20)
    assert not found.HasField("features")


def test_what_is_no_frame_of_a_clip_has_no_features_either(tmp_path: Path) -> None:
    """The metric's own graph runs."""
    worker = worker_of("motion", tmp_path)
    (found,) = answers(worker, WorkItem(score=ScoreDefendedRequest(image=Image(encoded=png(51)))))
    assert not found.HasField("features")
    assert found.score.provenance.metric_sha256 == worker.archive.digest_of("metric.onnx")


NAN = np.full(3, np.nan, "<f4").tobytes()


@pytest.mark.parametrize(
    ("metric", "item", "said"),
    [
        ("motion", pool(bytes(12), frames=2), "12 bytes are not the features of 2 frames of 3 float32 each"),
        ("motion", pool(), "0 bytes are not the features of 0 frames"),
        ("bright", pool(bytes(12)), "metric 'bright' pools no frames"),
        ("motion", pool(NAN), "gave no finite numbers"),
        (
            "motion",
            WorkItem(pool=PoolRequest(features=bytes(12), frames=1), deadline_unix_seconds=1),
            "deadline passed",
        ),
    ],
)
def test_what_cannot_be_pooled_harms_no_other_item(metric: str, item: WorkItem, said: str, tmp_path: Path) -> None:
    """It has its own status, in the place that it came in."""
    before, wrong, after = answers(worker_of(metric, tmp_path), frame(51), item, frame(102))
    assert said in wrong.status.message
    assert [before.score.score, after.score.score] == pytest.approx([20, 40], abs=1e-3)


def test_a_long_clip_pools_in_one_run(tmp_path: Path) -> None:
    """Ten thousand frames, the most that a gateway takes."""
    worker, started = worker_of("motion", tmp_path), time.perf_counter()
    (found,) = answers(worker, pool(*[np.full(3, 0.25, "<f4").tobytes()] * 10_000))
    assert found.pool.score == pytest.approx(25)
    assert time.perf_counter() - started < 5
