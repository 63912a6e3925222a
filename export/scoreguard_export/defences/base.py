"""What every defence is: a module from images to purified images, with its facts beside it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from scoreguard.chain.parameters import Parameter as Parameter  # what a defence declares, here as everywhere
from scoreguard_export.errors import ParameterError
from scoreguard_export.graph_module import (
    IMAGE_AXES,
    GraphFacts,
    GraphModule,
    Role,
)
from scoreguard_export.graph_module import (
    Differentiability as Differentiability,
)
from scoreguard_export.graph_module import (
    Distribution as Distribution,
)
from scoreguard_export.graph_module import (
    RandomInput as RandomInput,
)
from scoreguard_export.graph_module import (
    RandomShape as RandomShape,
)


def switch(name: str, description: str, *, default: bool) -> Parameter:
    """A structural parameter that is on (1) or off (0)."""
    return Parameter(
        name=name,
        description=description,
        default=float(default),
        minimum=0.0,
        maximum=1.0,
        integer=True,
        choices=(0.0, 1.0),
    )


@dataclass(frozen=True, kw_only=True)
class DefenceFacts(GraphFacts):
    """What is known about a defence before any export; the tolerance is in pixel units of [0, 1]."""

    size_preserving: bool
    """Whether the purified image always has the size of the input."""

    def variants(self) -> list[dict[str, float]]:
        """Every combination of the structural parameters; one empty entry where there are none."""
        names = [p.name for p in self.structural]
        return [dict(zip(names, values, strict=True)) for values in product(*(p.choices for p in self.structural))]


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How an image that is too large for one run of a graph is cut."""

    size: int
    """Height and width of a tile in pixels, the overlap included."""
    overlap: int
    """Pixels on each side that are read and not kept."""
    multiple: int = 1
    """Tiles begin at multiples of this."""


class Defence(GraphModule):
    """g: RGB float32 images (N, 3, H, W) in [0, 1] → the same layout and range.

    The constructor takes the structural parameters by keyword.
    """

    facts: DefenceFacts
    output_name = "purified"

    @classmethod
    def variants(cls, files: Mapping[str, Path]) -> list[dict[str, float]]:
        """The structural variants that can be built from the weights files given."""
        return cls.facts.variants()

    @classmethod
    def from_weights(cls, files: Mapping[str, Path], **structural: float) -> Self:
        """Build a variant in evaluation mode.

        Raises:
            ParameterError: a structural value that has no exported variant.
        """
        return cls(**structural).eval()

    @classmethod
    def tiles(cls, structural: Mapping[str, float]) -> Tiles | None:
        """How large images are cut; None where the graph reads an image of any size as a whole."""
        return None

    @classmethod
    def schedule(cls, structural: Mapping[str, float]) -> tuple[float, ...]:
        """Cumulative products of a diffusion that asks the graph again and again; empty where the graph runs once."""
        return ()

    def graphs(self) -> Mapping[Role, Defence]:
        """The module itself; of a diffusion the part that a sampler asks, and what finishes the result."""
        return {Role.GRAPH: self}

    def output_axes(self) -> tuple[str | None, ...]:
        """The images' own, or others where the size may change."""
        return IMAGE_AXES if self.facts.size_preserving else ("batch", None, "purified_height", "purified_width")

    @classmethod
    def pattern_size(cls, least: int) -> tuple[int, int]:
        """A little more than the smallest."""
        return least + 29, least + 13

    @classmethod
    def graph_facts(cls, structural: Mapping[str, float]) -> DefenceFacts:
        """The facts of what `graph` gives for a variant, known without its weights."""
        return cls.facts

    @classmethod
    def finish(cls) -> Defence | None:
        """What makes the result of a diffusion from the image and the sample; None: the sample is the result."""
        return None

    def __init__(self, **structural: float) -> None:
        """Check the structural parameters against the choices of the facts.

        Raises:
            ParameterError: a name that the facts do not have, or a value that has no exported variant.
        """
        super().__init__()
        self.check(structural)
        self.structural = dict(structural)

    @classmethod
    def check(cls, structural: Mapping[str, float]) -> None:
        """Compare structural parameters with the choices of the facts.

        Raises:
            ParameterError: a name that the facts do not have, or a value that has no exported variant.
        """
        choices = {p.name: p.choices for p in cls.facts.structural}
        for name, value in structural.items():
            if value not in choices.get(name, ()):
                raise ParameterError(cls.facts.name, name, value, choices.get(name, ()))

    @abstractmethod
    def forward(self, image: Tensor, *inputs: Any, **named: Any) -> Tensor:
        """Purify a batch."""
