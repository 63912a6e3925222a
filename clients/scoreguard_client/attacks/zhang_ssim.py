"""Zhang et al. with SSIM: the structural similarity of Wang et al. (2004) keeps the image near; see `zhang`.

min  J(x') + weight * (1 - SSIM(x', x))
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard.chain.devices import CPU
from scoreguard_client.attacks.full_reference import Distance, ssim_distance
from scoreguard_client.attacks.zhang import Zhang


@dataclass(frozen=True, kw_only=True)
class ZhangSSIM(Zhang):
    """The score against SSIM."""

    name = "zhang-ssim"
    title = "Zhang (SSIM)"
    on_device = True
    spares_corners = True

    def distance(self, device: str = CPU) -> Distance:
        """1 - SSIM."""
        del device
        return ssim_distance
