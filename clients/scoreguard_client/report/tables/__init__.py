"""The tables of a report as values: what a page, CSV, Markdown, LaTeX and JSON all show."""

from __future__ import annotations

from scoreguard_client.report.tables.assembled import tables_of
from scoreguard_client.report.tables.model import Cell, Heading, Line, Table

__all__ = ["Cell", "Heading", "Line", "Table", "tables_of"]
