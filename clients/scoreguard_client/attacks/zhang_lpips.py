"""Zhang et al. with LPIPS: the learned patch similarity of R. Zhang et al. (2018) keeps the image near; see `zhang`.

min  J(x') + weight * LPIPS(x', x)
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard.chain.devices import CPU
from scoreguard_client.attacks.deep_measures import LPIPS_HEAD, lpips
from scoreguard_client.attacks.full_reference import Distance
from scoreguard_client.attacks.zhang import DeepZhang


@dataclass(frozen=True, kw_only=True)
class ZhangLPIPS(DeepZhang):
    """The score against LPIPS."""

    name = "zhang-lpips"
    title = "Zhang (LPIPS)"
    on_device = True
    head = LPIPS_HEAD

    def distance(self, device: str = CPU) -> Distance:
        """LPIPS on VGG16."""
        return lpips(self.weights, self.digest, device)
