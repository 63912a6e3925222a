"""Cumulative-UAP: one-step perturbations accumulated over training images (arXiv 2310.06958, 2023).

`universal.cumulative` describes its training, `attacks.universal` its application.
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.universal import UniversalAttack
from scoreguard_client.perturbations.recipe import Kind


@dataclass(frozen=True, kw_only=True)
class CumulativeUAP(UniversalAttack):
    """A perturbation that `scoreguard uap train --kind cumulative` made."""

    name = "cumulative-uap"
    title = "Cumulative-UAP"
    paper = "Antsiferova et al., arXiv 2310.06958"
    year = 2023
    kind = Kind.CUMULATIVE
