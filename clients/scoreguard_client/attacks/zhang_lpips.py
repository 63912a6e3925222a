"""Zhang et al. with LPIPS: the learned patch similarity of R. Zhang et al. (2018) keeps the image near; see `zhang`.

min  J(x') + weight * LPIPS(x', x)

LPIPS is version 0.1 on VGG16, as in the authors' code, or ST-LPIPS on its own AlexNet where `weights` names that.
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
    asks_for = "weights: weights=FOLDER or weights=st-lpips"
    head = LPIPS_HEAD

    def distance(self, device: str = CPU) -> Distance:
        """LPIPS of the files."""
        return lpips(self.weights, self.digest, device)
