"""Momentum-UAP: a perturbation found by sign steps with momentum on random windows and flips of training images.

How it is trained is told in `universal.momentum`, how it is applied in `attacks.universal`. It is trained at the bound
at which it is meant to be applied, 10/255: the amplitude is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.universal import UniversalAttack
from scoreguard_client.perturbations.recipe import Kind


@dataclass(frozen=True, kw_only=True)
class MomentumUAP(UniversalAttack):
    """A perturbation that `scoreguard uap train --kind momentum` made."""

    name = "momentum-uap"
    title = "Momentum-UAP"
    paper = "after Moosavi-Dezfooli et al., arXiv 1610.08401"
    year = 2017
    kind = Kind.MOMENTUM

    amplitude: float = 1.0
    """Factor of the perturbation; 1 = as it was trained."""
