"""Metrics and defences to archives: export, compare with the eager modules, record, pack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from scoreguard.v1.archive import FORMAT, SUFFIX, sha256_of
from scoreguard.v1.manifest_pb2 import ArchiveManifest, DefenceArtifact, DefenceVariant, GraphFiles, MetricArtifact
from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.catalogue import default_defence, defence_named
from scoreguard_export.errors import WeightsError
from scoreguard_export.exported import ExportedGraphs, export_graphs
from scoreguard_export.exporters.onnx_graph import OPSET
from scoreguard_export.facts import defence_message, metric_message
from scoreguard_export.golden import PICTURE, golden_picture, golden_vectors
from scoreguard_export.mar import write_mar
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import load_metric, metric_named
from scoreguard_export.model_store import write_server_files

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
    """Weights files by metric, for those that are not shipped."""


@dataclass(frozen=True, kw_only=True)
class BuiltArchive:
    """An archive that was written."""

    metric: str
    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ExportedDefence:
    """A defence, exported: its part of the manifest, its files, and the default module for the golden vectors."""

    artifact: DefenceArtifact
    files: Mapping[str, bytes]
    default: Defence


def count_steps(config: BuildConfig) -> int:
    """Graph pairs that the build exports: what a progress bar counts."""
    return len(config.metrics) + sum(len(defence_named(name).facts.variants()) for name in config.defences)


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
    metrics = {name: load_metric(name, config.weights.get(name)) for name in config.metrics}
    _refuse_stray_weights(config)
    config.model_store.mkdir(parents=True, exist_ok=True)
    defences = [export_all_variants(name, done) for name in config.defences]
    archives = [_build_archive(metric, config, defences, done) for metric in metrics.values()]
    write_server_files(config.model_store)
    return archives


def export_all_variants(name: str, done: Step) -> ExportedDefence:
    """Export every structural variant of a defence.

    Raises:
        ParityError: an exported graph differs from its module.
    """
    facts = defence_named(name).facts
    artifact = DefenceArtifact(facts=defence_message(facts))
    files: dict[str, bytes] = {}
    for structural in facts.variants():
        graphs = export_graphs(defence_named(name)(**structural))
        stem = "-".join([f"defences/{name}", *(f"{key}{value:g}" for key, value in structural.items())])
        paths = _add_graphs(files, stem, graphs)
        artifact.variants.append(DefenceVariant(structural=structural, graphs=paths, parity=graphs.parity))
        done(stem.removeprefix("defences/"))
    return ExportedDefence(artifact=artifact, files=files, default=default_defence(name))


def _build_archive(
    metric: Metric, config: BuildConfig, defences: Sequence[ExportedDefence], done: Step
) -> BuiltArchive:
    name = metric.facts.name
    graphs, picture = export_graphs(metric), golden_picture(metric.facts.minimum_size)
    files: dict[str, bytes] = {PICTURE: picture.png}
    artifact = MetricArtifact(
        facts=metric_message(metric.facts),
        graphs=_add_graphs(files, "metric", graphs),
        parity=graphs.parity,
        weights_sha256=sha256_of(_weights_path(metric, config).read_bytes()),
    )
    for defence in defences:
        files.update(defence.files)
    manifest = ArchiveManifest(
        format=FORMAT,
        metric=artifact,
        defences=[defence.artifact for defence in defences],
        golden_vectors=golden_vectors(metric, [defence.default for defence in defences], picture),
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


def _weights_path(metric: Metric, config: BuildConfig) -> Path:
    path = config.weights.get(metric.facts.name) or metric.facts.weights.shipped
    if path is None:
        raise WeightsError(f"no weights for {metric.facts.name}")
    return path


def _refuse_stray_weights(config: BuildConfig) -> None:
    for name in config.weights:
        metric_named(name)
        if name not in config.metrics:
            raise WeightsError(f"--weights names {name!r}, which is not among --metrics {','.join(config.metrics)}")
