"""What the browser computes from the embedded records is what Python computed, to the last digits, in every run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from tests.clients.report.proof.conftest import Made, Runs
from tests.clients.report.proof.headless import evaluated
from tests.clients.report.proof.runs import RUNS

from scoreguard_client.report.proof.payload import payload
from scoreguard_client.report.proof.script import library
from scoreguard_client.report.tables import Cell

NAMES = [*RUNS, "network"]
ASKED = """
async function answer() {
  const answers = {};
  for (const element of document.querySelectorAll("script[data-run]")) {
    const { content, isWhole } = await unpacked(element.textContent);
    const tables = tablesOf(content).map(({ key, lines }) => [key, lines.map(({ key, names, cells }) => [
      key, { names, cells: Object.fromEntries(Object.entries(cells).map(([heading, cell]) => [heading, cell()])) },
    ])]);
    answers[element.dataset.run] = { isWhole, tables: Object.fromEntries(
      tables.map(([key, lines]) => [key, Object.fromEntries(lines)])) };
  }
  return answers;
}
"""


@pytest.fixture(scope="session")
def answers(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tables that a browser makes of each run, all in one page."""
    body = "".join(
        f'<script type="application/json" data-run="{name}">{payload(made.reports, made.tables)}</script>'
        for name, made in runs.items()
    )
    answered: dict[str, Any] = evaluated(library() + ASKED, body, tmp_path_factory.mktemp("agreement"))
    return answered


def cells(made: Made) -> Iterator[tuple[str, str, str, Cell]]:
    """Every cell with its address."""
    for table in made.tables:
        for line in table.lines:
            for heading, cell in zip(table.headings, line.cells, strict=True):
                yield table.key, line.key, heading.key, cell


def same(first: Any, second: float) -> bool:
    """Whether both are the same number up to rounding; JSON has no infinity and no NaN."""
    number = float(first.replace("Infinity", "inf")) if isinstance(first, str) else float(first)
    if not math.isfinite(second):
        return str(number) == str(second)
    return math.isclose(number, second, rel_tol=1e-9, abs_tol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_the_browser_computes_every_cell_and_interval_as_python_does(
    name: str, runs: Runs, answers: dict[str, Any]
) -> None:
    """Values, both ends and notes; every line and cell is there."""
    assert answers[name]["isWhole"]
    seen = 0
    for table, line, heading, cell in cells(runs[name]):
        given = answers[name]["tables"][table][line]["cells"][heading]
        where = (table, line, heading, given, cell)
        if cell.estimate is not None:
            assert given["kind"] == "estimate", where
            assert all(same(given[end], getattr(cell.estimate, end)) for end in ("value", "low", "high")), where
            # A number without a value and without a reason is a dash.
            assert given["note"] == cell.estimate.note, where
        elif cell.plain is not None:
            assert given["kind"] == "plain", where
            assert same(given["value"], cell.plain), where
        else:
            assert given == {"kind": "text", "text": cell.text}, where
        seen += 1
    assert seen > 100


@pytest.mark.parametrize("name", NAMES)
def test_the_browser_finds_the_same_tables_lines_and_names(name: str, runs: Runs, answers: dict[str, Any]) -> None:
    """No line more and none fewer."""
    expected = {table.key: {line.key: list(line.names) for line in table.lines} for table in runs[name].tables}
    found = answers[name]["tables"]
    assert {table: {key: line["names"] for key, line in lines.items()} for table, lines in found.items()} == expected


def test_the_made_runs_meet_every_kind_of_cell(runs: Runs) -> None:
    """Intervals, too few images, undefined numbers, dashes, words, and every table: else agreement proves little."""
    kinds, tables = set(), set()
    for made in runs.values():
        for table, _, heading, cell in cells(made):
            tables.add(table.partition(":")[0])
            if cell.estimate is not None:
                state = cell.estimate.note or ("interval" if math.isfinite(cell.estimate.low) else "dash")
                kinds.add((heading.partition(":")[0], state))
    assert tables == {"leaderboard", "robustness", "adaptive", "order", "metrics", "people"}
    headings = {heading for heading, _ in kinds}
    assert {heading for heading, state in kinds if state == "interval"} >= headings - {"absolute_gain_8bit"}
    assert {state for _, state in kinds} == {"interval", "n too small", "undefined", "dash"}
