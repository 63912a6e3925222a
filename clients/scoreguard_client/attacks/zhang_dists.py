"""Zhang et al. with DISTS: the structure and texture similarity of Ding et al. (2020) keeps the image near.

    min  J(x') + weight * DISTS(x', x)

See `zhang`. Of the three, only this one's code is in the public benchmark.
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard.chain.devices import CPU
from scoreguard_client.attacks.deep_measures import DISTS_HEAD, dists
from scoreguard_client.attacks.full_reference import Distance
from scoreguard_client.attacks.zhang import DeepZhang


@dataclass(frozen=True, kw_only=True)
class ZhangDISTS(DeepZhang):
    """The score against DISTS."""

    name = "zhang-dists"
    title = "Zhang (DISTS)"
    on_device = True
    head = DISTS_HEAD

    def distance(self, device: str = CPU) -> Distance:
        """DISTS on VGG16."""
        return dists(self.weights, self.digest, device)
