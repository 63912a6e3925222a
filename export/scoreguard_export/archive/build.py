"""Turn metrics and defences into archives: export, compare with the eager modules, record, pack.

Results of an earlier build of the same store are reused if nothing that determines them has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from scoreguard.calibration import Calibration
from scoreguard.catalogue import UnknownNameError
from scoreguard.chain.devices import THE_CPU, Device
from scoreguard.chain.numerics import FP16, FP32
from scoreguard.v1.archive import FORMAT, SUFFIX
from scoreguard.v1.manifest_pb2 import ArchiveManifest, BuildRecord, GoldenVector
from scoreguard_export.archive.blob_store import BlobStore
from scoreguard_export.archive.build_records import BuildRecords
from scoreguard_export.archive.build_steps import BuildSteps, Made
from scoreguard_export.archive.calibrations import calibrated, read_calibrations
from scoreguard_export.archive.device_parity import DeviceParity, check_on_device
from scoreguard_export.archive.fact_modules import fact_modules
from scoreguard_export.archive.golden import IMAGE, golden_image
from scoreguard_export.archive.mar import write_mar
from scoreguard_export.archive.model_store import write_server_files
from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.defences.catalogue import chosen_variants, defence_named
from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS
from scoreguard_export.metrics.catalogue import metric_of
from scoreguard_export.metrics.pyiqa.sources import sources_of_all
from scoreguard_export.weights.checkpoints import advice

_LIBRARIES: Final = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """One build."""

    metrics: tuple[str, ...]
    """Catalogue names, with `@` and the variant unless it is the usual one; one archive each."""
    defences: tuple[str, ...]
    """Catalogue names; every archive contains all of them."""
    model_store: Path
    """Folder that TorchServe serves."""
    weights: Mapping[str, Path] = field(default_factory=dict)
    """Weights files of metrics and defences by name, for those that are not shipped."""
    default_variants: bool = False
    """Whether to export each defence with its default structural parameters only: a faster build, a smaller archive."""
    self_contained: bool = False
    """Whether each archive contains its graphs: a single movable file, as large as all its graphs."""
    device: Device = THE_CPU
    """Where the graphs are compared with the CPU once more, and where half precision is measured."""
    calibrations: tuple[Path, ...] = ()
    """Files of `scoreguard-export calibrate` for the manifests of the metrics that they are of."""
    precision: str = FP32
    """`fp16`: measure mixed half precision and declare it in the manifests."""


@dataclass(frozen=True, kw_only=True)
class BuiltArchive:
    """An archive that was written."""

    metric: str
    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Built:
    """Result of a build."""

    archives: tuple[BuiltArchive, ...]
    exported: tuple[str, ...]
    """Names of the metrics and defences that were exported."""
    kept: tuple[str, ...]
    """Names of those reused from an earlier build with the same code, weights and libraries."""
    on_device: tuple[DeviceParity, ...] = ()
    """Comparisons of the graphs on the device with the CPU; none if the device is the CPU."""


def count_steps(config: BuildConfig) -> int:
    """Return the number of graph pairs of the build, made or reused; a progress bar counts them."""
    variants = (chosen_variants(n, config.weights, default_only=config.default_variants) for n in config.defences)
    return len(config.metrics) + sum(len(chosen) for chosen in variants)


def build(config: BuildConfig, progress: Progress = lambda label: None) -> Built:
    """Write one archive per metric, and the server's files next to them.

    Args:
        config: what to build.
        progress: called with the name of each graph pair that agrees with its module.

    Raises:
        UnknownNameError: a name is in no catalogue.
        WeightsError: weights are missing, or are not what the method needs.
        CalibrationError: a calibration cannot be read, or is of no metric of the build or of other weights.
        RuleBrokenError: a metric itself gives no usable scores: of another shape, not finite, out of its range ...
        ParityError: an exported graph differs from its module, or on the device from the CPU.
        PrecisionError: half precision gives a value that is not finite.
        EngineError: the device cannot run a graph.
        OSError: the model store cannot be written.
    """
    steps = BuildSteps(
        records=BuildRecords(BlobStore(config.model_store)),
        weights=config.weights,
        progress=progress,
        default_variants=config.default_variants,
        half_on=config.device if config.precision == FP16 else None,
    )
    _check(config)
    calibrations = read_calibrations(config.calibrations, config.metrics, config.weights)
    for name in config.metrics:
        steps.load(name)
    metrics = [steps.metric(name) for name in config.metrics]
    defences = [steps.defence(defence_named(name)) for name in config.defences]
    records = [*(metric.record for metric in metrics), *(defence.record for defence in defences)]
    on_device = tuple(_on_device(records, steps, config.device))
    archives = [_archive(metric, defences, steps, config, calibrations) for metric in metrics]
    write_server_files(config.model_store)
    made = {made.name: made.kept for made in metrics} | {made.name: made.kept for made in defences}
    return Built(
        archives=tuple(archives),
        exported=tuple(name for name, kept in made.items() if not kept),
        kept=tuple(name for name, kept in made.items() if kept),
        on_device=on_device,
    )


def _on_device(records: Sequence[BuildRecord], steps: BuildSteps, device: Device) -> Iterator[DeviceParity]:
    """Compare every graph on a device with the CPU, once; there is nothing to compare on the CPU itself."""
    blobs, seen = steps.records.blobs, set[str]()
    for record in records if not device.is_cpu else ():
        entries = {entry.path: entry for entry in record.files}
        for module, graphs in fact_modules(record):
            torchscript, onnx = entries[graphs.torchscript], entries[graphs.onnx]
            if torchscript.sha256 not in seen:
                yield from check_on_device(module, blobs.read(torchscript), blobs.read(onnx), device)
            seen.add(torchscript.sha256)


def _archive(
    metric: Made[Metric],
    defences: Sequence[Made[Defence]],
    steps: BuildSteps,
    config: BuildConfig,
    calibrations: Mapping[str, Calibration],
) -> BuiltArchive:
    facts = metric.record.metric.facts
    records: list[BuildRecord] = [metric.record, *(defence.record for defence in defences)]
    manifest = ArchiveManifest(
        format=FORMAT,
        metric=calibrated(metric.record.metric, calibrations),
        defences=[defence.record.defence for defence in defences],
        golden_vectors=_golden_vectors(metric, defences, steps),
        files={entry.path: entry for record in records for entry in record.files}.values(),
        library_versions={library: version(library) for library in _LIBRARIES},
    )
    path = config.model_store / f"{facts.name}{SUFFIX}"
    files = {IMAGE: golden_image(facts.minimum_size).png}
    if config.self_contained:
        blobs = steps.records.blobs
        files |= {entry.path: blobs.read(entry) for entry in manifest.files}
    return BuiltArchive(metric=facts.name, path=path, sha256=write_mar(path, manifest, files))


def _golden_vectors(metric: Made[Metric], defences: Sequence[Made[Defence]], steps: BuildSteps) -> list[GoldenVector]:
    """Return the vectors of the metric alone first, then those behind each defence."""
    scores = [steps.golden(metric, defence) for defence in (None, *defences)]
    return [score.vector for score in scores if score.HasField("vector")]


def _check(config: BuildConfig) -> None:
    """Reject what cannot be built before anything is written."""
    _refuse_stray_weights(config)
    _refuse_missing_weights(config)
    for name in config.metrics:
        metric_of(name)[0].located(config.weights)
    for name in config.defences:
        chosen_variants(name, config.weights, default_only=config.default_variants)


def _refuse_missing_weights(config: BuildConfig) -> None:
    modules = (*METRICS.values(), *DEFENCES.values(), *(metric_of(name)[0] for name in config.metrics))
    sources = {name: source for module in modules for name, source in module.sources.items()}
    for name, path in config.weights.items():
        if name in sources and not path.is_file():
            raise WeightsError(f"no weights of {name} at {path}: {advice(name, sources[name])}")


def _refuse_stray_weights(config: BuildConfig) -> None:
    built = [*(metric_of(name)[0] for name in config.metrics), *(defence_named(name) for name in config.defences)]
    known = {name for module in (*METRICS.values(), *DEFENCES.values(), *built) for name in module.sources}
    known |= sources_of_all().keys()
    asked = {name for module in built for name in module.sources}
    for name in config.weights:
        if name not in known:
            raise UnknownNameError("weights", name, sorted(known))
        if name not in asked:
            of_metric = name in sources_of_all() or any(name in metric.sources for metric in METRICS.values())
            what = "--metrics" if of_metric else "--defences"
            raise WeightsError(f"--weights names {name!r}, which nothing needs that is built: see {what}")
