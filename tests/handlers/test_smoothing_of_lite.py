"""The certificate of the shipped metric, against its own gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from photographs import crop, to_batch

from scoreguard.chain.smoothing import noisy_copies
from scoreguard.v1 import scoring_pb2
from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import to_tensor
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest, ScoreDefendedResponse
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem
from scoreguard_export.metrics.catalogue import load_metric
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.worker.worker import Worker

RADIUS = 0.1
"""L2; at σ 0.12 the certified quantiles are Φ(±0.83)."""


@pytest.fixture(scope="module")
def worker(lite_store: Path) -> Worker:
    """A worker with the archive of `lite`."""
    return Worker.load(Archive(lite_store / "lite.mar"), WorkerConfig())


@pytest.fixture(scope="module")
def photo() -> Any:
    """A small photograph, away from black and white so that changes need no clipping: (3, H, W)."""
    return 0.1 + 0.8 * to_batch(crop(0, 60, 200, 33, 40))[0].numpy()


@pytest.fixture(scope="module")
def uphill(photo: Any) -> Any:
    """The direction, of L2 length 1, that raises the mean score of noisy copies the most."""
    copies, _ = noisy_copies(photo, 0.12, 12345, range(64))
    batch = torch.from_numpy(copies).requires_grad_()
    load_metric("lite")(batch).mean().backward()
    assert batch.grad is not None
    gradient = batch.grad.sum(dim=0).numpy()
    return gradient / np.linalg.norm(gradient)


def smoothed(worker: Worker, image: Any, seed: int, **smoothing: Any) -> ScoreDefendedResponse:
    """The response of the server."""
    assert image.min() >= 0 and image.max() <= 1
    request = ScoreDefendedRequest(
        image=Image(tensor=to_tensor(np.ascontiguousarray(image.transpose(1, 2, 0), np.float32))),
        metric="lite",
        seed=seed,
        smoothing=scoring_pb2.Smoothing(**smoothing),
    )
    (result,) = worker.run(WorkerRequest(items=[WorkItem(score=request)])).results
    assert result.WhichOneof("result") == "score", result.status.message
    return result.score


@pytest.mark.slow
def test_no_image_within_the_radius_scores_outside_the_bounds(worker: Worker, photo: Any, uphill: Any) -> None:
    """Up and down the gradient of the smoothed score, by the whole radius, with noise of their own.

    At twenty times the radius the same direction leaves the bounds, so it is one that matters.
    """
    proven = smoothed(worker, photo, 1, samples=800, radius=RADIUS, confidence=0.99).certificate

    def score_at(distance: float) -> float:
        return smoothed(worker, np.clip(photo + distance * uphill, 0, 1), 2, samples=300).score

    assert proven.lower <= score_at(-RADIUS) < score_at(RADIUS) <= proven.upper
    assert score_at(-20 * RADIUS) < proven.lower
    assert score_at(20 * RADIUS) > proven.upper
