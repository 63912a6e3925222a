"""Measure what scores a metric gives on a folder of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from scoreguard.calibration import Calibration
from scoreguard.images import image_files, read_image
from scoreguard.support.digests import sha256_of
from scoreguard.v1.errors import ImageError
from scoreguard_export.errors import CalibrationError
from scoreguard_export.metrics.base import Metric


def calibrate(metric: Metric, folder: Path, progress: Callable[[str], None] = lambda name: None) -> Calibration:
    """Score every image of a folder, each by itself at its native size.

    Args:
        metric: In evaluation mode, on the CPU.
        folder: Images; folders inside it are not read.
        progress: Called with the name of each image that was scored.

    Raises:
        CalibrationError: there are not at least two images, one cannot be read or scored, or all score alike.
    """
    if not folder.is_dir() or len(paths := image_files(folder)) < 2:
        raise CalibrationError(f"{folder} does not hold two images: a range needs that many at least")
    scores, lines = [], []
    for path in paths:
        data = path.read_bytes()
        scores.append(_score(metric, path, data))
        lines.append(f"{sha256_of(data)}  {path.name}\n")
        progress(path.name)
    low, first, median, third, high = (float(value) for value in np.quantile(scores, (0, 0.25, 0.5, 0.75, 1)))
    if not low < high:
        raise CalibrationError(f"every image of {folder} scores {low:g}: these are no bounds")
    return Calibration(
        metric=metric.facts.name,
        images=len(paths),
        images_sha256=sha256_of("".join(lines).encode()),
        weights=dict(metric.weights_digests),
        low=low,
        lower_quartile=first,
        median=median,
        upper_quartile=third,
        high=high,
    )


def _score(metric: Metric, path: Path, data: bytes) -> float:
    try:
        pixels = read_image(data)
    except ImageError as error:
        raise CalibrationError(f"cannot read {path}: {error}") from error
    values = pixels.astype(np.float32) / np.float32(255) if pixels.dtype == np.uint8 else pixels
    height, width, _ = values.shape
    if min(height, width) < metric.facts.minimum_size:
        least = metric.facts.minimum_size
        raise CalibrationError(f"{path} is {width} x {height}: {metric.facts.name} reads {least} x {least} and larger")
    with torch.no_grad():
        score = float(metric(torch.from_numpy(values).permute(2, 0, 1)[None])[0])
    if not np.isfinite(score):
        raise CalibrationError(f"the score of {path} is not finite")
    return score
