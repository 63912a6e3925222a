"""The attack checker, and the rules that it checks, in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from scoreguard.support.rules import Rule, first_breach
from scoreguard.v1.spec import Step, parse_chain
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.attacks.errors import ChainMismatchError
from scoreguard_client.testing import attack_rules as rules_of
from scoreguard_client.testing.errors import RuleBrokenError
from scoreguard_client.testing.oracles import ConstantOracle
from scoreguard_client.testing.trials import Trial

ATTACK_RULES: Final[tuple[Rule[Trial], ...]] = (
    rules_of.COMPLETE_FACTS,
    rules_of.VALUE,
    rules_of.TEXT_FORM,
    rules_of.DECLARED_NEEDS,
    rules_of.INPUT_KEPT,
    rules_of.RESULT_FORM,
    rules_of.BUDGET,
    rules_of.SEEDS,
    rules_of.QUERIES,
    rules_of.CALLS,
    rules_of.OWN_SCORE,
    rules_of.NEVER_BELOW_CLEAN,
    rules_of.BOTH_DIRECTIONS,
    rules_of.FLAT_SCORE,
    rules_of.LISTED,
)
"""What every attack must do, in the order in which it is checked."""
_CHAINS: Final = ("jpeg:quality=50:subsampling=420", "none", "quantise:levels=16")
"""Chains to try until the attack fits one."""
_COMPANION_SCORE: Final = 4.0


def check_attack(
    attack: Attack | str, *, chain: str | None = None, rules: Iterable[Rule[Trial]] = ATTACK_RULES
) -> None:
    """Check that an attack obeys every rule; this needs no server, and torch only if the attack does.

    The attack runs some dozens of times on small images: give it few iterations or queries, `square:queries=20`.

    Args:
        attack: the attack, or its text form.
        chain: defences that the oracles report before their score, for an attack that works through only some chains;
            None = a chain that the attack fits.
        rules: the rules to check, for example `without(ATTACK_RULES, "listed")` before the attack is installed.

    Raises:
        RuleBrokenError: it breaks a rule; the message says on which input, and how to fix it.
        AttackSpecError: the text names no attack, or a parameter does not fit.
        ChainMismatchError: it works through neither the given chain nor any of those tried.
        SpecError: the chain cannot be read.
    """
    tried = parse_attack(attack) if isinstance(attack, str) else attack
    trial = Trial(
        attack=tried,
        chain=_fitting(tried, _CHAINS if chain is None else (chain,)),
        companions={name: ConstantOracle(_COMPANION_SCORE) for name in tried.companions},
    )
    if breach := first_breach(rules, trial):
        raise RuleBrokenError(tried.name, breach) from breach.cause


def _fitting(attack: Attack, chains: Iterable[str]) -> tuple[Step, ...]:
    for text in chains:
        if attack.fits(chain := parse_chain(text)):
            return chain
    raise ChainMismatchError(attack.name, attack.wants, " or ".join(chains))
