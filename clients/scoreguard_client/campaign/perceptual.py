"""The perceptual distance that a campaign measures beside PSNR and SSIM: LPIPS, ST-LPIPS or DISTS.

Each needs a weights file of the user's; the arithmetic is that of the attacks that minimise it. It always runs on the
CPU in single precision, so that a record does not depend on the device of the gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from scoreguard.catalogue import UnknownNameError
from scoreguard_client._extras import require_torch
from scoreguard_client._models import FloatImage
from scoreguard_client.attacks import shift_tolerant
from scoreguard_client.attacks.deep_measures import DISTS_HEAD, LPIPS_HEAD, dists, lpips, weights_digest
from scoreguard_client.attacks.errors import AttackInputError
from scoreguard_client.attacks.full_reference import Distance
from scoreguard_client.attacks.weights_files import HeadFile, WeightsFileError

ST_LPIPS: Final = shift_tolerant.NAME
TITLES: Final[Mapping[str, str]] = {ST_LPIPS: "ST-LPIPS", "lpips": "LPIPS", "dists": "DISTS"}
"""The distances that there are, as they are written in prose."""
_HEADS: Final[Mapping[str, HeadFile]] = {ST_LPIPS: LPIPS_HEAD, "lpips": LPIPS_HEAD, "dists": DISTS_HEAD}
_LOADERS: Final[Mapping[str, Callable[[str, str], Distance]]] = {ST_LPIPS: lpips, "lpips": lpips, "dists": dists}


@dataclass(frozen=True, kw_only=True)
class PerceptualDistance:
    """A distance with its weights."""

    name: str
    """One of `TITLES`."""
    digest: str
    """Digest of its weights files, 16 hexadecimal digits."""
    measure: Distance
    """The distance of tensors."""

    @property
    def source(self) -> str:
        """Name and digest, as a plan states them."""
        return f"{self.name}:{self.digest}"

    def of(self, clean: FloatImage, image: FloatImage) -> float | None:
        """Measure an image against the clean one, both (H, W, 3) in [0, 1]; None if they are too small for it."""
        torch = require_torch(self.name)
        other, one = (torch.from_numpy(values.transpose(2, 0, 1)[None].copy()) for values in (clean, image))
        try:
            with torch.no_grad():
                return float(self.measure(one, other))
        except AttackInputError:
            return None


def find_distance(text: str) -> PerceptualDistance | None:
    """Load the distance that an option asks for.

    Args:
        text: `st-lpips`, from the folder of fetched weights; or `st-lpips=FILE`, `lpips=FOLDER`, `dists=FOLDER`;
            empty = none.

    Raises:
        UnknownNameError: no distance has this name.
        WeightsFileError: the weights are not named, missing or broken.
    """
    if not text:
        return None
    name, _, weights = text.partition("=")
    if name not in TITLES:
        raise UnknownNameError("distance", name, list(TITLES))
    if not weights and name != ST_LPIPS:
        raise WeightsFileError(
            f"{name} needs weights files: give their folder as {name}=FOLDER ({_HEADS[name].source})"
        )
    weights = weights or ST_LPIPS
    _require_kind(name, weights)
    digest = weights_digest(weights, _HEADS[name])
    return PerceptualDistance(name=name, digest=digest, measure=_LOADERS[name](weights, digest))


def title_of(source: str) -> str:
    """Return the name in prose of a distance, as a plan states it."""
    return TITLES[source.partition(":")[0]]


def _require_kind(name: str, weights: str) -> None:
    """Refuse the weights of LPIPS where ST-LPIPS was asked for, and the other way round: the numbers differ."""
    is_shift_tolerant = shift_tolerant.network_file(weights) is not None
    if name == ST_LPIPS and not is_shift_tolerant:
        wanted = shift_tolerant.ST_LPIPS_FILE
        raise WeightsFileError(f"{weights!r} is not {wanted.name} ({wanted.source})")
    if name != ST_LPIPS and is_shift_tolerant:
        raise WeightsFileError(f"{weights!r} is the file of ST-LPIPS: write {ST_LPIPS}={weights}")
