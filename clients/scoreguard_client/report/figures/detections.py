"""How well the gap of undefended and defended score tells attacked images from clean ones, by chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.figures.curves import Curve, Frame, draw_curves, told
from scoreguard_client.report.figures.model import Figure
from scoreguard_client.report.figures.selection import array, clean_once, finite, pools_of
from scoreguard_client.scores.detection import Roc, roc, tampering
from scoreguard_client.scores.scaling import Values

_POINTS: Final = 80
_FRAME: Final = Frame(
    x_label="share of clean images called attacked",
    y_label="share of attacked images called attacked",
    number_words="area under the curve, 0.5 = chance",
    low_is_good=False,
    x_span=(0.0, 1.0),
    y_span=(0.0, 1.0),
    diagonal=True,
)


def detections(report: Report) -> Iterator[Figure]:
    """Return the ROC of the gap behind each chain."""
    curves = [
        _curve(report, chain, records, adaptive=adaptive)
        for (chain, adaptive), records in pools_of(report).items()
        if chain != UNDEFENDED
    ]
    if not finite(curve.number for curve in curves):
        return
    first = "ROC of the gap, the undefended score minus the defended one, over clean against attacked images."
    yield Figure(
        key="detection",
        title="Telling attacked images by the gap",
        alt=f"{first} {told(report, curves, _FRAME)}",
        draw=lambda: draw_curves(report, curves, _FRAME),
    )


def _curve(report: Report, chain: str, records: list[Record], *, adaptive: bool) -> Curve:
    sign = 1.0 if report.declared.higher_is_better else -1.0
    untouched = clean_once(records)
    clean = sign * (array(untouched, "clean_score") - array(untouched, "clean_defended"))
    attacked = sign * (array(records, "attacked_score") - array(records, "attacked_defended"))
    names = [record.unit for record in untouched], [record.unit for record in records]
    x, y = _thinned(roc(clean, attacked))
    return Curve(chain=chain, adaptive=adaptive, x=x, y=y, number=tampering(clean, attacked, *names).area.value)


def _thinned(whole: Roc) -> tuple[Values, Values]:
    """Return the corners of a curve; of more than can be seen, so many that are about equally far apart."""
    x, y = np.append(0.0, whole.false_alarms), np.append(0.0, whole.detections)
    across, up = np.diff(x), np.diff(y)
    turns = across[:-1] * up[1:] != across[1:] * up[:-1]
    corners = np.flatnonzero(np.concatenate([[True], turns, [True]]))
    x, y = x[corners], y[corners]
    if len(x) <= _POINTS:
        return x, y
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _POINTS)).clip(max=len(x) - 1))
    return x[kept], y[kept]
