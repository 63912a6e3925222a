"""The pristine model of NIQE, fitted to photographs as the paper does: only their sharp patches count.

sharpness of a patch = mean of the local deviation σ over it
patches with sharpness > 0.75 · (the sharpest of the photograph), flat ones left out
ν₁, Σ₁ = mean and covariance of their features, over all photographs
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreguard_export.errors import TrainingError
from scoreguard_export.metrics.niqe_features import FEATURES, PATCH, Luminance, NiqeFeatures
from scoreguard_export.weights.tensors import write_tensors

Photo = NDArray[np.uint8]
NAME = "niqe"


@dataclass(frozen=True, kw_only=True)
class NiqeFitConfig:
    """One fit; equal photographs and thresholds give equal bytes."""

    sources: tuple[str, ...]
    """Sources of the photographs as named in the record: names of folders, `scikit-image`."""
    excluded: tuple[str, ...] = ()
    """Names of photographs that were left out, for the record."""
    sharpness: float = 0.75
    """Least sharpness of a patch, as a fraction of the sharpest one of its photograph, 0..1."""
    out: Path
    """Folder for `niqe.safetensors` and the record `niqe.json`."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.sharpness < 1.0:
            raise TrainingError(
                f"sharpness {self.sharpness:g} is not in [0, 1): it is a fraction of the sharpest patch"
            )


@dataclass(frozen=True, kw_only=True)
class PatchCount:
    """Counts of photographs and patches."""

    photographs: int
    """Photographs large enough for a patch."""
    patches: int
    used: int
    """Patches used: sharp and not flat."""


def fit_niqe(
    photos: Mapping[str, Photo], config: NiqeFitConfig, progress: Callable[[str], None] = lambda name: None
) -> Path:
    """Fit the model and write it, with its record next to it.

    Args:
        photos: photographs (H, W, 3) in 8 bits by name; those with a side below 96 pixels are left out.
        config: Configuration of the fit.
        progress: Called with the name of each photograph.

    Returns:
        The weights file.

    Raises:
        TrainingError: too few sharp patches for a covariance of 36 features.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, hence the last bits, depends on it
    try:
        features, count = _sharp_features(photos, config, progress)
        return _write(features.mean(dim=0), _covariance(features, count), photos, count, config)
    finally:
        torch.set_num_threads(threads)


def _sharp_features(
    photos: Mapping[str, Photo], config: NiqeFitConfig, progress: Callable[[str], None]
) -> tuple[Tensor, PatchCount]:
    luminance, module = Luminance(), NiqeFeatures()
    kept, patches, photographs = [torch.zeros((0, FEATURES), dtype=torch.float64)], 0, 0
    for name, photo in sorted(photos.items()):
        if min(photo.shape[:2]) >= PATCH:
            grey = luminance(torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255.0)
            features, lively = module(grey)
            sharpness = module.sharpness(grey)
            kept.append(features[(sharpness > config.sharpness * sharpness.max()) & (lively > 0)])
            patches, photographs = patches + len(features), photographs + 1
        progress(name)
    every = torch.cat(kept)
    return every, PatchCount(photographs=photographs, patches=patches, used=len(every))


def _covariance(features: Tensor, count: PatchCount) -> Tensor:
    if count.used > FEATURES:
        covariance = torch.cov(features.T)
        if torch.linalg.cholesky_ex(covariance).info == 0:
            return covariance
    raise TrainingError(
        f"{count.used} sharp patches of {count.photographs} photographs are too few for {FEATURES} features: "
        f"give more photographs of at least {PATCH} pixels a side"
    )


def _write(
    mean: Tensor, covariance: Tensor, photos: Mapping[str, Photo], count: PatchCount, config: NiqeFitConfig
) -> Path:
    path = config.out / f"{NAME}.safetensors"
    write_tensors(path, {"mean": mean, "covariance": covariance})
    record = {
        "command": command_line(config),
        "photos": list(config.sources),
        "excluded": list(config.excluded),
        "trained_on": sorted(name for name, photo in photos.items() if min(photo.shape[:2]) >= PATCH),
        "data_sha256": photos_digest(photos),
        "sharpness": config.sharpness,
        "photographs": count.photographs,
        "patches": count.patches,
        "patches_used": count.used,
        "torch": torch.__version__,
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    return path


def photos_digest(photos: Mapping[str, Photo]) -> str:
    """Return the SHA-256 over names, sizes and pixels, in name order."""
    digest = hashlib.sha256()
    for name, photo in sorted(photos.items()):
        digest.update(f"{name} {photo.shape}".encode())
        digest.update(np.ascontiguousarray(photo).tobytes())
    return digest.hexdigest()


def command_line(config: NiqeFitConfig) -> str:
    """Return the command that repeats the fit, with folders by name."""
    folders = [source for source in config.sources if source != "scikit-image"]
    words = ["scoreguard-export fit niqe", *(f"--photos {folder}" for folder in folders)]
    words += [] if "scikit-image" in config.sources else ["--no-bundled"]
    words += [f"--exclude {name}" for name in config.excluded]
    return " ".join([*words, f"--sharpness {config.sharpness:g}"])
