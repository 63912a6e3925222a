"""Conditions that let a pipeline fail, and the badge."""

from __future__ import annotations

import pytest
from tests.clients.report.conftest import DIM, MakeRun, sound_records

from scoreguard_client.cli import main
from scoreguard_client.report.badge import badge
from scoreguard_client.report.errors import TableError
from scoreguard_client.report.gates import failures, parse_gate
from scoreguard_client.report.tables.leaderboard import NUMBERS
from scoreguard_client.report.tables.model import Cell, Heading, Line, Table
from scoreguard_client.scores import Estimate

JPEG = "jpeg:quality=50:subsampling=4:2:0"


def board(metric: str = "lite", **gains: Estimate) -> Table:
    """A leaderboard with the worst gain of `none`, and of a jpeg chain if there is another."""
    keys = dict(zip(("none", JPEG), gains.values(), strict=False))
    heading = Heading(key="worst_gain", label="worst gain", meaning="")
    time = Heading(key="milliseconds", label="ms", meaning="")
    lines = tuple(
        Line(key=key, names=("jpeg" if key == JPEG else key,), cells=(Cell(estimate=gain), Cell(plain=5.0)))
        for key, gain in keys.items()
    )
    return Table(
        key=f"leaderboard:{metric}", title="", about="", leading=("defence",), headings=(heading, time), lines=lines
    )


FIRM, LOOSE = Estimate(value=0.3, low=0.25, high=0.35), Estimate(value=0.1, note="n too small")


@pytest.mark.parametrize(
    ("condition", "fails"),
    [
        ("worst_gain>0.2", ["none"]),
        ("worst_gain > 0.3", []),
        ("worst_gain>=0.3", ["none"]),
        ("worst_gain<0.2", ["jpeg"]),
        ("worst_gain<=0.1", ["jpeg"]),
        ("worst_gain<1e-3", []),
        ("worst_gain[none]>0.31", []),
        ("worst_gain[jpeg]>0.05", ["jpeg"]),
        ("worst_gain[jpeg:quality=50]>0.05", ["jpeg"]),
        (f"worst_gain[{JPEG}]>0.05", ["jpeg"]),
        ("lite.worst_gain[none]>0.2", ["none"]),
        ("worst_gain.high[none]>0.34", ["none"]),
        ("worst_gain.low[none]>0.26", []),
        ("lite.worst_gain.low[none]>0.2", ["none"]),
        ("milliseconds>4", ["none", "jpeg"]),
    ],
)
def test_a_condition_is_held_against_each_chain_that_it_names(condition: str, fails: list[str]) -> None:
    """One line for each failure, which names the chain, the number and the condition."""
    found = failures([parse_gate(condition)], [board(a=FIRM, b=LOOSE)])
    assert [line.split(" of ")[1].split()[0] for line in found] == fails
    assert all(condition in line for line in found)


def test_a_failure_shows_the_number_and_its_interval() -> None:
    """With so many digits that it can be compared with the bound."""
    (line,) = failures([parse_gate("worst_gain>0.3")], [board(a=Estimate(value=0.3000004, low=0.25, high=0.35))])
    assert line == "worst_gain of none (lite) is 0.3 [0.25, 0.35]: worst_gain>0.3"
    (line,) = failures([parse_gate("worst_gain>0.3")], [board(a=Estimate(value=0.300004, low=0.25, high=0.35))])
    assert "0.300004 [0.25, 0.35]" in line


