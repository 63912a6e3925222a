"""The samplers against closed forms: where the data are Gaussian, the best denoiser is known, and so is the answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scoreguard.chain.randomness import draw
from scoreguard.chain.sampling import (
    Schedule,
    ancestral_step,
    diffused,
    estimated,
    implicit_step,
    linear_schedule,
    purified_ddim,
    purified_ddpm,
    step_noise,
    visited_steps,
)
from scoreguard.v1.manifest_pb2 import DISTRIBUTION_STANDARD_NORMAL, RANDOM_SHAPE_IMAGE, RandomInput

Floats = npt.NDArray[np.float64]

LINEAR = linear_schedule()
MEAN, SPREAD = 0.6, 0.15
"""Of the Gaussian pixels."""
COUNT = 40_000
"""Pixels drawn."""


def gaussian_denoiser(noisy: Floats, sigma: float) -> Floats:
    """E[p | p + σε] of Gaussian pixels."""
    return MEAN + SPREAD**2 / (SPREAD**2 + sigma**2) * (noisy - MEAN)


def fresh(seed: int) -> Callable[[int], Floats]:
    """Noise in double precision, one array for each number."""
    return lambda index: np.random.default_rng([seed, index]).standard_normal((1, 1, 1, COUNT))


def pixels(seed: int) -> Floats:
    """Draw from the Gaussian."""
    return MEAN + SPREAD * np.random.default_rng(seed).standard_normal((1, 1, 1, COUNT))


@pytest.mark.parametrize(
    ("step", "level"), [(5, 3.4), (10, 5.5), (20, 9.7), (30, 13.7), (50, 21.7), (100, 40.9), (150, 58.7), (400, 114)]
)
def test_the_linear_schedule_has_the_published_noise(step: int, level: float) -> None:
    """√(1 − ᾱ_t) of β = 1e-4 … 0.02 in 1000 steps, in levels of 255; σ_t divides it by √ᾱ_t."""
    kept = LINEAR.kept(step)
    assert math.sqrt(1.0 - kept) / 2.0 * 255.0 == pytest.approx(level, abs=0.5 if level > 100 else 0.06)
    assert LINEAR.sigma(step) * math.sqrt(kept) == pytest.approx(math.sqrt(1.0 - kept) / 2.0, rel=1e-12)


def test_the_first_and_last_betas_are_those_of_the_paper() -> None:
    """ᾱ_1 = 1 − 1e-4, and β_T = 0.02."""
    assert LINEAR.kept(1) == pytest.approx(1.0 - 1e-4, rel=1e-15)
    assert LINEAR.kept(1000) / LINEAR.kept(999) == pytest.approx(0.98, rel=1e-12)
    assert LINEAR.kept(0) == 1.0
    assert LINEAR.sigma(0) == 0.0


@pytest.mark.parametrize("step", [1, 30, 150, 1000])
def test_the_way_forth_has_the_closed_forms_moments(step: int) -> None:
    """x_t has the mean √ᾱ_t·x_0 and the variance 1 − ᾱ_t (Ho et al. 2020, eq. 4)."""
    kept = LINEAR.kept(step)
    state = diffused(np.full((1, 1, 1, COUNT), 0.8), LINEAR, step, fresh(3)(0))
    assert state.mean() == pytest.approx(math.sqrt(kept) * 0.6, abs=4.0 * math.sqrt((1.0 - kept) / COUNT))
    assert state.var() == pytest.approx(1.0 - kept, rel=4.0 * math.sqrt(2.0 / COUNT))


def posterior(value: float, sigma: float) -> tuple[float, float]:
    """Mean and variance of p' where p' is drawn from p(p_0 | value + σε), over ε and the draw."""
    share = SPREAD**2 / (SPREAD**2 + sigma**2)
    return MEAN + share * (value - MEAN), share**2 * sigma**2 + share * sigma**2


@pytest.mark.parametrize("step", [300, 700])
def test_ddpm_samples_the_posterior_of_gaussian_pixels(step: int) -> None:
    """A fixed pixel comes back with the mean and variance of the exact posterior, where steps are ten times as fine."""
    schedule = linear_schedule(10_000, 1e-5, 2e-3)
    mean, variance = posterior(0.9, schedule.sigma(step))
    result = purified_ddpm(np.full((1, 1, 1, COUNT), 0.9), schedule, step, gaussian_denoiser, fresh(1))
    assert result.mean() == pytest.approx(mean, abs=4.0 * math.sqrt(variance / COUNT))
    assert result.var() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("step", [30, 150, 1000])
def test_both_samplers_keep_the_distribution_of_gaussian_pixels(step: int) -> None:
    """Pixels of the data's distribution come back with its mean and variance, by DDPM and by DDIM."""
    images = pixels(5)
    by_ddpm = purified_ddpm(images, LINEAR, step, gaussian_denoiser, fresh(1))
    by_ddim = purified_ddim(images, LINEAR, step, max(30, step // 4), gaussian_denoiser, fresh(2))
    for result in (by_ddpm, by_ddim):
        assert result.mean() == pytest.approx(MEAN, abs=4.0 * SPREAD / math.sqrt(COUNT))
        assert result.var() == pytest.approx(SPREAD**2, rel=0.04)


def test_ddpm_follows_its_own_recursion_exactly() -> None:
    """With a linear denoiser the variance obeys v_{t−1} = a_t²·v_t + β̃_t, discretisation included."""
    step, variance = 60, 1.0 - LINEAR.kept(60)
    for t in range(step, 0, -1):
        before, kept = LINEAR.kept(t - 1), LINEAR.kept(t)
        share = SPREAD**2 / (SPREAD**2 + LINEAR.sigma(t) ** 2) / math.sqrt(kept)
        factor = math.sqrt(before) * (1 - kept / before) / (1 - kept) * share
        factor += math.sqrt(kept / before) * (1 - before) / (1 - kept)
        variance = factor**2 * variance + (1 - before) / (1 - kept) * (1 - kept / before)
    result = purified_ddpm(np.full((1, 1, 1, COUNT), 0.2), LINEAR, step, gaussian_denoiser, fresh(9))
    assert result.var() == pytest.approx(variance / 4.0, rel=4.0 * math.sqrt(2.0 / COUNT))


@pytest.mark.parametrize("step", [30, 150])
def test_ddim_with_the_best_denoiser_is_the_probability_flow(step: int) -> None:
    """With η = 0 the way back is a fixed affine map; in small steps it scales by s/√(s² + σ²)."""
    noise = fresh(4)
    result = purified_ddim(np.full((1, 1, 1, COUNT), 0.9), LINEAR, step, step, gaussian_denoiser, noise)
    sigma = LINEAR.sigma(step)
    expected = MEAN + SPREAD / math.sqrt(SPREAD**2 + sigma**2) * (0.9 + sigma * noise(0) - MEAN)
    assert np.abs(result - expected).max() < 0.01


@pytest.mark.parametrize("step", [1, 2, 30, 150])
def test_ddim_with_eta_one_is_ddpm(step: int) -> None:
    """The two formulas are the same step where all noise is used (Song et al. 2021, section 4.1)."""
    images = pixels(7)
    one = purified_ddpm(images, LINEAR, step, gaussian_denoiser, fresh(1))
    other = purified_ddim(images, LINEAR, step, step, gaussian_denoiser, fresh(1), eta=1.0)
    assert np.abs(one - other).max() < 1e-9


def test_one_step_is_the_denoiser_alone() -> None:
    """Both samplers end with the model's last answer; DDIM in one step asks once, at σ_t."""
    images, asked = pixels(2), list[float]()

    def denoise(noisy: Floats, sigma: float) -> Floats:
        asked.append(sigma)
        return gaussian_denoiser(noisy, sigma)

    result = purified_ddim(images, LINEAR, 40, 1, denoise, fresh(0))
    sigma = LINEAR.sigma(40)
    assert asked == [sigma]
    assert np.abs(result - gaussian_denoiser(images + sigma * fresh(0)(0), sigma)).max() < 1e-12


def test_no_noise_is_drawn_for_the_last_step() -> None:
    """Every number is asked for once: 0 for the way forth, t to 2 for the ancestral steps."""
    drawn = list[int]()

    def noise(index: int) -> Floats:
        drawn.append(index)
        return fresh(0)(index)

    purified_ddpm(pixels(1), LINEAR, 5, gaussian_denoiser, noise)
    assert drawn == [0, 5, 4, 3, 2]
    drawn.clear()
    purified_ddim(pixels(1), LINEAR, 50, 5, gaussian_denoiser, noise)
    assert drawn == [0]


@given(step=st.integers(1, 1000), share=st.floats(0.0, 1.0))
def test_the_visited_steps_fall_from_t_to_zero(step: int, share: float) -> None:
    """As many as asked for, none twice, in strides that differ by at most one."""
    count = 1 + round(share * (step - 1))
    visited = visited_steps(step, count)
    strides = {before - after for before, after in pairwise(visited)}
    assert (visited[0], visited[-1], len(visited)) == (step, 0, count + 1)
    assert min(strides) >= 1
    assert max(strides) - min(strides) <= 1


@given(seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3), place=st.integers(0, 5))
def test_number_zero_is_the_declared_random_input(seeds: list[int], place: int) -> None:
    """The way forth uses what a defence with one normal input would get."""
    spec = RandomInput(name="noise", distribution=DISTRIBUTION_STANDARD_NORMAL, shape=RANDOM_SHAPE_IMAGE)
    shape = (len(seeds), 3, 4, 5)
    assert np.array_equal(step_noise(shape, seeds, place, 0), draw([spec], shape, seeds, place)[0])


def test_the_noise_of_every_step_follows_from_the_seed_and_is_its_own() -> None:
    """Drawn again it is the same; another image, place or step has other numbers, standard normal ones."""
    shape = (2, 3, 40, 50)
    noise = step_noise(shape, [7, 8], 1, 30)
    assert noise.dtype == np.float32
    assert np.array_equal(noise, step_noise(shape, [7, 8], 1, 30))
    assert np.array_equal(noise[1:], step_noise((1, *shape[1:]), [8], 1, 30))
    high = 2**64 - 1
    assert not np.array_equal(
        step_noise(shape, [high, high - 1], 1, 0)[0], step_noise(shape, [high, high - 1], 1, 0)[1]
    )
    others = [step_noise(shape, [7, 8], 1, 29), step_noise(shape, [7, 8], 0, 30), noise[::-1]]
    for other in others:
        assert abs(float(np.corrcoef(noise.ravel(), other.ravel())[0, 1])) < 0.05
    assert noise.std() == pytest.approx(1.0, abs=0.03)


def test_tensors_pass_with_their_gradients_and_give_what_arrays_give() -> None:
    """The client runs the server's loop on torch, and may differentiate through all of it."""
    shape = (2, 3, 5, 6)
    images = np.random.default_rng(0).random(shape, dtype=np.float32)

    def tensor_noise(index: int) -> torch.Tensor:
        return torch.from_numpy(step_noise(shape, [1, 2], 0, index))

    def denoise(noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        return MEAN + SPREAD**2 / (SPREAD**2 + sigma**2) * (noisy - MEAN)

    def array_denoise(noisy: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
        return denoise(torch.from_numpy(noisy), sigma).numpy()

    leaf = torch.from_numpy(images).requires_grad_()
    result = purified_ddpm(leaf, LINEAR, 12, denoise, tensor_noise)
    result.sum().backward()  # type: ignore[no-untyped-call]
    plain = purified_ddpm(images, LINEAR, 12, array_denoise, lambda i: step_noise(shape, [1, 2], 0, i))
    assert plain.dtype == np.float32
    assert np.abs(result.detach().numpy() - plain).max() < 1e-6
    share = SPREAD**2 / (SPREAD**2 + LINEAR.sigma(12) ** 2)
    assert leaf.grad is not None
    assert leaf.grad.numpy() == pytest.approx(share, rel=1e-3)


def test_a_single_step_is_the_formula_of_the_paper() -> None:
    """Numbers worked out by hand for ᾱ = 0.8, 0.5."""
    schedule = Schedule((0.8, 0.5))
    state, clean, noise = np.array([0.4]), np.array([-0.2]), np.array([1.5])
    mean = math.sqrt(0.8) * 0.375 / 0.5 * -0.2 + math.sqrt(0.625) * 0.2 / 0.5 * 0.4
    assert ancestral_step(state, clean, schedule, 2, lambda _: noise)[0] == pytest.approx(
        mean + math.sqrt(0.2 / 0.5 * 0.375) * 1.5
    )
    direction = (0.4 + math.sqrt(0.5) * 0.2) / math.sqrt(0.5)
    assert implicit_step(state, clean, schedule, 2, 1, lambda _: noise)[0] == pytest.approx(
        -0.2 * math.sqrt(0.8) + math.sqrt(0.2) * direction
    )


def test_a_perfect_denoiser_is_asked_in_units_of_pixels() -> None:
    """The model sees p + σ_t·ε, whatever the scale of x_t."""
    image, noise = np.full((1, 3, 2, 2), 0.25), fresh(0)(0)[..., :2].reshape(1, 1, 1, 2)
    seen = list[Floats]()

    def denoise(noisy: Floats, sigma: float) -> Floats:
        seen.append(noisy - sigma * noise)
        return image

    estimate = estimated(diffused(image, LINEAR, 150, noise), LINEAR, 150, denoise)
    assert np.abs(seen[0] - image).max() < 1e-12
    assert np.abs(estimate + 0.5).max() < 1e-12


def test_the_step_for_a_noise_level_is_the_first_that_has_it() -> None:
    """Beyond the schedule the last step is as near as it gets."""
    step = LINEAR.step_for(0.12)
    assert LINEAR.sigma(step - 1) < 0.12 <= LINEAR.sigma(step)
    assert LINEAR.step_for(1e9) == 1000


@pytest.mark.parametrize("levels", [(), (1.0,), (0.5, 0.5), (0.5, 0.6), (0.5, 0.0), (0.5, -0.1)])
def test_a_schedule_that_does_not_fall_is_refused(levels: tuple[float, ...]) -> None:
    """Nothing could be divided by."""
    with pytest.raises(ValueError, match="must fall"):
        Schedule(levels)


@pytest.mark.parametrize(("step", "count"), [(10, 0), (10, 11), (0, 1)])
def test_a_count_that_does_not_fit_is_refused(step: int, count: int) -> None:
    """More samples than steps would visit one twice."""
    with pytest.raises(ValueError, match="sampling steps"):
        visited_steps(step, count)


@pytest.mark.parametrize("step", [-1, 1001])
def test_a_step_outside_the_schedule_is_refused(step: int) -> None:
    """The message says which steps there are."""
    with pytest.raises(ValueError, match="steps 1 to 1000"):
        purified_ddpm(pixels(0), LINEAR, step, gaussian_denoiser, fresh(0))
