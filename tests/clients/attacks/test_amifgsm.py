"""AMI-FGSM: a ball for each image by its NIQE, and the benchmark's code that asks no NIQE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import LinearOracle, TorchOracle

from scoreguard.catalogue import UnknownNameError
from scoreguard.score_range import ScoreRange
from scoreguard_client.attacks import MIFGSM, AttackSpecError, CompanionMissingError, Mode
from scoreguard_client.attacks.amifgsm import AMIFGSM, NaturalnessError
from scoreguard_client.oracles.base import Images, OracleFacts, Scores
from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.catalogue import load_metric

STEPS = 10 / 255
"""What ten steps of 1/255 reach."""


@dataclass(kw_only=True)
class Naturalness:
    """A NIQE that answers what it is told."""

    answers: list[float]
    asked: int = 0

    @property
    def facts(self) -> OracleFacts:
        """Low is natural."""
        return OracleFacts(metric="niqe", score_range=ScoreRange(low=0, high=100, higher_is_better=False))

    def score(self, images: Images) -> Scores:
        """The answers."""
        self.asked += 1
        return np.array(self.answers[: len(images)])


def ramp(shape: tuple[int, ...]) -> LinearOracle:
    """Weights of both signs, none 0."""
    return LinearOracle(weights=np.linspace(-1, 1.1, int(np.prod(shape))).reshape(shape).astype(np.float32))


def curved(images: torch.Tensor) -> torch.Tensor:
    """A score whose gradient changes in size and sign on the way."""
    return torch.sin(25 * images).sum(dim=(1, 2, 3)) + (images.mean(dim=(1, 2, 3)) * 3) ** 3


def furthest(attacked: Images, clean: Images) -> Scores:
    """L-infinity distance of each image."""
    return np.asarray(np.abs(attacked.astype(np.float64) - clean).max(axis=(1, 2, 3)))


@pytest.mark.parametrize(
    ("k", "answers"),
    [(1.0, [4.0, 2.0, 9.0]), (0.125, [4.0, 8.0, 2.0]), (0.01, [4.0, 1.0, 0.05])],
    ids=["never binds", "binds on photographs", "binds hard"],
)
def test_each_image_has_the_radius_of_its_own_naturalness(k: float, answers: list[float], images: Images) -> None:
    """A linear score drives each image to k / NIQE, or as far as ten steps go: with k = 1 they decide."""
    niqe, oracle = Naturalness(answers=answers), ramp(images.shape[1:])
    result = AMIFGSM(k=k)(images, oracle, companions={"niqe": niqe})
    np.testing.assert_allclose(furthest(result.attacked, images), np.minimum(k / np.array(answers), STEPS), atol=1e-6)
    assert niqe.asked == 1


def test_where_the_bound_does_not_bind_it_is_mifgsm(images: Images) -> None:
    """NIQE 4 and k = 1 give 64/255: the images are those of MI-FGSM without a bound."""
    oracle = TorchOracle(function=curved)
    result = AMIFGSM()(images, oracle, companions={"niqe": Naturalness(answers=[4.0] * 3)})
    np.testing.assert_array_equal(result.attacked, MIFGSM(eps=1.0)(images, oracle).attacked)


def test_eps_caps_the_radius_in_both_modes(images: Images) -> None:
    """Where a campaign wants one bound for all attacks."""
    for mode in Mode:
        attack, niqe = AMIFGSM(eps=0.02, mode=mode), Naturalness(answers=[4.0, 0.5, 100.0])
        result = attack(images, ramp(images.shape[1:]), companions={"niqe": niqe})
        require_budget(attack, images, result)
    np.testing.assert_allclose(furthest(result.attacked, images), 0.02, atol=1e-6)


def test_the_benchmark_mode_does_what_its_code_does_and_asks_no_niqe(images: Images) -> None:
    """Momentum without a norm, steps of 1/255, a cut to [0, 1] after each: a loop of its own in torch."""
    niqe = Naturalness(answers=[1000.0] * 3)
    result = AMIFGSM(mode=Mode.BENCHMARK)(images, TorchOracle(function=curved), companions={"niqe": niqe})
    for found, clean in zip(result.attacked, torch.from_numpy(images), strict=True):
        image, momentum = clean.clone(), torch.zeros_like(clean)
        for _ in range(10):
            image.requires_grad_()
            (gradient,) = torch.autograd.grad(-curved(image[None]).sum(), image)
            momentum = gradient + 1.0 * momentum
            image = (image.detach() - (10 / 255) / 10 * momentum.sign()).clamp(0, 1)
        assert np.mean(np.abs(found - image.numpy()) > 1e-6) < 0.002
    assert niqe.asked == 0


def test_the_benchmark_mode_forgets_what_is_cut_off() -> None:
    """It carries the image, unlike the benchmark's MI-FGSM: two steps beyond 1 and one back end at 1 - alpha."""
    clean, turns = np.full((1, 3, 1, 1), 1.0, dtype=np.float32), iter([1.0, 1.0, -1.0])

    class Turning(LinearOracle):
        def gradient(self, images: Images) -> tuple[Scores, Images]:
            return np.zeros(1), np.full_like(images, next(turns))

    attack = AMIFGSM(alpha=0.01, iterations=3, nu=0.0, mode=Mode.BENCHMARK)
    result = attack(clean, Turning(weights=clean[0]), companions={"niqe": Naturalness(answers=[4.0])})
    np.testing.assert_allclose(result.attacked, 0.99, atol=1e-6)


