"""Gain against minimum SSIM and against attacked score: figure 5 of arXiv 2404.06957."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.figures.curves import Curve, Frame, draw_curves, told
from scoreguard_client.report.figures.model import Figure
from scoreguard_client.report.figures.selection import array, finite, mapped, pools_of
from scoreguard_client.scores.estimates import FEWEST_IMAGES
from scoreguard_client.scores.purification import purification_changes
from scoreguard_client.scores.scaling import Values

_STEPS: Final = 40
_PARTS: Final = 10
"""The images are parted by their attacked scores into so many equal parts, or fewer where images are few."""
_SAME: Final = 1e-6
_MEAN: Final = "mean Gain of all attacked images"


def gain_curves(report: Report) -> Iterator[Figure]:
    """Return both figures, where SSIM or scores differ."""
    yield from _of(report, _by_ssim(report), "gain-ssim", "minimum SSIM", _SSIM)
    yield from _of(report, _by_score(report), "gain-score", "attacked score", _SCORE)


_SSIM: Final = Frame(
    x_label="minimum SSIM of the attacked images",
    y_label="Gain, 0 = clean score restored",
    number_words=_MEAN,
    low_is_good=True,
)
_SCORE: Final = Frame(
    x_label="undefended score of the attacked image",
    y_label="Gain, 0 = clean score restored",
    number_words=_MEAN,
    low_is_good=True,
    style="o",
)


def _of(report: Report, curves: Sequence[Curve], key: str, against: str, frame: Frame) -> Iterator[Figure]:
    if not finite(value for curve in curves for value in curve.y):
        return
    ends = np.concatenate([curve.x for curve in curves])
    first = f"Gain against the {against}, from {ends.min():.3g} to {ends.max():.3g}, a line a chain."
    yield Figure(
        key=key,
        title=f"Gain against {against}",
        alt=f"{first} {told(report, curves, frame)}",
        draw=lambda: draw_curves(report, curves, frame),
    )


def _by_ssim(report: Report) -> list[Curve]:
    """Mean Gain of the records whose SSIM is at least x, down to three images."""
    every = array(report.records, "ssim")
    if not len(every) or not np.isfinite(every).all() or np.ptp(every) < _SAME:
        return []
    curves = []
    for (chain, adaptive), records in pools_of(report).items():
        changes, ssim = _changes(report, records), array(records, "ssim")
        names = np.array([record.unit for record in records])
        lines = [
            (least, float(changes[kept].mean()))
            for least in np.linspace(every.min(), every.max(), _STEPS)
            if len(np.unique(names[kept := ssim >= least])) >= FEWEST_IMAGES
        ]
        curves += _curve(chain, lines, changes, adaptive=adaptive)
    return curves


def _by_score(report: Report) -> list[Curve]:
    """Mean Gain in each part of the attacked images by their undefended score, where it has three images."""
    every = mapped(report, array(report.records, "attacked_score"))
    if not len(every) or np.ptp(every) < _SAME:
        return []
    images = len({record.unit for record in report.records})
    count = min(_PARTS, max(images // FEWEST_IMAGES, 1))
    edges = np.unique(np.quantile(every, np.linspace(0, 1, count + 1)))
    parts = np.digitize(every, edges[1:-1])
    middles = {int(part): float(every[parts == part].mean()) for part in np.unique(parts)}
    curves = []
    for (chain, adaptive), records in pools_of(report).items():
        changes = _changes(report, records)
        mine = np.digitize(mapped(report, array(records, "attacked_score")), edges[1:-1])
        names = np.array([record.unit for record in records])
        lines = [
            (middle, float(changes[kept].mean()))
            for part, middle in middles.items()
            if len(np.unique(names[kept := mine == part])) >= FEWEST_IMAGES
        ]
        curves += _curve(chain, lines, changes, adaptive=adaptive)
    return curves


def _changes(report: Report, records: Sequence[Record]) -> Values:
    clean, attacked = (mapped(report, array(records, name)) for name in ("clean_score", "attacked_defended"))
    return purification_changes(clean, attacked)


def _curve(chain: str, lines: Sequence[tuple[float, float]], changes: Values, *, adaptive: bool) -> list[Curve]:
    if not lines:
        return []
    x, y = np.array(lines).T
    return [Curve(chain=chain, adaptive=adaptive, x=x, y=y, number=float(changes.mean()))]
