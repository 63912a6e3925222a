"""The attacks of Zhang et al. (NeurIPS 2022, arXiv 2210.00933): the score against a full-reference measure.

    min  J(x') + weight * D(x', x),   J = 1 - Q / range

D is 1 - SSIM, LPIPS or DISTS: one attack for each.

- paper: the authors' code. The start is the clean image plus noise of -1/255, 0 or 1/255 from each image's seed
  (their own draw never gives 1/255, because its upper end is exclusive). Each image's gradient is scaled to an L2 norm
  of 1; Adam is recreated at each of the 200 steps, so it has no memory and steps by its learning rate along the sign.
  With SSIM the top left and bottom right 5 x 5 pixels keep their initial values. Their file has no term for DISTS.
- benchmark: Adam with its memory on J + D, from the clean image, 10 steps.

The authors raise (Q(x') - Q(x))^2, which has no direction: the noise of the start decides which way a score moves.
Here an attack has a direction, so Q itself is raised or lowered; the gradients differ by the factor 2 |Q(x') - Q(x)|.
They sweep the weight over 33 values from 0 to 9 000 000; the benchmark takes 1, which is the default in both modes.

A derivative of D that is not a number counts as 0. The public codes then also lose the score's share of the gradient;
here it stays. The last image is returned, as in both codes; in paper mode the clean one if it scores better.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Final, Self

import numpy as np

from scoreguard.chain.devices import CPU
from scoreguard_client.attacks.adam_steps import AdamSteps, Schedule, loss_slope
from scoreguard_client.attacks.base import Mode, SearchResult
from scoreguard_client.attacks.deep_measures import weights_digest
from scoreguard_client.attacks.full_reference import Distance, value_and_gradient
from scoreguard_client.attacks.per_image import totals
from scoreguard_client.attacks.session import Session
from scoreguard_client.attacks.weights_files import HeadFile
from scoreguard_client.oracles.arrays import device_of, float32, float64, functions
from scoreguard_client.oracles.base import Gradients, Images

_CORNER: Final = 5
_NORM_FLOOR: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class Zhang(AdamSteps):
    """Adam on the score and on a full-reference measure that a subclass names."""

    paper = "Zhang et al., arXiv 2210.00933"
    year = 2022
    schedules = MappingProxyType(
        {Mode.PAPER: Schedule(lr=0.005, iterations=200), Mode.BENCHMARK: Schedule(lr=0.005, iterations=10)}
    )
    spares_corners: ClassVar[bool] = False
    """Whether two corners stay fixed in paper mode."""

    weight: float = 1.0
    """Weight of the full-reference measure relative to J; 1 in the benchmark."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.weight < np.inf, f"weight must be at least 0, not {self.weight:g}")

    @abstractmethod
    def distance(self, device: str = CPU) -> Distance:
        """The measure, for images on a device."""

    def run(self, session: Session) -> SearchResult:
        """Descend."""
        distance = self.distance(device_of(session.clean))

        def slope(images: Images) -> Gradients:
            score = loss_slope(session, session.gradient(images))
            measure = value_and_gradient(distance, images, session.clean)[1]
            gradient: Gradients = score + self.weight * measure  # pyright: ignore[reportAssignmentType]
            return self._shaped(gradient) if self.mode is Mode.PAPER else gradient

        paper = self.mode is Mode.PAPER
        start = _noisy(session) if paper else session.clean
        return SearchResult(images=self.walk(session, start, slope, forget=paper))

    def _shaped(self, gradient: Gradients) -> Gradients:
        library = functions(gradient)
        norm = library.sqrt(totals(float64(gradient) ** 2))
        shaped: Gradients = float32(gradient / library.clip(norm, _NORM_FLOOR, None))
        if self.spares_corners:
            shaped[:, :, :_CORNER, :_CORNER] = 0
            shaped[:, :, -_CORNER:, -_CORNER:] = 0
        return shaped


@dataclass(frozen=True, kw_only=True)
class DeepZhang(Zhang):
    """Zhang et al. with a measure on the features of VGG16, whose weights this package may not redistribute."""

    asks_for = "weights: weights=FOLDER"
    same_to_readers = Zhang.same_to_readers | {"weights", "digest"}
    head: ClassVar[HeadFile]
    """The file of the measure's own parameters."""

    weights: str = ""
    """Folder of VGG16 and the measure's own parameters, or VGG16's file with them next to it; see `deep_measures`."""
    digest: str = ""
    """Digest that these files must have; `pinned` writes it, empty = any."""

    def pinned(self) -> Self:
        """Return the same attack with the digest of its files.

        Raises:
            WeightsFileError: a file is missing, or the files do not match the digest.
        """
        return replace(self, digest=weights_digest(self.weights, self.head, self.digest))


def _noisy(session: Session) -> Images:
    shape = session.clean.shape[1:]
    noise = np.stack([rng.integers(-1, 2, shape) for rng in session.rngs]) / 255
    return session.region.clip(float32(session.clean + session.put(noise)))
