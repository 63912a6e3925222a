"""Purification by diffusion: add noise to an image up to step t, then sample the reverse process with a denoiser.

Nie et al. 2022 (DiffPure, section 3.1) diffuse the attacked image to a step t* and solve the reverse process from
there. The process is that of Ho et al. 2020 (DDPM), in steps t = 1 … T, on images x in [−1, 1]:

    forward (their eq. 4)       x_t = √ᾱ_t·x_0 + √(1 − ᾱ_t)·ε
    ancestral step (eqs. 6, 7)  x_{t−1} = √ᾱ_{t−1}·β_t/(1 − ᾱ_t)·x̂_0 + √α_t·(1 − ᾱ_{t−1})/(1 − ᾱ_t)·x_t + √β̃_t·z
                                β̃_t = (1 − ᾱ_{t−1})/(1 − ᾱ_t)·β_t
    few steps (Song et al. 2021, DDIM, eqs. 12, 16; their α is the ᾱ here), from step t to step s < t
                                x_s = √ᾱ_s·x̂_0 + √(1 − ᾱ_s − v)·ε̂ + √v·z,   ε̂ = (x_t − √ᾱ_t·x̂_0)/√(1 − ᾱ_t)
                                v = η²·(1 − ᾱ_s)/(1 − ᾱ_t)·(1 − ᾱ_t/ᾱ_s)

With p = (x + 1)/2, the image in [0, 1], and y_t = x_t/√ᾱ_t, a network that predicts x_0 is a denoiser of p_0 + σ_t·ε
at σ_t = ½·√((1 − ᾱ_t)/ᾱ_t): this is the only form in which the model is called here.

Nothing here depends on an array library: NumPy arrays and torch tensors, with their gradients, both work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

A = TypeVar("A")
"""An array of any library: (N, 3, H, W)."""

Denoise = Callable[[A, float], A]
"""Maps noisy images (clean values in [0, 1]) and the noise's standard deviation to the estimated clean images."""

Noise = Callable[[int], A]
"""Standard normal numbers: number 0 for the forward step, number t for the step that leaves t."""

PIXEL_RANGE = 2.0
"""Width of [−1, 1], on which the process is defined, in units of [0, 1]."""


@dataclass(frozen=True)
class Schedule:
    """The share of the image that is left at each step."""

    alpha_bar: tuple[float, ...]
    """ᾱ_1 … ᾱ_T, decreasing, in (0, 1)."""

    def __post_init__(self) -> None:
        levels = (1.0, *self.alpha_bar, 0.0)
        if not self.alpha_bar or any(after >= before for before, after in pairwise(levels)):
            raise ValueError("the cumulative products of a schedule must fall from below 1 to above 0")

    @property
    def steps(self) -> int:
        """T."""
        return len(self.alpha_bar)

    def kept(self, step: int) -> float:
        """Return ᾱ_t; ᾱ_0 = 1.

        Raises:
            ValueError: the schedule has no such step.
        """
        if not 0 <= step <= self.steps:
            raise ValueError(f"the schedule has steps 1 to {self.steps}, not {step}")
        return self.alpha_bar[step - 1] if step else 1.0

    def sigma(self, step: int) -> float:
        """Return σ_t, the noise of step t relative to an image in [0, 1]."""
        kept = self.kept(step)
        return math.sqrt((1.0 - kept) / kept) / PIXEL_RANGE

    def step_for(self, sigma: float) -> int:
        """Return the first step with at least this much noise relative to an image in [0, 1]; the last if none has."""
        enough = (step for step in range(1, self.steps + 1) if self.sigma(step) >= sigma)
        return next(enough, self.steps)


