"""FGSM: fast gradient sign method (Goodfellow et al., "Explaining and harnessing adversarial examples", 2015).

    x' = clip(x + eps * sign(grad Q(x)), 0, 1)

Q is the quality. The benchmark's loss 1 - Q / range has the same sign of gradient, so that its range plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.base import BENCHMARK_EPS, Attack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images


@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """One step of the gradient's sign. The paper and the benchmark's code agree."""

    name = "fgsm"
    title = "FGSM"
    paper = "Goodfellow et al., arXiv 1412.6572"
    year = 2015
    needs_gradient = True

    eps: float = BENCHMARK_EPS
    """Radius of the L-infinity ball, in units of [0, 1]; 10/255 in the benchmark (arXiv 2310.06958)."""

    @property
    def queries_needed(self) -> int:
        """One gradient."""
        return 1

    def run(self, session: Session) -> tuple[Images, None]:
        """Step once."""
        step = np.float32(self.eps) * np.sign(session.gradient(session.clean))
        return session.ball.clip(session.clean + step), None
