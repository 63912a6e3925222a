"""Put the page together: what it shows, in reading order, with its style and its scripts inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import jinja2

from scoreguard_client.report.build import Report
from scoreguard_client.report.citations import entry, references_of, unique
from scoreguard_client.report.conclusions import sentences
from scoreguard_client.report.exhibits import Exhibit, exhibits
from scoreguard_client.report.figures import Figure
from scoreguard_client.report.page.drawings import Drawing, drawings
from scoreguard_client.report.page.images import embed, is_reduced
from scoreguard_client.report.page.lines import breakable, lines_of
from scoreguard_client.report.page.provenance import facts_of, provenance, small_print
from scoreguard_client.report.page.views import View, views_of
from scoreguard_client.report.proof import payload, script
from scoreguard_client.report.tables.model import Heading, Table

_ASSETS: Final = resources.files("scoreguard_client.report.page").joinpath("assets")
_STYLES: Final = ("page.css", "tables.css", "gallery.css", "print.css")
_SCRIPTS: Final = ("theme.js", "tabs.js", "table.js", "gallery.js", "print.js")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The part of the page that is about one metric."""

    report: Report
    """Its results."""
    drawings: tuple[Drawing, ...]
    """Its figures."""
    views: tuple[View, ...]
    """Its tables, but for the leaderboard, which stands further up."""
    exhibits: tuple[Exhibit, ...]
    """Its attacks for viewing, the worst first."""


def write_page(reports: Sequence[Report], tables: Sequence[Table], found: Sequence[Figure], path: Path) -> None:
    """Write the page of a run.

    Args:
        reports: the results of each metric.
        tables: what `tables_of` made of them.
        found: what `figures` made of them.
        path: file to write.
    """
    path.write_text(page_of(reports, tables, found), encoding="utf-8")


def page_of(reports: Sequence[Report], tables: Sequence[Table], found: Sequence[Figure]) -> str:
    """Render the page as text; equal results give equal text."""
    views = views_of(reports, tables)
    template = _environment().get_template("page.html.j2")
    return template.render(
        title=_title(reports),
        reports=reports,
        several=len(reports) > 1,
        sentences=sentences,
        leading=[view for view in views if view.leads],
        panels=[_panel(report, views, found) for report in reports],
        headings=_headings(tables),
        small_print=small_print(reports),
        facts_of=facts_of,
        provenance=provenance(reports),
        citations=[entry(reference) for reference in unique(references_of(reports))],
        style="\n".join(_asset(name) for name in _STYLES),
        scripts=[*(_asset(name) for name in _SCRIPTS), script()],
        records=payload(reports, tables),
    )


@cache
def _environment() -> jinja2.Environment:
    """Return what renders the templates; it keeps them compiled."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_asset),
    )
    environment.filters |= {"embed": embed, "lines": lines_of, "breakable": breakable, "reduced": is_reduced}
    return environment


def _asset(name: str) -> str:
    return _ASSETS.joinpath(name).read_text("utf-8")


def _title(reports: Sequence[Report]) -> str:
    match [report.metric_title for report in reports]:
        case [title]:
            return f"Robustness of {title}"
        case [*titles, last]:
            return f"Robustness of {', '.join(titles)} and {last}"
        case _:
            raise ValueError("a page needs the results of one metric at least")


def _panel(report: Report, views: Sequence[View], found: Sequence[Figure]) -> Panel:
    name = report.metric.name
    return Panel(
        report=report,
        drawings=drawings(found, name),
        views=tuple(view for view in views if view.metric == name and not view.leads),
        exhibits=tuple(exhibits(report)),
    )


def _headings(tables: Sequence[Table]) -> list[Heading]:
    """Return every heading that means something else, in the order in which tables have them."""
    found = {(heading.label, heading.meaning): heading for table in tables for heading in table.headings}
    return list(found.values())
