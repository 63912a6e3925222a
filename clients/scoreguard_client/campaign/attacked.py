"""One attacked image and its distance from the clean one: the part of a record that is known before scoring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from scoreguard.v1.codec import ImageArray
from scoreguard_client._models import FloatImage
from scoreguard_client.campaign.perceptual import PerceptualDistance
from scoreguard_client.oracles.base import Images
from scoreguard_client.scores.fidelity import l_infinity, like, psnr, ssim
from scoreguard_client.target.crafting import CraftedBatch
from scoreguard_client.target.images import ImageRef, unit_values
from scoreguard_client.target.units import Unit

_Level = TypeVar("_Level", np.uint8, np.float32)


class Fidelity(NamedTuple):
    """How close an image is to the clean one; None if one of the two is missing."""

    psnr: float | None = None
    """PSNR in dB."""
    ssim: float | None = None
    """SSIM."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an attack did to the values of an image."""

    fidelity: Fidelity
    """Of x' against x."""
    l_inf: float
    """Largest difference of x' and x, in units of [0, 1]."""
    l_inf_8bit: float
    """The same after rounding to 8 bits."""
    changed_pixels: int
    """Pixels of x' that differ from x in any channel."""
    perceptual: float | None
    """Perceptual distance of x' from x; None if none is measured."""


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """One image of a crafted batch."""

    image: ImageRef
    """The image."""
    clean: FloatImage
    """x in float32, (H, W, 3)."""
    exact: FloatImage
    """x' in float32, (H, W, 3)."""
    rounded: npt.NDArray[np.uint8]
    """x' in 8 bits, (H, W, 3)."""
    crafting_score: float
    """Score from the attack's oracle."""
    queries: int
    """Calls that the attack spent."""
    flags: str
    """The attack's sanity flags."""
    seconds: float
    """Share of the attack's wall time."""
    distance: PerceptualDistance | None = None
    """The perceptual distance to measure."""

    @cached_property
    def change(self) -> Change:
        """Compute what the attack did to the values."""
        return Change(
            fidelity=Fidelity(psnr(self.clean, self.exact), ssim(self.clean, self.exact)),
            l_inf=l_infinity(self.clean, self.exact),
            l_inf_8bit=l_infinity(self.clean, unit_values(self.rounded)),
            changed_pixels=int((self.clean != self.exact).any(axis=-1).sum()),
            perceptual=self.distance.of(self.clean, self.exact) if self.distance else None,
        )


def attacked_images(
    unit: Unit, batch: CraftedBatch, clean: Images, distance: PerceptualDistance | None = None
) -> Iterator[Attacked]:
    """Yield the images of a crafted batch one by one, in the unit's order.

    Args:
        unit: the attacked unit.
        batch: the attack's result for it.
        clean: the clean images, (N, 3, H, W).
        distance: the perceptual distance to measure; None = none.
    """
    result = batch.result
    for number, image in enumerate(unit.images):
        yield Attacked(
            image=image,
            clean=_to_hwc(clean[number]),
            exact=_to_hwc(result.attacked[number]),
            rounded=_to_hwc(result.attacked_8bit[number]),
            crafting_score=float(result.scores[number]),
            queries=int(result.queries[number]),
            flags=result.flags[number],
            seconds=batch.seconds / len(unit.images),
            distance=distance,
        )


def fidelity_of(purified: FloatImage | None, clean: ImageArray | None) -> Fidelity:
    """Compute PSNR and SSIM of a purified image against the clean one; a smaller purified image is enlarged first."""
    if clean is None or purified is None:
        return Fidelity()
    reference = unit_values(clean)
    same_size = like(reference, purified)
    return Fidelity(psnr(reference, same_size), ssim(reference, same_size))


def _to_hwc(image: npt.NDArray[_Level]) -> npt.NDArray[_Level]:
    return np.ascontiguousarray(image.transpose(1, 2, 0))
