"""How many digits a number needs to distinguish rows, from the range and the spread of the column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

_PARTS: Final = 4
"""A range is shown in steps of a ten-thousandth of it, to the next power of ten."""
_OF_SPREAD: Final = 1
"""The numbers of a column are shown in steps of a tenth of their spread, or finer."""
_ROUNDING: Final = 1e-9
"""Numbers of a column that are this close are the same."""
_MOST_MORE: Final = 3
"""Digits that a narrow spread may add: below that it is rounding error."""


def decimals_of_range(span: float) -> int:
    """Return the digits after the point for scores of a range this wide: 4 for 1, 3 for 9, 2 for 100, 0 for 10,000."""
    return max(0, _PARTS - math.ceil(math.log10(span))) if 0 < span < math.inf else _PARTS


def decimals_of_column(values: Iterable[float], least: int) -> int:
    """Return the digits after the point for the numbers of a column: `least`, or more if they are close together."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return least
    spread = max(finite) - min(finite)
    if spread <= _ROUNDING * max(1.0, *map(abs, finite)):
        return least
    return min(max(least, _OF_SPREAD - math.floor(math.log10(spread))), least + _MOST_MORE)
