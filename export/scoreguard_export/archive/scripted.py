"""The TorchScript files of an archive in place of the modules that they were exported from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from scoreguard.chain.torchscript import archive_graphs
from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import EngineError
from scoreguard.v1.manifest_pb2 import GraphFiles, MetricArtifact
from scoreguard_export.archive.manifest_facts import clip_facts
from scoreguard_export.clip_graphs import FrameGraph, PoolGraph
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


def scripted_parts(
    artifact: MetricArtifact, path: Path, script: Callable[[str], nn.Module]
) -> Iterator[tuple[FrameGraph | PoolGraph, GraphFiles]]:
    """Yield the graphs of frames and of clips of a metric of videos, as modules; none for a metric of images.

    Args:
        artifact: The metric.
        path: The archive, for messages.
        script: Returns the TorchScript file of a path.

    Raises:
        ArchiveError: the manifest records no parity of one of them.
    """
    if artifact.HasField("frame"):
        frame, pool = clip_facts(artifact, path)
        yield FrameGraph(script(artifact.frame.torchscript), frame).eval(), artifact.frame
        yield PoolGraph(script(artifact.pool.torchscript), pool, artifact.frame_numbers).eval(), artifact.pool


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
