"""The degradations: those of the usual quality databases, five strengths each, from visible at a glance to severe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from scoreguard.support.near import did_you_mean
from scoreguard.support.shown import shown
from scoreguard_client.degradations import methods
from scoreguard_client.degradations.base import Degradation, Degraded, ImageArray
from scoreguard_client.degradations.errors import DegradationError

DEGRADATIONS: Final[dict[str, Degradation]] = {
    each.name: each
    for each in (
        Degradation(
            name="blur",
            title="Gaussian blur",
            parameter="standard deviation in pixels",
            strengths=(1, 1.6, 2.5, 4, 6),
            method=methods.gaussian_blur,
        ),
        Degradation(
            name="noise",
            title="White noise",
            parameter="standard deviation, in units of [0, 1]",
            strengths=(0.03, 0.06, 0.1, 0.16, 0.25),
            method=methods.white_noise,
        ),
        Degradation(
            name="jpeg",
            title="JPEG compression",
            parameter="quality",
            strengths=(40, 25, 15, 9, 5),
            method=methods.jpeg,
        ),
        Degradation(
            name="downscale",
            title="Downscaled and enlarged",
            parameter="factor",
            strengths=(1.5, 2, 3, 4.5, 7),
            method=methods.downscale,
        ),
        Degradation(
            name="contrast",
            title="Reduced contrast",
            parameter="factor of the distance from the mean brightness",
            strengths=(0.7, 0.55, 0.4, 0.27, 0.15),
            method=methods.low_contrast,
        ),
        Degradation(
            name="banding",
            title="Banding",
            parameter="levels of each channel",
            strengths=(20, 12, 8, 5, 3),
            method=methods.banding,
        ),
    )
}
"""By name."""


def degradation(name: str) -> Degradation:
    """Look a degradation up.

    Raises:
        DegradationError: there is none of this name.
    """
    if name not in DEGRADATIONS:
        raise DegradationError(f"unknown degradation '{shown(name)}': {did_you_mean(name, list(DEGRADATIONS))}")
    return DEGRADATIONS[name]


def degraded_copies(
    image: ImageArray, names: Sequence[str] = tuple(DEGRADATIONS), *, seed: int = 0
) -> Iterator[Degraded]:
    """Make every copy of an image, one at a time: each degradation, the weakest strength first.

    Args:
        image: (H, W, 3), uint8 or float in [0, 1].
        names: the degradations; all by default.
        seed: of the random numbers.

    Raises:
        DegradationError: there is no degradation of a name, or the image has another shape or type.
    """
    for chosen in [degradation(name) for name in names]:
        for strength in range(1, len(chosen.strengths) + 1):
            yield Degraded(degradation=chosen.name, strength=strength, image=chosen.apply(image, strength, seed=seed))
