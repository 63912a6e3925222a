"""Base class of defences: a module from images to purified images, with its facts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from scoreguard.chain.parameters import Parameter as Parameter  # re-exported: defences declare it
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
    """Make a structural parameter that is on (1) or off (0)."""
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
    """Whether the purified image always has the input's size."""

    def variants(self) -> list[dict[str, float]]:
        """Return every combination of the structural parameters; one empty entry if there are none."""
        names = [p.name for p in self.structural]
        return [dict(zip(names, values, strict=True)) for values in product(*(p.choices for p in self.structural))]


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How an image that is too large for one run of a graph is cut."""

    size: int
    """Height and width of a tile in pixels, including the overlap."""
    overlap: int
    """Pixels on each side that are read but not kept."""
    multiple: int = 1
    """Tiles start at multiples of this number of pixels."""


class Defence(GraphModule):
    """g: RGB float32 images (N, 3, H, W) in [0, 1] → the same layout and range.

    The constructor takes the structural parameters by keyword.
    """

    facts: DefenceFacts
    output_name = "purified"

    @classmethod
    def variants(cls, files: Mapping[str, Path]) -> list[dict[str, float]]:
        """Return the structural variants that can be built from the weights files given."""
        return cls.facts.variants()

    @classmethod
    def from_weights(cls, files: Mapping[str, Path], **structural: float) -> Self:
        """Build a variant in evaluation mode.

        Raises:
            ParameterError: a structural value that has no exported variant.
        """
        return cls(**structural).eval()

    @classmethod
    def check_weights(cls, name: str, path: Path) -> str:
        """Check that the default variant can be built from a file."""
        return cls.from_weights({name: path}).weights_digests[name]

    @classmethod
    def tiles(cls, structural: Mapping[str, float]) -> Tiles | None:
        """Return how large images are cut into tiles; None if the graph reads an image of any size as a whole."""
        return None

    @classmethod
    def schedule(cls, structural: Mapping[str, float]) -> tuple[float, ...]:
        """Return the cumulative products of a diffusion that calls the graph repeatedly; empty if it runs once."""
        return ()

    def graphs(self) -> Mapping[Role, Defence]:
        """Return the module itself; for a diffusion, the part that the sampler calls, and the finish."""
        return {Role.GRAPH: self}

    def output_axes(self) -> tuple[str | None, ...]:
        """Return the images' axes, or others if the size may change."""
        return IMAGE_AXES if self.facts.size_preserving else ("batch", None, "purified_height", "purified_width")

    @classmethod
    def pattern_size(cls, least: int) -> tuple[int, int]:
        """Return a size slightly above the smallest."""
        return least + 29, least + 13

    @classmethod
    def graph_facts(cls, structural: Mapping[str, float]) -> DefenceFacts:
        """Return the facts of a variant's `Role.GRAPH` module, which are known without its weights."""
        return cls.facts

    @classmethod
    def finish(cls) -> Defence | None:
        """Return the module that makes a diffusion's result from image and sample; None if the sample is the result."""
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
