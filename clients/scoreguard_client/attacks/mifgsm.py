"""MI-FGSM: I-FGSM with momentum (Dong et al., "Boosting adversarial attacks with momentum", 2018, algorithm 1).

    g_{t+1} = nu * g_t + grad Q(x_t) / ||grad Q(x_t)||_1,  x_{t+1} = Clip_{x, eps}(x_t + alpha * sign(g_{t+1}))

The benchmark's code leaves the division by the L1 norm out: `mode=benchmark`.
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.base import Mode
from scoreguard_client.attacks.directions import unit_l1
from scoreguard_client.attacks.signed_steps import SignedSteps
from scoreguard_client.oracles.base import Gradients


@dataclass(frozen=True, kw_only=True)
class MIFGSM(SignedSteps):
    """Momentum I-FGSM; `mode` changes the accumulation as above and the clipping as `signed_steps` describes."""

    name = "mifgsm"
    title = "MI-FGSM"
    paper = "Dong et al., arXiv 1710.06081"
    year = 2018
    on_device = True

    nu: float = 1.0
    """Share of the last direction that is kept; 1.0 in the paper and in the benchmark."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.nu >= 0, f"nu must be at least 0, not {self.nu:g}")

    def accumulate(self, direction: Gradients, gradient: Gradients) -> Gradients:
        """Add the gradient, of L1 norm 1 in paper mode, to the decayed direction."""
        if self.mode is Mode.PAPER:
            gradient = unit_l1(gradient)
        return self.nu * direction + gradient
