"""Optimized-UAP: a perturbation found by Adam on training images (Shumitskaya et al., BMVC 2022).

`universal.optimized` describes its training, `attacks.universal` its application.
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.universal import UniversalAttack
from scoreguard_client.perturbations.recipe import Kind


@dataclass(frozen=True, kw_only=True)
class OptimizedUAP(UniversalAttack):
    """A perturbation that `scoreguard uap train --kind optimized` made."""

    name = "optimized-uap"
    title = "Optimized-UAP"
    paper = "Shumitskaya et al., BMVC 2022"
    year = 2022
    kind = Kind.OPTIMIZED
