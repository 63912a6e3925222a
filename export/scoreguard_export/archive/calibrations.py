"""Calibrations that a build puts into the manifests of its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from scoreguard.calibration import Calibration
from scoreguard.support.digests import sha256_of_file
from scoreguard.v1.manifest_pb2 import MetricArtifact
from scoreguard_export.errors import CalibrationError
from scoreguard_export.metrics.catalogue import metric_of


def read_calibrations(
    files: Sequence[Path], metrics: Sequence[str], weights: Mapping[str, Path]
) -> dict[str, Calibration]:
    """Read the calibrations of a build, before anything is exported.

    Args:
        files: What `scoreguard-export calibrate` wrote.
        metrics: The metrics of the build, as it was asked for them.
        weights: Weights files by name, for those that are not shipped.

    Returns:
        Each by the name that its metric has in the archive.

    Raises:
        CalibrationError: a file is no calibration, is of a metric that is not built or of other weights, or two are of
            one metric.
    """
    built = {_served_name(text): text for text in metrics}
    found: dict[str, tuple[Path, Calibration]] = {}
    for path in files:
        calibration = _read(path)
        name = calibration.metric
        if name not in built:
            raise CalibrationError(f"{path} is a calibration of {name}, which is not built")
        if name in found:
            raise CalibrationError(f"{found[name][0]} and {path} are both calibrations of {name}: give one")
        located = metric_of(built[name])[0].located(weights)
        if calibration.weights != {each: sha256_of_file(file) for each, file in located.items()}:
            raise CalibrationError(f"{path} was measured with other weights of {name}: calibrate it again")
        found[name] = path, calibration
    return {name: calibration for name, (_, calibration) in found.items()}


def calibrated(artifact: MetricArtifact, calibrations: Mapping[str, Calibration]) -> MetricArtifact:
    """Return a metric with the calibration that is of it; unchanged without one."""
    found = MetricArtifact()
    found.CopyFrom(artifact)
    if calibration := calibrations.get(artifact.facts.name):
        found.facts.calibration.CopyFrom(calibration.to_message())
    return found


def _read(path: Path) -> Calibration:
    try:
        return Calibration.read(path)
    except ValueError as error:
        raise CalibrationError(str(error)) from error


def _served_name(text: str) -> str:
    kind, variant = metric_of(text)
    return kind.facts.of_variant(variant).name if variant else kind.facts.name
