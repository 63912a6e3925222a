"""The tables as Markdown, for a README, an issue or a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from scoreguard_client.report.naming import attack_text
from scoreguard_client.report.source import Source
from scoreguard_client.report.tables.model import Cell, Heading, Line, Table
from scoreguard_client.scores.estimates import WEAK_BELOW

_WEAK: Final = "†"
_SPECIAL: Final = "\\`*_{}[]<>|#~$"


def markdown(tables: Sequence[Table], source: Source) -> str:
    """Return all tables, each below its title; then the attacks in full."""
    parts = [_table(table) for table in tables]
    attacks = [f"- `{attack_text(attack)}`" for attack in source.attacks]
    made = ["```sh", source.command, "```", "", f"Plan `{source.plan_sha256[:16]}`, {source.images} images."]
    parts.append("\n".join(["## Attacks", "", *attacks, "", *made]))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    heads = [*table.leading, *(heading.label for heading in table.headings)]
    below = ["---"] * len(table.leading) + ["--:"] * len(table.headings)
    lines = [[*_names(line), *map(_cell, line.cells, table.headings)] for line in table.lines]
    rows = "\n".join(f"| {' | '.join(row)} |" for row in [[escaped(head) for head in heads], below, *lines])
    parts = [f"## {escaped(table.title)}", escaped(table.about), rows]
    if any(cell.estimate is not None and cell.estimate.weak for line in table.lines for cell in line.cells):
        parts.append(f"{_WEAK} A correlation of fewer than {WEAK_BELOW} images, which says little.")
    return "\n\n".join(parts)


def _names(line: Line) -> list[str]:
    tags = "".join(f" ({escaped(tag)})" for tag in line.tags)
    return [*map(escaped, line.names[:-1]), escaped(line.names[-1]) + tags]


def _cell(cell: Cell, heading: Heading) -> str:
    text = f"{cell.value(heading.digits)} {cell.interval(heading.digits)}".strip()
    weak = cell.estimate is not None and cell.estimate.weak
    return escaped(text) + _WEAK * weak


def escaped(text: str) -> str:
    """Write text so that no character of it is Markdown's or HTML's, on one line."""
    plain = "".join(f"\\{character}" if character in _SPECIAL else character for character in " ".join(text.split()))
    return plain.replace("&", "&amp;")
