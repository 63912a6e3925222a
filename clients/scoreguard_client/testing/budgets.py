"""Checks of a budget and of a result's form, independent of their implementation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.base import Attack, AttackResult
from scoreguard_client.oracles.base import Images

_SSIM_WINDOW, _SSIM_C1, _SSIM_C2 = 7, 0.01**2, 0.03**2
_SSIM_SLACK = 1e-6
"""SSIM is summed in another order here, and the 8-bit image is not the float32 one."""
RESOLUTION = 1e-4 / 255
"""Amount by which float32 clean values and decimal radii may miss the 8-bit grid."""


def budget_findings(attack: Attack, clean: Images, result: AttackResult) -> Iterator[str]:
    """Check the budget that the attack states.

    That is L-infinity (`eps`), root mean squared error (`rmse`), number of pixels (`pixels`) or SSIM (`min_ssim`).

    Args:
        attack: the attack that made the result.
        clean: the clean images, (N, 3, H, W), of 8-bit levels.
        result: the result to measure, exactly in float32 and after rounding to 8 bits.
    """
    levels = np.rint(clean.astype(np.float64) * 255) / 255
    for what, found, centre, slack in (
        ("", result.attacked, clean.astype(np.float64), 0.0),
        (" after rounding to 8 bits", result.attacked_8bit / 255, levels, RESOLUTION),
    ):
        difference = np.abs(found.astype(np.float64) - centre)
        yield from (f"{finding}{what}" for finding in _beyond(attack, difference, slack))
        yield from (f"{finding}{what}" for finding in _unlike(attack, centre, found.astype(np.float64)))


def _beyond(attack: Any, difference: npt.NDArray[np.float64], slack: float) -> Iterator[str]:
    if hasattr(attack, "eps") and not difference.max() <= attack.eps + slack:
        yield f"the L∞ distance is {difference.max():.9g}, allowed {attack.eps:.9g}"
    if hasattr(attack, "rmse") and not (error := _largest_error(difference)) <= attack.rmse + slack:
        yield f"the root mean squared error is {error:.9g}, allowed {attack.rmse:.9g}"
    if hasattr(attack, "pixels") and (count := _most_changed(difference)) > attack.pixels:
        yield f"{count} pixels are changed, allowed {attack.pixels}"


def _unlike(attack: Any, clean: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> Iterator[str]:
    if not hasattr(attack, "min_ssim"):
        return
    similarity = min(ssim_by_definition(one, other) for one, other in zip(clean, found, strict=True))
    if not similarity >= attack.min_ssim - _SSIM_SLACK:
        yield f"the SSIM is {similarity:.9g}, at least {attack.min_ssim:.9g} allowed"


def ssim_by_definition(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Compute the SSIM of two images (3, H, W) in [0, 1] (Wang et al. 2004), from the pixels of each window.

    Windows are the 7 x 7 squares inside the image, or the largest odd ones that fit; all count alike.
    """
    side = min(_SSIM_WINDOW, *one.shape[1:])
    window = (side - 1 + side % 2,) * 2
    a, b = (np.lib.stride_tricks.sliding_window_view(image, window, axis=(1, 2)) for image in (one, other))
    a, b = (part.reshape(*part.shape[:3], -1) for part in (a, b))
    count = max(a.shape[-1] - 1, 1)
    mean_a, mean_b = a.mean(axis=-1), b.mean(axis=-1)
    off_a, off_b = a - mean_a[..., None], b - mean_b[..., None]
    variances = ((off_a**2).sum(axis=-1) + (off_b**2).sum(axis=-1)) / count
    covariance = (off_a * off_b).sum(axis=-1) / count
    brightness = (2 * mean_a * mean_b + _SSIM_C1) / (mean_a**2 + mean_b**2 + _SSIM_C1)
    return float((brightness * (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)).mean())


def _largest_error(difference: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt((difference**2).mean(axis=(1, 2, 3))).max())


def _most_changed(difference: npt.NDArray[np.float64]) -> int:
    return int((difference > 0).any(axis=1).sum(axis=(1, 2)).max())


def form_findings(clean: Images, result: AttackResult) -> Iterator[str]:
    """Check shapes, types and range of a result for clean images (N, 3, H, W)."""
    for name, array, shape, dtype in (
        ("attacked", result.attacked, clean.shape, np.float32),
        ("attacked_8bit", result.attacked_8bit, clean.shape, np.uint8),
        ("scores", result.scores, clean.shape[:1], np.float64),
        ("queries", result.queries, clean.shape[:1], np.int64),
    ):
        if array.shape != shape or array.dtype != np.dtype(dtype):
            yield f"{name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}"
    if not 0 <= result.attacked.min() <= result.attacked.max() <= 1:
        yield f"attacked images reach {result.attacked.min():.6g} to {result.attacked.max():.6g}, not 0 to 1"
    if len(result.flags) != len(clean):
        yield f"there are {len(result.flags)} texts of flags for {len(clean)} images"
