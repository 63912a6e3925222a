"""Mixed half precision as a declared variant: what it changes is measured, recorded, and measured again by `verify`.

Each learned graph runs on one device in single and in mixed half precision, with its default parameters, on the images
of `half_images`. Graphs without weights are not declared and always run in single precision: their sums are exact to
the rounding of images and their results select, round or threshold pixels, which half precision would decide otherwise,
and they have no matrix products for it to speed up. A metric is always measured, since its score is what is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scoreguard.chain.devices import Device
from scoreguard.chain.numerics import FP16, Numerics
from scoreguard.v1.manifest_pb2 import HalfPrecision
from scoreguard_export.archive.device_parity import script_engine
from scoreguard_export.archive.half_images import half_images
from scoreguard_export.errors import PrecisionError
from scoreguard_export.exporters.engines import Engine
from scoreguard_export.exporters.signature import Case, describe, make_inputs
from scoreguard_export.graph_module import GraphModule
from scoreguard_export.metrics.base import Metric

ERROR_FACTOR: Final = 2.0
"""Errors that `verify` allows, in declared ones; to both, the module's parity tolerance is added."""
SROCC_LOSS: Final = 0.02
"""How far below the declared rank correlation a measured one may be."""
_BATCH: Final = 13
_LEAST_SIDE: Final = 96
"""Height of the images in pixels, unless the module needs more; their width is a third more."""


@dataclass(frozen=True, kw_only=True)
class HalfMeasured:
    """What mixed half precision changes in a graph, measured again."""

    module: str
    device: str
    max_abs_error: float
    mean_abs_error: float
    srocc: float | None
    """Rank correlation of a metric's scores with those in single precision; None for a defence."""
    images: int
    declared_max_abs_error: float
    declared_mean_abs_error: float
    declared_srocc: float | None
    declared_device: str


def measure_half(module: GraphModule, torchscript: bytes, device: Device) -> HalfPrecision:
    """Compare a TorchScript graph in mixed half precision with itself in single precision, on one device.

    Args:
        module: Its facts determine the inputs; it is not run.
        torchscript: Content of the TorchScript file.
        device: Where both run.

    Raises:
        PrecisionError: half precision gives a value that is not finite.
        EngineError: the graph cannot run on the device.
    """
    wide = script_engine(torchscript, device)
    narrow = script_engine(torchscript, device, Numerics(precision=FP16))
    largest, total, count = 0.0, 0.0, 0
    scores: list[tuple[Tensor, Tensor]] = []
    for exact, found in _outputs(module, wide, narrow):
        if not bool(found.isfinite().all()):
            reason = f"{int((~found.isfinite()).sum())} of {found.numel()} values are not finite; build with fp32"
            raise PrecisionError(describe(module), device.name, reason)
        errors = (found.double() - exact.double()).abs()
        largest, total, count = max(largest, float(errors.max())), total + float(errors.sum()), count + errors.numel()
        if isinstance(module, Metric):
            scores.append((exact, found))
    return HalfPrecision(
        max_abs_error=largest,
        mean_abs_error=total / count,
        srocc=_srocc(scores) if scores else 0.0,
        images=sum(len(images) for images in _batches(module)),
        device=device.name,
    )


def check_half(module: GraphModule, torchscript: bytes, declared: HalfPrecision, device: Device) -> HalfMeasured:
    """Measure again and compare with what is declared: errors up to twice as large, and a parity tolerance, pass.

    Raises:
        PrecisionError: errors are larger, or the rank correlation is lower by more than 0.02.
        EngineError: the graph cannot run on the device.
    """
    found = measure_half(module, torchscript, device)
    for name, kind in (("max_abs_error", "largest"), ("mean_abs_error", "mean")):
        error, stated = getattr(found, name), getattr(declared, name)
        allowed = ERROR_FACTOR * stated + module.facts.parity_tolerance
        if not error <= allowed:
            reason = f"the {kind} error is {error:.3g}, declared {stated:.3g}, allowed {allowed:.3g}"
            raise PrecisionError(describe(module), device.name, f"{reason}; build again with --precision fp16")
    if isinstance(module, Metric) and not found.srocc >= declared.srocc - SROCC_LOSS:
        reason = f"the rank correlation with fp32 is {found.srocc:.4f}, declared {declared.srocc:.4f}"
        raise PrecisionError(describe(module), device.name, f"{reason}; build again with --precision fp16")
    scored = isinstance(module, Metric)
    return HalfMeasured(
        module=describe(module),
        device=found.device,
        max_abs_error=found.max_abs_error,
        mean_abs_error=found.mean_abs_error,
        srocc=found.srocc if scored else None,
        images=found.images,
        declared_max_abs_error=declared.max_abs_error,
        declared_mean_abs_error=declared.mean_abs_error,
        declared_srocc=declared.srocc if scored else None,
        declared_device=declared.device,
    )


def _batches(module: GraphModule) -> tuple[Tensor, ...]:
    side = max(_LEAST_SIDE, module.facts.minimum_size)
    return torch.split(half_images(side, side + side // 3), _BATCH)


def _outputs(module: GraphModule, wide: Engine, narrow: Engine) -> Iterator[tuple[Tensor, Tensor]]:
    for images in _batches(module):
        case = Case(batch=len(images), height=images.shape[2], width=images.shape[3])
        inputs = make_inputs(module, case, images)
        with torch.no_grad():
            yield wide(inputs), narrow(inputs)


def _srocc(scores: list[tuple[Tensor, Tensor]]) -> float:
    """Return Spearman's rank correlation: Pearson's of the ranks, with the mean rank for equal scores."""
    exact, found = (_ranks(torch.cat(part).double().numpy()) for part in zip(*scores, strict=True))
    return float(np.corrcoef(exact, found)[0, 1])


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: npt.NDArray[np.float64] = (last - (counts - 1) / 2.0)[place]
    return ranks
