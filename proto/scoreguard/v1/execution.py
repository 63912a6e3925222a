"""What running a step of a chain means, the same for every engine: on the server, for its gradients, and in the client.

An engine knows how to run one graph on its own arrays. This module knows which graphs a step runs, on what, and how the
parts are put together: once, tile by tile, or again and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from scoreguard.v1.manifest_pb2 import RANDOM_SHAPE_IMAGE, GraphFiles
from scoreguard.v1.randomness import draw
from scoreguard.v1.resolve import ResolvedStep
from scoreguard.v1.tiles import in_tiles

A = TypeVar("A")
"""Arrays of an engine."""
Floats = npt.NDArray[np.float32]


class Engine(Protocol[A]):
    """Runs graphs on arrays of its own kind."""

    def run(self, graphs: GraphFiles, inputs: Mapping[str, A]) -> A:
        """Run one graph; the inputs come in the order of the graph."""
        ...

    def array(self, values: Floats) -> A:
        """An array of the engine's kind."""
        ...

    def join(self, parts: Sequence[A], axis: int) -> A:
        """Concatenation."""
        ...


def run_step(engine: Engine[A], images: A, step: ResolvedStep, seeds: Sequence[int], place: int) -> A:
    """g(x) of one step.

    Args:
        engine: what runs the graphs.
        images: (N, 3, H, W) in [0, 1].
        step: the step, with every parameter filled in.
        seeds: one for each picture.
        place: of the step in its chain, from 0; its randomness follows from it.
    """
    batch: Any = images
    shape = tuple(int(length) for length in batch.shape)
    randoms = [engine.array(values) for values in draw(step.facts.random_inputs, shape, seeds, place)]
    values = {name: engine.array(np.asarray(value, np.float32)) for name, value in step.values}

    def whole(picture: A, rows: slice, columns: slice) -> A:
        drawn = {
            spec.name: _part(array, rows, columns) if spec.shape == RANDOM_SHAPE_IMAGE else array
            for spec, array in zip(step.facts.random_inputs, randoms, strict=True)
        }
        return engine.run(step.variant.graphs, {"image": picture, **values, **drawn})

    if not step.facts.HasField("tiling"):
        return whole(images, slice(None), slice(None))
    return in_tiles(images, step.facts.tiling, whole, engine.join)


def graphs_of(step: ResolvedStep) -> list[GraphFiles]:
    """Every pair of graphs that a step may run."""
    variant = step.variant
    return [variant.graphs, *([variant.finish] if variant.HasField("finish") else [])]


def is_random(step: ResolvedStep) -> bool:
    """Whether the result of a step depends on the seed."""
    return bool(step.facts.random_inputs) or step.facts.HasField("diffusion")


def _part(array: A, rows: slice, columns: slice) -> A:
    noise: Any = array
    part: A = noise[:, :, rows, columns]
    return part
