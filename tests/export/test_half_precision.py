"""Half precision is declared with what it changes, and what is declared is measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_samples import Contrast, metric_facts
from scipy.stats import spearmanr
from tampering import with_manifest
from torch import Tensor, nn

from scoreguard.chain.devices import THE_CPU
from scoreguard.v1.archive import Archive
from scoreguard.v1.manifest_pb2 import HalfPrecision
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_export.archive.facts import declares_half
from scoreguard_export.archive.half_images import COUNT, half_images
from scoreguard_export.archive.half_precision import _srocc, check_half, measure_half
from scoreguard_export.archive.verify import verify_archive
from scoreguard_export.defences.blur import Blur
from scoreguard_export.defences.denoiser import Denoiser
from scoreguard_export.errors import PrecisionError
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.graph_module import GraphModule
from scoreguard_export.metrics.base import Metric


class Loud(Metric):
    """One convolution with weights beyond the range of half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = metric_facts("loud")
        self.layer = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.layer.weight, 1e5)

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        features: Tensor = self.layer(image)
        return features.mean(dim=[1, 2, 3]) * 1e-5


def script_of(module: GraphModule, folder: Path) -> bytes:
    """The module's TorchScript file."""
    export_torchscript(module.eval(), folder / "module.pt")
    return (folder / "module.pt").read_bytes()


def test_the_images_are_many_and_of_many_qualities() -> None:
    """Enough for a rank correlation, 8-bit levels, and the same every time."""
    images = half_images(40, 52)
    assert images.shape == (COUNT, 3, 40, 52)
    assert COUNT >= 48
    assert torch.equal(images, half_images(40, 52))
    levels = images * 255.0
    assert float((levels - levels.round()).abs().max()) < 1e-4
    sharpness = (images[..., 1:] - images[..., :-1]).abs().mean(dim=(1, 2, 3))
    assert len(set(sharpness.tolist())) > COUNT - 8
    assert float(sharpness.max()) > 20 * float(sharpness[:13].min())


def test_the_rank_correlation_is_spearmans_with_ties() -> None:
    """The reference is scipy's, which the export does not need."""
    generator = np.random.default_rng(0)
    first, second = (torch.from_numpy(generator.integers(0, 9, 60).astype(np.float32)) for _ in range(2))
    expected = spearmanr(first.numpy(), second.numpy()).statistic
    assert _srocc([(first[:20], second[:20]), (first[20:], second[20:])]) == pytest.approx(expected, abs=1e-12)


def test_errors_of_half_precision_are_measured(tmp_path: Path) -> None:
    """Small, not zero, and the largest is above the mean; checked against the module in the same precision."""
    module = Contrast().eval()
    found = measure_half(module, script_of(module, tmp_path), THE_CPU)
    assert (found.images, found.device) == (COUNT, "cpu")
    assert 0.0 < found.mean_abs_error < found.max_abs_error < 0.05
    assert 0.99 < found.srocc <= 1.0
    images = half_images(96, 128)
    with torch.no_grad():
        wide = module(images)
        with torch.autocast("cpu", torch.float16):
            narrow = module(images).float()
    assert float((wide - narrow).abs().max()) == pytest.approx(found.max_abs_error, rel=0.2)


def test_a_metric_without_finite_scores_is_refused(tmp_path: Path) -> None:
    """In one line, with the way out."""
    with pytest.raises(PrecisionError, match=r"^loud in half precision on cpu: .* values are not finite; build with"):
        measure_half(Loud(), script_of(Loud(), tmp_path), THE_CPU)


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (HalfPrecision(max_abs_error=1e-9, mean_abs_error=1.0, srocc=1.0), "the largest error is"),
        (HalfPrecision(max_abs_error=1.0, mean_abs_error=1e-9, srocc=1.0), "the mean error is"),
        (HalfPrecision(max_abs_error=1.0, mean_abs_error=1.0, srocc=1.5), "the rank correlation with fp32 is"),
    ],
)
def test_more_than_declared_is_refused(
    declared: HalfPrecision, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors beyond twice the declared ones and a parity tolerance, or a rank correlation more than 0.02 lower."""
    module = Contrast().eval()
    monkeypatch.setattr(module, "facts", type(module.facts)(**{**vars(module.facts), "parity_tolerance": 1e-9}))
    with pytest.raises(PrecisionError, match=reason):
        check_half(module, script_of(module, tmp_path), declared, THE_CPU)


def test_only_metrics_and_networks_are_declared() -> None:
    """A classical defence has no weights, and runs in single precision."""
    assert declares_half(Contrast())
    assert declares_half(Denoiser())
    assert not declares_half(Blur())


@pytest.mark.slow
def test_a_build_declares_and_verify_measures_again(tmp_path: Path) -> None:
    """For the metric alone here; the next build in single precision reuses nothing of it, and declares nothing."""
    chosen: dict[str, Any] = {"metrics": ("lite",), "defences": ("flip",), "default_variants": True}
    build(BuildConfig(model_store=tmp_path, precision="fp16", **chosen))
    archive = Archive(tmp_path / "lite.mar")
    half = archive.manifest.metric.graphs.half
    assert (half.images, half.device) == (COUNT, "cpu")
    assert half.srocc > 0.99
    assert not archive.manifest.defences[0].variants[0].graphs.HasField("half")
    (measured,) = verify_archive(archive).half
    assert measured.module == "lite"
    assert measured.max_abs_error == pytest.approx(measured.declared_max_abs_error, rel=0.5)
    with_manifest(archive.path, lambda m: m["metric"]["graphs"]["half"].update(max_abs_error=1e-9))
    with pytest.raises(PrecisionError, match="lite in half precision on cpu: the largest error is"):
        verify_archive(Archive(tmp_path / "lite.mar"))
    again = build(BuildConfig(model_store=tmp_path, **chosen))
    assert set(again.exported) == {"lite", "flip"}
    assert not Archive(tmp_path / "lite.mar").manifest.metric.graphs.HasField("half")
