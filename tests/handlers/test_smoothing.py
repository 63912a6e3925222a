"""Smoothing of a real chain whose every score can be computed by hand, and whose certificate is tight.

`brightness` is linear, so its scores under Gaussian noise are normal and the worst change of an image is known: every
value by the same amount. There the certified quantile is reached exactly, which makes the bounds easy to break.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.rpc import code_pb2, error_details_pb2
from onnx import TensorProto, helper
from scipy import stats

from scoreguard.chain.randomness import draw
from scoreguard.chain.smoothing import noisy_copy
from scoreguard.v1 import scoring_pb2
from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import from_tensor, to_tensor
from scoreguard.v1.manifest_pb2 import ArchiveManifest
from scoreguard.v1.scoring_pb2 import Image, PurifyRequest, ScoreDefendedRequest, ScoreDefendedResponse
from scoreguard.v1.spec import parse_chain
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem, WorkResult
from scoreguard_export.archive.mar import write_mar
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.worker.worker import Worker

SHAPE = (4, 6, 3)
VALUES = math.prod(SHAPE)
RAMP = np.linspace(0, 1, VALUES, dtype=np.float32).reshape(SHAPE)
GREY = np.full(SHAPE, 0.5, np.float32)


@pytest.fixture(scope="module")
def worker(tiny_archive: Archive) -> Worker:
    """A loaded worker."""
    return Worker.load(tiny_archive, WorkerConfig())


def item(image: Any = RAMP, chain: str = "", *, smoothing: dict[str, Any] | None = None, **fields: Any) -> WorkItem:
    """A request to score an image, smoothed."""
    request = ScoreDefendedRequest(
        image=Image(tensor=to_tensor(np.asarray(image, np.float32))),
        metric="brightness",
        defences=[step.to_message() for step in parse_chain(chain)],
        smoothing=scoring_pb2.Smoothing(**(smoothing or {})),
        **fields,
    )
    return WorkItem(score=request)


def answers(worker: Worker, *items: WorkItem) -> list[WorkResult]:
    """The worker's results."""
    return list(worker.run(WorkerRequest(items=items)).results)


def scored(worker: Worker, work: WorkItem) -> ScoreDefendedResponse:
    """The response to one item."""
    (result,) = answers(worker, work)
    assert result.WhichOneof("result") == "score", result.status.message
    return result.score


def copies_of(image: Any, seed: int, sigma: float, samples: int) -> list[tuple[Any, int]]:
    """The noisy copies that a caller can make."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    return [noisy_copy(planes, sigma, seed, place) for place in range(samples)]


@pytest.mark.parametrize("samples", [200, 201])
def test_the_score_is_the_median_of_the_noisy_scores(worker: Worker, samples: int) -> None:
    """Numpy's mean of the same copies behind the same gain, for an even and an odd number of them."""
    response = scored(worker, item(chain="gain:factor=0.4", smoothing={"samples": samples}, seed=7))
    means = sorted(40 * copy.mean(dtype=np.float64) for copy, _ in copies_of(RAMP, 7, 0.12, samples))
    proven = response.certificate
    assert response.score == pytest.approx(np.median(means), abs=1e-4)
    assert proven.lower == pytest.approx(means[proven.lower_rank - 1], abs=1e-4)
    assert proven.upper == pytest.approx(means[proven.upper_rank - 1], abs=1e-4)
    assert proven.lower < response.score < proven.upper
    assert (proven.samples, proven.sigma, proven.radius, proven.confidence) == (samples, 0.12, 0.05, 0.999)


def test_the_default_is_the_public_benchmarks(worker: Worker) -> None:
    """A thousand copies, ranks 293 and 708."""
    proven = scored(worker, item()).certificate
    assert (proven.samples, proven.lower_rank, proven.upper_rank) == (1000, 293, 708)


def test_without_smoothing_there_is_no_certificate(worker: Worker) -> None:
    """The chain runs once."""
    work = item(GREY)
    work.score.ClearField("smoothing")
    response = scored(worker, work)
    assert not response.HasField("certificate")
    assert response.score == pytest.approx(50)


