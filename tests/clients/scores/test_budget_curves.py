"""Gain against budget: the curve's points are means, its area is the trapezoids' by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from scoreguard_client.scores.budget_curves import budget_curve
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.errors import ScoresError

UNIT = "L-infinity / 255"


def numbered(count: int) -> Clusters:
    """One row for each image."""
    return Clusters([str(number) for number in range(count)])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 40), count=st.integers(1, 6), from_zero=st.booleans())
def test_the_area_is_scipys_over_the_range_of_the_budgets(seed: int, rows: int, count: int, from_zero: bool) -> None:
    """Of the mean curve, which is the mean of the areas; with and without the point at 0."""
    rng = np.random.default_rng(seed)
    budgets = np.cumsum(rng.uniform(0.5, 4, count + 1)).tolist()
    gains = rng.normal(0.1, 0.2, (rows, count + 1))
    curve = budget_curve(gains, budgets, numbered(rows), unit=UNIT, from_zero=from_zero)
    means, points = gains.mean(axis=0), np.array(budgets)
    if from_zero:
        means, points = np.append(0.0, means), np.append(0.0, points)
    wanted = integrate.trapezoid(means, points) / (points[-1] - points[0])
    assert curve.area.value == pytest.approx(wanted, abs=1e-12)
    assert [point.value for point in curve.gains] == pytest.approx(means.tolist())
    assert curve.budgets == pytest.approx(points.tolist())


def test_a_gain_in_proportion_to_the_budget_has_half_its_last_value_as_area() -> None:
    """And one that is there from the smallest budget on has nearly all of it; the budgets' unit plays no part."""
    slow = np.outer(np.ones(30), [0.1, 0.2, 0.4])
    slow_area = budget_curve(slow, [2, 4, 8], numbered(30), unit=UNIT).area.value
    assert slow_area == pytest.approx(0.2)
    assert budget_curve(slow, [2 / 255, 4 / 255, 8 / 255], numbered(30), unit="L-infinity").area.value == pytest.approx(
        slow_area
    )
    assert budget_curve(np.full((30, 3), 0.4), [2, 4, 8], numbered(30), unit=UNIT).area.value == pytest.approx(0.35)
    level = budget_curve(np.full((30, 3), 0.4), [2, 4, 8], numbered(30), unit=UNIT, from_zero=False)
    assert level.area.value == pytest.approx(0.4)
    assert len(level.gains) == 3


def test_the_area_has_an_interval_over_images_and_is_undefined_with_a_gain() -> None:
    """Forty images are enough for an interval; a missing gain of two images is counted."""
    rng = np.random.default_rng(0)
    gains = rng.normal(0.2, 0.1, (40, 1)) + rng.normal(0, 0.01, (40, 3))
    area = budget_curve(gains, [2, 4, 8], numbered(40), unit=UNIT).area
    assert area.low < area.value < area.high
    gains[[3, 5], 1] = np.nan
    curve = budget_curve(gains, [2, 4, 8], numbered(40), unit=UNIT)
    assert (curve.area.note, curve.area.undefined, curve.gains[2].undefined, curve.gains[3].undefined) == (
        "undefined",
        2,
        2,
        0,
    )


@pytest.mark.parametrize("budgets", [[4.0, 2.0], [2.0, 2.0], [-1.0, 2.0], [float("nan"), 1.0], [1.0, float("inf")]])
def test_budgets_that_do_not_rise_are_refused(budgets: list[float]) -> None:
    """In one line that shows them; a single budget needs the point at 0, and gains need a column for each."""
    with pytest.raises(ScoresError, match="rise"):
        budget_curve(np.zeros((5, 2)), budgets, numbered(5), unit=UNIT)
    with pytest.raises(ScoresError, match="two or more"):
        budget_curve(np.zeros((5, 1)), [2.0], numbered(5), unit=UNIT, from_zero=False)
    with pytest.raises(ScoresError, match=r"needs gains of \(rows, 2\), not \(5, 3\)"):
        budget_curve(np.zeros((5, 3)), [1.0, 2.0], numbered(5), unit=UNIT)
