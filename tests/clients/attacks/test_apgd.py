"""APGD: the paper's schedule, an independent loop, a known optimum, and PGD on a real metric."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
import torch
from tests.clients.attacks.conftest import LinearOracle, TorchOracle

from scoreguard_client.attacks import AttackSpecError, Direction
from scoreguard_client.attacks.apgd import APGD, checkpoints
from scoreguard_client.attacks.pgd import PGD
from scoreguard_client.oracles.base import Images, Scores
from scoreguard_export.metrics.catalogue import load_metric

Function = Callable[[torch.Tensor], torch.Tensor]
SCHEDULE = (0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99)
"""The paper's p_1, p_2, ..., section 3.1."""


def ridge(images: torch.Tensor) -> torch.Tensor:
    """Concave, with its peak inside the ball for some values and outside for others, and of unequal curvature."""
    count = images[0].numel()
    centre = (0.5 + 0.2 * torch.sin(torch.arange(count) * 1.7)).reshape(images.shape[1:])
    weights = torch.linspace(0.1, 3, count).reshape(images.shape[1:])
    return -(weights * (images - centre) ** 2).sum(dim=(1, 2, 3))


def coupled(images: torch.Tensor) -> torch.Tensor:
    """Smooth and far from separable, with local peaks."""
    rough = torch.sin(9 * images) + torch.sin(31 * images.roll(1, dims=3)) * images
    return rough.mean(dim=(1, 2, 3)) + torch.tanh(5 * (images.mean(dim=(1, 2, 3)) - 0.5))


def reference(function: Function, clean: Images, *, eps: float, steps: int, rho: float) -> tuple[Images, list[float]]:
    """Algorithm 1 of the paper for one image after another, in torch and double precision."""
    attacked, best_scores = [], []
    marks = [0, *(math.ceil(round(share * steps, 6)) for share in SCHEDULE)]
    for seed, image in enumerate(torch.from_numpy(clean).double()):
        cut = functools.partial(_cut, image, eps)
        start = np.random.default_rng(seed).uniform(-eps, eps, image.shape)
        point = cut(image + torch.from_numpy(start))
        value, slope = _ask(function, point)
        eta, before, best = 2 * eps, point, (value, point, slope)
        history, etas, bests = [], [eta], [value]
        for k in range(steps):
            target = cut(point + eta * slope.sign())
            share = 1.0 if k == 0 else 0.75
            before, point = point, cut(point + share * (target - point) + (1 - share) * (point - before))
            last, (value, slope) = value, _ask(function, point)
            history.append(value > last)
            best = max(best, (value, point, slope), key=lambda seen: seen[0])
            if k + 1 in marks:
                length = k + 1 - marks[marks.index(k + 1) - 1]
                few = sum(history[-length:]) < rho * length
                stuck = len(etas) > 0 and etas[-1] == eta and bests[-1] == best[0] and not _just_halved(etas)
                etas.append(eta)
                bests.append(best[0])
                if few or stuck:
                    eta /= 2
                    value, point, slope = best
                    etas[-1] = -eta
        attacked.append(best[1].float().numpy())
        best_scores.append(best[0])
    return np.stack(attacked), best_scores


def _just_halved(etas: list[float]) -> bool:
    return etas[-1] < 0


def _cut(image: torch.Tensor, eps: float, point: torch.Tensor) -> torch.Tensor:
    return torch.minimum(torch.maximum(point, image - eps), image + eps).clamp(0, 1)


def _ask(function: Function, point: torch.Tensor) -> tuple[float, torch.Tensor]:
    point = point.clone().requires_grad_()
    value = function(point[None]).sum()
    (slope,) = torch.autograd.grad(value, point)
    return float(value.detach()), slope


def test_the_checkpoints_are_the_papers() -> None:
    """0.22, 0.41, 0.57, ... of 100 steps, and the ceilings of them for other numbers."""
    assert checkpoints(100) == tuple(round(100 * share) for share in SCHEDULE)
    assert checkpoints(50) == (11, 21, 29, 35, 40, 44, 47, 50)
    assert checkpoints(1) == (1,) * 8


@pytest.mark.parametrize("function", [ridge, coupled])
@pytest.mark.parametrize(("eps", "steps", "rho"), [(10 / 255, 40, 0.75), (0.1, 25, 0.3)])
def test_it_does_what_an_independent_loop_does(
    function: Function, eps: float, steps: int, rho: float, images: Images
) -> None:
    """Momentum, checkpoints, halving and going back, each image by itself."""
    result = APGD(eps=eps, iterations=steps, rho=rho)(images, TorchOracle(function=double(function)))
    wanted, scores = reference(function, images, eps=eps, steps=steps, rho=rho)
    np.testing.assert_allclose(result.scores, scores, rtol=1e-5)
    assert np.mean(np.abs(result.attacked - wanted) > 1e-5) < 0.01


def double(function: Function) -> Function:
    """The same in double precision, so that both loops see the same rises and falls."""
    return lambda images: function(images.double())


def test_a_concave_score_is_driven_to_its_optimum(images: Images) -> None:
    """The optimum of a separable concave score over a box is the peak, cut to the box."""
    centre = (0.5 + 0.2 * np.sin(np.arange(images[0].size) * 1.7)).reshape(images.shape[1:])
    attack = APGD(eps=0.1)
    best = np.clip(centre, np.clip(images - 0.1, 0, 1), np.clip(images + 0.1, 0, 1)).astype(np.float32)
    oracle = TorchOracle(function=double(ridge))
    result = attack(images, oracle)
    gap, whole = oracle.score(best) - result.scores, oracle.score(best) - oracle.score(images)
    assert np.all(gap >= -1e-6)
    assert np.all(gap < 1e-4 * whole)


