"""I-FGSM: iterated FGSM (Kurakin et al., "Adversarial examples in the physical world", 2017).

x_0 = x,  x_{t+1} = Clip_{x, eps}(x_t + alpha * sign(grad Q(x_t)))
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.signed_steps import SignedSteps
from scoreguard_client.oracles.base import Gradients


@dataclass(frozen=True, kw_only=True)
class IFGSM(SignedSteps):
    """Iterated FGSM; `signed_steps` describes `mode`."""

    name = "ifgsm"
    title = "I-FGSM"
    paper = "Kurakin et al., arXiv 1607.02533"
    year = 2017
    on_device = True

    def accumulate(self, direction: Gradients, gradient: Gradients) -> Gradients:
        """Use the gradient alone."""
        del direction
        return gradient
