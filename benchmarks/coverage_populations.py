"""Populations of scores that a campaign may meet; `interval_coverage.py` draws its samples from them.

Each gives scaled scores of clean and attacked images, u and v, 0 = worst and 1 = best: (images, rows of each image).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Pairs = tuple[Values, Values]
Draw = Callable[[np.random.Generator, int], Pairs]
"""Draws the scores of a number of images."""

REAL: Final = Path(__file__).with_name("real_scores.csv")
"""Clean and attacked scores of 100 photographs on `lite` and `nima`, as `real_scores.py` wrote them."""


def normal(rng: np.random.Generator, images: int) -> Pairs:
    """Gains around a tenth of the scale."""
    clean = np.clip(rng.normal(0.6, 0.15, images), 0.05, 1)
    return clean, clean + rng.normal(0.1, 0.08, images)


def skewed(rng: np.random.Generator, images: int) -> Pairs:
    """Most gains small, a few large: exponential."""
    clean = rng.beta(5, 3, images)
    return clean, clean + rng.exponential(0.08, images)


def heavy(rng: np.random.Generator, images: int) -> Pairs:
    """Like `skewed` with a heavier tail: lognormal."""
    clean = rng.beta(5, 3, images)
    return clean, clean + rng.lognormal(-3, 0.8, images)


def ceiling(rng: np.random.Generator, images: int) -> Pairs:
    """Attacks that reach the end of the scale on many images; the gain there is the distance to that end."""
    clean = rng.beta(8, 2, images)
    return clean, np.minimum(1, clean + np.abs(rng.normal(0.3, 0.1, images)))


def good_photographs(rng: np.random.Generator, images: int) -> Pairs:
    """Clean scores close to the end of the scale with a tail of poor ones, as `lite` gives photographs."""
    clean = 1 - np.minimum(rng.gamma(1.2, 0.09, images), 0.9)
    return clean, np.minimum(1, clean + rng.gamma(2, 0.08, images))


def hardly(rng: np.random.Generator, images: int) -> Pairs:
    """Attacks behind a defence that holds: gains around zero."""
    clean = rng.beta(6, 3, images)
    return clean, clean + rng.normal(0.01, 0.03, images)


def two_kinds(rng: np.random.Generator, images: int) -> Pairs:
    """Three images in ten gain ten times as much as the others."""
    return _mixed(rng, images, 0.3)


def one_in_seven(rng: np.random.Generator, images: int) -> Pairs:
    """One image in seven gains ten times as much as the others."""
    return _mixed(rng, images, 1 / 7)


def one_in_ten(rng: np.random.Generator, images: int) -> Pairs:
    """One image in ten gains ten times as much as the others."""
    return _mixed(rng, images, 1 / 10)


def one_in_twenty(rng: np.random.Generator, images: int) -> Pairs:
    """One image in twenty gains ten times as much as the others."""
    return _mixed(rng, images, 1 / 20)


def one_in_twenty_alone(rng: np.random.Generator, images: int) -> Pairs:
    """One image in twenty gains; all other scores are unchanged."""
    return _alone(rng, images, 1 / 20)


def one_in_fifty_alone(rng: np.random.Generator, images: int) -> Pairs:
    """One image in fifty gains; all other scores are unchanged."""
    return _alone(rng, images, 1 / 50)


def one_in_ten_stays(rng: np.random.Generator, images: int) -> Pairs:
    """One score in ten is exactly unchanged; the others gain around a tenth of the scale."""
    clean, attacked = normal(rng, images)
    return clean, np.where(rng.random(images) < 1 / 10, clean, attacked)


def one_in_seven_stays(rng: np.random.Generator, images: int) -> Pairs:
    """Like `one_in_ten_stays`, for one score in seven."""
    clean, attacked = normal(rng, images)
    return clean, np.where(rng.random(images) < 1 / 7, clean, attacked)


def draws(rng: np.random.Generator, images: int) -> Pairs:
    """Five draws of a random defence on each image."""
    clean, attacked = skewed(rng, images)
    noisy, noisy_attacked = (values[:, None] + rng.normal(0, 0.03, (images, 5)) for values in (clean, attacked))
    return np.maximum(noisy, 0.01), noisy_attacked


def _mixed(rng: np.random.Generator, images: int, share: float) -> Pairs:
    clean = rng.beta(6, 3, images)
    large, small = rng.normal(0.3, 0.1, images), rng.normal(0.03, 0.02, images)
    return clean, clean + np.where(rng.random(images) < share, large, small)


def _alone(rng: np.random.Generator, images: int, share: float) -> Pairs:
    clean = rng.beta(6, 3, images)
    return clean, clean + np.where(rng.random(images) < share, rng.normal(0.3, 0.1, images), 0)


MADE: Final[dict[str, Draw]] = {
    "normal": normal,
    "skewed": skewed,
    "heavy tail": heavy,
    "ceiling": ceiling,
    "good photographs": good_photographs,
    "hardly any gain": hardly,
    "two kinds": two_kinds,
    "one in seven": one_in_seven,
    "five draws": draws,
}


RARE: Final[dict[str, Draw]] = {
    "one in ten": one_in_ten,
    "one in twenty": one_in_twenty,
    "one in twenty alone": one_in_twenty_alone,
    "one in fifty alone": one_in_fifty_alone,
    "one in ten stays": one_in_ten_stays,
    "one in seven stays": one_in_seven_stays,
}
"""Populations in which few images decide the result."""


def real() -> dict[str, Draw]:
    """Return one population for each metric, attack and chain of the file: its 100 images, drawn with replacement."""
    with REAL.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name.removesuffix(" clean") for name in rows[0] if name.endswith(" clean")]
    columns = {
        name: tuple(np.array([float(row[f"{name} {kind}"]) for row in rows]) for kind in ("clean", "attacked"))
        for name in names
    }
    return {name: _resampled(*pair) for name, pair in columns.items()}


def _resampled(clean: Values, attacked: Values) -> Draw:
    def draw(rng: np.random.Generator, images: int) -> Pairs:
        chosen = rng.integers(0, len(clean), images)
        return clean[chosen], attacked[chosen]

    return draw