@pytest.mark.parametrize("direction", list(Direction))
def test_it_is_never_worse_than_pgd_with_as_many_gradients_on_lite(direction: Direction) -> None:
    """On crops of photographs, at a radius of 2/255 where the score is far from its end."""
    data = pytest.importorskip("skimage.data")
    photographs = [data.astronaut()[40:104, 180:244], data.coffee()[150:214, 200:264], data.cat()[80:144, 150:214]]
    clean = (np.stack(photographs).transpose(0, 3, 1, 2) / 255).astype(np.float32)
    oracle, sign = TorchOracle(function=load_metric("lite")), 1 if direction is Direction.UP else -1
    adaptive = APGD(eps=2 / 255, iterations=60, direction=direction)
    fixed = PGD(eps=2 / 255, iterations=60, restarts=1, direction=direction)
    assert adaptive.queries_needed == fixed.queries_needed
    assert np.all(sign * adaptive(clean, oracle).scores >= sign * fixed(clean, oracle).scores - 1e-3)


def test_an_image_does_not_depend_on_its_batch(images: Images) -> None:
    """Each halves its own step."""
    attack, oracle = APGD(iterations=30), TorchOracle(function=double(coupled))
    batch = attack(images, oracle, seeds=[4, 5, 6])
    np.testing.assert_array_equal(batch.attacked[2:], attack(images[2:], oracle, seeds=[6]).attacked)


def test_restarts_share_nothing_but_the_best_image(images: Images) -> None:
    """Two restarts ask twice as often and are not worse."""
    one, two = (APGD(iterations=10, restarts=n)(images, TorchOracle(function=coupled)) for n in (1, 2))
    assert (len(one.trace), len(two.trace)) == (13, 24)  # The result and the clean images besides.
    assert np.all(two.scores >= one.scores)
    np.testing.assert_allclose(two.scores, two.trace[:-2].max(axis=0), rtol=1e-6)


class Scripted(LinearOracle):
    """Tells scores from a list, whatever it is shown, and a gradient that points upwards everywhere."""

    script: Iterator[float]

    def score(self, images: Images) -> Scores:
        """The next of the list."""
        super().score(images)
        return np.full(len(images), next(self.script))


def went_back(oracle: LinearOracle, taken: int) -> bool:
    """Whether any value fell between two questions: only an image that goes back to its best point falls."""
    return bool(np.any(oracle.seen[taken + 1] < oracle.seen[taken] - 1e-3))


def scripted(scores: Iterable[float]) -> Scripted:
    """An oracle that tells these scores and then zeros."""
    oracle = Scripted(weights=np.ones((3, 8, 8), dtype=np.float32))
    oracle.script = itertools.chain(scores, itertools.repeat(0.0))
    return oracle


def test_an_image_that_has_just_halved_its_step_gets_a_whole_period_with_it() -> None:
    """With rho = 0 only condition 2 is left; where nothing ever rises it holds at every second checkpoint."""
    oracle = scripted([])
    APGD(eps=0.1, rho=0.0)(np.full((1, 3, 8, 8), 0.5, dtype=np.float32), oracle)
    assert [went_back(oracle, end) for end in checkpoints(100)] == [True, False] * 4


def test_rises_are_counted_from_the_best_point_after_going_back() -> None:
    """The start has 10, its first period nothing; then 5, below the 10 that it went back to, is no rise, 5.1 is one."""
    oracle = scripted([10.0, *[0.0] * 22, *(5 + 0.1 * step for step in range(19))])
    APGD(eps=0.1, rho=1.0)(np.full((1, 3, 8, 8), 0.5, dtype=np.float32), oracle)
    assert went_back(oracle, 22)
    assert went_back(oracle, 41)


def test_a_flat_score_leaves_the_start_and_gives_no_nan(images: Images) -> None:
    """Nothing rises, every checkpoint halves, the start stays."""
    oracle = LinearOracle(weights=np.zeros(images.shape[1:], dtype=np.float32))
    result = APGD(iterations=20)(images, oracle)
    np.testing.assert_array_equal(result.attacked, oracle.seen[0])


@pytest.mark.parametrize("start", [2.0, 0.5, 0.1])
def test_the_first_step_is_as_long_as_it_is_told(start: float) -> None:
    """Cut to the ball: from a point of the box each value moves by start * eps, or to the border."""
    clean, oracle = np.full((1, 3, 8, 8), 0.5, dtype=np.float32), scripted([])
    APGD(eps=0.1, start=start, iterations=3)(clean, oracle)
    wanted = np.minimum(oracle.seen[0] + 0.1 * start, 0.6)
    np.testing.assert_allclose(oracle.seen[1], wanted, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [{"start": 0.0}, {"start": 3.0}, {"iterations": 0}, {"restarts": 0}, {"rho": 1.5}, {"rho": -0.1}, {"eps": 0.0}],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    """The message names the parameter."""
    with pytest.raises(AttackSpecError, match=next(iter(wrong))):
        APGD(**wrong)  # type: ignore[arg-type]
