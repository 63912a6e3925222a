"""`--sweep`: a chain for each value of a parameter, on the command line and in plan files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clients.campaign.conftest import Launch

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import ScoreguardError
from scoreguard_client.campaign import CampaignOptions, Ledger, PlanError
from scoreguard_client.campaign.sweeps import MOST, parse_sweep
from scoreguard_client.cli import command


def chains_of(run: Path) -> tuple[str, ...]:
    """The chains of a run's plan."""
    with Ledger.open(run) as ledger:
        return ledger.plan.metrics[0].chains


@settings(max_examples=60, deadline=None)
@given(
    low=st.integers(-500, 500),
    count=st.integers(1, MOST),
    step=st.integers(1, 40),
    spare=st.floats(0, 0.99),
    digits=st.integers(0, 3),
)
def test_a_range_has_every_step_up_to_its_end(low: int, count: int, step: int, spare: float, digits: int) -> None:
    """Exactly: decimals are added as decimals, so 0.1..0.3:0.1 ends with 0.3; an end between steps does not count."""
    unit, high = Fraction(1, 10**digits), low + step * (count - 1) + int(spare * step)
    texts = [f"{float(number * unit):.{digits}f}" for number in (low, high, step)]
    found = parse_sweep(f"dim.factor={texts[0]}..{texts[1]}:{texts[2]}")
    assert found.values == tuple(float((low + step * place) * unit) for place in range(count))
    assert (found.defence, found.parameter) == ("dim", "factor")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=MOST))
def test_a_list_has_its_values_in_its_order_each_once(values: list[float]) -> None:
    """As Python reads their texts."""
    found = parse_sweep("dim.factor=" + ", ".join(map(repr, values)))
    assert found.values == tuple(dict.fromkeys(values))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="dimjpeg.=,:+-_0123456789eE \n", max_size=30))
def test_whatever_is_written_is_a_sweep_or_one_line(text: str) -> None:
    """Nothing else is raised."""
    try:
        found = parse_sweep(text)
    except PlanError as error:
        assert "\n" not in str(error)
    else:
        assert 1 <= len(found.values) <= MOST


def test_a_list_may_name_choices() -> None:
    """Colons and all."""
    assert parse_sweep("jpeg.subsampling=4:2:0,4:4:4").values == ("4:2:0", "4:4:4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jpeg", "write DEFENCE.PARAMETER=LOW..HIGH:STEP"),
        ("jpeg.quality", "write DEFENCE.PARAMETER=LOW..HIGH:STEP"),
        ("jpeg.quality=", "write DEFENCE.PARAMETER=LOW..HIGH:STEP"),
        ("quality=10,20", "write DEFENCE.PARAMETER=LOW..HIGH:STEP"),
        ("jpeg.quality=10..100", "a range is LOW..HIGH:STEP"),
        ("jpeg.quality=low..high:1", "a range is LOW..HIGH:STEP"),
        ("jpeg.quality=1..nan:1", "a range is LOW..HIGH:STEP"),
        ("jpeg.quality=10..100:0", "the step must be above 0"),
        ("jpeg.quality=100..10:-10", "the step must be above 0"),
        ("jpeg.quality=100..10:10", "the range is empty"),
        ("jpeg.quality=0..1e999999:1", "more than 100 values"),
        ("jpeg.quality=0..100:1", "more than 100 values"),
        ("jpeg.quality=10,,20", "''"),
        ("jpeg.quality=10:subsampling=4:2:0", "not one value"),
        ("jpeg.quality=10+flip", "not one value"),
    ],
)
def test_what_is_no_sweep_is_refused_in_one_line(text: str, said: str) -> None:
    """Which shows what was written."""
    with pytest.raises(PlanError) as caught:
        parse_sweep(text)
    assert said in str(caught.value)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sweep_adds_a_chain_for_each_value(run_campaign: Launch, options: CampaignOptions) -> None:
    """After the other chains; one that is there already is not there twice."""
    run_campaign(attacks="fgsm", defences="none,dim", sweep=("dim.factor=0.25..1:0.25",), limit=1)
    assert chains_of(options.out) == (
        "none",
        "dim:factor=0.5:level=1",
        "dim:factor=0.25:level=1",
        "dim:factor=0.75:level=1",
        "dim:factor=1:level=1",
    )