def test_every_copy_draws_its_own_random_defence(worker: Worker, tiny_archive: Archive) -> None:
    """The defence's noise of a copy comes from the copy's seed, so a caller can repeat it."""
    response = scored(worker, item(chain="gain:factor=1+noise:sigma=0.2", smoothing={"samples": 50}, seed=3))
    spec = tiny_archive.manifest.defences[1].facts.random_inputs
    scores = []
    for copy, own_seed in copies_of(RAMP, 3, 0.12, 50):
        (noise,) = draw(spec, (1, *copy.shape), [own_seed], step=1)
        scores.append(100 * np.clip(copy + np.float32(0.2) * noise[0], 0, 1).mean(dtype=np.float64))
    assert response.score == pytest.approx(np.median(scores), abs=1e-4)


@pytest.mark.parametrize("chain", ["", "noise", "gain+halve"])
def test_the_same_seed_repeats_bit_for_bit(worker: Worker, chain: str) -> None:
    """Score and bounds; another seed has others; a drawn seed is reported and repeats the answer too."""
    first, again, other = (
        scored(worker, item(chain=chain, seed=seed, smoothing={"samples": 40})) for seed in (5, 5, 6)
    )
    assert (first.score, first.certificate) == (again.score, again.certificate)
    assert first.score != other.score and first.certificate != other.certificate
    drawn = scored(worker, item(chain=chain, smoothing={"samples": 40}))
    repeated = scored(worker, item(chain=chain, seed=drawn.provenance.seed, smoothing={"samples": 40}))
    assert (drawn.score, drawn.certificate) == (repeated.score, repeated.certificate)


def test_what_else_was_asked_for_is_that_of_the_clean_image(worker: Worker) -> None:
    """f(x) has neither noise nor defence; g(x) is what Purify gives for the same seed; the stages say so."""
    wants = {"return_undefended_score": True, "return_purified_image": True}
    response = scored(worker, item(chain="gain:factor=0.5+noise", smoothing={"samples": 40}, seed=9, **wants))
    purify = PurifyRequest(
        image=Image(tensor=to_tensor(RAMP)),
        defences=[step.to_message() for step in parse_chain("gain:factor=0.5+noise")],
        seed=9,
    )
    (purified,) = answers(worker, WorkItem(purify=purify))
    assert response.undefended_score == pytest.approx(100 * RAMP.mean(), abs=1e-4)
    np.testing.assert_array_equal(
        from_tensor(response.purified_image.tensor), from_tensor(purified.purify.purified_image.tensor)
    )
    stages = [timing.stage for timing in response.timings]
    assert stages == ["decode", "metric", "gain:factor=0.5", "noise:sigma=0.1", "smoothing"]
    assert all(timing.milliseconds > 0 for timing in response.timings)


def test_copies_that_run_together_score_the_same(tiny_archive: Archive, worker: Worker) -> None:
    """A worker that runs batches takes several copies at once, the last of them not full."""
    batching = Worker.load(tiny_archive, WorkerConfig(graph_batch=16))
    for chain in ("gain", "noise"):
        work = item(chain=chain, smoothing={"samples": 41}, seed=4)
        one, many = scored(worker, work), scored(batching, work)
        assert many.score == pytest.approx(one.score, abs=1e-4)
        assert many.certificate.lower == pytest.approx(one.certificate.lower, abs=1e-4)


def test_nothing_else_of_the_batch_is_touched(tiny_archive: Archive) -> None:
    """Neighbours, smoothed or not, get the answers that they get alone, to the last bit."""
    plain = item(GREY, "noise", seed=5)
    plain.score.ClearField("smoothing")
    smooth = [item(GREY, "noise", seed=seed, smoothing={"samples": 40}) for seed in (5, 6)]
    items = [plain, smooth[0], item(smoothing={"sigma": -1}), plain, smooth[1]]
    alone = [answers(Worker.load(tiny_archive, WorkerConfig()), work)[0] for work in items]
    together = answers(Worker.load(tiny_archive, WorkerConfig(graph_batch=1)), *items)
    for one, other in zip(alone, together, strict=True):
        assert one.status == other.status
        assert (one.score.score, one.score.certificate) == (other.score.score, other.score.certificate)
    assert together[2].status.code == code_pb2.INVALID_ARGUMENT


