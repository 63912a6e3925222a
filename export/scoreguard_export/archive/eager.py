"""The eager modules in place of their graphs: what a chain would give without any export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from scoreguard.chain.execution import run_step
from scoreguard.chain.resolve import resolve_step
from scoreguard.chain.torchscript import TorchEngine
from scoreguard.v1.manifest_pb2 import DefenceArtifact
from scoreguard.v1.spec import Value, step_of
from scoreguard_export.defences.base import Defence


@dataclass(frozen=True, kw_only=True)
class EagerDefence(TorchEngine):
    """A defence that runs its modules on the whole image, in tiles or in a sampler, as its artifact says."""

    artifact: DefenceArtifact
    modules: Mapping[str, Defence]
    """Modules by the path of the TorchScript file that each was exported to."""

    @property
    def name(self) -> str:
        """Catalogue name."""
        return self.artifact.facts.name

    def purify(self, image: Tensor, seed: int, **parameters: Value) -> Tensor:
        """Return g(x) at the parameters given, with defaults for the others.

        Args:
            image: (N, 3, H, W) in [0, 1].
            seed: seed of every image.
            parameters: values by name.

        Raises:
            ParameterError: a parameter is unknown or out of range.
            EngineError: a module fails.
        """
        step = resolve_step(step_of(self.name, parameters).to_message(), self.artifact)
        return run_step(self, image, step, [seed] * len(image), 0)