def linear_schedule(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """Return the schedule of β_1 … β_T in equal steps (Ho et al. 2020, section 4), ᾱ_t = Π (1 − β)."""
    products = np.cumprod(1.0 - np.linspace(first, last, steps))
    return Schedule(tuple(float(product) for product in products))


def step_noise(shape: Sequence[int], seeds: Sequence[int], step_index: int, index: int) -> npt.NDArray[np.float32]:
    """Draw the standard normal numbers of one sampler step; repeated draws give the same numbers.

    Number 0 is what `randomness.draw` returns for a single normal input in the shape of the images; the others are
    further blocks of the same counter, 2¹⁹² apart, so no two overlap.

    Args:
        shape: shape of the batch, (N, 3, H, W).
        seeds: one for each image, 0 ≤ seed < 2⁶⁴.
        step_index: index of the defence in the chain, from 0.
        index: 0 for the forward step, t for the step that leaves t.
    """
    counter = np.array([0, 0, 0, index], np.uint64)
    # In a plain list, a seed of 2⁶³ or more next to a small number would become float64 and lose its last bits.
    keys = (np.array([seed, step_index], np.uint64) for seed in seeds)
    generators = (np.random.Generator(np.random.Philox(key=key, counter=counter)) for key in keys)
    return np.stack([generator.standard_normal(tuple(shape[1:]), dtype=np.float32) for generator in generators])


def diffused(image: A, schedule: Schedule, step: int, noise: A) -> A:
    """Return x_t for images in [0, 1] (Ho et al. 2020, eq. 4), in the units of the process."""
    kept, values = schedule.kept(step), _as_any(image)
    noisy: A = (values * PIXEL_RANGE - 1.0) * math.sqrt(kept) + _as_any(noise) * math.sqrt(1.0 - kept)
    return noisy


def estimated(state: A, schedule: Schedule, step: int, denoise: Denoise[A]) -> A:
    """Return x̂_0 given x_t, in the units of the process."""
    noisy: Any = (_as_any(state) * (1.0 / math.sqrt(schedule.kept(step))) + 1.0) * (1.0 / PIXEL_RANGE)
    clean: Any = denoise(noisy, schedule.sigma(step))
    estimate: A = clean * PIXEL_RANGE - 1.0
    return estimate


def ancestral_step(state: A, estimate: A, schedule: Schedule, step: int, noise: Noise[A]) -> A:
    """Return x_{t−1} of DDPM, given x_t and x̂_0 (Ho et al. 2020, eqs. 6 and 7), with the smaller variance β̃_t."""
    current, clean = _as_any(state), _as_any(estimate)
    before, kept = schedule.kept(step - 1), schedule.kept(step)
    alpha = kept / before
    mean = clean * (math.sqrt(before) * (1.0 - alpha) / (1.0 - kept))
    mean = mean + current * (math.sqrt(alpha) * (1.0 - before) / (1.0 - kept))
    return _with_noise(mean, (1.0 - before) / (1.0 - kept) * (1.0 - alpha), noise, step)


def implicit_step(
    state: A, estimate: A, schedule: Schedule, step: int, target: int, noise: Noise[A], *, eta: float = 0.0
) -> A:
    """Return x_s of DDIM, given x_t and x̂_0 (Song et al. 2021, eqs. 12 and 16); η = 1 is the ancestral step."""
    current, clean = _as_any(state), _as_any(estimate)
    after, kept = schedule.kept(target), schedule.kept(step)
    variance = eta**2 * (1.0 - after) / (1.0 - kept) * (1.0 - kept / after)
    direction = (current - clean * math.sqrt(kept)) * (1.0 / math.sqrt(1.0 - kept))
    mean = clean * math.sqrt(after) + direction * math.sqrt(max(1.0 - after - variance, 0.0))
    return _with_noise(mean, variance, noise, step)


def visited_steps(step: int, count: int) -> list[int]:
    """Return `count` + 1 steps from t down to 0, nearly equally spaced.

    Raises:
        ValueError: there are not that many steps.
    """
    if not 1 <= count <= step:
        raise ValueError(f"between 1 and {step} sampling steps lead from step {step} to the image, not {count}")
    return [(step * left + count // 2) // count for left in range(count, -1, -1)]


def purified_ddpm(image: A, schedule: Schedule, step: int, denoise: Denoise[A], noise: Noise[A]) -> A:
    """Add noise to images up to step t, then denoise them in t ancestral steps.

    Args:
        image: (N, 3, H, W) in [0, 1].
        schedule: the noise schedule of the process.
        step: t, 1 to T: how much noise.
        denoise: the model; its last output is the result.
        noise: the numbers to use; see `step_noise`.

    Raises:
        ValueError: the schedule has no such step.
    """
    state = diffused(image, schedule, step, noise(0))
    for current in range(step, 0, -1):
        estimate = estimated(state, schedule, current, denoise)
        state = ancestral_step(state, estimate, schedule, current, noise)
    return _to_image(state)


def purified_ddim(
    image: A, schedule: Schedule, step: int, count: int, denoise: Denoise[A], noise: Noise[A], *, eta: float = 0.0
) -> A:
    """Add noise to images up to step t, then denoise them in a few steps; one step is the denoiser alone.

    Args:
        image: (N, 3, H, W) in [0, 1].
        schedule: the noise schedule of the process.
        step: t, 1 to T: how much noise.
        count: number of calls of the model, 1 to t.
        denoise: the model; its last output is the result.
        noise: the numbers to use; see `step_noise`.
        eta: 0 = no noise in the reverse steps, 1 = as much as DDPM.

    Raises:
        ValueError: the schedule has no such step, or the count does not fit it.
    """
    visited = visited_steps(step, count)
    state = diffused(image, schedule, step, noise(0))
    for current, target in pairwise(visited):
        estimate = estimated(state, schedule, current, denoise)
        state = implicit_step(state, estimate, schedule, current, target, noise, eta=eta)
    return _to_image(state)


def _as_any(array: object) -> Any:
    """Return the array as `Any`: the type `Array` declares no arithmetic."""
    return array


def _with_noise(mean: Any, variance: float, noise: Noise[A], step: int) -> A:
    result: A = mean + _as_any(noise(step)) * math.sqrt(variance) if variance > 0.0 else mean
    return result


def _to_image(state: A) -> A:
    image: A = (_as_any(state) + 1.0) * (1.0 / PIXEL_RANGE)
    return image