def test_other_parameters_are_those_of_the_chain_that_has_the_defence(
    run_campaign: Launch, options: CampaignOptions
) -> None:
    """Here its level is not the default; a chain of the defence alone goes before a longer one."""
    chains = "shift+dim:level=1,dim:factor=0.1:level=3"
    run_campaign(attacks="fgsm", defences=chains, sweep=("dim.factor=0.2,0.3", "dim.level=1,3"), limit=1)
    assert chains_of(options.out)[2:] == (
        "dim:factor=0.2:level=3",
        "dim:factor=0.3:level=3",
        "dim:factor=0.1:level=1",
    )


def test_extending_a_run_by_a_sweep_computes_what_is_missing(run_campaign: Launch, options: CampaignOptions) -> None:
    """And takes the other parameters from the run's own chain."""
    run_campaign(attacks="fgsm", defences="dim:factor=0.5:level=3", limit=1)
    summary = run_campaign(attacks="", defences="", sweep=("dim.factor=0.5,0.6,0.7",), limit=1, metric="", extend=True)
    assert chains_of(options.out) == tuple(f"dim:factor={value}:level=3" for value in (0.5, 0.6, 0.7))
    assert (summary.records, summary.failed) == (3, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dmi.factor=0.1,0.2", "sweep 'dmi.factor=0.1,0.2': unknown defence 'dmi': did you mean dim?"),
        ("dim.fcator=0.1,0.2", "sweep 'dim.fcator=0.1,0.2': "),
        ("dim.factor=0..2:0.5", "is out of range: 0 to 1"),
        ("dim.factor=0..1:0", "the step must be above 0"),
        ("dim.factor=1..0:0.1", "the range is empty"),
    ],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_a_sweep_that_does_not_fit_gives_one_line_and_code_2(
    text: str,
    said: str,
    *,
    in_file: bool,
    running: Any,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything runs; in a plan file, with the line."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"seed: 1\nsweep:\n  - dim.level=1,3\n  - {text!r}\n")
    given = ["--plan", str(plan)] if in_file else ["--sweep", text]
    code = attack(running, photos, tmp_path / "run", *given)
    told = capsys.readouterr().err
    assert code == 2
    assert said in told
    assert told.count("\n") == 1
    assert (f"{plan}, line 4: " in told) is in_file
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "written",
    [
        "dim.factor=0.2..0.6:0.2",
        ["dim.factor=0.2,0.4,0.6"],
        {"dim.factor": "0.2..0.6:0.2"},
        {"dim.factor": [0.2, 0.4, 0.6]},
        [{"dim.factor": 0.2}, "dim.factor=0.4,0.6"],
    ],
)
def test_a_plan_file_states_sweeps_as_texts_or_mappings(
    written: Any, running: Any, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All mean the same as the option; a dry run counts their chains."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"sweep": written, "attacks": "fgsm", "limit": 1}))
    assert attack(running, photos, tmp_path / "run", "--plan", str(plan), "--dry-run") == 0
    assert "4 records" in capsys.readouterr().out
    assert attack(running, photos, tmp_path / "run", "--plan", str(plan)) == 0
    swept = tuple(f"dim:factor={value}:level=1" for value in (0.2, 0.4, 0.6))
    assert chains_of(tmp_path / "run") == ("none", *swept)


def attack(running: Any, photos: Path, run: Path, *more: str) -> int:
    """Run the command."""
    words = ["attack", "--target", running.target, "--metric", "bright", "--gradients", "live", "--images", str(photos)]
    return console.run(command, errors=(ScoreguardError, ContractError), argv=[*words, "--out", str(run), *more])
