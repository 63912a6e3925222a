"""Rules that a class must obey, as objects: they can be listed, selected and checked one after another.

A rule checks its subject and yields what is wrong, one sentence for each finding. Checking stops at the first finding:
later ones may only be its consequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from scoreguard.support.near import did_you_mean

S = TypeVar("S")
"""The subject of a rule."""


@dataclass(frozen=True, kw_only=True)
class Rule(Generic[S]):
    """One thing that every class of a kind must do."""

    name: str
    """Short name, such as `finite-gradient`."""
    statement: str
    """What must hold, in one sentence without a full stop."""
    advice: str
    """How to fix a class that breaks it, in a few words that begin in lower case."""
    findings: Callable[[S], Iterator[str]]
    """Yields what is wrong with a subject, and on which input; nothing if the rule is obeyed."""

    def __str__(self) -> str:
        """Return its line for a list of rules."""
        return f"{self.name}: {self.statement}"


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A rule that a subject breaks."""

    rule: str
    """Name of the rule."""
    found: str
    """What is wrong, and on which input."""
    advice: str
    """How to fix it."""
    cause: Exception | None = None
    """What the subject raised, if that is what is wrong."""

    def about(self, subject: str) -> str:
        """Return one line for an error message."""
        found = " ".join(self.found.split())
        return f"{subject} breaks the rule {self.rule}: {found}; {self.advice}"


def first_breach(rules: Iterable[Rule[S]], subject: S) -> Breach | None:
    """Check rules in order and stop at the first that is broken; None if all are obeyed.

    An exception that escapes while a rule is checked counts as a broken rule: the subject is third-party code, and any
    exception from it is a finding.
    """
    for rule in rules:
        try:
            found = next(rule.findings(subject), None)
        except Exception as error:
            found = f"it raises {type(error).__name__}: {error}"
            return Breach(rule=rule.name, found=found, advice=rule.advice, cause=error)
        if found is not None:
            return Breach(rule=rule.name, found=found, advice=rule.advice)
    return None


def without(rules: Iterable[Rule[S]], *names: str) -> tuple[Rule[S], ...]:
    """Return the rules, in order, without those with the given names.

    Raises:
        ValueError: there is no rule with such a name; similar names are listed.
    """
    rules = tuple(rules)
    known = [rule.name for rule in rules]
    for name in names:
        if name not in known:
            raise ValueError(f"no rule {name!r}: {did_you_mean(name, known)}")
    return tuple(rule for rule in rules if rule.name not in names)
