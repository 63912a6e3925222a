"""MADC: on the sphere in paper mode, far inside it in the benchmark's, and optima that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import LinearOracle, TorchOracle

from scoreguard_client.attacks import AttackSpecError, Direction, Mode
from scoreguard_client.attacks.madc import MADC, orthogonal
from scoreguard_client.oracles.base import Images, Scores

PRECISION = 0.04 / 255


def curved(images: torch.Tensor) -> torch.Tensor:
    """A score whose gradient turns on the way."""
    return torch.sin(12 * images).mean(dim=(1, 2, 3)) + images[:, 0].mean(dim=(1, 2)) ** 2


def errors(attacked: Images, clean: Images) -> Scores:
    """Root mean squared error of each image."""
    return np.asarray(np.sqrt(((attacked.astype(np.float64) - clean) ** 2).mean(axis=(1, 2, 3))))


def grey(seed: int = 1, size: tuple[int, int] = (31, 17)) -> Images:
    """Three images whose values stay clear of 0 and 1."""
    return np.random.default_rng(seed).uniform(0.35, 0.65, (3, 3, *size)).astype(np.float32)


def reference(clean: Images, *, rmse: float, lr: float, steps: int) -> Images:
    """The benchmark's loop, one image at a time; the gradient of the error comes from autograd."""
    found = []
    for start in torch.from_numpy(clean):
        image = start.clone()
        for number in range(steps):
            score_slope = _slope(lambda point: -curved(point[None]).sum(), image)
            if number:
                error_slope = _slope(lambda point: _error(point, start), image)  # noqa: B023
                share = (score_slope * error_slope).sum() / (error_slope * error_slope).sum()
                score_slope = score_slope - share * error_slope
            image = image - lr * score_slope.sign()
            while _error(image, start) > rmse:
                image = (image - 0.0005 * _slope(lambda point: _error(point, start), image).sign()).clamp(0, 1)  # noqa: B023
            image = image.clamp(0, 1)
        found.append(image.numpy())
    return np.stack(found)


def _error(point: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    return ((point - start) ** 2).mean() ** 0.5


def _slope(function: object, image: torch.Tensor) -> torch.Tensor:
    point = image.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(point), point)  # type: ignore[operator]
    return slope


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_linear_score_is_driven_to_the_point_of_the_sphere_along_its_weights(
    direction: Direction, higher_is_better: bool
) -> None:
    """The optimum of <w, x'> on the sphere is x + R w / ||w||, from a random start."""
    clean = grey()
    weights = np.random.default_rng(20).normal(size=clean.shape[1:]).astype(np.float32)
    sign = (1 if higher_is_better else -1) * (1 if direction is Direction.UP else -1)
    unit = weights / np.sqrt((weights.astype(np.float64) ** 2).mean())
    oracle, attack = LinearOracle(weights=weights, higher_is_better=higher_is_better), MADC(direction=direction)
    result = attack(clean, oracle)
    best = clean + sign * attack.rmse * unit
    assert np.all(errors(result.attacked, best.astype(np.float32)) < 0.03 * attack.rmse)
    gained = sign * (result.scores - oracle.score(clean))
    optimum = attack.rmse * clean[0].size * float((unit * weights).mean())
    assert np.all(gained > 0.995 * optimum)
    assert np.all(gained <= optimum * (1 + 1e-6))


@pytest.mark.parametrize("rmse", [1 / 255, 10 / 255, 0.1])
def test_paper_mode_ends_on_the_sphere_and_never_beyond(rmse: float, images: Images) -> None:
    """Within 0.04 grey levels below, also where many values stand at 0 or 1 and the cut has to be made up for."""
    result = MADC(rmse=rmse)(images, TorchOracle(function=curved))
    found = errors(result.attacked, images)
    assert np.all(found <= rmse)
    assert np.all(found >= rmse - PRECISION)


def test_the_search_reaches_the_sphere_from_both_sides(images: Images) -> None:
    """A difference that is too short is drawn out and one that is too long is drawn in, each in its own direction."""
    attack, direction = MADC(), np.random.default_rng(3).normal(size=images.shape)
    for length in (1e-6, 1e-2, 1.0, 50.0):
        held = attack.held(images, length * direction)
        assert np.all(np.abs(errors(held, images) - attack.rmse) <= PRECISION)
        moved = held.astype(np.float64) - images
        assert np.all(moved * direction >= -1e-9)
    values = attack.held(grey(), 0.7 * direction[:, :, :1, :1]) - grey()
    np.testing.assert_allclose(values / values[:, :, :1, :1], 1, rtol=1e-3)


def test_the_search_of_one_image_is_over_when_it_is_there() -> None:
    """Beside one of which two rows can move, which takes long to find, a grey one is held where it is alone."""
    clean = np.stack([grey()[0], np.ones_like(grey()[0])])
    attack, direction = MADC(), np.random.default_rng(5).normal(size=clean.shape)
    direction[1] = np.abs(direction[1]) * np.where(np.arange(31) < 2, -1, 1)[:, None]
    both = attack.held(clean, direction)
    np.testing.assert_array_equal(both[:1], attack.held(clean[:1], direction[:1]))
    found = errors(both, clean)
    assert np.all(found <= attack.rmse)
    assert np.all(found >= attack.rmse - PRECISION)


