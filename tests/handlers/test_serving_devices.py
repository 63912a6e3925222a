"""Chains on devices: the same answers on any, arrays that stay there, memory that runs out, and half precision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from copies_home import CopiesHome
from gateways import connected, request
from google.rpc import code_pb2
from second_device import SECOND_DEVICE, second_device
from served import SERVED, Floats, Served, photo_like, planes, step_of, wire
from tests.clients.oracles.toy_archive import write_archive
from tiny_archives import write_tiny_archive
from torch import Tensor, nn

from scoreguard.chain.devices import THE_CPU
from scoreguard.chain.numerics import DEFAULT
from scoreguard.chain.resolve import resolve_step
from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import to_tensor
from scoreguard.v1.errors import EngineError
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest, ScoreDefendedResponse, ScoreGradientRequest
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem
from scoreguard_client import ConfigurationError, local
from scoreguard_handlers.backends.local import LocalBackend
from scoreguard_handlers.config import ServeConfig, WorkerConfig
from scoreguard_handlers.device_config import FoundDevices
from scoreguard_handlers.errors import NotFiniteError
from scoreguard_handlers.worker.call import ChainCall
from scoreguard_handlers.worker.catalogue import Catalogue
from scoreguard_handlers.worker.chain import Chain
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.device_engine import DeviceEngine
from scoreguard_handlers.worker.engines.onnx_runner import OnnxRunner
from scoreguard_handlers.worker.engines.providers import Providers
from scoreguard_handlers.worker.worker import Worker

SECOND: Mapping[str, Any] = {"device": SECOND_DEVICE, "engine": "torchscript"}


@pytest.fixture(scope="module")
def second(served: Served) -> Served:
    """The archive of every defence, on the second device."""
    second_device()
    return Served.load(served.archive, served.weights, **SECOND)


def score_item(image: Floats, chain: str = "none", seed: int = 5, **fields: Any) -> WorkItem:
    """A request to score an image (H, W, 3)."""
    message = ScoreDefendedRequest(image=Image(tensor=to_tensor(image)), defences=wire(chain), seed=seed, **fields)
    return WorkItem(score=message)


def scored(worker: Worker, *items: WorkItem) -> list[ScoreDefendedResponse]:
    """The answers of a worker."""
    results = worker.run(WorkerRequest(items=items)).results
    for result in results:
        assert result.WhichOneof("result") == "score", result.status.message
    return [result.score for result in results]


def grey(value: float, side: int = 8) -> Floats:
    """A flat image."""
    return np.full((side, side, 3), value, np.float32)


@pytest.mark.parametrize("name", ["none", *SERVED])
def test_a_chain_scores_the_same_on_another_device(served: Served, second: Served, name: str) -> None:
    """The score, the undefended score and the purified image; the provenance says where they were computed."""
    image = photo_like(72, 90)
    chain = name if name == "none" else step_of(name, 72)
    item = score_item(image, chain, return_undefended_score=True, return_purified_image=True)
    (here,), (there,) = scored(served.worker, item), scored(second.worker, item)
    assert there.score == pytest.approx(here.score, abs=1e-3)
    assert there.undefended_score == pytest.approx(here.undefended_score, abs=1e-3)
    np.testing.assert_allclose(
        np.frombuffer(there.purified_image.tensor.data, "<f4"),
        np.frombuffer(here.purified_image.tensor.data, "<f4"),
        atol=1e-4,
    )
    assert here.provenance.computation.device == "cpu"
    computation = there.provenance.computation
    assert (computation.device, computation.deterministic, computation.precision) == (SECOND_DEVICE, True, "fp32")
    assert there.provenance.engine == f"torchscript {torch.__version__} {SECOND_DEVICE}"
    assert there.provenance.metric_sha256 == served.archive.digest_of("metric.pt")


def test_gradients_are_computed_there_too(served: Served, second: Served) -> None:
    """Score and derivative."""
    image = photo_like(48, 50)
    here, there = served.gradient(image, "blur"), second.gradient(image, "blur")
    assert there.score == pytest.approx(here.score, abs=1e-3)
    assert there.provenance.computation.device == SECOND_DEVICE
    slopes = [np.frombuffer(answer.gradient.data, "<f4") for answer in (here, there)]
    np.testing.assert_allclose(slopes[1], slopes[0], atol=1e-5 * np.abs(slopes[0]).max())


def host_copies(worker: Worker, chain: str) -> int:
    """How often values leave the device while a chain runs."""
    item = score_item(photo_like(40, 40), chain)
    scored(worker, item)
    with CopiesHome() as copies:
        scored(worker, item)
    return int(copies.count)


def test_arrays_stay_on_the_device_from_decoding_to_the_score(second: Served) -> None:
    """The score and one report on finite values leave it, however long the chain."""
    assert host_copies(second.worker, "none") == 2
    assert host_copies(second.worker, "blur+noise+quantise+median+flip") == 2


@pytest.mark.parametrize("name", ["none", "blur", "noise", "diffpure", "crop"])
def test_bound_graphs_give_the_bits_of_unbound_ones(served: Served, name: str) -> None:
    """ONNX Runtime reads and writes tensors in place; on the CPU nothing else differs."""
    steps = [
        resolve_step(step, served.artifact(step.name)) for step in wire(name if name == "none" else step_of(name, 64))
    ]
    call = ChainCall(steps=steps, seeds=[3, 4], deadline=Deadline())
    images = np.concatenate([planes(photo_like(64, 70, seed)) for seed in (1, 2)])
    runner = OnnxRunner(served.archive, THE_CPU, DEFAULT, Providers())
    bound = Chain(served.archive, DeviceEngine(runner, THE_CPU, DEFAULT, threads=1))
    there, here = bound.score(images, call), served.worker.chain.score(images, call)
    np.testing.assert_array_equal(there.scores, here.scores)
    np.testing.assert_array_equal(there.purified, here.purified)
    assert list(there.timings.milliseconds) == list(here.timings.milliseconds)
    assert "CPUExecutionProvider cpu" in bound.engine.name


def test_torchscript_can_score_on_the_cpu_too(served: Served) -> None:
    """With the answers of ONNX Runtime to its tolerance, and its own provenance."""
    worker = Worker.load(served.archive, WorkerConfig(engine="torchscript"))
    item = score_item(photo_like(50, 60), "jpeg")
    (here,), (there,) = scored(served.worker, item), scored(worker, item)
    assert there.score == pytest.approx(here.score, abs=1e-3)
    assert (there.provenance.engine, here.provenance.engine.split()[0]) == (
        f"torchscript {torch.__version__} cpu",
        "onnxruntime",
    )
    assert there.provenance.steps[0].sha256 != here.provenance.steps[0].sha256


class Root(nn.Module):
    """The root of the mean above a half: NaN for a darker image."""

    def forward(self, image: Tensor) -> Tensor:
        """Score."""
        return 100 * torch.sqrt(image.mean(dim=[1, 2, 3]) - 0.5)


def test_a_score_that_is_not_finite_is_found_at_the_end(tmp_path: Path) -> None:
    """The error names the stage and counts the values, as on the CPU; the neighbour keeps its score."""
    second_device()
    worker = Worker(write_archive(tmp_path / "root", Root()), WorkerConfig(**SECOND, graph_batch=4))
    bad, good = worker.run(WorkerRequest(items=[score_item(grey(0.1)), score_item(grey(0.75))])).results
    assert good.score.score == pytest.approx(50)
    assert bad.status.code == code_pb2.INTERNAL
    assert "(1 of 1 are NaN or infinite where a score should be)" in bad.status.message
    with pytest.raises(NotFiniteError) as caught:
        worker.chain.score(planes(grey(0.1)), ChainCall(steps=(), seeds=[0], deadline=Deadline()))
    assert caught.value.metadata["stage"] == "metric"


class Greedy(nn.Module):
    """Asks for a petabyte for more than `most` images, or for large ones; else the mean."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, image: Tensor) -> Tensor:
        """Score."""
        if image.shape[0] > self.most or image.shape[2] > 16:
            image = image + torch.ones([1 << 50], device=image.device)[:1]
        return 100 * image.mean(dim=[1, 2, 3])


