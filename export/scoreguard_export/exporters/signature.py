"""Inputs and outputs of a module, names and tensors, from its facts alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import torch
from torch import Tensor

from scoreguard_export.clip_graphs import PoolGraph
from scoreguard_export.graph_module import Distribution, GraphModule, RandomInput, RandomShape

_CAPTURED_FRAMES: Final = 5


class Content(StrEnum):
    """What the images of a case show."""

    PHOTOGRAPHS = "photographs"
    """Textures like those of photographs."""
    PATTERNS = "patterns"
    """Flat images, gradients, stripes and others that are hard because they are plain: one of each."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One set of inputs."""

    batch: int
    """Number of images."""
    height: int
    """In pixels."""
    width: int
    """In pixels."""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Values of graph parameters; those left out take their defaults."""
    content: Content = Content.PHOTOGRAPHS
    """What the images show."""
    frames: int = 0
    """Frames of a clip whose features are the input; 0 = the input is images."""

    def __str__(self) -> str:
        """Describe for an error message."""
        if self.frames:
            return f"{self.frames} frames"
        values = "".join(f", {name}={value:g}" for name, value in self.parameters.items())
        shape = f"{self.batch}×3×{self.height}×{self.width}{values}"
        return shape if self.content is Content.PHOTOGRAPHS else f"{shape} ({self.content})"


def describe(module: GraphModule) -> str:
    """Name a module in a message: `jpeg (subsampling=420)`, `lite`."""
    values = ", ".join(f"{name}={value:g}" for name, value in module.structural.items())
    return f"{module.facts.name} ({values})" if values else module.facts.name


def graph_defaults(module: GraphModule) -> dict[str, float]:
    """Return the graph parameters with their defaults, in the order of the inputs."""
    return {parameter.name: parameter.default for parameter in module.facts.graph_parameters}


def input_names(module: GraphModule) -> list[str]:
    """Return the names of the graph's inputs, in order."""
    return [str(module.reads), *graph_defaults(module), *(given.name for given in module.facts.random_inputs)]


def _draw(given: RandomInput, case: Case, generator: torch.Generator) -> Tensor:
    shape = [case.batch, 3, case.height, case.width] if given.shape is RandomShape.IMAGE else [case.batch]
    if given.distribution is Distribution.UNIFORM:
        return torch.rand(shape, generator=generator)
    return torch.randn(shape, generator=generator)


def features(module: PoolGraph, frames: int, seed: int) -> Tensor:
    """Draw the features of a clip, (1, T, numbers)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, frames, module.numbers), generator=generator)


def clip_case(frames: int) -> Case:
    """Return a case of a clip."""
    return Case(batch=1, height=0, width=0, frames=frames)


def make_inputs(module: GraphModule, case: Case, image: Tensor, seed: int = 0) -> tuple[Tensor, ...]:
    """Assemble the module's inputs, in order.

    Args:
        module: The module that takes them.
        case: Sizes and parameters.
        image: Images of those sizes.
        seed: Seed of the random inputs.
    """
    generator = torch.Generator().manual_seed(seed)
    values = {**graph_defaults(module), **case.parameters}
    scalars = [torch.tensor(value, dtype=torch.float32) for value in values.values()]
    return (image, *scalars, *(_draw(given, case, generator) for given in module.facts.random_inputs))


def export_case(module: GraphModule) -> Case:
    """Return the sizes that a graph is captured at; parity is checked only at other sizes."""
    if isinstance(module, PoolGraph):
        return clip_case(_CAPTURED_FRAMES)
    minimum = module.facts.minimum_size
    return Case(batch=2, height=minimum + 24, width=minimum + 40)


def example_inputs(module: GraphModule) -> tuple[Tensor, ...]:
    """Return inputs to capture a graph with."""
    case = export_case(module)
    if isinstance(module, PoolGraph):
        return (features(module, case.frames, 0),)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((case.batch, 3, case.height, case.width), generator=generator)
    return make_inputs(module, case, image)
