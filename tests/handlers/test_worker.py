"""The worker on a tiny archive whose every answer can be computed by hand."""

from __future__ import annotations

import io
import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from PIL import Image as PillowImage

from scoreguard.chain.randomness import draw
from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import from_tensor, to_tensor
from scoreguard.v1.scoring_pb2 import (
    PURIFIED_FORMAT_PNG,
    DefenceStep,
    Image,
    PurifyRequest,
    ScoreDefendedRequest,
    ScoreGradientRequest,
)
from scoreguard.v1.spec import parse_chain
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem, WorkResult
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.environment import worker_config
from scoreguard_handlers.worker.board import MemoryBoard
from scoreguard_handlers.worker.worker import Worker


@pytest.fixture(scope="module")
def worker(tiny_archive: Archive) -> Worker:
    """A loaded worker."""
    return Worker.load(tiny_archive, WorkerConfig())


def steps(text: str) -> list[DefenceStep]:
    """Wire steps of a chain text."""
    return [step.to_message() for step in parse_chain(text)]


def sample_image(level: float = 0.5, height: int = 4, width: int = 6) -> Image:
    """A flat float image."""
    return Image(tensor=to_tensor(np.full((height, width, 3), level, np.float32)))


def score_item(chain: str = "", image: Image | None = None, **fields: Any) -> WorkItem:
    """A request to score."""
    request = ScoreDefendedRequest(image=image or sample_image(), metric="brightness", defences=steps(chain), **fields)
    return WorkItem(score=request)


def answer(worker: Worker, *items: WorkItem) -> list[WorkResult]:
    """The worker's results."""
    return list(worker.run(WorkerRequest(items=items)).results)


