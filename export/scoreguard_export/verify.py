"""An archive, checked again after its build: digests, parity of every graph, and the golden vectors.

Classical defences are rebuilt from the catalogue. The weights of the metric and of learned defences may not be at hand
any more, so their TorchScript form stands for the module: the ONNX form must agree with it, and it must give the golden
scores.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from scoreguard.v1.archive import Archive, archives_in
from scoreguard.v1.manifest_pb2 import DefenceArtifact, GraphFiles
from scoreguard_export.defences.base import Defence, DefenceFacts
from scoreguard_export.defences.catalogue import defence_named
from scoreguard_export.eager import EagerDefence
from scoreguard_export.errors import ArchiveError
from scoreguard_export.exporters.quiet import quiet
from scoreguard_export.exporters.signature import Exportable, describe
from scoreguard_export.golden import golden_picture, golden_vectors
from scoreguard_export.metrics.base import Metric, MetricFacts
from scoreguard_export.metrics.catalogue import metric_named
from scoreguard_export.parity import check_parity


@dataclass(frozen=True, kw_only=True)
class Verified:
    """An archive that is what it says."""

    metric: str
    path: Path
    files: int
    """Files whose digest was confirmed."""
    graphs: int
    """Modules whose two graphs were compared."""
    largest_error: float
    """Largest difference found, in the units of its module."""


class ScriptedMetric(Metric):
    """A metric's TorchScript form in the place of its module."""

    def __init__(self, data: bytes, facts: MetricFacts) -> None:
        super().__init__()
        self.facts = facts
        with quiet():
            self.script = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]

    @classmethod
    def from_weights(cls, path: Path, facts: MetricFacts) -> Self:
        """Read the TorchScript file of an archive."""
        return cls(path.read_bytes(), facts)

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        score: Tensor = self.script(image)
        return score


class ScriptedDefence(Defence):
    """A defence's TorchScript form in the place of its module."""

    facts: DefenceFacts  # type: ignore[misc]  # of one defence, where a class has them for all

    def __init__(self, data: bytes, facts: DefenceFacts) -> None:
        self.facts = facts
        super().__init__()
        with quiet():
            self.script = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]

    def forward(self, image: Tensor, *inputs: Tensor) -> Tensor:
        """Purify a batch."""
        purified: Tensor = self.script(image, *inputs)
        return purified


def verify_store(model_store: Path, done: Callable[[str], None] = lambda label: None) -> list[Verified]:
    """Check every archive of a model store.

    Raises:
        IntegrityError: a file was changed.
        ParityError: a graph differs from its module.
        ArchiveError: a golden vector does not score as recorded.
    """
    return [verify_archive(archive, done) for archive in archives_in(model_store)]


def verify_archive(archive: Archive, done: Callable[[str], None] = lambda label: None) -> Verified:
    """Check one archive; raises as `verify_store` does."""
    archive.verify()
    metric = ScriptedMetric(
        archive.read(archive.manifest.metric.graphs.torchscript), metric_named(archive.name).facts
    ).eval()
    defences = [_eager(archive, artifact) for artifact in archive.manifest.defences]
    errors = []
    for module, graphs in _modules(archive, metric, defences):
        errors.append(_parity(archive, module, graphs))
        done(describe(module))
    _check_golden(archive, metric, defences)
    return Verified(
        metric=archive.name,
        path=archive.path,
        files=len(archive.manifest.files),
        graphs=len(errors),
        largest_error=max(errors),
    )


def _modules(
    archive: Archive, metric: Metric, defences: Sequence[EagerDefence]
) -> Iterator[tuple[Exportable, GraphFiles]]:
    yield metric, archive.manifest.metric.graphs
    seen: set[str] = set()
    for defence in defences:
        for graphs in _graphs(defence.artifact):
            if graphs.torchscript not in seen:
                yield defence.modules[graphs.torchscript], graphs
            seen.add(graphs.torchscript)


def _graphs(artifact: DefenceArtifact) -> Iterator[GraphFiles]:
    for variant in artifact.variants:
        yield variant.graphs
        if variant.HasField("finish"):
            yield variant.finish


def _eager(archive: Archive, artifact: DefenceArtifact) -> EagerDefence:
    """The modules of a defence, rebuilt where no weights are needed."""
    kind = defence_named(artifact.facts.name)
    modules: dict[str, Defence] = {}
    for variant in artifact.variants:
        original = kind(**dict(variant.structural)).eval()
        for module, graphs in ((original.graph(), variant.graphs), (original.finish(), variant.finish)):
            if module is not None:
                learned = bool(kind.sources) and module is original.graph()
                modules[graphs.torchscript] = _scripted(archive, module, graphs) if learned else module
    return EagerDefence(artifact=artifact, modules=modules)


def _scripted(archive: Archive, module: Defence, graphs: GraphFiles) -> Defence:
    return ScriptedDefence(archive.read(graphs.torchscript), module.facts).eval()


def _parity(archive: Archive, module: Exportable, graphs: GraphFiles) -> float:
    with tempfile.TemporaryDirectory() as folder:
        torchscript, onnx = Path(folder) / "module.pt", Path(folder) / "module.onnx"
        torchscript.write_bytes(archive.read(graphs.torchscript))
        onnx.write_bytes(archive.read(graphs.onnx))
        return max(case.max_abs_error for case in check_parity(module, torchscript, onnx))


def _check_golden(archive: Archive, metric: Metric, defences: Sequence[EagerDefence]) -> None:
    picture = golden_picture(metric.facts.minimum_size)
    scores = {golden.defences: golden.score for golden in golden_vectors(metric, defences, picture)}
    for golden in archive.manifest.golden_vectors:
        if not abs(scores[golden.defences] - golden.score) <= golden.tolerance:
            raise ArchiveError(
                f"{archive.path}: the golden picture behind {golden.defences or 'no defence'} scores "
                f"{scores[golden.defences]:.6g}, not {golden.score:.6g}; build the archive again"
            )
