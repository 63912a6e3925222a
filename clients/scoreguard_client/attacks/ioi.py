"""IOI: invisible one-iteration attack (Shumitskaya et al., "IOI: Invisible One-Iteration ...", ICML 2024).

    x_p = clip(x + lr * sign(grad Q(x)), 0, 1),  x' = clip(x + m * H_x(x_p - x), 0, 1)

One FGSM step makes x_p; two modules hide it.

- H_x, frequencies: the coefficients of x's two-dimensional Fourier transform that are among the `keep` share of largest
  magnitude, channel by channel, stay those of x. H_x sets them to zero in the difference and passes all others.
- m, contrast: the standard deviation of each 3 x 3 window over its mean, divided by the image's highest; if below 0.01
  it is 0, else its square root. One-pixel borders and flat images are 0: nothing could hide there.

One step may overshoot: the result may score below the clean image, by definition.

The result keeps x's strong frequencies and is mixed from the weak ones of x_p and x by m: x_low + m * x_p,high +
(1 - m) * x_high, which the second formula rearranges. No value moves further than the sum of the passed
coefficients' magnitudes over H * W, the quantity that the paper's theorem 1 bounds.

The authors' notebook drops the one coefficient that equals the threshold, and truncates x_p and x' to 8 bits instead of
rounding, which darkens both by half a level; here all others pass, and images stay floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.base import Needs, SearchResult
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.per_image import each
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import float32, float64, functions, is_host
from scoreguard_client.oracles.base import Images

_WINDOW: Final = 3
_LOWEST: Final = 0.01
_TIES: Final = 1 + 1e-9
"""A coefficient and its mirror image are equal except for rounding, and pass together."""
_AXES: Final = (2, 3)

Planes = npt.NDArray[np.float64]
"""A number for each value of each image, (N, 3, H, W)."""


@dataclass(frozen=True, kw_only=True)
class IOI(LInfAttack):
    """One sign step, filtered. The paper and its code agree except for the rounding above."""

    name = "ioi"
    title = "IOI"
    paper = "Shumitskaya et al., arXiv 2403.05955"
    year = 2024
    on_device = True
    needs = Needs.GRADIENT
    budget = "none; L∞ ≤ eps where eps < 1"

    eps: float = 1.0
    """Radius of the L-infinity ball, in units of [0, 1]; 1 = only the filters bound it, as published."""
    lr: float = 0.1
    """Length of the sign step before it is filtered, in units of [0, 1]; 0.1 in the paper."""
    keep: float = 0.07
    """Share of Fourier coefficients, the largest, that stay the clean image's; 0.07 in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.lr <= 1, f"lr must be in (0, 1], not {self.lr:g}")
        self.require(0 <= self.keep < 1, f"keep must be in [0, 1), not {self.keep:g}")

    @property
    def keeps_clean(self) -> bool:
        """False: one step may overshoot and end below the clean image."""
        return False

    @property
    def queries_needed(self) -> int:
        """Count one gradient."""
        return 1

    def run(self, session: Session) -> SearchResult:
        """Step once and filter the step."""
        clean, library = session.clean, functions(session.clean)
        stepped = library.clip(clean + float32(self.lr * library.sign(session.gradient(clean))), 0, 1)
        weak = each(self.weak_part, float64(stepped) - clean, clean)
        change = each(visibility, clean) * weak
        return SearchResult(images=session.region.clip(float32(clean + change)))

    def weak_part(self, difference: Planes, clean: Images) -> Planes:
        """Remove from a difference the frequencies in which the clean images are strong."""
        library = functions(clean)
        strength = library.abs(library.fft.fft2(float64(clean)))
        ordered = library.sort(strength.reshape(*strength.shape[:2], -1), axis=2)
        index = min(int((1 - self.keep) * ordered.shape[2]), ordered.shape[2] - 1)
        weak = strength <= ordered[:, :, index, None, None] * _TIES
        passed: Planes = library.real(library.fft.ifft2(library.fft.fft2(difference) * weak))
        return passed


def visibility(clean: Images) -> Planes:
    """Compute the share of a change that each value may take, 0 (flat) to 1 (the image's strongest contrast)."""
    library, contrast = functions(clean), _relative_deviation(float64(clean))
    highest = library.max(contrast, axis=(1, 2, 3), keepdims=True)
    share = contrast / (highest + (highest == 0))
    visible: Planes = library.sqrt(share * (share >= _LOWEST))
    return visible


def _relative_deviation(images: Planes) -> Planes:
    result: Planes = functions(images).zeros_like(images)
    if min(images.shape[2:]) < _WINDOW:
        return result
    mean, deviation = _of_windows(images)
    result[:, :, 1:-1, 1:-1] = deviation / (mean + (mean == 0))
    return result


def _of_windows(images: Planes) -> tuple[Planes, Planes]:
    """Compute mean and standard deviation of each window, (N, 3, H - 2, W - 2)."""
    if is_host(images):
        windows = np.lib.stride_tricks.sliding_window_view(images, (_WINDOW, _WINDOW), axis=_AXES)
    else:
        windows = images.unfold(2, _WINDOW, 1).unfold(3, _WINDOW, 1)  # type: ignore[attr-defined]  # a torch tensor
    library = functions(images)
    return library.mean(windows, axis=(4, 5)), library.std(windows, axis=(4, 5))
