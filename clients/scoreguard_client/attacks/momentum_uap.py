"""Momentum-UAP: a perturbation found by sign steps with momentum on random windows and flips of training images.

`universal.momentum` describes its training, `attacks.universal` its application. It is trained at the bound at which it
is to be applied, 10/255: the amplitude is 1.
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
    """Factor of the perturbation; 1 = as trained."""
