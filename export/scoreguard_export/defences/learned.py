"""Base class of learned defences: a network with its official weights, which are given by path and never fetched."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor, nn

from scoreguard_export.defences.base import Defence, Tiles
from scoreguard_export.graph_module import NO_FILES, comparing, skeleton
from scoreguard_export.weights.checkpoints import LoadedWeights, fill, read_checkpoint
from scoreguard_export.weights.source import WeightsSource

_TILE = 1024
"""Side of a tile in pixels: its 64-channel feature map takes 256 MiB."""


class LearnedDefence(Defence):
    """A defence with a network, built by `from_weights`; the constructor alone makes an untrained network."""

    sources: ClassVar[Mapping[str, WeightsSource]]
    reach: ClassVar[int | None]
    """Receptive field of an output pixel, in image pixels in each direction; None = the whole image.

    A tile that overlaps its neighbours by this much and starts at a multiple of `stride` gives the same pixels as the
    whole image.
    """
    stride: ClassVar[int] = 1
    """Side of the squares of pixels that the network reads as a unit."""

    def __init__(self, **structural: float) -> None:
        """Set up an untrained network.

        Raises:
            ParameterError: a structural value that has no exported variant.
        """
        super().__init__(**structural)
        self.network = self.untrained()

    @abstractmethod
    def untrained(self) -> nn.Module:
        """Make a network with the names and shapes of the official weights."""

    @classmethod
    def tiles(cls, structural: Mapping[str, float]) -> Tiles | None:
        """Return tiles that overlap by the receptive field; None for a network that reads the whole image."""
        if cls.reach is None:
            return None
        overlap = (cls.reach + cls.stride - 1) // cls.stride * cls.stride
        return Tiles(size=_TILE, overlap=overlap, multiple=cls.stride)

    @classmethod
    def needed(cls, structural: Mapping[str, float]) -> tuple[str, ...]:
        """Return the names of the weights files that a variant needs."""
        return tuple(cls.sources)

    @classmethod
    def variants(cls, files: Mapping[str, Path]) -> list[dict[str, float]]:
        """Return the structural variants that can be built from the files given; all of them need the first file.

        Raises:
            WeightsError: the first file is not among them.
        """
        cls.located(files, tuple(cls.sources)[:1])
        there = cls.available(files)
        return [variant for variant in cls.facts.variants() if there.issuperset(cls.needed(variant))]

    @classmethod
    def from_weights(cls, files: Mapping[str, Path] = NO_FILES, **structural: float) -> Self:
        """Build a variant in evaluation mode.

        Args:
            files: Weights files by name, those that the variant needs; shipped ones may be left out.
            structural: The structural parameters; those left out take their defaults.

        Raises:
            ParameterError: a structural value that has no exported variant.
            WeightsError: a file is not given, missing, unreadable, or holds other names or shapes.
        """
        defence = cls(**structural)
        paths = cls.located(files, cls.needed(defence.structural))
        loaded = {name: cls.read(name, path) for name, path in paths.items()}
        defence.weights_digests = {name: weights.sha256 for name, weights in loaded.items()}
        states = {name: weights.tensors for name, weights in loaded.items()}
        for name, state in states.items():
            fill(defence.network, state, paths[name], name, cls.sources[name])
        if len(states) > 1:
            defence.network.load_state_dict(defence.combined(states))
        return defence.eval().requires_grad_(False)

    @classmethod
    def read(cls, name: str, path: Path) -> LoadedWeights:
        """Read the tensors of a weights file; by default unchanged.

        Raises:
            WeightsError: the file is missing, or holds no dictionary of tensors.
        """
        return read_checkpoint(path, name, cls.sources[name])

    @classmethod
    def check_weights(cls, name: str, path: Path) -> str:
        """Check that a file holds the network's tensors, all of them finite."""
        network, weights = skeleton(cls).network, cls.read(name, path)
        with comparing():
            fill(network, weights.tensors, path, name, cls.sources[name])
        return weights.sha256

    def combined(self, states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Combine several files, by name, into one set of weights; all have the network's names and shapes."""
        raise NotImplementedError
