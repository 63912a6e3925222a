"""What is exported: a module with its scientific facts, and the weights files that it is built from, if any."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final

from torch import nn

from scoreguard_export.errors import WeightsError
from scoreguard_export.weights.checkpoints import advice
from scoreguard_export.weights.source import WeightsSource

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


class GraphModule(nn.Module, ABC):
    """A module that reads RGB float32 images (N, 3, H, W) in [0, 1]."""

    facts: GraphFacts
    """Of the class; a module that stands for others has its own."""
    sources: ClassVar[Mapping[str, WeightsSource]] = MappingProxyType({})
    """The weights files by the name that `--weights NAME=PATH` gives them; none where the method needs none."""

    @classmethod
    def available(cls, files: Mapping[str, Path]) -> set[str]:
        """Names of the weights files that are given or shipped."""
        return {name for name, source in cls.sources.items() if name in files or source.shipped}

    @classmethod
    def at_hand(cls, files: Mapping[str, Path]) -> bool:
        """Whether some variant can be built: the first weights file, which all need, is shipped or given."""
        return set(list(cls.sources)[:1]) <= cls.available(files)

    @classmethod
    def located(cls, files: Mapping[str, Path], names: Iterable[str] | None = None) -> dict[str, Path]:
        """Where the weights files are: the ones given, else the shipped ones.

        Args:
            files: weights files by name.
            names: those that are needed; None = all.

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
