"""Metrics and defences to archives: export, compare with the eager modules, record, pack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from scoreguard.catalogue import UnknownNameError
from scoreguard.v1.archive import FORMAT, SUFFIX, sha256_of
from scoreguard.v1.manifest_pb2 import ArchiveManifest, GraphFiles, MetricArtifact
from scoreguard_export.archive.defence_export import DefenceExporter, ExportedDefence
from scoreguard_export.archive.export_graphs import ExportedGraphs, export_graphs
from scoreguard_export.archive.facts import licence_of, metric_message
from scoreguard_export.archive.golden import PICTURE, golden_picture, golden_vectors
from scoreguard_export.archive.mar import write_mar
from scoreguard_export.archive.model_store import write_server_files
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.defences.catalogue import chosen_variants, defence_named
from scoreguard_export.errors import WeightsError
from scoreguard_export.exporters.onnx_graph import OPSET
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS
from scoreguard_export.metrics.catalogue import load_metric

_LIBRARIES: Final = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")
Step = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """One build."""

    metrics: tuple[str, ...]
    """Catalogue names; one archive each."""
    defences: tuple[str, ...]
    """Catalogue names; every archive carries them all."""
    model_store: Path
    """Folder that TorchServe serves."""
    weights: Mapping[str, Path] = field(default_factory=dict)
    """Weights files by name, of metrics and defences, for those that are not shipped."""
    default_variants: bool = False
    """Whether to export each defence with its default structural parameters only: a faster build, a smaller archive."""


@dataclass(frozen=True, kw_only=True)
class BuiltArchive:
    """An archive that was written."""

    metric: str
    path: Path
    sha256: str


def count_steps(config: BuildConfig) -> int:
    """Graph pairs that the build exports: what a progress bar counts."""
    variants = (chosen_variants(n, config.weights, default_only=config.default_variants) for n in config.defences)
    return len(config.metrics) + sum(len(chosen) for chosen in variants)


def build(config: BuildConfig, done: Step = lambda label: None) -> list[BuiltArchive]:
    """Write one archive per metric, and the server's files beside them.

    Args:
        config: what to build.
        done: told the name of each graph pair that is exported and agrees with its module.

    Raises:
        UnknownNameError: a name that no catalogue has.
        WeightsError: weights are missing, or are not what the method needs.
        ParityError: an exported graph differs from its module.
    """
    metrics = {name: load_metric(name, config.weights) for name in config.metrics}
    _refuse_stray_weights(config)
    config.model_store.mkdir(parents=True, exist_ok=True)
    exporter = DefenceExporter(weights=config.weights, done=done, default_only=config.default_variants)
    defences = [exporter.export(name) for name in config.defences]
    archives = [_build_archive(metric, config, defences, done) for metric in metrics.values()]
    write_server_files(config.model_store)
    return archives


def _build_archive(
    metric: Metric, config: BuildConfig, defences: Sequence[ExportedDefence], done: Step
) -> BuiltArchive:
    name = metric.facts.name
    graphs, picture = export_graphs(metric), golden_picture(metric.facts.minimum_size)
    files: dict[str, bytes] = {PICTURE: picture.png}
    artifact = MetricArtifact(
        facts=metric_message(metric.facts, licence_of(metric)),
        graphs=_add_graphs(files, "metric", graphs),
        parity=graphs.parity,
        weights_sha256=_weights_digest(metric, config.weights),
    )
    for defence in defences:
        files.update(defence.files)
    manifest = ArchiveManifest(
        format=FORMAT,
        metric=artifact,
        defences=[defence.artifact for defence in defences],
        golden_vectors=golden_vectors(metric, [defence.eager for defence in defences], picture),
        library_versions={library: version(library) for library in _LIBRARIES},
    )
    path = config.model_store / f"{name}{SUFFIX}"
    sha256 = write_mar(path, manifest, files)
    done(name)
    return BuiltArchive(metric=name, path=path, sha256=sha256)


def _add_graphs(files: dict[str, bytes], stem: str, graphs: ExportedGraphs) -> GraphFiles:
    paths = GraphFiles(torchscript=f"{stem}.pt", onnx=f"{stem}.onnx", onnx_opset=OPSET)
    files[paths.torchscript], files[paths.onnx] = graphs.torchscript, graphs.onnx
    return paths


def _weights_digest(metric: Metric, files: Mapping[str, Path]) -> str:
    """Digest of the weights file; of several the digest of their digests, empty where the metric needs none."""
    digests = [sha256_of(path.read_bytes()) for path in metric.located(files).values()]
    return digests[0] if len(digests) == 1 else sha256_of("".join(digests).encode()) if digests else ""


def _refuse_stray_weights(config: BuildConfig) -> None:
    modules = [*METRICS.values(), *DEFENCES.values()]
    known = {name for module in modules for name in module.sources}
    built = [*(METRICS[name] for name in config.metrics), *(defence_named(name) for name in config.defences)]
    asked = {name for module in built for name in module.sources}
    for name in config.weights:
        if name not in known:
            raise UnknownNameError("weights", name, sorted(known))
        if name not in asked:
            of_metric = any(name in metric.sources for metric in METRICS.values())
            what = "--metrics" if of_metric else "--defences"
            raise WeightsError(f"--weights names {name!r}, which nothing needs that is built: see {what}")