def test_the_modes_differ_where_niqe_binds_and_in_their_momentum(images: Images) -> None:
    """A high NIQE stops the paper's attack; the benchmark's goes on to 10/255."""
    companions = {"niqe": Naturalness(answers=[100.0] * 3)}
    paper, benchmark = (AMIFGSM(mode=mode)(images, ramp(images.shape[1:]), companions=companions) for mode in Mode)
    assert furthest(paper.attacked, images).max() <= 0.01
    np.testing.assert_allclose(furthest(benchmark.attacked, images), STEPS, atol=1e-6)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_niqe_that_makes_no_radius_is_named_with_its_image(bad: float, images: Images) -> None:
    """Nothing is asked of the attacked metric before."""
    oracle = ramp(images.shape[1:])
    with pytest.raises(NaturalnessError, match="image 1") as caught:
        AMIFGSM()(images, oracle, companions={"niqe": Naturalness(answers=[4.0, bad, 5.0])})
    assert caught.value.indices == [1]
    assert oracle.calls == 0


def test_without_niqe_the_attack_says_what_is_missing(images: Images) -> None:
    """The metric's name is in the message."""
    with pytest.raises(CompanionMissingError, match="niqe"):
        AMIFGSM()(images, ramp(images.shape[1:]))


@pytest.mark.parametrize("wrong", [{"k": 0.0}, {"k": float("inf")}, {"nu": -1.0}, {"alpha": 0.0}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    """The message names the parameter."""
    with pytest.raises(AttackSpecError, match=next(iter(wrong))):
        AMIFGSM(**wrong)  # type: ignore[arg-type]


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 9), st.integers(1, 9)),
    k=st.floats(1e-3, 3.0),
    niqe=st.floats(0.1, 50.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_radius_is_never_exceeded(shape: tuple[int, ...], k: float, niqe: float, seed: int) -> None:
    """In float64, for any k and NIQE."""
    clean = (np.random.default_rng(seed).integers(0, 256, shape) / 255).astype(np.float32)
    attack, companion = AMIFGSM(k=k, alpha=0.1), Naturalness(answers=[niqe] * 3)
    result = attack(clean, ramp(shape[1:]), companions={"niqe": companion})
    require_budget(attack, clean, result)
    assert np.all(furthest(result.attacked, clean) <= k / niqe)


def test_the_real_niqe_of_a_photograph_binds_with_an_eighth_and_not_with_one() -> None:
    """NIQE lies between 1.6 and 25 on photographs: 1 / NIQE is above 10/255, and 0.125 / NIQE below."""
    data = pytest.importorskip("skimage.data")
    try:
        niqe = TorchOracle(function=load_metric("niqe"), higher_is_better=False)
    except (UnknownNameError, WeightsError):
        pytest.skip("there is no niqe here")
    clean = (data.astronaut()[None, :256, :256].transpose(0, 3, 1, 2) / 255).astype(np.float32)
    wide, narrow = (AMIFGSM(k=k)(clean, ramp(clean.shape[1:]), companions={"niqe": niqe}) for k in (1.0, 0.125))
    np.testing.assert_allclose(furthest(wide.attacked, clean), STEPS, atol=1e-6)
    np.testing.assert_allclose(furthest(narrow.attacked, clean), 0.125 / niqe.score(clean), rtol=1e-4)
