"""Base of the everyday edits: what anybody with an image editor can do, without gradients and without queries.

    x' = edit_s(x),  s the largest strength found for which SSIM(x', x) >= min_ssim

An edit works on the 8-bit image and gives an 8-bit image of the same size, as an editor does with a file. Its budget is
a fidelity and not a norm: sharpening moves an edge by more than any budget of the gradient attacks, and is no worse an
image for it. An edit that is too strong for an image is weakened by bisection over its strength, from 0 to 1 = as the
parameters say, and the image is flagged. SSIM need not fall at every step of the strength; bisection then finds one
strength that holds, the same one each time.

The default 0.75 leaves ordinary edits of photographs as they are, and is stricter than the budget of gradient attacks:
the first eight Kodak images keep an SSIM of 0.94 when they are saved as JPEG 75, of 0.87 (0.79 to 0.95) when they are
halved and enlarged again, and of 0.70 (0.54 to 0.83) under random signs of 10/255.

The metric is not asked before the image is made, so an edit may lower the score; `free-best` tries them all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.base import Attack, Companions, Needs, SearchResult
from scoreguard_client.attacks.regions.base import rounded
from scoreguard_client.attacks.regions.ssim import SsimRegion, unit_floats
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images

MIN_SSIM: Final = 0.75
"""Default of the budget of fidelity."""
WEAKENED: Final = "weakened"
"""Flag of an image for which the edit was too strong."""
UNEDITED: Final = "unedited"
"""Flag of an image for which the edit was too strong at every strength tried."""
_HALVINGS: Final = 8

EightBit = npt.NDArray[np.uint8]
"""One image as an editor sees it: (H, W, 3), 0..255."""
AtStrength = Callable[[float], EightBit]
"""The edited image at a strength from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class FreeEdit(Attack):
    """One edit, the same for every image but for its strength."""

    needs = Needs.NOTHING
    budget = "SSIM ≥ min_ssim"
    paper = "none: an everyday edit"
    year = 2026
    flag_meanings = MappingProxyType(
        {
            **Attack.flag_meanings,
            WEAKENED: "the edit was weakened until the image was similar enough to the clean one (min_ssim)",
            UNEDITED: "the edit was too strong for min_ssim at every strength, and the clean image was kept",
        }
    )

    min_ssim: float = MIN_SSIM
    """Smallest SSIM with the clean image, in [0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min_ssim(self, self.min_ssim)

    @property
    def keeps_clean(self) -> bool:
        """False: the metric is not asked, and an edit may lower the score of an image."""
        return False

    @property
    def queries_needed(self) -> int:
        """Zero: the image is never queried."""
        return 0

    def region(self, clean: Images, companions: Companions) -> SsimRegion:
        """All images that are similar enough."""
        del companions
        return SsimRegion(clean=clean, min_ssim=self.min_ssim)

    @abstractmethod
    def editor(self, image: EightBit, rng: np.random.Generator) -> AtStrength:
        """Return the edit of one image as a function of the strength; 1 = as the parameters say, near 0 = hardly any.

        Args:
            image: (H, W, 3).
            rng: for edits that draw, which they do here and not at each strength.
        """

    def run(self, session: Session) -> SearchResult:
        """Edit each image."""
        pairs = zip(session.clean, session.rngs, strict=True)
        editors = (self.editor(eight_bit(image), rng) for image, rng in pairs)
        images, strengths = edited_images(session.clean, self.region(session.clean, {}), editors)
        return SearchResult(images=images, flags=tuple(_flag(strength) for strength in strengths))


def _flag(strength: float) -> str:
    if strength == 0:
        return UNEDITED
    return "" if strength == 1 else WEAKENED


def require_min_ssim(attack: Attack, min_ssim: float) -> None:
    """Check the budget of an attack under construction.

    Raises:
        AttackSpecError: it is out of range.
    """
    attack.require(0 <= min_ssim < 1, f"min_ssim must be in [0, 1), not {min_ssim:g}")


def held(edited: AtStrength, region: SsimRegion, place: int) -> tuple[EightBit | None, float]:
    """Return the edited image inside the budget and its strength: the full one, or one found by bisection.

    Args:
        edited: the edit of one image.
        region: the budget.
        place: of the image's clean image in the region.

    Returns:
        None and 0 if no strength tried holds.
    """
    low, high, strength, found = 0.0, 1.0, 1.0, None
    for _ in range(_HALVINGS + 1):
        image = edited(strength)
        if region.holds(place, image.transpose(2, 0, 1)):
            low, found = strength, image
        else:
            high = strength
        if low == high:
            break
        strength = (low + high) / 2
    return found, low


def edited_images(
    images: Images, region: SsimRegion, editors: Iterable[AtStrength]
) -> tuple[Images, tuple[float, ...]]:
    """Return images (N, 3, H, W) after one edit each, inside the budget, and the strengths at which they were edited.

    An image whose edit does not hold at any strength tried stays as it is, and its strength is 0.
    """
    edited, strengths = images.copy(), []
    for place, editor in enumerate(editors):
        found, strength = held(editor, region, place)
        strengths.append(strength)
        if found is not None:
            edited[place] = unit_floats(found.transpose(2, 0, 1))
    return edited, tuple(strengths)


def eight_bit(image: Images) -> EightBit:
    """Convert one image (3, H, W) in [0, 1] to (H, W, 3) in 8 bits."""
    return np.ascontiguousarray(rounded(image).transpose(1, 2, 0))
