"""How a table is shown: where on the page, under which heading, and by what its lines can be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scoreguard_client.attacks.base import Needs
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.report.build import Report
from scoreguard_client.report.tables.families import EVERYDAY, is_everyday
from scoreguard_client.report.tables.leaderboard import LEADERBOARD
from scoreguard_client.report.tables.model import SEPARATOR, Line, Table
from scoreguard_client.report.tables.robustness import ADAPTIVE, UNAWARE

_ATTACK: Final = "attack"
_FILTERED_FROM: Final = 7
"""Lines from which a table gets a field to filter them."""
_FAMILIES: Final = {
    Needs.GRADIENT: "gradient",
    Needs.SCORES: "queries",
    Needs.TRAINING: "universal",
    Needs.NOTHING: "submitted",
}
"""Families of attacks that are no everyday edits."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A table on the page."""

    table: Table
    """The table."""
    metric: str
    """Name of the metric that it is about; empty if it is about several."""
    modes: tuple[str, ...]
    """`adaptive` and `unaware`, if lines differ in it."""
    families: tuple[str, ...]
    """Families of attacks, if lines differ in them."""

    @property
    def leads(self) -> bool:
        """Whether it stands before everything that is about one metric."""
        return not self.metric or self.table.key.startswith(LEADERBOARD)

    @property
    def anchor(self) -> str:
        """Its name in the address of the page."""
        return "table-" + self.table.key.replace(":", "-")

    @property
    def filtered(self) -> bool:
        """Whether it has a field to filter its lines."""
        return len(self.table.lines) >= _FILTERED_FROM

    def is_words(self, index: int) -> bool:
        """Whether the cells of a column are text."""
        return all(line.cells[index].estimate is None and line.cells[index].plain is None for line in self.table.lines)

    def mode_of(self, line: Line) -> str:
        """Return whether the line's attack knew the defence; empty if lines do not differ in it."""
        return (ADAPTIVE if ADAPTIVE in line.tags else UNAWARE) if self.modes else ""

    def family_of(self, line: Line) -> str:
        """Return the family of the line's attack; empty if lines do not differ in it."""
        return family(line.key.split(SEPARATOR)[0]) if self.families else ""


def family(attack: str) -> str:
    """Return the family of an attack, given in its text form, for people."""
    kind = kind_of(attack)
    return EVERYDAY if is_everyday(kind) else _FAMILIES[kind.needs]


def views_of(reports: Sequence[Report], tables: Sequence[Table]) -> list[View]:
    """Return the tables as they are shown, leaderboards first."""
    names = {report.metric.name for report in reports}
    views = [_view(table, names) for table in tables]
    return sorted(views, key=lambda view: not view.table.key.startswith(LEADERBOARD))


def _view(table: Table, names: set[str]) -> View:
    metric = table.key.partition(":")[2]
    tagged = {ADAPTIVE in line.tags for line in table.lines}
    attacks = {line.key.split(SEPARATOR)[0] for line in table.lines} if _ATTACK in table.leading else set()
    families = {family(attack) for attack in attacks}
    return View(
        table=table,
        metric=metric if metric in names else "",
        modes=(ADAPTIVE, UNAWARE) if len(tagged) > 1 else (),
        families=tuple(name for name in (*_FAMILIES.values(), EVERYDAY) if name in families)
        if len(families) > 1
        else (),
    )
