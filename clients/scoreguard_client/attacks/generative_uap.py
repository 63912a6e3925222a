"""Generative-UAP: a perturbation drawn by a network that was trained on images (arXiv 2310.06958, 2023).

`universal.generative` describes its training, `attacks.universal` its application.
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.universal import UniversalAttack
from scoreguard_client.perturbations.recipe import Kind


@dataclass(frozen=True, kw_only=True)
class GenerativeUAP(UniversalAttack):
    """A perturbation that `scoreguard uap train --kind generative` made."""

    name = "generative-uap"
    title = "Generative-UAP"
    paper = "Antsiferova et al., arXiv 2310.06958"
    year = 2023
    kind = Kind.GENERATIVE
