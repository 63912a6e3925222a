"""Recompute a page from the records that it embeds, and compare what every cell shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scoreguard_client.report.build import Report
from scoreguard_client.report.proof.errors import PageError
from scoreguard_client.report.proof.restore import restored, unpacked
from scoreguard_client.report.proof.shown import NAMES, Shown, Text, read_page
from scoreguard_client.report.tables import Table, tables_of
from scoreguard_client.report.tables.model import Address

_NOTHING: Final = "nothing"
_SEPARATOR: Final = ", "


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A cell that shows something else than its records give."""

    address: Address
    """Where it is."""
    shown: str
    """What the page shows."""
    computed: str
    """What it should show."""

    def __str__(self) -> str:
        """Return one line."""
        return f"{_SEPARATOR.join(self.address)}: shown {self.shown or _NOTHING}, computed {self.computed or _NOTHING}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a page was found to be."""

    shown: Shown
    """The page."""
    reports: tuple[Report, ...]
    """The reports that its records give."""
    cells: int
    """Cells compared."""
    differences: tuple[Difference, ...]
    """Those that differ."""

    @property
    def records(self) -> int:
        """Records in the page."""
        return sum(len(report.records) for report in self.reports)


def verify_page(path: Path) -> Verdict:
    """Recompute a page.

    Raises:
        PageError: the page is no report, was cut or changed, is of another version, or lacks cells or has more.
    """
    shown = read_page(path)
    reports = restored(unpacked(shown.records))
    expected = expected_cells(tables_of(reports), with_names=any(address.heading == NAMES for address in shown.cells))
    _require_the_same(shown, expected)
    differences = [
        difference
        for address, text in expected.items()
        for difference in _compared(address, shown.cells[address], text)
    ]
    return Verdict(shown=shown, reports=reports, cells=len(expected), differences=tuple(differences))


def expected_cells(tables: Sequence[Table], *, with_names: bool = True) -> dict[Address, Text]:
    """Return what every cell of tables has to show, and the names of every line."""
    found = {}
    for table in tables:
        for line in table.lines:
            if with_names:
                found[Address(table.key, line.key, NAMES)] = Text(value=_SEPARATOR.join(line.names))
            for heading, cell in zip(table.headings, line.cells, strict=True):
                found[Address(table.key, line.key, heading.key)] = Text(
                    value=cell.value(heading.digits), interval=cell.interval(heading.digits)
                )
    return found


def _require_the_same(shown: Shown, expected: Mapping[Address, Text]) -> None:
    for what, addresses in (
        ("lacks", [address for address in expected if address not in shown.cells]),
        ("has no records for", [address for address in shown.cells if address not in expected]),
        ("shows twice", list(shown.twice)),
    ):
        if addresses:
            more = f" and {len(addresses) - 1} other cells" if len(addresses) > 1 else ""
            raise PageError(f"the page {what} the cell {_SEPARATOR.join(addresses[0])}{more}: it was cut or changed")


def _compared(address: Address, shown: Text, expected: Text) -> Iterator[Difference]:
    for seen, computed in ((shown.value, expected.value), (shown.interval, expected.interval)):
        if seen != " ".join(computed.split()):
            yield Difference(address=address, shown=seen, computed=computed)
