"""FGSM: fast gradient sign method (Goodfellow et al., "Explaining and harnessing adversarial examples", 2015).

    x' = clip(x + eps * sign(grad Q(x)), 0, 1)

One step may overshoot: the result may score below the clean image, by definition.

Q is the quality. The benchmark's loss 1 - Q / range gives the same sign of the gradient, so its range plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.base import Needs, SearchResult
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import functions


@dataclass(frozen=True, kw_only=True)
class FGSM(LInfAttack):
    """One step along the gradient's sign. The paper and the benchmark's code agree."""

    name = "fgsm"
    title = "FGSM"
    paper = "Goodfellow et al., arXiv 1412.6572"
    year = 2015
    needs = Needs.GRADIENT
    on_device = True

    @property
    def keeps_clean(self) -> bool:
        """False: one step may overshoot and end below the clean image."""
        return False

    @property
    def queries_needed(self) -> int:
        """Count one gradient."""
        return 1

    def run(self, session: Session) -> SearchResult:
        """Step once."""
        gradient = session.gradient(session.clean)
        step = self.eps * functions(gradient).sign(gradient)
        return SearchResult(images=session.region.clip(session.clean + step))
