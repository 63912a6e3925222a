"""What a run says, in three plain sentences for whoever decides: which defence, what it is worth, and how sure that is.

They read the leaderboard: the worst case of each chain over every attack of the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.attacks.base import Needs
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.report.build import Report
from scoreguard_client.report.digits import decimals_of_range
from scoreguard_client.report.table import Row
from scoreguard_client.report.tables.families import is_everyday
from scoreguard_client.report.tables.leaderboard import leaderboard
from scoreguard_client.report.text import number
from scoreguard_client.scores.estimates import Estimate
from scoreguard_client.scores.scaling import Scaling


def sentences(report: Report) -> tuple[str, ...]:
    """Return three sentences about a metric."""
    standing = _standing(report)
    return tuple(_told(standing, clause) for clause in (_holds_best, _against_none, _how_sure))


@dataclass(frozen=True, kw_only=True)
class _Standing:
    """The leaderboard of a metric, as far as sentences need it."""

    report: Report
    """Where it is from."""
    gains: dict[str, Estimate]
    """The worst gain of each chain that has one, the lowest first."""

    @property
    def best(self) -> str:
        """The chain with the lowest worst gain."""
        return next(iter(self.gains))

    @property
    def defences(self) -> list[str]:
        """The chains that defend."""
        return [chain for chain in self.gains if chain != UNDEFENDED]

    def label(self, chain: str) -> str:
        """Return a chain as the user wrote it."""
        return self.report.label(chain)

    def moves(self, chain: str) -> str:
        """Say how far the worst case behind a chain moves the score, in the metric's own units."""
        gain, better = self.gains[chain].value, self.report.declared.higher_is_better
        rises = better if self.report.transform is None else self.report.transform.range.higher_is_better
        if gain <= 0:
            return "cannot improve the score"
        return f"{'raises' if rises else 'lowers'} the score by {self._amount(gain)} on average"

    def _amount(self, gain: float) -> str:
        if self.report.options.scaling is Scaling.CLEAN_SELECTION:
            return f"{100 * gain:.0f} % of the range of the clean scores"
        width = self.report.bounds.high - self.report.bounds.low
        return number(gain * width, max(decimals_of_range(width) - 1, 0))

    @property
    def scale(self) -> str:
        """The scale in words; empty if the amount names it."""
        if self.report.options.scaling is Scaling.CLEAN_SELECTION:
            return ""
        whose = f" of {self.report.transform.reference_name}" if self.report.transform else ""
        return f", on a scale{whose} from {self.report.bounds.low:g} to {self.report.bounds.high:g}"

    def strongest(self, chain: str) -> Row:
        """Return the row of the attack with the highest mean gain behind a chain."""
        rows = [row for row in self.report.rows if row.chain == chain and row.scores]
        return max(rows, key=lambda row: _or_least(row.scores["absolute_gain"].value))


def _standing(report: Report) -> _Standing:
    worst = ((line.key, line.cells[0].estimate) for line in leaderboard(report).lines)
    return _Standing(report=report, gains={chain: e for chain, e in worst if e is not None and math.isfinite(e.value)})


def _told(standing: _Standing, clause: Callable[[_Standing], str]) -> str:
    text = clause(standing) if standing.gains else "no attack behind any chain has a number yet"
    return f"{text[0].upper()}{text[1:]}."


def _holds_best(standing: _Standing) -> str:
    best, tried = standing.best, standing.defences
    attacker = f"an attacker who tries everything here {standing.moves(best)}"
    if not tried:
        return f"no defence was tried: {attacker}{standing.scale}"
    if best == UNDEFENDED:
        which = (
            f"none of {len(tried)} defences tried lowers"
            if len(tried) > 1
            else f"the defence {standing.label(tried[0])} does not lower"
        )
        return f"{which} the worst case: undefended, {attacker}{standing.scale}"
    of = (
        f"of {len(tried)} defences tried, {standing.label(best)} holds best" if len(tried) > 1 else standing.label(best)
    )
    return f"{of}: {attacker}{standing.scale}" if len(tried) > 1 else f"behind {of}, {attacker}{standing.scale}"


def _against_none(standing: _Standing) -> str:
    best, gains = standing.best, standing.gains
    if not standing.defences:
        return "what a defence would be worth, this run cannot say"
    if best == UNDEFENDED:
        other = standing.defences[0]
        which = standing.label(other) if len(standing.defences) == 1 else f"the best of them, {standing.label(other)},"
        return f"behind {which} the same attacker {standing.moves(other)}"
    if UNDEFENDED not in gains:
        return "the metric was not attacked undefended, so what the defence is worth is not known"
    bare = gains[UNDEFENDED].value
    text = f"undefended, the same attacker {standing.moves(UNDEFENDED)}"
    if bare <= 0:
        return text
    return f"{text}, so the defence takes away {100 * (1 - max(gains[best].value, 0) / bare):.0f} % of the gain"


def _how_sure(standing: _Standing) -> str:
    row = standing.strongest(standing.best)
    there = "behind it" if standing.best != UNDEFENDED else "there"
    return f"the strongest attack {there} is {standing.report.attack_name(row.attack)}, {_who(standing, row)}; " + (
        _ranking(standing)
    )


def _who(standing: _Standing, row: Row) -> str:
    if row.adaptive:
        return "which knows the defence"
    if is_everyday(kind_of(row.attack)) and kind_of(row.attack).needs is Needs.NOTHING:
        return "an everyday edit that needs to know nothing"
    if row.chain == UNDEFENDED:
        return "on the metric alone"
    return "which does not know the defence" + (
        "" if standing.report.plan.adaptive else ", and none that knows it was tried"
    )


def _ranking(standing: _Standing) -> str:
    (_, first), *others = standing.gains.items()
    if not others:
        return "there is nothing to rank"
    images = len(standing.report.plan.images)
    if not all(math.isfinite(gain.low) for gain in standing.gains.values()):
        return f"{images} images are too few for intervals, so take the order for a hint"
    close = [
        standing.label(chain) if chain != UNDEFENDED else "no defence"
        for chain, gain in others
        if gain.low <= first.high
    ]
    if not close:
        return "its interval lies below all others, so its first place holds"
    return f"its interval overlaps with that of {_listed(close)}, so which of them holds best is open"


def _listed(names: Sequence[str]) -> str:
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def _or_least(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
