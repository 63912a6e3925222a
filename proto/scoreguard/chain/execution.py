"""How a step of a chain runs, the same for every engine: on the server, for its gradients, and in the client.

An engine runs one graph on its own type of array. This module decides which graphs a step runs, on which inputs, and
how the parts are combined: once, tile by tile, or repeatedly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from scoreguard.chain.randomness import draw
from scoreguard.chain.resolve import STEP_PARAMETER, ResolvedStep
from scoreguard.chain.sampling import Schedule, purified_ddim, purified_ddpm, step_noise
from scoreguard.chain.tiles import in_tiles
from scoreguard.v1.manifest_pb2 import RANDOM_SHAPE_IMAGE, GraphFiles, Tiling

A = TypeVar("A")
"""The array type of an engine."""
COUNT_PARAMETER: Final = "steps"
"""Parameter of a diffusion: denoiser calls of the fast sampler; 0 = the ancestral one, which makes t calls."""
LEVELS: Final = 255.0
"""The denoiser of a diffusion takes the noise level in units of 1/255."""
INEXACT_OPTIMISERS: Final = ("NoopElimination",)
"""Optimisers of ONNX Runtime that no session may use: this one compares double-precision constants after rounding
them to single precision, so it drops a term of 1e-50 and a factor of 1 + 1e-9."""
Floats = npt.NDArray[np.float32]


class Engine(Protocol[A]):
    """Runs graphs on its own type of array."""

    def run(self, graphs: GraphFiles, inputs: Mapping[str, A]) -> A:
        """Run one graph; the inputs are in the order of the graph."""
        ...

    def array(self, values: Floats) -> A:
        """Return an array of the engine's type."""
        ...

    def join(self, parts: Sequence[A], axis: int) -> A:
        """Concatenate arrays."""
        ...


def run_step(engine: Engine[A], images: A, step: ResolvedStep, seeds: Sequence[int], step_index: int) -> A:
    """Return g(x) for one step.

    Args:
        engine: runs the graphs.
        images: (N, 3, H, W) in [0, 1].
        step: the step, with every parameter filled in.
        seeds: one for each image.
        step_index: index of the step in its chain, from 0; its randomness depends on it.
    """
    values = {name: engine.array(np.asarray(value, np.float32)) for name, value in step.values}
    if is_diffusion(step):
        return _purify_by_diffusion(engine, images, step, values, seeds, step_index)
    drawn = draw(step.facts.random_inputs, _shape(images), seeds, step_index)
    randoms = [engine.array(numbers) for numbers in drawn]

    def part(image: A, rows: slice, columns: slice) -> A:
        cut = {
            spec.name: _cut(numbers, rows, columns) if spec.shape == RANDOM_SHAPE_IMAGE else numbers
            for spec, numbers in zip(step.facts.random_inputs, randoms, strict=True)
        }
        return engine.run(step.variant.graphs, {"image": image, **values, **cut})

    return _whole_or_in_tiles(engine, images, step, part)


def _purify_by_diffusion(
    engine: Engine[A], images: A, step: ResolvedStep, values: dict[str, A], seeds: Sequence[int], step_index: int
) -> A:
    """Add noise to step t, then run the denoiser repeatedly; see `sampling`. More than t steps count as t."""
    schedule, numbers = schedule_of(step), dict(step.values)
    level, count = int(numbers[STEP_PARAMETER]), int(numbers[COUNT_PARAMETER])
    others = {name: value for name, value in values.items() if name not in (STEP_PARAMETER, COUNT_PARAMETER)}
    shape = _shape(images)

    def denoise(noisy: A, sigma: float) -> A:
        deviation = engine.array(np.asarray(sigma * LEVELS, np.float32))

        def part(image: A, rows: slice, columns: slice) -> A:
            del rows, columns
            return engine.run(step.variant.graphs, {"image": image, "sigma": deviation})

        return _whole_or_in_tiles(engine, noisy, step, part)

    def noise(index: int) -> A:
        return engine.array(step_noise(shape, seeds, step_index, index))

    if count:
        sampled = purified_ddim(images, schedule, level, min(count, level), denoise, noise)
    else:
        sampled = purified_ddpm(images, schedule, level, denoise, noise)
    if not step.variant.HasField("finish"):
        return sampled
    return engine.run(step.variant.finish, {"image": images, **others, "sampled": sampled})


def _whole_or_in_tiles(engine: Engine[A], images: A, step: ResolvedStep, part: Callable[[A, slice, slice], A]) -> A:
    tiling = tiling_of(step)
    if tiling is None:
        return part(images, slice(None), slice(None))
    return in_tiles(images, tiling, part, engine.join)


def tiling_of(step: ResolvedStep) -> Tiling | None:
    """How large images are tiled; the variant's own tiling, if it has one, takes precedence."""
    holder = step.variant if step.variant.HasField("tiling") else step.facts
    return holder.tiling if holder.HasField("tiling") else None


def schedule_of(step: ResolvedStep) -> Schedule:
    """The process of a diffusion; the variant's own, if it has one, takes precedence."""
    holder = step.variant if step.variant.HasField("diffusion") else step.facts
    return Schedule(tuple(holder.diffusion.alpha_bar))


def is_diffusion(step: ResolvedStep) -> bool:
    """Whether the graph of a step is a denoiser for a sampler."""
    return step.facts.HasField("diffusion")


def graphs_of(step: ResolvedStep) -> list[GraphFiles]:
    """Every pair of graphs that a step may run."""
    variant = step.variant
    return [variant.graphs, *([variant.finish] if variant.HasField("finish") else [])]


def _shape(images: Any) -> tuple[int, ...]:
    return tuple(int(length) for length in images.shape)


def _cut(numbers: A, rows: slice, columns: slice) -> A:
    noise: Any = numbers
    part: A = noise[:, :, rows, columns]
    return part
