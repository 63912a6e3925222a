"""NIQE: distance of an image's statistics from those of pristine photographs (Mittal, Soundararajan & Bovik 2013).

A multivariate Gaussian is fitted to 36 natural scene statistics (`niqe_features`) of the image's 96×96 patches and
compared with one fitted once to sharp patches of pristine photographs; no human scores are involved.

    score = √((ν₁ − ν₂)ᵀ ((Σ₁ + Σ₂) / 2)⁻¹ (ν₁ − ν₂))                lower is better

ν₁, Σ₁ are the pristine model's mean and covariance, ν₂, Σ₂ the image's. Flat patches, to which no Gaussian can be
fitted, are left out; if every patch is flat, all count. A single patch (all that sides below 192 pixels may leave) has
no covariance, so Σ₂ = 0; the official code gives no number in this case.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.niqe_features import FEATURES, PATCH, Luminance, NiqeFeatures
from scoreguard_export.weights.checkpoints import read_checkpoint
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_FLAT_WEIGHT = 1e-9
"""Weight of a flat patch, compared with 1 for any other: it matters only if every patch is flat."""
_OFFICIAL = (
    "https://github.com/xinntao/BasicSR/raw/d21eac885b6de90a7adef7cc59e937dbdbb200b1/basicsr/metrics/"
    "niqe_pris_params.npz"
)
_OFFICIAL_MEAN, _OFFICIAL_COVARIANCE = "mu_pris_param", "cov_pris_param"
_ADVICE = f"make one with `scoreguard-export fit niqe`, or give the official {_OFFICIAL}"


def squared_distance(difference: Tensor, covariance: Tensor) -> Tensor:
    """dᵀ Σ⁻¹ d of (N, K) and positive definite (N, K, K) → (N,).

    Graph formats have no inverse. Gaussian elimination of all K pivots of [[Σ, d], [dᵀ, 0]] leaves −dᵀ Σ⁻¹ d in the
    last corner; a positive definite matrix needs no pivoting.
    """
    column = difference[:, :, None]
    last = torch.cat([column.transpose(1, 2), torch.zeros_like(column[:, :1])], dim=2)
    rest = torch.cat([torch.cat([covariance, column], dim=2), last], dim=1)
    for pivot in range(difference.shape[1]):
        row = rest.narrow(1, pivot, 1)
        rest = rest - rest.narrow(2, pivot, 1) * (row / row.narrow(2, pivot, 1))
    return -rest[:, -1, -1]


def gaussian_of(features: Tensor, lively: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (N, K) and unbiased covariance (N, K, K) of the patches of each of `count` images.

    Args:
        features: (N · P, K), preferably relative to a nearby point, because second moments are subtracted.
        lively: (N · P), 1 if a patch counts.
        count: N.
    """
    weight = (lively + _FLAT_WEIGHT)[:, None]
    outer = features[:, :, None] * (weight * features)[:, None, :]
    total, first, second = (_summed(part, count) for part in (weight, weight * features, outer.flatten(1)))
    mean = first / total
    scatter = second.reshape(count, FEATURES, FEATURES) - total[:, :, None] * mean[:, :, None] * mean[:, None, :]
    return mean, scatter / (total - 1.0).clamp(min=1.0)[:, :, None]


def _summed(rows: Tensor, count: int) -> Tensor:
    """(N · P, C) → (N, C)."""
    return rows.reshape(count, -1, rows.shape[1]).sum(dim=1)


class Niqe(Metric):
    """Distance from pristine statistics, 0 upwards; lower is better."""

    facts = MetricFacts(
        name="niqe",
        title="NIQE",
        paper="Mittal, Soundararajan, Bovik: Making a Completely Blind Image Quality Analyzer. IEEE SPL 20(3)",
        year=2013,
        # A distance has no upper bound. The benchmark of adversarial defences for quality metrics (MSU) publishes 1.41
        # to 28.74 as its range. With the official model the strongest white noise of LIVE reaches 62, a flat image
        # 30.3; with the shipped one 28.4 and 18.4.
        score_range=ScoreRange(low=0.0, high=30.0, higher_is_better=False),
        range_basis=RangeBasis.MEASURED,
        measured_on="NIPS 2017 (MSU, rounded)",
        backbone="statistics, Gaussian model",
        input_rule="grey (MATLAB's rgb2gray) at native size and half size; every full 96x96 patch",
        minimum_size=PATCH,
        parity_tolerance=1e-3,
    )
    sources = MappingProxyType(
        {
            "niqe": WeightsSource(
                licence="Apache-2.0 for the shipped model; the official one: copyright notice of NIQE, UT Austin",
                commercial=CommercialUse.YES,
                shipped=Path(__file__).resolve().parents[1] / "weights" / "niqe.safetensors",
                download=_OFFICIAL,
                made_by="scoreguard-export fit niqe",
                sha256="2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296",
                size=11_850,
            )
        }
    )

    mean: Tensor
    covariance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.luminance, self.features = Luminance(), NiqeFeatures()
        self.register_buffer("mean", torch.zeros(FEATURES, dtype=torch.float64))
        self.register_buffer("covariance", torch.eye(FEATURES, dtype=torch.float64))

    def load(self, name: str, path: Path) -> str:
        """Take a fitted model (safetensors) or the official one (.npz).

        Raises:
            WeightsError: the file is missing, unreadable, holds other shapes, or no covariance.
        """
        weights = read_checkpoint(path, name, self.sources[name], what="model", kind="a model of niqe")
        self.load_state_dict(_checked(_as_ours(weights.tensors), path))
        return weights.sha256

    def distance_of(self, grey: Tensor) -> Tensor:
        """Score luminance (N, 1, H, W), levels 0..255, in double precision."""
        features, lively = self.features(grey)
        difference, covariance = gaussian_of(features - self.mean, lively, grey.shape[0])
        return torch.sqrt(squared_distance(difference, (covariance + self.covariance) / 2.0).clamp(min=1e-12))

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 96 pixels a side or more."""
        return self.distance_of(self.luminance(image)).to(image.dtype)


def _as_ours(model: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the official names and shapes to those of a fitted model."""
    if not {_OFFICIAL_MEAN, _OFFICIAL_COVARIANCE} <= model.keys():
        return model
    return {"mean": model[_OFFICIAL_MEAN].flatten(), "covariance": model[_OFFICIAL_COVARIANCE]}


def _checked(model: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    shapes = {name: tuple(value.shape) for name, value in model.items()}
    if shapes != {"mean": (FEATURES,), "covariance": (FEATURES, FEATURES)}:
        raise WeightsError(f"{path} is not a model of niqe, its shapes are {shapes}: {_ADVICE}")
    model = {name: value.to(torch.float64) for name, value in model.items()}
    covariance = model["covariance"]
    symmetric = torch.allclose(covariance, covariance.T)
    if not (model["mean"].isfinite().all() and symmetric and torch.linalg.cholesky_ex(covariance).info == 0):
        raise WeightsError(f"{path} holds no positive definite covariance: {_ADVICE}")
    return model
