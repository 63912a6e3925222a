"""The table of a data set as files: CSV for anything, Parquet with the types."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from scoreguard_client._extras import require_pyarrow
from scoreguard_client.dataset.rows import Cell, Table

CSV: Final = "metadata.csv"
PARQUET: Final = "metadata.parquet"

TableWriter = Callable[[Table, Path], None]
"""Writes a table into a folder."""


def write_csv(table: Table, folder: Path) -> None:
    """Write `metadata.csv`: a cell without a value is empty, and floats are read back exactly."""
    names = [column.name for column in table.columns]
    with (folder / CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_text(row[name]) for name in names] for row in table.rows)


def write_parquet(table: Table, folder: Path) -> None:
    """Write `metadata.parquet`; the same table gives the same bytes with one version of pyarrow.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow: Any = require_pyarrow()
    fields = [(column.name, pyarrow.type_for_alias(column.kind)) for column in table.columns]
    content = pyarrow.Table.from_pylist([dict(row) for row in table.rows], schema=pyarrow.schema(fields))
    pyarrow.parquet.write_table(content, folder / PARQUET)


def _text(cell: Cell) -> str:
    return "" if cell is None else str(cell)
