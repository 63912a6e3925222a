"""Calibrations that a build puts into the manifests of its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scoreguard.calibration import Calibration
from scoreguard.v1.manifest_pb2 import MetricArtifact
from scoreguard_export.errors import CalibrationError
from scoreguard_export.metrics.catalogue import metric_of


def calibrated(artifact: MetricArtifact, files: Sequence[Path]) -> MetricArtifact:
    """Return a metric with the calibration that is of it; unchanged without one.

    Raises:
        CalibrationError: it was measured with other weights.
    """
    found = MetricArtifact()
    found.CopyFrom(artifact)
    for path, calibration in zip(files, map(read_calibration, files), strict=True):
        if calibration.metric != artifact.facts.name:
            continue
        if calibration.weights != {weights.name: weights.sha256 for weights in artifact.weights}:
            raise CalibrationError(
                f"{path} was measured with other weights of {calibration.metric}: calibrate it again"
            )
        found.facts.calibration.CopyFrom(calibration.to_message())
    return found


def refuse_stray_calibrations(files: Sequence[Path], metrics: Sequence[str]) -> None:
    """Refuse what would be put nowhere, before anything is built.

    Raises:
        CalibrationError: a file is no calibration, is of a metric that is not built, or two are of one metric.
    """
    built = {_served_name(name) for name in metrics}
    seen: dict[str, Path] = {}
    for path in files:
        name = read_calibration(path).metric
        if name not in built:
            raise CalibrationError(f"{path} is a calibration of {name}, which is not built")
        if name in seen:
            raise CalibrationError(f"{seen[name]} and {path} are both calibrations of {name}: give one")
        seen[name] = path


def read_calibration(path: Path) -> Calibration:
    """Read a file.

    Raises:
        CalibrationError: it is no calibration.
    """
    try:
        return Calibration.read(path)
    except ValueError as error:
        raise CalibrationError(str(error)) from error


def _served_name(text: str) -> str:
    kind, variant = metric_of(text)
    return kind.facts.of_variant(variant).name if variant else kind.facts.name
