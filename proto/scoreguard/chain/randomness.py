"""The random inputs of a defence, drawn from a seed: the same on the server and on the client.

Philox (Salmon et al., 2011) is counter-based: seed and step make its key, so two steps of a chain, or two images of
a batch with different seeds, never share numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scoreguard.v1.manifest_pb2 import (
    DISTRIBUTION_STANDARD_NORMAL,
    RANDOM_SHAPE_IMAGE,
    DefenceFacts,
    RandomInput,
)

SEED_BITS = 64


def is_random(facts: DefenceFacts) -> bool:
    """Whether the result of a defence depends on the seed: its graph has a random input, or a sampler draws numbers."""
    return bool(facts.random_inputs) or facts.HasField("diffusion")


def draw(
    inputs: Sequence[RandomInput], shape: tuple[int, ...], seeds: Sequence[int], step: int
) -> list[npt.NDArray[np.float32]]:
    """Draw every random input of one step for a batch.

    Args:
        inputs: the random inputs of the defence.
        shape: shape of the batch, (N, 3, H, W).
        seeds: one seed per image, 0 ≤ seed < 2⁶⁴.
        step: index of the defence in the chain, from 0.

    Returns:
        One float32 array per input: (N, 3, H, W) or (N,).
    """
    # In a plain list, a seed of 2⁶³ or more next to a small number would become float64 and lose its last bits.
    keys = [np.array([seed, step], np.uint64) for seed in seeds]
    generators = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
    return [np.stack([_draw_one(spec, shape[1:], generator) for generator in generators]) for spec in inputs]


def _draw_one(spec: RandomInput, image: tuple[int, ...], generator: np.random.Generator) -> npt.NDArray[np.float32]:
    size = image if spec.shape == RANDOM_SHAPE_IMAGE else ()
    if spec.distribution == DISTRIBUTION_STANDARD_NORMAL:
        return np.asarray(generator.standard_normal(size, dtype=np.float32))
    return np.asarray(generator.random(size, dtype=np.float32))