@pytest.mark.parametrize("sign", [">", "<"])
def test_a_missing_number_counts_as_a_failure(sign: str) -> None:
    """Whatever the condition: nobody knows that it holds; the reason is given."""
    undefined = Estimate(value=float("nan"), note="undefined")
    (line,) = failures([parse_gate(f"worst_gain{sign}0.2")], [board(a=undefined)])
    assert "is missing (undefined), which counts as a failure" in line
    (line,) = failures([parse_gate(f"worst_gain.high{sign}0.2")], [board(a=LOOSE)])
    assert "has no interval, so no high end (n too small)" in line


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("worst_gain", "is no condition"),
        ("worst_gain=0.2", "is no condition"),
        ("worst_gain==0.2", "is no condition"),
        (">0.2", "is no condition"),
        ("worst_gain[jpeg>0.2", "is no condition"),
        ("worst_gain>", "is no condition"),
        ("worst_gain>much", "'much' is no number"),
        ("worst_gain>nan", "is not finite"),
        ("wurst_gain>0.2", ", ".join(NUMBERS)),
        ("strongest>0.2", "no number 'strongest'"),
        ("low>0.2", "no number 'low'"),
        ("", "is no condition"),
    ],
)
def test_a_condition_of_another_form_is_refused(condition: str, why: str) -> None:
    """One line that says what can be written."""
    with pytest.raises(TableError) as caught:
        parse_gate(condition)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("nima.worst_gain>0.2", "no metric 'nima', only lite"),
        ("worst_gain[median]>0.2", "no chain 'median', only none, jpeg"),
        ("worst_gain[jpeg:quality=70]>0.2", "no chain 'jpeg:quality=70'"),
        ("worst_gain[???]>0.2", "no chain '???'"),
    ],
)
def test_a_metric_or_chain_that_the_run_lacks_is_refused(condition: str, why: str) -> None:
    """A condition on nothing must not pass."""
    with pytest.raises(TableError) as caught:
        failures([parse_gate(condition)], [board(a=FIRM, b=LOOSE)])
    assert why in str(caught.value)


def test_the_command_exits_with_one_and_says_why(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    """Undefended the gain is 0.2, behind the chain 0.12; the report is written all the same."""
    run = make_run(sound_records())
    quick = ["--resamples", "20"]
    assert main(["report", str(run), *quick, "--fail-if", "worst_gain>0.15", "--fail-if", "worst_gain[dim]>0.2"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("failed:")] == [
        "failed: worst_gain of none (bright) is 0.2: worst_gain>0.15"
    ]
    assert (run / "report/index.html").is_file()
    assert main(["report", str(run), *quick, "--fail-if", f"worst_gain[{DIM}]>0.15"]) == 0


def test_a_bad_condition_ends_the_command_before_it_computes(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line, and nothing written."""
    run = make_run(sound_records())
    assert main(["report", str(run), "--fail-if", "gain>0.2"]) == 2
    assert "no number 'gain', only worst_gain" in capsys.readouterr().err
    assert main(["report", str(run), "--fail-if", "worst_gain[blur]>0.2"]) == 2
    assert "no chain 'blur', only" in capsys.readouterr().err
    assert not (run / "report").exists()


@pytest.mark.parametrize(
    ("gain", "colour"),
    [(0.01, "brightgreen"), (0.1, "green"), (0.15, "yellow"), (0.3, "orange"), (0.7, "red"), (-0.2, "brightgreen")],
)
def test_the_badge_shows_the_worst_gain_behind_the_best_chain(gain: float, colour: str) -> None:
    """The first line of the leaderboard, in the form of shields.io's endpoint."""
    assert badge([board(a=Estimate(value=gain))]) == {
        "schemaVersion": 1,
        "label": "worst gain",
        "message": f"{gain:.2f} behind none",
        "color": colour,
    }


def test_the_badge_of_several_metrics_has_the_colour_of_the_worst() -> None:
    """And one that is unknown leaves the whole unknown."""
    two = [board("lite", a=Estimate(value=0.02)), board("nima", a=Estimate(value=0.3))]
    assert badge(two)["message"] == "lite 0.02 behind none, nima 0.30 behind none"
    assert badge(two)["color"] == "orange"
    lost = [*two, board("niqe", a=Estimate(value=float("nan"), note="undefined"))]
    assert badge(lost)["color"] == badge(lost[::-1])["color"] == "lightgrey"
