"""NI-FGSM: Nesterov's accelerated gradient in I-FGSM (Lin et al., ICLR 2020, arXiv 1908.06281, eqs. 6 to 8).

g_{t+1} = μ g_t + ∇Q(x_t + α μ g_t) / ||∇Q(x_t + α μ g_t)||₁,  x_{t+1} = Clip(x_t + α · sign(g_{t+1}))
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.directions import unit_l1
from scoreguard_client.attacks.signed_steps import SignedSteps
from scoreguard_client.oracles.base import Gradients, Images


@dataclass(frozen=True, kw_only=True)
class NIFGSM(SignedSteps):
    """I-FGSM with the gradient taken one momentum step ahead."""

    name = "nifgsm"
    title = "NI-FGSM"
    paper = "Lin et al., arXiv 1908.06281"
    year = 2020

    mu: float = 1.0
    """Decay factor of the previous direction; 1.0 in the paper."""

    def asked_at(self, images: Images, direction: Gradients) -> Images:
        """Return the images one momentum step ahead."""
        ahead = images + np.float32(self.alpha * self.mu) * direction
        return np.asarray(np.clip(ahead, 0, 1), np.float32)

    def accumulate(self, direction: Gradients, gradient: Gradients) -> Gradients:
        """Add the gradient, of L1 norm 1, to the decayed direction."""
        return np.float32(self.mu) * direction + unit_l1(gradient)
