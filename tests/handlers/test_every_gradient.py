"""ScoreGradient through every defence, beside finite differences of the eager modules in double precision.

A direction is drawn, or the gradient's own, with entries of mean square 1; the step along it is 1e-9 of the range of a
pixel: so small that hardly a kink of the networks (a ReLU, a minimum) lies within it, and the difference of two scores
in double precision is still good to 1e-5 of the gradient's norm. What is left is the served side, in float32, where a
ReLU of the metric's last layers may fall to the other side of 0: one of them moves the gradient by up to 2% of its
norm, which is the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from served import SEED, SERVED, Floats, Served, gradient_item, photo_like, planes, step_of
from torch import Tensor

from scoreguard.chain.rounding import Rounding
from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import from_tensor
from scoreguard.v1.manifest_pb2 import DIFFERENTIABILITY_BPDA_IDENTITY
from scoreguard.v1.scoring_pb2 import ROUNDING_CUBIC, ScoreGradientResponse
from scoreguard.v1.spec import parse_chain
from scoreguard_client.oracles.local import LocalOracle
from scoreguard_export.archive.eager import EagerDefence
from scoreguard_export.defences.base import Differentiability
from scoreguard_export.defences.catalogue import CATALOGUE
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import load_metric

Doubles = npt.NDArray[np.float64]
SIZE = (66, 73)
"""Half of it is still read by the metric."""
STEP = 1e-9
TOLERANCE = 2e-2
"""Of the norm of the gradient."""
SAMPLERS = ["t=5", "t=3:steps=1", "t=30:steps=3"]
DIFFUSIONS = [name for name in SERVED if CATALOGUE[name].schedule({})]


def of_kind(kind: Differentiability) -> list[str]:
    """The served defences whose gradient is of one kind."""
    return [name for name in SERVED if CATALOGUE[name].facts.differentiability is kind]


@dataclass(frozen=True, kw_only=True)
class Precise(EagerDefence):
    """The modules in double precision, and every number that they are given."""

    @classmethod
    def of(cls, defence: EagerDefence) -> Precise:
        """Convert the modules."""
        modules = {path: module.double() for path, module in defence.modules.items()}
        return cls(artifact=defence.artifact, modules=modules)

    def array(self, values: Floats) -> Tensor:
        """A tensor of numpy's values."""
        return torch.from_numpy(values).double()

    def purified_image(self, image: Tensor, chain: str) -> Tensor:
        """g(x), without its derivative."""
        (step,) = parse_chain(chain)
        with torch.no_grad():
            return self.purify(image, SEED, **dict(step.parameters))


@pytest.fixture(scope="module")
def precise_metric() -> Metric:
    """The shipped metric in double precision."""
    return load_metric("lite").double()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The worker sets the threads of torch for this process; later tests get theirs back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def derivative(response: ScoreGradientResponse) -> Floats:
    """The gradient of an answer, (1, 3, H, W)."""
    return planes(np.asarray(from_tensor(response.gradient), np.float32))


def assert_is_the_derivative(gradient: Floats, score: Callable[[Tensor], Tensor], image: Floats) -> None:
    """Along its own direction and two others, the gradient is the central difference of a score."""
    given, norm = gradient.astype(np.float64), float(np.linalg.norm(gradient))
    assert norm > 0.0
    generator = np.random.default_rng(1)
    own = given * (np.sqrt(given.size) / norm)
    for direction in (own, *(generator.standard_normal(given.shape) for _ in range(2))):
        ends = [float(score(torch.from_numpy(planes(image) + sign * STEP * direction))) for sign in (1.0, -1.0)]
        expected = (ends[0] - ends[1]) / (2.0 * STEP)
        found = float((given * direction).sum())
        size = norm * np.sqrt(given.size) if direction is own else norm
        assert abs(found - expected) <= TOLERANCE * size, f"{found:.6g} is not {expected:.6g}, of {size:.3g}"


@pytest.mark.parametrize("name", of_kind(Differentiability.EXACT))
def test_an_exact_gradient_is_the_derivative_of_the_score(served: Served, precise_metric: Metric, name: str) -> None:
    """Finite differences of f(g(x)), in another precision and without the exported graphs."""
    setting = {"t": 2.0} if name in DIFFUSIONS else {}
    image, chain = photo_like(*SIZE), step_of(name, min(SIZE) + 6, **setting)
    defence = Precise.of(served.eager(name))

    def score(image: Tensor) -> Tensor:
        with torch.no_grad():
            scores: Tensor = precise_metric(defence.purified_image(image, chain))
        return scores

    response = served.gradient(image, chain)
    assert response.score == pytest.approx(float(score(torch.from_numpy(planes(image)).double())), abs=2e-3)
    assert_is_the_derivative(derivative(response), score, image)


