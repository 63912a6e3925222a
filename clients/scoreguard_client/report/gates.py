"""Conditions on the leaderboard that let a pipeline fail: `worst_gain>0.2`, `lite.srocc.low[jpeg:quality=50]<0.9`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scoreguard.v1.errors import ContractError
from scoreguard.v1.spec import parse_chain
from scoreguard_client.report.errors import TableError
from scoreguard_client.report.tables.leaderboard import LEADERBOARD, NUMBERS
from scoreguard_client.report.tables.model import Cell, Line, Table
from scoreguard_client.scores.estimates import Estimate

_OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM: Final = re.compile(r"\s*([^\s\[\]<>=]+)\s*(?:\[([^\[\]]+)\])?\s*(>=|<=|>|<)\s*(\S+)\s*")
_ENDS: Final = ("low", "high")
_GRAMMAR: Final = "[METRIC.]HEADING[.low|.high][[CHAIN]] and >, >=, < or <= and a number, such as 'worst_gain>0.2'"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A condition under which a run fails."""

    text: str
    """As the user wrote it."""
    metric: str
    """The metric; empty = every one."""
    heading: str
    """Key of the leaderboard's column."""
    end: str
    """`low` or `high` end of the interval; empty = the number itself."""
    chain: str
    """The chain as the user wrote it; empty = every one."""
    sign: str
    """How the number is compared."""
    bound: float
    """With what."""


def parse_gate(text: str) -> Gate:
    """Read a condition.

    Raises:
        TableError: it has another form, or no leaderboard has the column.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise TableError(f"{text!r} is no condition; write {_GRAMMAR}")
    name, chain, sign, number = form.groups()
    try:
        bound = float(number)
    except ValueError as error:
        raise TableError(f"{text!r}: {number!r} is no number") from error
    if not math.isfinite(bound):
        raise TableError(f"{text!r}: {number!r} is not finite")
    parts = name.split(".")
    end = parts.pop() if len(parts) > 1 and parts[-1] in _ENDS else ""
    heading = parts.pop()
    if heading not in NUMBERS:
        raise TableError(f"{text!r}: the leaderboard has no number {heading!r}, only {', '.join(NUMBERS)}")
    metric = ".".join(parts)
    return Gate(text=text, metric=metric, heading=heading, end=end, chain=chain or "", sign=sign, bound=bound)


def failures(gates: Sequence[Gate], tables: Sequence[Table]) -> list[str]:
    """Return one line for each number that meets a condition, and for each that is missing.

    Args:
        gates: the conditions.
        tables: those of a run.

    Raises:
        TableError: they have not the metric or the chain that a condition names.
    """
    return [line for gate in gates for table, row in _lines(gate, tables) if (line := _failure(gate, table, row))]


def _lines(gate: Gate, tables: Sequence[Table]) -> list[tuple[Table, Line]]:
    boards = {table.key.partition(":")[2]: table for table in tables if table.key.startswith(LEADERBOARD)}
    if gate.metric and gate.metric not in boards:
        raise TableError(f"{gate.text!r}: the run has no metric {gate.metric!r}, only {', '.join(boards)}")
    chosen = [board for metric, board in boards.items() if gate.metric in ("", metric)]
    found = [(board, line) for board in chosen for line in board.lines if _is(line, gate.chain)]
    if not found:
        there = dict.fromkeys(line.names[0] for board in chosen for line in board.lines)
        raise TableError(f"{gate.text!r}: the run has no chain {gate.chain!r}, only {', '.join(there)}")
    return found


def _is(line: Line, chain: str) -> bool:
    """Whether a line is of a chain, of which not every parameter need be given."""
    if not chain or chain in (line.key, line.names[0]):
        return True
    try:
        wanted, there = parse_chain(chain), parse_chain(line.key)
    except ContractError:
        return False
    return len(wanted) == len(there) and all(
        one.name == other.name and set(one.parameters) <= set(other.parameters)
        for one, other in zip(wanted, there, strict=True)
    )


def _failure(gate: Gate, table: Table, line: Line) -> str:
    index = [heading.key for heading in table.headings].index(gate.heading)
    cell, where = line.cells[index], f"{gate.heading} of {line.names[0]} ({table.key.partition(':')[2]})"
    value = _value(cell, gate.end)
    if not math.isfinite(value):
        note = cell.estimate.note if cell.estimate is not None else ""
        what = f"has no interval, so no {gate.end} end" if gate.end and _known(cell) else "is missing"
        return f"{where} {what}{f' ({note})' if note else ''}, which counts as a failure of {gate.text}"
    if not _OPERATORS[gate.sign](value, gate.bound):
        return ""
    return f"{where} is {_shown(cell)}: {gate.text}"


def _value(cell: Cell, end: str) -> float:
    if cell.estimate is not None:
        return {"": cell.estimate.value, "low": cell.estimate.low, "high": cell.estimate.high}[end]
    return math.nan if end or cell.plain is None else cell.plain


def _known(cell: Cell) -> bool:
    return math.isfinite(_value(cell, ""))


def _shown(cell: Cell) -> str:
    """Write a number and its interval with so many digits that it can be compared with the bound."""
    value, found = f"{_value(cell, ''):.6g}", cell.estimate or Estimate(value=math.nan)
    return f"{value} [{found.low:.6g}, {found.high:.6g}]" if math.isfinite(found.low) else value
