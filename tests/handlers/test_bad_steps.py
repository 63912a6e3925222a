"""Steps that an image cannot go through: each fails alone, and says which step it was and what would do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gateways import unpack
from google.rpc import code_pb2, status_pb2
from tests.clients.oracles.toy_archive import write_archive
from tiny_archives import png, write_tiny_archive

from scoreguard.chain.devices import THE_CPU
from scoreguard.chain.numerics import DEFAULT
from scoreguard.chain.resolve import resolve_step
from scoreguard.v1.archive import Archive
from scoreguard.v1.scoring_pb2 import DefenceStep, Image, PurifyRequest, ScoreDefendedRequest
from scoreguard.v1.spec import parse_chain
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.errors import InvalidRequestError
from scoreguard_handlers.worker.call import ChainCall
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.choice import script_engine
from scoreguard_handlers.worker.engines.torch_chain import TorchChain
from scoreguard_handlers.worker.worker import Worker


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The tiny archive: its metric reads 8 pixels."""
    return Archive(write_tiny_archive(tmp_path_factory.mktemp("store")))


def steps(chain: str) -> list[DefenceStep]:
    """Wire steps of a chain text."""
    return [step.to_message() for step in parse_chain(chain)]


def item(chain: str, size: int = 32) -> WorkItem:
    """A grey image, brightness 20, to be scored behind a chain."""
    return WorkItem(score=ScoreDefendedRequest(image=Image(encoded=png(51, size)), defences=steps(chain)))


def field_of(status: status_pb2.Status) -> str:
    """The field that a status blames."""
    field: str = unpack(status.details)["BadRequest"].field_violations[0].field
    return field


BAD = {
    "gain+gain:factor=3": ("defences[1].parameters.factor", "gain:factor=3 (step 2) is out of range: 0 to 2"),
    "gain+piece:size=8.5": (
        "defences[1].parameters.size",
        "piece:size=8.5 (step 2) is out of range: a whole number, 1 to 64",
    ),
    "gain:facter=1": ("defences[0].parameters.facter", "defence 'gain' (step 1) has no parameter 'facter'"),
    "gain+filter:kernel=4": (
        "defences[1].parameters.kernel",
        "filter:kernel=4 (step 2) is out of range: one of 3, 5, 9",
    ),
    "piece:size=8+gain+filter:kernel=9": (
        "defences[2].parameters.kernel",
        "filter:kernel=9 (step 3) is larger than the image, 8 x 8 there: use 3 or 5",
    ),
    "piece:size=2+filter": (
        "defences[1].parameters.kernel",
        "filter:kernel=3 (step 2) is larger than the image, 2 x 2 there: send an image of at least 3 x 3 pixels",
    ),
    "piece:size=33": (
        "defences[0].parameters.size",
        "piece:size=33 (step 1) is larger than the image, 32 x 32 there: use at most 32",
    ),
    "piece:size=20+piece:size=21": (
        "defences[1].parameters.size",
        "piece:size=21 (step 2) is larger than the image, 20 x 20 there: use at most 20",
    ),
    "piece:size=7": ("image", "metric 'bright' needs at least 8 x 8 pixels, the image is 7 x 7 there"),
}


@pytest.mark.parametrize("graph_batch", [1, 8])
def test_every_bad_step_is_named_and_harms_no_neighbour(archive: Archive, graph_batch: int) -> None:
    """One call with every bad chain between good ones: INVALID_ARGUMENT at a field, or the right score."""
    worker = Worker.load(archive, WorkerConfig(graph_batch=graph_batch))
    good = item("piece:size=9+filter:kernel=9")
    items = [entry for chain in BAD for entry in (item(chain), good)]
    results = worker.run(WorkerRequest(items=items)).results
    assert [result.score.score for result in results[1::2]] == pytest.approx([20] * len(BAD), abs=1e-3)
    for result, (field, problem) in zip(results[::2], BAD.values(), strict=True):
        assert result.status.code == code_pb2.INVALID_ARGUMENT
        assert problem in result.status.message
        assert "\n" not in result.status.message
        assert field_of(result.status) == field


def test_a_size_that_does_not_fit_names_the_stage_for_programs(archive: Archive) -> None:
    """The metadata has the step with all its parameters, or the metric."""
    worker = Worker.load(archive, WorkerConfig())
    stages = {"piece:size=20+piece:size=21": "piece:size=21", "piece:size=7": "metric"}
    for chain, stage in stages.items():
        (result,) = worker.run(WorkerRequest(items=[item(chain)])).results
        assert unpack(result.status.details)["ErrorInfo"].metadata["stage"] == stage


def test_purify_refuses_what_scoring_refuses(archive: Archive) -> None:
    """An image that the metric could not read may still be purified; a piece larger than the image may not."""
    worker = Worker.load(archive, WorkerConfig())
    for chain, fits in (("piece:size=7", True), ("piece:size=33", False)):
        request = PurifyRequest(image=Image(encoded=png(51)), defences=steps(chain))
        (result,) = worker.run(WorkerRequest(items=[WorkItem(purify=request)])).results
        assert (result.WhichOneof("result") == "purify") is fits


def test_a_gradient_refuses_the_same(tmp_path: Path) -> None:
    """TorchScript never sees an image that does not fit; the step and the field are named."""
    toy = write_archive(tmp_path / "energy")
    artifact = next(a for a in toy.manifest.defences if a.facts.name == "shrink")
    artifact.facts.parameters[0].at_most_side = True
    chain = tuple(resolve_step(step, artifact) for step in steps("shrink+shrink+shrink:step=3"))
    call = ChainCall(steps=chain, seeds=[0], deadline=Deadline(0.0))
    torch_chain = TorchChain(toy, script_engine(toy, THE_CPU, DEFAULT), threads=1)
    scores, _ = torch_chain.gradient(np.ones((1, 3, 12, 12), np.float32), call)
    assert scores == pytest.approx([100])
    with pytest.raises(InvalidRequestError, match=r"shrink:step=3 \(step 3\) is larger than the image") as caught:
        torch_chain.gradient(np.ones((1, 3, 8, 8), np.float32), call)
    assert caught.value.field == "defences[2].parameters.step"