@pytest.mark.parametrize("name", of_kind(Differentiability.STRAIGHT_THROUGH))
def test_a_straight_through_gradient_is_that_of_the_defence_without_rounding(
    served: Served, precise_metric: Metric, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finite differences of f(g(x₀) + s(x) − s(x₀)), where s is the defence with its rounding and bounds taken out."""
    image = (np.round(photo_like(*SIZE) * 255.0) / np.float32(255.0)).astype(np.float32)
    chain, defence = step_of(name, min(SIZE)), Precise.of(served.eager(name))
    start = torch.from_numpy(planes(image)).double()
    purified = defence.purified_image(start, chain)
    for module in ("jpeg_codec", "quantise"):
        path = f"scoreguard_export.defences.{module}.straight_through"
        monkeypatch.setattr(path, lambda value, settled: value)
    smooth = defence.purified_image(start, chain)
    assert float((purified - smooth).abs().max()) > 1e-3

    def score(image: Tensor) -> Tensor:
        with torch.no_grad():
            scores: Tensor = precise_metric(purified + defence.purified_image(image, chain) - smooth)
        return scores

    assert_is_the_derivative(derivative(served.gradient(image, chain)), score, image)


def bypassing(served: Served, *names: str) -> Served:
    """The same archive, with defences declared to have no derivative; the catalogue has none at present."""
    other = Served.load(Archive(served.archive.path), served.weights)
    for name in names:
        other.artifact(name).facts.differentiability = DIFFERENTIABILITY_BPDA_IDENTITY
    return other


def test_without_a_derivative_the_gradient_is_the_metrics_at_the_purified_image(served: Served) -> None:
    """BPDA: ∇f at g(x), passed on as it is."""
    image, chain = photo_like(*SIZE), "median"
    expected = served.gradient(served.purify(image, chain), "none")
    given = bypassing(served, "median").gradient(image, chain)
    assert given.score == pytest.approx(expected.score, abs=1e-3)
    assert np.abs(derivative(given) - derivative(expected)).max() <= 1e-3 * np.abs(derivative(expected)).max()
    exact = derivative(served.gradient(image, chain))
    assert np.abs(derivative(given) - exact).max() > 0.05 * np.abs(exact).max()


def test_without_a_derivative_another_size_is_refused(served: Served) -> None:
    """There is no identity between images of two sizes; the message names the step."""
    (result,) = bypassing(served, "resize").answers(gradient_item(photo_like(*SIZE), "resize", SEED))
    assert "no gradient through resize" in result.status.message


@pytest.mark.parametrize("chain", ["jpeg:quality=30", "quantise:levels=6", "blur+jpeg", "blur+median"])
def test_the_served_gradient_takes_the_cubic_derivative_of_rounding_where_it_is_asked_for(
    served: Served, chain: str
) -> None:
    """It is the surrogate's; the score is the same to the last bit, and a chain without rounding has one gradient."""
    image = photo_like(40, 45)
    item = gradient_item(image, chain, SEED)
    item.gradient.rounding = ROUNDING_CUBIC
    (soft,), plain = served.answers(item), served.gradient(image, chain)
    assert soft.gradient.score == plain.score
    oracle = LocalOracle(served.archive, parse_chain(chain), seed=SEED, rounding=Rounding.CUBIC)
    expected = oracle.gradient(planes(image))[1]
    np.testing.assert_allclose(derivative(soft.gradient), expected, atol=1e-4 * np.abs(expected).max())
    differs = np.abs(derivative(soft.gradient) - derivative(plain)).max() > 0.1 * np.abs(derivative(plain)).max()
    assert differs == ("median" not in chain)


def test_a_derivative_of_rounding_that_nobody_knows_is_refused_by_name(served: Served) -> None:
    """A number of a later version."""
    item = gradient_item(photo_like(40, 45), "jpeg", SEED)
    item.gradient.rounding = 7  # type: ignore[assignment]
    (result,) = served.answers(item)
    assert "no rounding 7; there are" in result.status.message


@pytest.mark.parametrize("name", DIFFUSIONS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_gradient_through_the_loop_is_that_of_the_eager_loop(served: Served, name: str, sampler: str) -> None:
    """Autograd through every call of the denoiser."""
    image, chain = photo_like(40, 45), f"{name}:{sampler}"
    (step,) = parse_chain(chain)
    leaf = torch.from_numpy(planes(image)).requires_grad_()
    score = load_metric("lite")(served.eager(name).purify(leaf, SEED, **dict(step.parameters)))
    (expected,) = torch.autograd.grad(score.sum(), leaf)
    given = served.gradient(image, chain)
    assert given.score == pytest.approx(float(score.detach()), abs=2e-3)
    assert np.abs(derivative(given) - expected.numpy()).max() <= 1e-3 * float(expected.abs().max())


@pytest.mark.parametrize("chain", ["diffpure:t=4", "diffpure-edge:t=30:steps=3", "blur+diffpure-unsharp:t=3+jpeg"])
def test_a_surrogate_that_recomputes_gives_the_same_gradient(served: Served, chain: str) -> None:
    """Running each graph again in the backward pass changes no bit of score or gradient."""
    images = np.concatenate([planes(photo_like(40, 45, seed)) for seed in (0, 1)])
    kept, again = (
        LocalOracle(served.archive, parse_chain(chain), seed=3, checkpoint=checkpoint).gradient(images)
        for checkpoint in (False, True)
    )
    assert np.array_equal(kept[0], again[0])
    assert np.array_equal(kept[1], again[1])
    assert np.abs(kept[1]).max() > 0.0