@pytest.mark.parametrize("device", ["cpu", SECOND_DEVICE])
def test_a_batch_beyond_the_memory_runs_again_in_halves(tmp_path: Path, device: str) -> None:
    """Every image gets its own score; the provenance has the size of the batch that fitted."""
    second_device()
    config = WorkerConfig(engine="torchscript", device=device, graph_batch=8)
    worker = Worker(write_archive(tmp_path / "greedy", Greedy(2)), config)
    values = [0.1 * (index + 1) for index in range(8)]
    answers = scored(worker, *(score_item(grey(value)) for value in values))
    assert [answer.score for answer in answers] == pytest.approx([100 * value for value in values], abs=1e-3)
    assert {answer.provenance.computation.batch for answer in answers} == {2}


def test_an_image_beyond_the_memory_is_refused_and_its_neighbours_are_not(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED in one line, which says what to do."""
    worker = Worker(
        write_archive(tmp_path / "greedy", Greedy(4)),
        WorkerConfig(engine="torchscript", graph_batch=4),
    )
    items = [score_item(grey(0.5, side)) for side in (8, 32, 8)]
    small, large, other = worker.run(WorkerRequest(items=items)).results
    assert [small.score.score, other.score.score] == pytest.approx([50, 50])
    assert large.status.code == code_pb2.RESOURCE_EXHAUSTED
    assert "needs more memory than cpu has left for images of shape (1, 3, 32, 32); use smaller" in large.status.message
    assert "\n" not in large.status.message


def test_smoothing_takes_fewer_copies_at_a_time_if_memory_runs_out(tmp_path: Path) -> None:
    """The certificate is that of all copies."""
    archive = write_archive(tmp_path / "greedy", Greedy(2))
    smooth = {"sigma": 0.1, "samples": 40}
    tight, alone = (Worker(archive, WorkerConfig(engine="torchscript", graph_batch=batch)) for batch in (16, 1))
    item = score_item(grey(0.5), smoothing=smooth)
    (together,), (single,) = scored(tight, item), scored(alone, item)
    assert together.certificate == single.certificate
    assert together.score == single.score


def declared(archive: Archive, **errors: float) -> Archive:
    """The archive, declaring half precision of its metric."""
    archive.manifest.metric.graphs.half.max_abs_error = errors.get("max_abs_error", 0.5)
    return archive


def test_half_precision_needs_an_archive_that_declares_it(served: Served) -> None:
    """Otherwise nobody knows how far it is off."""
    with pytest.raises(
        EngineError, match=r"'lite' does not declare how far half precision is off; build it with .+fp16"
    ):
        Worker.load(Archive(served.archive.path), WorkerConfig(precision="fp16"))


def test_half_precision_changes_scores_a_little_and_says_so(served: Served) -> None:
    """It runs on torch, and the provenance names it."""
    archive = declared(Archive(served.archive.path))
    worker = Worker(archive, WorkerConfig(precision="fp16", gradients=True))
    item = score_item(photo_like(64, 64))
    (half,), (whole,) = scored(worker, item), scored(served.worker, item)
    assert half.score != whole.score
    assert half.score == pytest.approx(whole.score, abs=0.5)
    assert half.provenance.computation.precision == "fp16"
    worker.canary()


def test_gradients_in_half_precision_must_be_asked_for(served: Served) -> None:
    """FAILED_PRECONDITION otherwise: small gradients vanish."""
    archive = declared(Archive(served.archive.path))
    image = photo_like(40, 40)
    item = WorkItem(gradient=ScoreGradientRequest(image=Image(tensor=to_tensor(image)), seed=1))
    config = WorkerConfig(precision="fp16", gradients=True)
    (refused,) = Worker(archive, config).run(WorkerRequest(items=[item])).results
    assert refused.status.code == code_pb2.FAILED_PRECONDITION
    assert "--half-gradients" in refused.status.message
    config = replace(config, half_gradients=True)
    (allowed,) = Worker(archive, config).run(WorkerRequest(items=[item])).results
    assert allowed.gradient.provenance.computation.precision == "fp16"


class Counting:
    """A loaded archive that counts its calls."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.calls = worker, 0

    def answer(self, pieces: Sequence[Any]) -> Any:
        """Count, and answer."""
        self.calls += 1
        return self.worker.answer(pieces)


async def test_the_local_backend_spreads_calls_over_the_devices(
    served: Served, second: Served, lite_store: Path
) -> None:
    """Each device has its own loaded archive; the least busy one gets the next call."""
    workers = [Counting(served.worker), Counting(second.worker)]
    backend = LocalBackend({"lite": workers}, workers=2, threads=4, max_batch=16)
    pieces = [pieces_with(score_item(photo_like(40, 40)))] * 6
    answers = await asyncio.gather(*(backend.run("lite", piece) for piece in pieces))
    await backend.close()
    assert [worker.calls for worker in workers] == [3, 3]
    devices = {answer.results[0].score.provenance.computation.device for answer in answers}
    assert devices == {"cpu", SECOND_DEVICE}


async def test_a_worker_is_loaded_for_each_gpu(monkeypatch: pytest.MonkeyPatch, served: Served) -> None:
    """Two threads each: one decodes while the other's graphs run."""
    second_device()
    found = FoundDevices(names=(SECOND_DEVICE, SECOND_DEVICE))
    monkeypatch.setattr("scoreguard_handlers.backends.local.devices_of", lambda name: found)
    store = served.archive.path.parent
    config = ServeConfig(model_store=store, engine="torchscript", device="cuda")
    backend = await LocalBackend.start(Catalogue.open(store), config)
    await backend.close()
    assert (backend.workers, backend.calls, backend.max_batch) == (2, 4, 16)


async def test_callers_share_a_batch(tmp_path: Path) -> None:
    """With `graph_batch`, requests that wait together run together, and each has its own score."""
    write_tiny_archive(tmp_path, "bright")
    async with connected(tmp_path, workers=1, graph_batch=8) as line:
        values = list(range(10, 250, 5))
        answers = await asyncio.gather(*(line.stub.ScoreDefended(request(value)) for value in values))
    assert [answer.score for answer in answers] == pytest.approx([value / 2.55 for value in values], abs=1e-3)
    assert max(answer.provenance.computation.batch for answer in answers) > 1


def pieces_with(item: WorkItem) -> Any:
    """An item as the gateway passes it."""
    from scoreguard_handlers.worker.pieces import pieces_of

    return pieces_of(WorkerRequest(items=[item]))


def test_a_store_in_this_process_runs_on_a_device_too(served: Served) -> None:
    """The client's `local` takes it; a device that is not there is one line."""
    second_device()
    store = served.archive.path.parent
    image = photo_like(40, 44)
    with local(store, device=SECOND_DEVICE, engine="torchscript") as there, local(store) as here:
        assert there.score(image, metric="lite").score == pytest.approx(
            here.score(image, metric="lite").score, abs=1e-3
        )
    with (
        local(store, device="toaster") as client,
        pytest.raises(ConfigurationError, match="device 'toaster': there is"),
    ):
        client.score(image, metric="lite")
    with pytest.raises(ConfigurationError, match="engine must be one of auto, onnx, torchscript, not 'tf'"):
        local(store, engine="tf")


@pytest.mark.parametrize("chain", ["none", "blur+noise", "jpeg", "rotate"])
def test_an_answer_does_not_depend_on_its_batch(served: Served, second: Served, chain: str) -> None:
    """Alone, among others, in another order: to the last bit on the CPU, to rounding where batches run as one."""
    items = [score_item(photo_like(48, 56, number), chain, seed=number) for number in range(5)]
    other = score_item(photo_like(40, 40), chain)
    for worker, tolerance in ((served.worker, 0.0), (second.worker, 1e-3)):
        alone = [scored(worker, item)[0].score for item in items]
        together = [answer.score for answer in scored(worker, items[0], other, *items[1:])]
        assert [together[0], *together[2:]] == pytest.approx(alone, rel=0, abs=tolerance)
        backwards = [answer.score for answer in scored(worker, *reversed(items))]
        assert backwards[::-1] == pytest.approx(alone, rel=0, abs=tolerance)
