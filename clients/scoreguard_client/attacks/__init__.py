"""Attacks: images within a small distance of the clean ones that a metric scores as better."""

from __future__ import annotations

from scoreguard_client.attacks.base import Attack, AttackResult, Direction, Mode, Needs
from scoreguard_client.attacks.catalogue import CATALOGUE, parse_attack, parse_attacks
from scoreguard_client.attacks.errors import (
    AttackError,
    AttackInputError,
    AttackSpecError,
    ChainMismatchError,
    CompanionMissingError,
    OracleAnswerError,
    OracleMismatchError,
    QueryBudgetError,
)
from scoreguard_client.attacks.fgsm import FGSM
from scoreguard_client.attacks.ifgsm import IFGSM
from scoreguard_client.attacks.mifgsm import MIFGSM
from scoreguard_client.attacks.square import Square

__all__ = [
    "CATALOGUE",
    "FGSM",
    "IFGSM",
    "MIFGSM",
    "Attack",
    "AttackError",
    "AttackInputError",
    "AttackResult",
    "AttackSpecError",
    "ChainMismatchError",
    "CompanionMissingError",
    "Direction",
    "Mode",
    "Needs",
    "OracleAnswerError",
    "OracleMismatchError",
    "QueryBudgetError",
    "Square",
    "parse_attack",
    "parse_attacks",
]
