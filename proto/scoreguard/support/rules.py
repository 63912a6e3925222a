"""Rules that a class must obey, as objects: they can be listed, chosen from and checked one after another.

A rule looks at its subject and yields what it finds wrong, one sentence for each finding. Whoever checks stops at the
first one: what comes after it may only be its consequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from scoreguard.support.near import did_you_mean

S = TypeVar("S")
"""What a rule looks at."""


@dataclass(frozen=True, kw_only=True)
class Rule(Generic[S]):
    """One thing that every class of a kind must do."""

    name: str
    """Short name, such as `finite-gradient`."""
    statement: str
    """What must hold, in one sentence without a full stop."""
    advice: str
    """How to mend a class that breaks it, in a few words that begin in lower case."""
    findings: Callable[[S], Iterator[str]]
    """What is wrong with a subject, and on which input; nothing where the rule is obeyed."""

    def __str__(self) -> str:
        """Its line in a list of rules."""
        return f"{self.name}: {self.statement}"


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A rule that a subject breaks."""

    rule: str
    """Name of the rule."""
    found: str
    """What is wrong, and on which input."""
    advice: str
    """How to mend it."""
    cause: Exception | None = None
    """What the subject raised, if that is what is wrong."""

    def about(self, subject: str) -> str:
        """One line for an error message."""
        found = " ".join(self.found.split())
        return f"{subject} breaks the rule {self.rule}: {found}; {self.advice}"


def first_breach(rules: Iterable[Rule[S]], subject: S) -> Breach | None:
    """Check rules in order and stop at the first that is broken; None where all are obeyed.

    An exception that escapes while a rule is checked is that rule broken: the subject is somebody else's code, and
    whatever it raises is a finding.
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
    """The rules but those of the names given, in order.

    Raises:
        ValueError: there is no rule of such a name; near names are listed.
    """
    rules = tuple(rules)
    known = [rule.name for rule in rules]
    for name in names:
        if name not in known:
            raise ValueError(f"no rule {name!r}: {did_you_mean(name, known)}")
    return tuple(rule for rule in rules if rule.name not in names)
