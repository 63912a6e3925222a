"""What moved between two reports."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.clients.report.conftest import DIM, FGSM, PLAN, SQUARE, MakeRun, record, sound_records

from scoreguard_client.cli import main
from scoreguard_client.report import TableOptions, make_report
from scoreguard_client.report.differences import Kind, compare, read_any
from scoreguard_client.report.source import Source
from scoreguard_client.report.tables.model import Cell, Heading, Line, Table
from scoreguard_client.scores import Estimate

SOURCE = Source(
    plan_sha256="ab",
    metrics=("lite",),
    attacks=(FGSM,),
    chains=("none", DIM),
    images=6,
    command="scoreguard attack",
    options="scaling declared",
)
NAN = float("nan")


def one_cell(cell: Cell, key: str = "none", digits: int = 3) -> tuple[list[Table], Source]:
    """A report of one number."""
    heading = Heading(key="gain", label="gain", meaning="", digits=digits)
    line = Line(key=key, names=(key,), cells=(cell,))
    return [Table(key="t", title="T", about="", leading=("defence",), headings=(heading,), lines=(line,))], SOURCE


def number(value: float, low: float = NAN, high: float = NAN) -> Cell:
    """An estimate."""
    return Cell(estimate=Estimate(value=value, low=low, high=high))


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (number(0.3, 0.2, 0.4), number(0.5, 0.45, 0.6), Kind.MOVED),
        (number(0.5, 0.45, 0.6), number(0.3, 0.2, 0.4), Kind.MOVED),
        (number(0.3, 0.2, 0.4), number(0.5, 0.4, 0.6), None),
        (number(0.3, 0.2, 0.4), number(0.39, 0.1, 0.6), None),
        (number(0.3), number(0.3009), None),
        (number(0.3), number(0.302), Kind.DIFFERS),
        (number(0.3, 0.2, 0.4), number(0.9), Kind.DIFFERS),
        (number(0.3), number(NAN), Kind.DIFFERS),
        (number(NAN), number(NAN), None),
        (Cell(plain=3.0), Cell(plain=4.0), Kind.DIFFERS),
        (Cell(plain=3.0), Cell(plain=3.0), None),
        (Cell(text="FGSM"), Cell(text="PGD"), Kind.DIFFERS),
        (Cell(text="FGSM"), Cell(text="FGSM"), None),
    ],
)
def test_a_number_moved_if_its_intervals_do_not_overlap(before: Cell, after: Cell, kind: Kind | None) -> None:
    """Intervals that touch overlap; without one, more than a printed digit is a difference, listed apart."""
    found = compare(one_cell(before), one_cell(after))
    assert [change.kind for change in found.changes] == ([] if kind is None else [kind])
    assert found.compared == 1
    if kind is not None:
        (change,) = found.of(kind)
        assert change.address == ("t", "none", "gain")
        assert (change.before, change.after) == (before, after)


def test_lines_that_one_report_lacks_are_counted_and_not_compared() -> None:
    """A chain that is new has nothing to be compared with."""
    found = compare(one_cell(number(1)), one_cell(number(2), key="jpeg"))
    assert (found.compared, found.only_first, found.only_second, found.changes) == (0, 1, 1, ())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"plan_sha256": "cd"}, "the same metrics, attacks, chains and number of images"),
        ({"plan_sha256": "cd", "attacks": (SQUARE,)}, f"attacks: -{FGSM}, +{SQUARE}"),
        ({"plan_sha256": "cd", "attacks": (FGSM, "pgd:eps=0.0392156862745")}, "attacks: +pgd:eps=10/255"),
        ({"plan_sha256": "cd", "chains": ("none", "jpeg:quality=50")}, f"chains: -{DIM}, +jpeg:quality=50"),
        ({"plan_sha256": "cd", "metrics": ("lite", "nima")}, "metrics: +nima"),
        ({"plan_sha256": "cd", "images": 8}, "images: 6 and 8"),
        ({"options": "scaling nips2017"}, "options: scaling declared and scaling nips2017"),
    ],
)
def test_plans_that_differ_are_told_in_one_line(changes: dict[str, object], said: str) -> None:
    """What is only in the first has a minus, what is only in the second a plus."""
    tables, _ = one_cell(number(1))
    plans = compare((tables, SOURCE), (tables, replace(SOURCE, **changes))).plans  # type: ignore[arg-type]
    assert plans == "" if not said else said in plans
    assert "\n" not in plans


def run_of(make_run: MakeRun, gain: float, where: Path) -> Path:
    """A run on forty images with gains around one, moved away so that another can be made."""
    records = [
        replace(
            record(0, FGSM, "none", "none", 0.0),
            image=f"image{number}.png",
            clean_defended=20.0 + number,
            attacked_defended=20.0 + number + gain + number % 5 - 2,
        )
        for number in range(40)
    ]
    shutil.move(make_run(records, plan=replace(PLAN, attacks=(FGSM,))), where)
    return where


def test_the_command_lists_what_moved(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A gain of 10 became one of 30; the exit code says so only if it is asked to."""
    first, second = run_of(make_run, 10, tmp_path / "a"), run_of(make_run, 30, tmp_path / "b")
    assert main(["report", "diff", str(first), str(second)]) == 0
    printed = capsys.readouterr().out
    assert "moved beyond their intervals" in printed
    assert "0.100 [" in printed
    assert "0.300 [" in printed
    assert main(["report", "diff", str(first), str(second), "--exit-code", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    moved = {(change["table"], change["line"], change["heading"]) for change in told["moved"]}
    assert ("leaderboard:bright", "none", "worst_gain") in moved
    assert ("robustness:bright", f"{FGSM}|none|unaware", "absolute_gain") in moved
    assert main(["report", "diff", str(first), str(first), "--exit-code"]) == 0
    assert " 0 moved beyond their intervals, 0 differ" in capsys.readouterr().out


def test_a_run_equals_the_file_of_its_own_report(make_run: MakeRun) -> None:
    """A directory is computed from its records, a file is read; the folder of a report is its file."""
    run = make_run(sound_records())
    report = make_report(run, TableOptions())
    for other in (report.folder / "tables.json", report.folder):
        found = compare(read_any(run), read_any(other))
        assert found.changes == ()
        assert found.plans == ""
        assert found.compared > 100


@pytest.mark.parametrize("content", [None, "", '{"tables": []}'])
def test_what_is_no_report_gives_one_line(
    content: str | None, make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file, an empty one, and one of another kind."""
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    assert main(["report", "diff", str(make_run(sound_records())), str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert "other.json" in said


def test_a_folder_without_a_run_gives_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how to make one."""
    assert main(["report", "diff", str(tmp_path), str(tmp_path)]) == 2
    assert "holds no campaign" in capsys.readouterr().err
