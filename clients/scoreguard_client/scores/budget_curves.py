"""Score against budget: the mean gain at each budget, and the area under that curve.

    area = integral of the gain over the budget / range of the budgets        (trapezoids)

So the area is a mean gain over budgets, in the gain's own units, and a chain that holds at small budgets and breaks at
large ones has a smaller one than a chain that breaks at once. A curve begins at budget 0 with gain 0 unless that is
said to be left out. Work on adversarial training of quality metrics calls an area over L-infinity budgets of 2, 4, 8
and 10/255 an integral robustness score; budgets and unit decide what the number means, so both belong beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.estimates import Estimate, mean_estimate
from scoreguard_client.scores.scaling import Values

_FEWEST: Final = 2


@dataclass(frozen=True, kw_only=True)
class BudgetCurve:
    """Gain against budget."""

    budgets: tuple[float, ...]
    """The budgets, from the smallest to the largest, 0 included if the curve begins there."""
    unit: str
    """What the budgets are numbers of, for example `L-infinity / 255`."""
    gains: tuple[Estimate, ...]
    """Mean gain at each budget."""
    area: Estimate
    """Area under the curve over the range of the budgets: a mean gain."""


def budget_curve(
    gains: Values, budgets: Sequence[float], clusters: Clusters, *, unit: str, from_zero: bool = True
) -> BudgetCurve:
    """Compute the curve and its area; undefined where a gain is not finite.

    Args:
        gains: gain of each row at each budget, in any units: (rows, budgets). A row is one image, or one draw of it, at
            every budget.
        budgets: at least two, or one that is above 0 if the curve begins at 0; rising, none below 0.
        clusters: the image of each row.
        unit: what the budgets are numbers of.
        from_zero: whether to begin at budget 0, where the gain is 0.

    Raises:
        ScoresError: the budgets do not rise, are below 0 or too few, or their number is not that of the gains.
    """
    rising = np.asarray(budgets, dtype=np.float64)
    if gains.ndim != 2 or gains.shape[1] != len(rising):
        raise ScoresError(f"a curve over {len(rising)} budgets needs gains of (rows, {len(rising)}), not {gains.shape}")
    if from_zero and len(rising) and rising[0] > 0:
        rising, gains = np.append(0.0, rising), np.hstack([np.zeros((len(gains), 1)), gains])
    if len(rising) < _FEWEST or not (np.isfinite(rising).all() and rising[0] >= 0 and (np.diff(rising) > 0).all()):
        raise ScoresError(f"budgets must be two or more that rise from 0 or above, not {', '.join(map(str, budgets))}")
    return BudgetCurve(
        budgets=tuple(rising.tolist()),
        unit=unit,
        gains=tuple(mean_estimate(column, clusters) for column in gains.T),
        area=mean_estimate(areas(gains, rising), clusters),
    )


def areas(gains: Values, budgets: Values) -> Values:
    """Compute the area under each row's curve over the range of the budgets: (rows,)."""
    return np.asarray((gains[:, 1:] + gains[:, :-1]) @ np.diff(budgets) / (2 * (budgets[-1] - budgets[0])))
