r"""The tables as LaTeX, for a paper: booktabs, intervals small beside their numbers, weak correlations grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from scoreguard_client.report.naming import attack_text
from scoreguard_client.report.source import Source
from scoreguard_client.report.tables.model import Cell, Heading, Line, Table
from scoreguard_client.report.writers.csv_files import file_stem

_HEADER: Final = r"""% \usepackage[T1]{fontenc} \usepackage{textcomp} \usepackage{booktabs} \usepackage{xcolor}
% \usepackage{longtable}"""
_SMALL: Final = r"\footnotesize\setlength{\tabcolsep}{3pt}"
_LONGEST: Final = 40
"""Most lines of a table that floats; a longer one breaks across pages."""
_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "∞": r"$\infty$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "×": r"$\times$",
    "−": "$-$",
    "²": r"$^2$",
    "σ": r"$\sigma$",
    "λ": r"$\lambda$",
}
"""What LaTeX would take for a command, or its fonts lack."""


def latex(tables: Sequence[Table], source: Source) -> str:
    """Return all tables, with labels `tab:` and their keys; then the command and the attacks in full, as comments."""
    attacks = [f"%   {attack_text(attack)}" for attack in source.attacks]
    facts = [f"% {source.command}", f"% plan {source.plan_sha256}, {source.images} images; attacks:", *attacks]
    return "\n\n".join([_HEADER, *(_table(table) for table in tables), "\n".join(facts)]) + "\n"


def _table(table: Table) -> str:
    columns = "l" * len(table.leading) + "r" * len(table.headings)
    names = [*table.leading, *(heading.label for heading in table.headings)]
    title = rf"\caption{{{escaped(table.title)}. {escaped(table.about)}}}\label{{tab:{file_stem(table)}}}"
    heads = [r"\toprule", _row([escaped(name) for name in names]), r"\midrule"]
    body = [_row([*_names(line), *map(_cell, line.cells, table.headings)]) for line in table.lines]
    if len(body) > _LONGEST:
        # A float that is longer than its page would lose its end.
        parts = [rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}", rf"{title} \\", *heads, r"\endhead", *body]
        return "\n".join([rf"{{{_SMALL}", *parts, r"\bottomrule", r"\end{longtable}", "}"])
    parts = [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", *heads, *body, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([r"\begin{table*}", rf"\centering{_SMALL}", title, *parts, r"\end{table*}"])


def _row(cells: Sequence[str]) -> str:
    # A row that began with a bracket would be read as the space after the row before.
    first = f"{{}}{cells[0]}" if cells[0].startswith(("[", "*")) else cells[0]
    return " & ".join([first, *cells[1:]]) + r" \\"


def _names(line: Line) -> list[str]:
    tags = "".join(f" ({escaped(tag)})" for tag in line.tags)
    return [*map(escaped, line.names[:-1]), escaped(line.names[-1]) + tags]


def _cell(cell: Cell, heading: Heading) -> str:
    text, interval = escaped(cell.value(heading.digits)), escaped(cell.interval(heading.digits))
    whole = f"{text} {{\\scriptsize {interval}}}" if interval else text
    return rf"\textcolor{{gray}}{{{whole}}}" if cell.estimate is not None and cell.estimate.weak else whole


def escaped(text: str) -> str:
    """Write text so that LaTeX prints it as it is."""
    return "".join(_SPECIAL.get(character, character) for character in text)
