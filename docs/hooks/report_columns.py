"""The table of the report's columns, written where a page has the line `<!-- report columns -->`."""

from __future__ import annotations

from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from scoreguard_client.report.columns import COLUMNS, Column

MARK: Final = "<!-- report columns -->"


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the table in the place of the mark."""
    return markdown.replace(MARK, columns_table())


def columns_table() -> str:
    """One row for each column of the report, in its order."""
    head = ["| heading | name in CSV and JSON | meaning |", "|---|---|---|"]
    return "\n".join([*head, *(_row(column) for column in COLUMNS)])


def _row(column: Column) -> str:
    # A bar ends a cell of the table; the formulas use it for absolute values.
    return f"| {column.label} | `{column.key}` | {column.meaning.replace('|', '&#124;')} |"
