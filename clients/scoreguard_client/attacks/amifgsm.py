"""AMI-FGSM: MI-FGSM whose bound follows each image's naturalness (Sang et al., 2022).

    eps_i = min(k / NIQE(x_i), eps),  g_{t+1} = nu * g_t + grad Q(x_t) / ||grad Q(x_t)||_1
    x_{t+1} = Clip_{x, eps_i}(x_t + alpha * sign(g_{t+1}))

NIQE (Mittal et al., 2013) is low if an image looks natural: an image that already looks distorted gets a smaller ball.
NIQE is about 4 on photographs, and with k = 1 the ball has a radius of about 64/255: ten steps of 1/255 never reach it,
and the attack is MI-FGSM. k = 0.125, which the benchmark's authors use for video classifiers, gives about 8/255, which
does bind.

The benchmark's code does not use NIQE at all: `mode=benchmark` is its momentum without the division by the L1 norm,
steps of alpha = eps / iterations = 1/255 and a cut to [0, 1] only. Ten such steps reach at most 10/255, though nothing
else bounds them. The field eps (1 = no bound) bounds either mode if set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.base import Companions, Mode, SearchResult
from scoreguard_client.attacks.errors import AttackError
from scoreguard_client.attacks.mifgsm import MIFGSM
from scoreguard_client.attacks.regions.linf import Ball, ball_around
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images, Scores


class NaturalnessError(AttackError):
    """NIQE's answer does not give a radius."""

    def __init__(self, indices: list[int], values: list[float]) -> None:
        self.indices, self.values = indices, values
        answers = ", ".join(f"{value:g} for image {index}" for index, value in zip(indices, values, strict=True))
        super().__init__(f"attack 'amifgsm' divides by NIQE, which must be positive and finite, not {answers}")


@dataclass(frozen=True, kw_only=True)
class AMIFGSM(MIFGSM):
    """Momentum I-FGSM within k / NIQE; the module describes `mode`."""

    name = "amifgsm"
    title = "AMI-FGSM"
    paper = "Sang et al., On the generation of adversarial samples for image quality assessment"
    year = 2022
    on_device = True
    budget = "L∞ ≤ k / NIQE(x)"

    eps: float = 1.0
    """Largest radius that any image gets, in units of [0, 1]; 1 = k / NIQE alone decides."""
    k: float = 1.0
    """Radius times NIQE, in units of [0, 1]; 1 in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.k < np.inf, f"k must be above 0, not {self.k:g}")

    @property
    def companions(self) -> tuple[str, ...]:
        """NIQE, in paper mode only."""
        return () if self.mode is Mode.BENCHMARK else ("niqe",)

    def region(self, clean: Images, companions: Companions) -> Ball:
        """A separate ball around each image; NIQE scores the clean images once.

        Raises:
            NaturalnessError: NIQE is not positive or not finite.
        """
        if self.mode is Mode.BENCHMARK:
            return ball_around(clean, self.eps)
        niqe = _positive(companions["niqe"].score(clean))
        return ball_around(clean, np.minimum(self.k / niqe, self.eps))

    def run(self, session: Session) -> SearchResult:
        """Step; the benchmark's code carries the image too."""
        return SearchResult(images=self._walk_image(session))


def _positive(niqe: Scores) -> Scores:
    niqe = np.asarray(niqe, dtype=np.float64)
    indices = np.flatnonzero(~((niqe > 0) & np.isfinite(niqe)))
    if indices.size:
        raise NaturalnessError(indices.tolist(), niqe[indices].tolist())
    return niqe
