"""Server, local oracle and eager modules run a chain by the same engine: one score, one gradient, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from google.rpc import code_pb2
from served import SERVED, Floats, Served, photo_like, planes, wire
from tests.clients.oracles.toy_archive import write_archive
from torch import Tensor, nn

from scoreguard.chain.devices import THE_CPU
from scoreguard.chain.numerics import DEFAULT
from scoreguard.chain.resolve import ResolvedStep, resolve_step
from scoreguard.chain.torchscript import DifferentiableChain, TorchEngine
from scoreguard.v1.codec import from_tensor
from scoreguard.v1.errors import EngineError, NoGradientError
from scoreguard.v1.scoring_pb2 import ScoreGradientResponse
from scoreguard.v1.spec import parse_chain
from scoreguard_client.oracles.local import LocalOracle
from scoreguard_client.oracles.seeds import base_seeds, draw_seeds
from scoreguard_export.metrics.catalogue import load_metric
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.errors import ChainFailedError, NotDeployedError, as_serving_error
from scoreguard_handlers.worker.call import ChainCall
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.choice import script_engine
from scoreguard_handlers.worker.engines.torch_chain import TorchChain
from scoreguard_handlers.worker.worker import Worker

SEED = 11
SIZE = (66, 75)
CHAINS = [
    "none",
    *(f"{name}:size=40" if name == "crop" else name for name in SERVED if not name.startswith("diffpure")),
    "diffpure:t=30:steps=3",
    "diffpure-edge:t=3",
    "blur+diffpure-unsharp:t=2+jpeg",
    "rotate+noise:sigma=0.05+median+quantise:levels=9",
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As many threads as the worker uses: the order of sums, hence the last bits, depends on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(WorkerConfig.threads)
    yield
    torch.set_num_threads(threads)


def derivative(response: ScoreGradientResponse) -> Floats:
    """The gradient of an answer, (1, 3, H, W)."""
    return planes(np.asarray(from_tensor(response.gradient), np.float32))


def steps_of(served: Served, chain: str) -> list[ResolvedStep]:
    """A chain's text, resolved."""
    return [resolve_step(step, served.artifact(step.name), place) for place, step in enumerate(wire(chain))]


def eager_chain(served: Served, chain: str) -> DifferentiableChain:
    """The modules that the graphs of a chain were made from, in their place."""
    metric, steps = served.archive.manifest.metric, steps_of(served, chain)
    modules: dict[str, nn.Module] = {metric.graphs.torchscript: load_metric("lite")}
    for step in steps:
        modules.update(served.eager(step.facts.name).modules)
    return DifferentiableChain(engine=TorchEngine(modules=modules), metric=metric, steps=steps)


@pytest.mark.parametrize("chain", CHAINS)
def test_server_oracle_and_eager_modules_agree_to_the_last_bit(served: Served, chain: str) -> None:
    """Score and gradient, with the draws of one seed."""
    image = photo_like(*SIZE)
    (seed,) = draw_seeds(base_seeds(SEED, 1)[0], 1, 1)
    answer = served.gradient(image, chain, seed)
    scores, gradient = LocalOracle(served.archive, parse_chain(chain), seed=SEED).gradient(planes(image))
    eager_scores, eager_gradient = eager_chain(served, chain).gradient(torch.from_numpy(planes(image)), [seed])
    assert answer.score == scores[0] == float(eager_scores)
    np.testing.assert_array_equal(derivative(answer), gradient)
    np.testing.assert_array_equal(eager_gradient.numpy(), gradient)
    assert np.abs(gradient).max() > 0.0


@pytest.mark.parametrize("chain", ["jpeg", "diffpure:t=4", "blur+diffpure-unsharp:t=3+jpeg"])
def test_a_worker_that_recomputes_gives_the_same_gradient(served: Served, chain: str) -> None:
    """`checkpoint` is the server's too."""
    image = photo_like(40, 45)
    thrifty = Served.load(served.archive, served.weights, checkpoint=True)
    plain, again = served.gradient(image, chain), thrifty.gradient(image, chain)
    assert again.score == plain.score
    np.testing.assert_array_equal(derivative(again), derivative(plain))


def test_a_worker_says_at_its_start_that_it_cannot_use_a_device(served: Served) -> None:
    """One line for the operator."""
    for device in ("meta", "toaster"):
        with pytest.raises(EngineError, match=f"^device '{device}': .+; choose .+"):
            Worker.load(served.archive, WorkerConfig(device=device))


def test_an_oracle_says_at_its_start_that_it_cannot_use_a_device(served: Served) -> None:
    """The same line."""
    with pytest.raises(EngineError, match=r"^device 'toaster': there is no device"):
        LocalOracle(served.archive, device="toaster")


def test_an_answer_names_its_device(served: Served) -> None:
    """Provenance: engine, version, device."""
    assert served.gradient(photo_like(40, 45), "none").provenance.engine == f"torchscript {torch.__version__} cpu"


def test_a_graph_that_fails_is_the_items_error_in_one_line(tmp_path: Path) -> None:
    """INTERNAL, with the file, the shape and torch's cause; an image that fits is answered by the same chain."""

    class Rows(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return (image @ torch.ones(7, 1)).mean(dim=[1, 2, 3])

    archive = write_archive(tmp_path / "rows", Rows())
    chain = TorchChain(archive, script_engine(archive, THE_CPU, DEFAULT), threads=1)
    call = ChainCall(steps=(), seeds=[0], deadline=Deadline(0.0))
    with pytest.raises(EngineError) as caught:
        chain.gradient(np.ones((1, 3, 5, 6), np.float32), call)
    failure = as_serving_error(caught.value)
    assert isinstance(failure, ChainFailedError)
    assert str(failure).startswith("energy.pt cannot run on an image of shape (1, 3, 5, 6): mat1 and mat2 shapes")
    assert "\n" not in str(failure)
    assert chain.gradient(np.ones((1, 3, 5, 7), np.float32), call)[0].tolist() == [7]


def test_an_error_of_the_engine_has_the_code_of_who_can_mend_it() -> None:
    """A step without gradient is the caller's, FAILED_PRECONDITION; a graph that fails the operator's, INTERNAL."""
    assert isinstance(as_serving_error(NoGradientError("resize", "resize")), NotDeployedError)
    failure = as_serving_error(EngineError("metric.pt", "cannot run"))
    assert (type(failure), failure.code) == (ChainFailedError, code_pb2.INTERNAL)