def error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo of a status."""
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


def test_the_score_is_f_of_g_of_x(worker: Worker) -> None:
    """Half brightness behind gain 0.4 scores 20; undefended it scores 50."""
    (result,) = answer(worker, score_item("gain:factor=0.4", return_undefended_score=True))
    assert result.score.score == pytest.approx(20)
    assert result.score.undefended_score == pytest.approx(50)


def test_steps_run_in_their_order(worker: Worker) -> None:
    """Halving keeps the top-left pixel of each 2 × 2 block; a dark one there makes the image dark."""
    values = np.ones((4, 4, 3), np.float32)
    values[::2, ::2] = 0.25
    image = Image(tensor=to_tensor(values))
    (result,) = answer(worker, score_item("halve+gain:factor=0.5", image, return_purified_image=True))
    assert result.score.score == pytest.approx(12.5)
    assert from_tensor(result.score.purified_image.tensor).shape == (2, 2, 3)


def test_the_provenance_repeats_the_answer(worker: Worker, tiny_archive: Archive) -> None:
    """Digests are the manifest's, parameters are filled in, the seed is the caller's."""
    (result,) = answer(worker, score_item("gain", seed=7, request_id="a"))
    provenance = result.score.provenance
    assert provenance.metric_sha256 == tiny_archive.digest_of("metric.onnx")
    assert provenance.steps[0].sha256 == tiny_archive.digest_of("gain.onnx")
    assert dict(provenance.steps[0].step.parameters) == {"factor": 0.5}
    assert (provenance.seed, provenance.threads, provenance.height, provenance.width) == (7, 1, 4, 6)
    assert provenance.engine.startswith("onnxruntime ")
    assert result.score.request_id == "a"


def test_stages_are_timed_by_name(worker: Worker) -> None:
    """decode, each defence step with its parameters, and the metric."""
    (result,) = answer(worker, score_item("gain:factor=0.4"))
    assert [timing.stage for timing in result.score.timings] == ["decode", "gain:factor=0.4", "metric"]


def test_a_random_defence_repeats_with_its_seed_and_differs_without(worker: Worker) -> None:
    """The same seed gives the same score to the last bit; two drawn seeds do not."""
    first, again = answer(worker, score_item("noise", seed=11), score_item("noise", seed=11))
    assert first.score.score == again.score.score
    fresh, other = answer(worker, score_item("noise"), score_item("noise"))
    assert fresh.score.provenance.seed != other.score.provenance.seed
    assert fresh.score.score != other.score.score


def test_the_noise_is_the_contracts_draw(worker: Worker, tiny_archive: Archive) -> None:
    """A caller can compute the purified image from the seed alone."""
    request = PurifyRequest(image=sample_image(), defences=steps("gain:factor=1+noise:sigma=0.1"), seed=3)
    (result,) = answer(worker, WorkItem(purify=request))
    noise_facts = tiny_archive.manifest.defences[1].facts
    (noise,) = draw(noise_facts.random_inputs, (1, 3, 4, 6), [3], step=1)
    expected = np.clip(0.5 + np.float32(0.1) * noise[0], 0, 1).transpose(1, 2, 0)
    np.testing.assert_allclose(from_tensor(result.purify.purified_image.tensor), expected, atol=1e-6)


def test_a_purified_image_can_be_a_png(worker: Worker) -> None:
    """The PNG holds the purified values, rounded."""
    request = PurifyRequest(image=sample_image(0.8), defences=steps("gain"), purified_format=PURIFIED_FORMAT_PNG)
    (result,) = answer(worker, WorkItem(purify=request))
    png = np.asarray(PillowImage.open(io.BytesIO(result.purify.purified_image.encoded)))
    assert png.shape == (4, 6, 3)
    assert set(png.ravel().tolist()) == {102}


BAD_ITEMS = {
    "empty work": (WorkItem(), code_pb2.INVALID_ARGUMENT, "empty"),
    "no image": (score_item(image=Image()), code_pb2.INVALID_ARGUMENT, "has no image"),
    "other metric": (
        WorkItem(score=ScoreDefendedRequest(image=sample_image(), metric="brightnes")),
        code_pb2.NOT_FOUND,
        "did you mean brightness",
    ),
    "unknown defence": (score_item("gian"), code_pb2.NOT_FOUND, "did you mean gain"),
    "unknown parameter": (score_item("gain:factr=1"), code_pb2.INVALID_ARGUMENT, "it takes factor"),
    "out of range": (score_item("gain:factor=2"), code_pb2.INVALID_ARGUMENT, "out of range: 0 to 1"),
    "purify with nothing": (
        WorkItem(purify=PurifyRequest(image=sample_image())),
        code_pb2.INVALID_ARGUMENT,
        "at least one defence",
    ),
    "1 × 1": (score_item(image=sample_image(height=1, width=1)), code_pb2.INVALID_ARGUMENT, "needs at least 2 x 2"),
    "shrunk away": (score_item("halve+halve+halve"), code_pb2.INVALID_ARGUMENT, "1 x 1|2 x 1"),
    "no gradients here": (
        WorkItem(gradient=ScoreGradientRequest(image=sample_image(), metric="brightness")),
        code_pb2.FAILED_PRECONDITION,
        "--gradients",
    ),
    "endless chain": (score_item("+".join(["gain"] * 257)), code_pb2.INVALID_ARGUMENT, "limit is 256"),
    "too late": (
        WorkItem(score=score_item().score, deadline_unix_seconds=1.0),
        code_pb2.DEADLINE_EXCEEDED,
        "deadline passed",
    ),
}


@pytest.mark.parametrize("name", BAD_ITEMS)
def test_a_bad_item_has_its_own_status_and_harms_no_other(worker: Worker, name: str) -> None:
    """Its neighbours in the same call are scored; the message is one line."""
    item, code, problem = BAD_ITEMS[name]
    before, bad, after = answer(worker, score_item(), item, score_item("gain"))
    assert [before.score.score, after.score.score] == pytest.approx([50, 25])
    assert bad.status.code == code
    assert any(part in bad.status.message for part in problem.split("|")), bad.status.message
    assert "\n" not in bad.status.message
    assert error_info(bad.status).domain == "scoreguard"


def test_a_failing_size_check_names_the_step(worker: Worker) -> None:
    """The error says which step could not read the image."""
    (result,) = answer(worker, score_item("halve+halve+halve"))
    assert "step 3" in result.status.message


def test_images_of_one_size_run_as_one_batch_when_asked(tiny_archive: Archive) -> None:
    """graph_batch groups by size and chain, and gives each image its own score and seed."""
    batching = Worker.load(tiny_archive, WorkerConfig(graph_batch=8))
    items = [score_item("gain", sample_image(level, width=width)) for level in (0.2, 0.4, 0.6) for width in (4, 6)]
    scores = [result.score.score for result in answer(batching, *items)]
    assert scores == pytest.approx([10, 10, 20, 20, 30, 30])
    alone, first, second = answer(
        batching, score_item("noise", seed=1), score_item("noise", seed=1), score_item("noise", seed=2)
    )
    assert alone.score.score == first.score.score != second.score.score


def test_a_graph_stops_when_its_deadline_passes(tiny_archive: Archive) -> None:
    """Work that would take much longer ends soon after the deadline, with its code."""
    worker = Worker.load(tiny_archive, WorkerConfig())
    image = Image(tensor=to_tensor(np.zeros((3000, 3000, 3), np.uint8)))
    chain = "+".join(["gain:factor=1"] * 256)
    started = time.monotonic()
    (result,) = answer(worker, WorkItem(score=score_item(chain, image).score, deadline_unix_seconds=time.time() + 0.5))
    assert result.status.code == code_pb2.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 8


def test_a_caller_who_leaves_stops_his_item_and_no_other(tiny_archive: Archive) -> None:
    """Work of a minute ends in a moment with its own code, and its neighbours are scored."""
    board = MemoryBoard()
    worker = Worker.load(tiny_archive, WorkerConfig(), board)
    image = Image(tensor=to_tensor(np.zeros((3000, 3000, 3), np.uint8)))
    long = WorkItem(score=score_item("+".join(["gain:factor=1"] * 256), image).score, id=7)
    leaving = threading.Timer(0.5, board.leave, [7])
    leaving.start()
    before, gone, after = answer(worker, score_item(), long, WorkItem(score=score_item().score, id=8))
    leaving.join()
    assert gone.status.code == code_pb2.CANCELLED
    assert [before.score.score, after.score.score] == pytest.approx([50, 50])
    assert error_info(gone.status).metadata["stage"] == "gain:factor=1"


def test_a_batch_goes_on_until_all_its_callers_have_left(tiny_archive: Archive) -> None:
    """One of two images that run as one batch is still wanted: both are scored; with neither, neither is."""
    board = MemoryBoard()
    worker = Worker.load(tiny_archive, WorkerConfig(graph_batch=2), board)
    pair = [WorkItem(score=score_item("gain").score, id=number) for number in (1, 2)]
    board.leave(1)
    first, second = answer(worker, *pair)
    assert first.status.code == code_pb2.CANCELLED or first.score.score == pytest.approx(25)
    assert second.score.score == pytest.approx(25)
    board.leave(2)
    assert [result.status.code for result in answer(worker, *pair)] == [code_pb2.CANCELLED] * 2


def test_large_images_are_decoded_one_at_a_time(worker: Worker) -> None:
    """Three images of 3 megapixels in one call take the memory of one, and a bit."""
    image = Image(tensor=to_tensor(np.zeros((1500, 2000, 3), np.uint8)))

    def peak(count: int) -> int:
        tracemalloc.start()
        answer(worker, *[score_item("gain", image) for _ in range(count)])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(3) < 1.3 * peak(1)


def test_the_canary_confirms_the_archive(worker: Worker) -> None:
    """The golden image scores as recorded."""
    worker.canary()


def test_the_environment_configures_a_worker() -> None:
    """TorchServe's workers are told by variables."""
    environment = {"SCOREGUARD_THREADS": "3", "SCOREGUARD_GRADIENTS": "1"}
    assert worker_config(environment) == WorkerConfig(threads=3, gradients=True)
    assert worker_config({}) == WorkerConfig()
    environment = {"SCOREGUARD_DEVICE": "cuda:1", "SCOREGUARD_CHECKPOINT": "1", "SCOREGUARD_GRADIENTS": "0"}
    assert worker_config(environment) == WorkerConfig(device="cuda:1", checkpoint=True)
