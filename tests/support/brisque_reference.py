"""BRISQUE's features and regression in NumPy, by the equations of the paper and a root finder, for the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage, optimize, special

Image = np.ndarray
"""Grey levels (H, W)."""
SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))


def rho(shape: float) -> float:
    """ρ(α)."""
    return float(special.gamma(2 / shape) ** 2 / (special.gamma(1 / shape) * special.gamma(3 / shape)))


def shape_of(wanted: float) -> float:
    """α between 0.2 and 10."""
    clipped = min(max(wanted, rho(0.2)), rho(10.0))
    if clipped in {rho(0.2), rho(10.0)}:
        return 0.2 if clipped == rho(0.2) else 10.0
    return float(optimize.brentq(lambda shape: rho(shape) - clipped, 0.2, 10.0, xtol=1e-12))


def asymmetric(samples: np.ndarray) -> tuple[float, float, float, float]:
    """α, η, l², r²."""
    left, right = np.sqrt((samples[samples < 0] ** 2).mean()), np.sqrt((samples[samples > 0] ** 2).mean())
    ratio = left / right
    hat = np.abs(samples).mean() ** 2 / (samples**2).mean()
    shape = shape_of(hat * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2)
    one, two, three = (float(special.gamma(k / shape)) for k in (1, 2, 3))
    return shape, (right - left) * two / one * np.sqrt(one / three), left**2, right**2


def normalised(grey: Image, border: str) -> Image:
    """(grey − μ) / (σ + 1), borders as scipy names them; differences of rounding errors alone are zero."""
    mean, second = (ndimage.gaussian_filter(x, 7 / 6, radius=3, mode=border) for x in (grey, grey**2))
    difference = grey - mean
    difference[np.abs(difference) < 1e-6] = 0.0
    result: Image = difference / (np.sqrt(np.abs(second - mean**2)) + 1.0)
    return result


def of_release(grey: Image) -> list[float]:
    """18 features of the authors' release."""
    levels = normalised(grey, "constant")
    energy = float((levels**2).mean())
    features = [shape_of(float(np.abs(levels).mean() ** 2 / energy)), energy]
    for shift in SHIFTS:
        features += asymmetric(levels * np.roll(levels, shift, (0, 1)))
    return features


def of_opencv(grey: Image) -> list[float]:
    """18 features of OpenCV."""
    levels = normalised(grey, "nearest")
    shape, _, left, right = asymmetric(levels)
    features = [shape, (left + right) / 2]
    height, width = levels.shape
    for down, along in SHIFTS:
        pairs = np.zeros_like(levels)
        for row in range(height):
            for column in range(width):
                if 0 <= row + down < height and column + along < width:
                    pairs[row, column] = levels[row, column] * levels[row + down, column + along]
        features += asymmetric(pairs)
    return features


def at_two_scales(
    grey: Image, features: Callable[[Image], list[float]], halved: Callable[[Image], Image]
) -> np.ndarray:
    """36 features."""
    return np.array([*features(grey), *features(halved(grey))])


def imresize(grey: Image) -> Image:
    """MATLAB's `imresize(grey, 0.5)`: a cubic as wide as eight pixels, borders in mirror order, odd sides up."""
    for axis in (0, 1):
        length = grey.shape[axis]
        mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
        rows = []
        for row in range(-(-length // 2)):
            centre = 2 * row + 0.5
            taps = np.arange(int(centre) - 3, int(centre) + 5)
            x = np.abs(taps - centre) / 2.0
            weights = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2)
            taken = np.take(grey, mirrored[taps % (2 * length)], axis=axis)
            rows.append(np.tensordot(taken, weights / weights.sum(), axes=(axis, 0)))
        grey = np.stack(rows, axis=axis)
    return grey


def regression(features: np.ndarray, ranges: Sequence[tuple[float, float]], model: dict[str, np.ndarray]) -> float:
    """Σ cᵢ exp(−γ |z − sᵢ|²) − ρ, term by term."""
    least, largest = np.array(ranges).T
    scaled = -1.0 + 2.0 * (features - least) / (largest - least)
    terms = [
        weight * np.exp(-float(model["gamma"]) * float(((scaled - vector) ** 2).sum()))
        for weight, vector in zip(model["coefficients"], model["vectors"], strict=True)
    ]
    return float(sum(terms) - model["rho"])