def moved(amount: float) -> Any:
    """Grey, moved by this much (L2) in the direction that brightens the most."""
    return GREY + np.float32(amount / math.sqrt(VALUES))


def median_by_hand(image: Any) -> float:
    """Of brightness under the noise: at 4 standard deviations from black and white, clipping is no matter."""
    return 100 * float(image.mean(dtype=np.float64))


def test_the_certificate_is_as_wide_as_it_says_and_no_wider(worker: Worker) -> None:
    """Against the worst image within the radius, where the certified quantile is reached exactly.

    Each bound fails with the stated probability, as nearly as whole ranks allow; an image at four times the radius
    is outside nearly always.
    """
    radius, wire = 0.05, {"samples": 40, "confidence": 0.9}
    proofs = [scored(worker, item(GREY, seed=seed, smoothing=wire)).certificate for seed in range(200)]
    top, bottom, far = (median_by_hand(moved(amount)) for amount in (radius, -radius, 4 * radius))
    expected = stats.binom.sf(proofs[0].upper_rank - 1, 40, stats.norm.cdf(radius / 0.12))
    for failures in ([proof.upper < top for proof in proofs], [proof.lower > bottom for proof in proofs]):
        assert stats.binomtest(sum(failures), 200, expected).pvalue > 1e-3
    assert np.mean([proof.upper < far for proof in proofs]) > 0.95


def test_the_smoothed_score_of_an_image_within_the_radius_stays_inside(worker: Worker) -> None:
    """What the server itself says of the worst image, with copies of its own."""
    proven = scored(worker, item(GREY, seed=1, smoothing={"radius": 0.2})).certificate
    for amount in (-0.2, -0.1, 0.1, 0.2):
        attacked = scored(worker, item(moved(amount), seed=2, smoothing={"samples": 2000}))
        assert proven.lower <= attacked.score <= proven.upper
    outside = scored(worker, item(moved(0.4), seed=2, smoothing={"samples": 2000}))
    assert outside.score > proven.upper


def test_a_deadline_says_how_far_the_work_came(worker: Worker) -> None:
    """It ends soon after the moment, in the middle of the copies."""
    work = item(smoothing={"samples": 100_000})
    work.deadline_unix_seconds = time.time() + 1
    started = time.monotonic()
    (result,) = answers(worker, work)
    assert time.monotonic() - started < 3
    assert result.status.code == code_pb2.DEADLINE_EXCEEDED
    assert "of 100000 noisy copies" in result.status.message
    info = error_details_pb2.ErrorInfo()
    assert result.status.details[0].Unpack(info)
    assert info.metadata["stage"] == "smoothing"
    assert 0 < int(info.metadata["copies"]) < 100_000


def test_the_failure_of_a_step_names_it(worker: Worker) -> None:
    """An image that shrinks away is refused as it is without smoothing."""
    (result,) = answers(worker, item(chain="halve+halve+halve"))
    assert result.status.code == code_pb2.INVALID_ARGUMENT
    assert "step 3" in result.status.message


def test_scores_that_are_no_numbers_certify_nothing(tiny_archive: Archive, tmp_path: Path) -> None:
    """A metric that is NaN on half of the copies is reported, not sorted."""
    manifest = ArchiveManifest()
    manifest.CopyFrom(tiny_archive.manifest)
    files = {entry.path: tiny_archive.read(entry.path) for entry in manifest.files}
    manifest.ClearField("files")
    write_mar(tmp_path / "root.mar", manifest, files | {"metric.onnx": root_metric()})
    worker = Worker.load(Archive(tmp_path / "root.mar"), WorkerConfig())
    (result,) = answers(worker, item(GREY, smoothing={"samples": 100}))
    assert result.status.code == code_pb2.INTERNAL
    assert "of 100 noisy copies" in result.status.message


def root_metric() -> bytes:
    """The root of the brightness above one half."""
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "half"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["score"]),
    ]
    constants = {"axes": np.array([1, 2, 3]), "half": np.float32(0.5)}
    graph = helper.make_graph(
        nodes,
        "root",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data
