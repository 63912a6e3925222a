"""The eager modules as an engine: what a chain would give if nothing had been exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scoreguard.chain.execution import run_step
from scoreguard.chain.resolve import resolve_step
from scoreguard.v1.manifest_pb2 import DefenceArtifact, GraphFiles
from scoreguard.v1.scoring_pb2 import DefenceStep
from scoreguard_export.defences.base import Defence


@dataclass(frozen=True, kw_only=True)
class EagerDefence:
    """A defence that runs by its modules: whole, in tiles or by a sampler, as its artifact says."""

    artifact: DefenceArtifact
    modules: Mapping[str, Defence]
    """By the path of the TorchScript file that each was exported to."""

    @property
    def name(self) -> str:
        """Catalogue name."""
        return self.artifact.facts.name

    def purify(self, image: Tensor, seed: int, **parameters: float) -> Tensor:
        """g(x) at the parameters given, defaults for the others.

        Args:
            image: (N, 3, H, W) in [0, 1].
            seed: of every picture.
            parameters: by name.

        Raises:
            ParameterError: a parameter is unknown or out of range.
        """
        step = resolve_step(DefenceStep(name=self.name, parameters=parameters), self.artifact)
        purified: Tensor = run_step(self, image, step, [seed] * len(image), 0)
        return purified

    def run(self, graphs: GraphFiles, inputs: Mapping[str, Tensor]) -> Tensor:
        """Run one module; the inputs come in the order of its graph."""
        result: Tensor = self.modules[graphs.torchscript](*inputs.values())
        return result

    def array(self, values: npt.NDArray[np.float32]) -> Tensor:
        """A tensor of numpy's values."""
        return torch.from_numpy(values)

    def join(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Concatenation."""
        return torch.cat(list(parts), dim=axis)
