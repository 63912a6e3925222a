"""The TorchScript files of an archive in place of the modules that they were exported from."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from scoreguard.chain.torchscript import archive_graphs
from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import EngineError
from scoreguard_export.defences.base import Defence, DefenceFacts
from scoreguard_export.errors import ArchiveError
from scoreguard_export.exporters.quiet import quiet
from scoreguard_export.metrics.base import Metric, MetricFacts


class ScriptedMetric(Metric):
    """A metric's TorchScript form in place of its module."""

    def __init__(self, script: nn.Module, facts: MetricFacts) -> None:
        super().__init__()
        self.facts, self.script = facts, script

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        score: Tensor = self.script(image)
        return score


class ScriptedDefence(Defence):
    """A defence's TorchScript form in place of its module; it uses nothing from the catalogue."""

    def __init__(self, script: nn.Module, facts: DefenceFacts, structural: Mapping[str, float]) -> None:
        nn.Module.__init__(self)  # the manifest lists the variants; no class facts to check them against
        self.facts, self.structural, self.script = facts, dict(structural), script

    def forward(self, image: Tensor, *inputs: Tensor) -> Tensor:
        """Purify a batch."""
        purified: Tensor = self.script(image, *inputs)
        return purified


def load_script(archive: Archive, name: str) -> nn.Module:
    """Load a TorchScript file of an archive.

    Raises:
        IntegrityError: the file does not match the manifest.
        ArchiveError: the file is not TorchScript.
    """
    try:
        with quiet():
            return archive_graphs(archive)[name]
    except EngineError as error:
        raise ArchiveError(f"{archive.path}: {error}") from error
