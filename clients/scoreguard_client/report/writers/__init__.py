"""The tables of a report as files: CSV, Markdown, LaTeX and JSON, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scoreguard_client.report.source import Source
from scoreguard_client.report.tables.model import Table
from scoreguard_client.report.writers.csv_files import write_csv_files
from scoreguard_client.report.writers.json_file import FILE, read_tables, tables_json
from scoreguard_client.report.writers.latex import latex
from scoreguard_client.report.writers.markdown import markdown
from scoreguard_client.report.writers.terminal import terminal_table

__all__ = ["FILE", "FOLDER", "read_tables", "tables_json", "terminal_table", "write_files"]

FOLDER: Final = "tables"
"""Folder of the CSV files."""


def write_files(tables: Sequence[Table], source: Source, folder: Path) -> None:
    """Write `tables.md`, `tables.tex`, `tables.json`, and `tables/` with a CSV file for each table."""
    write_csv_files(tables, folder / FOLDER)
    (folder / "tables.md").write_text(markdown(tables, source), encoding="utf-8")
    (folder / "tables.tex").write_text(latex(tables, source), encoding="utf-8")
    (folder / FILE).write_text(tables_json(tables, source), encoding="utf-8")
