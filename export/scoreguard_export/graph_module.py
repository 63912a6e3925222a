"""The modules that are exported, with their scientific facts and the weights files that they are built from, if any."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final, TypeVar

import torch
from torch import nn

from scoreguard.chain.parameters import Parameter
from scoreguard_export.errors import WeightsError
from scoreguard_export.weights.checkpoints import advice
from scoreguard_export.weights.source import WeightsSource

Built = TypeVar("Built", bound=nn.Module)


class Differentiability(StrEnum):
    """How a gradient passes through a defence."""

    EXACT = "exact"
    """The graph's own derivative is right almost everywhere."""
    STRAIGHT_THROUGH = "straight-through"
    """Some steps (rounding) pass the gradient straight through, inside the graph."""
    BPDA_IDENTITY = "bpda-identity"
    """No usable derivative: the gradient passes as if the defence were the identity."""


class Distribution(StrEnum):
    """How the numbers of a random input are drawn."""

    STANDARD_NORMAL = "standard-normal"
    UNIFORM = "uniform"


class RandomShape(StrEnum):
    """Shape of a random input."""

    IMAGE = "image"
    """(N, 3, H, W), like the images."""
    ITEM = "item"
    """(N,), one number per image."""


@dataclass(frozen=True, kw_only=True)
class RandomInput:
    """A tensor of random numbers that the graph takes as input."""

    name: str
    distribution: Distribution
    shape: RandomShape


class Role(StrEnum):
    """Purpose of a graph, for modules that are exported as several graphs."""

    GRAPH = "graph"
    """The module itself, or the part that a sampler calls repeatedly."""
    FINISH = "finish"
    """Makes the result from the sample and the image."""
    FRAME = "frame"
    """Makes the features of the frames of a clip, each by itself."""
    POOL = "pool"
    """Makes the score of a clip from the features of its frames."""


class Reads(StrEnum):
    """What the first input of a graph holds; this is its name."""

    IMAGE = "image"
    """(N, 3, H, W): images."""
    FEATURES = "features"
    """(1, T, numbers): the features of the frames of one clip, in order."""


IMAGE_AXES: Final = ("batch", None, "height", "width")
"""Names of the axes of images; None for the channels, whose number is fixed."""
FEATURE_AXES: Final = (None, "frames", None)
"""Names of the axes of the features of a clip; None for one clip, and for the numbers of a frame."""
NO_FILES: Final[Mapping[str, Path]] = MappingProxyType({})
"""No weights files but the shipped ones."""


@dataclass(frozen=True, kw_only=True)
class GraphFacts:
    """What is known about a module before any export."""

    name: str
    """Catalogue name."""
    title: str
    """Name in prose."""
    paper: str
    """Source of the method."""
    year: int
    minimum_size: int
    """Smallest height and width of an image, in pixels."""
    parity_tolerance: float
    """Largest difference between an exported graph and the eager module, in the units of its output."""
    parameters: tuple[Parameter, ...] = ()
    """What a request may set."""
    random_inputs: tuple[RandomInput, ...] = ()
    """Randomness that the graph takes as input."""
    differentiability: Differentiability = Differentiability.EXACT
    """How a gradient passes through the module."""

    @property
    def structural(self) -> tuple[Parameter, ...]:
        """The structural parameters."""
        return tuple(p for p in self.parameters if p.structural)

    @property
    def graph_parameters(self) -> tuple[Parameter, ...]:
        """The parameters that are inputs of the graph, in order."""
        return tuple(p for p in self.parameters if not p.structural)


def skeleton(build: Callable[[], Built]) -> Built:
    """Build a module of names and shapes alone, if it can be: comparing a file with it then takes no memory for it."""
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):  # a constructor that reads the numbers that it makes
        return build()


@contextmanager
def comparing() -> Iterator[None]:
    """Load weights into a skeleton, which takes no numbers; torch would warn of each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no-op", category=UserWarning)
        yield


class GraphModule(nn.Module, ABC):
    """A module that reads RGB float32 images (N, 3, H, W) in [0, 1].

    `forward` takes the images, then one float32 scalar for each graph parameter, then the random inputs, both in the
    order of the facts. The exported graph has exactly these inputs, named `image` and as in the facts.
    """

    facts: GraphFacts
    """Facts of the class; a module that replaces others has its own."""
    structural: Mapping[str, float] = MappingProxyType({})
    """Values of the structural parameters that the module was built for."""
    weights_digests: Mapping[str, str] = MappingProxyType({})
    """SHA-256 of the weights files that the module was filled from, by their names."""
    reads: ClassVar[Reads] = Reads.IMAGE
    """What the first input holds."""
    output_name: ClassVar[str]
    """Name of the graph's output."""
    sources: ClassVar[Mapping[str, WeightsSource]] = MappingProxyType({})
    """The weights files by the name that `--weights NAME=PATH` gives them; empty if the method needs none."""

    def graphs(self) -> Mapping[Role, GraphModule]:
        """Return the modules that are exported, by role; most modules are one graph."""
        return {Role.GRAPH: self}

    def input_axes(self) -> tuple[str | None, ...]:
        """Return the names of the first input's free axes; None for an axis of fixed length."""
        return IMAGE_AXES if self.reads is Reads.IMAGE else FEATURE_AXES

    @abstractmethod
    def output_axes(self) -> tuple[str | None, ...]:
        """Return the names of the output's free axes; None for an axis of fixed length."""

    @classmethod
    @abstractmethod
    def pattern_size(cls, least: int) -> tuple[int, int]:
        """Return height and width of the images for comparing all patterns; `least` is the smallest readable size."""

    @classmethod
    def available(cls, files: Mapping[str, Path]) -> set[str]:
        """Return the names of the weights files that are given or shipped."""
        return {name for name, source in cls.sources.items() if name in files or source.shipped}

    @classmethod
    def at_hand(cls, files: Mapping[str, Path]) -> bool:
        """Return whether some variant can be built: the first weights file, which all need, is shipped or given."""
        return set(list(cls.sources)[:1]) <= cls.available(files)

    @classmethod
    def check_weights(cls, name: str, path: Path) -> str:
        """Check that a file is what the class loads as the weights `name`, and keep nothing of it.

        Returns:
            SHA-256 of the file as it was read, hexadecimal.

        Raises:
            WeightsError: the file is missing, unreadable, or holds other names, shapes or numbers that are not finite.
            MissingExtraError: the library that has the network is not installed.
        """
        raise WeightsError(
            f"{cls.__name__} reads no weights file of its own: {name} belongs to the module it is a part of"
        )

    @classmethod
    def located(cls, files: Mapping[str, Path], names: Iterable[str] | None = None) -> dict[str, Path]:
        """Return the paths of the weights files: the ones given, else the shipped ones.

        Args:
            files: weights files by name.
            names: names of the files that are needed; None = all.

        Raises:
            WeightsError: one is neither given nor shipped; the message says how to get it.
        """
        paths = {}
        for name in cls.sources if names is None else names:
            path = files.get(name) or cls.sources[name].shipped
            if path is None:
                raise WeightsError(f"the weights of {name} are not shipped: {advice(name, cls.sources[name])}")
            paths[name] = path
        return paths