def test_every_question_of_paper_mode_is_about_an_image_on_the_sphere() -> None:
    """The start is one too: Gaussian noise, another for each image."""
    clean, oracle = grey(), LinearOracle(weights=np.ones((3, 31, 17), dtype=np.float32))
    MADC(iterations=5)(clean, oracle)
    *walk, last = oracle.seen
    np.testing.assert_array_equal(last, clean)  # What is handed out is compared with it.
    for asked in walk:
        np.testing.assert_allclose(errors(asked, clean), 10 / 255, atol=PRECISION)
    start = walk[0] - clean
    assert abs(start.mean()) < 0.002
    assert np.abs(np.corrcoef(start.reshape(3, -1))[~np.eye(3, dtype=bool)]).max() < 0.1
    fourth = (start**4).mean() / (start**2).mean() ** 2
    assert abs(fourth - 3) < 0.5


def test_a_step_is_orthogonal_to_the_gradient_of_the_error() -> None:
    """<p, d> = 0, and p + its part along d is the gradient; at the clean image nothing is taken away."""
    gradient, difference = np.random.default_rng(4).normal(size=(2, 3, 3, 8, 9)).astype(np.float32)
    kept = orthogonal(gradient, difference)
    products = (kept * difference).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(products, 0, atol=1e-4)
    ratio = (gradient - kept) / difference
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1, :1], ratio.shape), rtol=1e-2, atol=1e-4)
    np.testing.assert_array_equal(orthogonal(gradient, np.zeros_like(gradient)), gradient)


@pytest.mark.parametrize(
    ("rmse", "lr", "steps"), [(10 / 255, 0.001, 8), (2 / 255, 0.004, 6)], ids=["as published", "with the inner loop"]
)
def test_benchmark_mode_does_what_an_independent_loop_does(rmse: float, lr: float, steps: int) -> None:
    """In all but a few values of vanishing gradient."""
    clean = grey()
    attack = MADC(rmse=rmse, lr=lr, iterations=steps, mode=Mode.BENCHMARK)
    result = attack(clean, TorchOracle(function=curved))
    wanted = reference(clean, rmse=rmse, lr=lr, steps=steps)
    assert np.mean(np.abs(result.attacked - wanted) > 1e-5) < 0.01


def test_the_modes_differ_in_where_they_end(images: Images) -> None:
    """The benchmark's defaults end at most 0.008 away, a fifth of the radius on which the paper's attack ends."""
    paper, benchmark = (MADC(mode=mode)(images, TorchOracle(function=curved)) for mode in Mode)
    assert np.all(errors(paper.attacked, images) > 9.9 / 255)
    assert np.all(errors(benchmark.attacked, images) <= 0.008)
    assert np.all(paper.scores > benchmark.scores)


def test_an_image_depends_on_its_seed_and_not_on_its_batch(images: Images) -> None:
    """The search of one image ends when it is there, however long the others take."""
    attack, oracle = MADC(), TorchOracle(function=lambda batch: curved(batch.double()))
    batch = attack(images, oracle, seeds=[4, 5, 6])
    np.testing.assert_allclose(batch.attacked[1:2], attack(images[1:2], oracle, seeds=[5]).attacked, atol=1e-6)
    assert not np.array_equal(batch.attacked[1:2], attack(images[1:2], oracle, seeds=[50]).attacked)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_zero_gradient_gives_no_nan(mode: Mode, images: Images) -> None:
    """Paper mode stays at its noise, the benchmark's at the clean image."""
    result = MADC(mode=mode)(images, LinearOracle(weights=np.zeros(images.shape[1:], dtype=np.float32)))
    assert np.isfinite(result.attacked).all()
    assert np.array_equal(result.attacked, images) == (mode is Mode.BENCHMARK)


@pytest.mark.parametrize("mode", list(Mode))
@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 9), st.integers(1, 9)),
    rmse=st.floats(1e-4, 1.0),
    lr=st.floats(1e-4, 0.3),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_error_is_never_exceeded(mode: Mode, shape: tuple[int, ...], rmse: float, lr: float, seed: int) -> None:
    """As floats and as 8-bit images, at any size, radius and step."""
    clean = (np.random.default_rng(seed).integers(0, 256, shape) / 255).astype(np.float32)
    attack = MADC(rmse=rmse, lr=lr, iterations=4, mode=mode)
    require_budget(attack, clean, attack(clean, TorchOracle(function=curved), seeds=range(seed, seed + len(clean))))


@pytest.mark.parametrize("wrong", [{"rmse": 0.0}, {"rmse": 2.0}, {"iterations": 0}, {"step": 0.0}, {"lr": 0.0}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    """The message names the parameter."""
    with pytest.raises(AttackSpecError, match=next(iter(wrong))):
        MADC(**wrong)  # type: ignore[arg-type]
