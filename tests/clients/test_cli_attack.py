"""`scoreguard attack` and `scoreguard report` as a user runs them, against the small real server."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
import pytest
import yaml
from second_device import second_device
from tests.clients.oracles.toy_archive import write_archive

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import ScoreguardError
from scoreguard_client.attacks import parse_attack
from scoreguard_client.attacks.optimized_uap import OptimizedUAP
from scoreguard_client.campaign import Ledger
from scoreguard_client.cli import command
from scoreguard_client.commands import attack as attack_command
from scoreguard_client.commands._plan_file import as_text, keys_of, read_plan
from scoreguard_client.target.errors import PlanError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three small images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        PIL.Image.fromarray(rng.integers(40, 200, (12, 16, 3), dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs the command and gives exit code, output and errors."""

    def execute(*arguments: object) -> tuple[int, str, str]:
        code = console.run(command, errors=(ScoreguardError, ContractError), argv=[str(word) for word in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return execute


@pytest.fixture
def attack(run: Run, running: Any, photos: Path, tmp_path: Path) -> Run:
    """A function that attacks with some defaults."""

    def execute(*arguments: object) -> tuple[int, str, str]:
        fixed = ["--target", running.target, "--metric", "bright", "--images", photos, "--out", tmp_path / "run"]
        return run("attack", *fixed, "--gradients", "live", *arguments)

    return execute


def test_a_campaign_and_its_report_from_the_command_line(attack: Run, run: Run, tmp_path: Path) -> None:
    """Both print what comes next or what was found, and write the files that they name."""
    code, out, err = attack("--attacks", "fgsm,square:queries=4", "--defences", "none,dim", "--adaptive")
    assert code == 0
    assert "18 records" in out
    assert f"scoreguard report {tmp_path / 'run'}" in out
    assert "24/24" in err
    code, out, _ = run("report", tmp_path / "run")
    assert code == 0
    assert "FGSM" in out
    with (tmp_path / "run/report/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["attack"].split(":")[0], row["chain"], row["adaptive"]) for row in rows} == {
        ("fgsm", "none", "no"),
        ("fgsm", "dim:factor=0.5:level=1", "no"),
        ("fgsm", "dim:factor=0.5:level=1", "yes"),
        ("square", "none", "no"),
        ("square", "dim:factor=0.5:level=1", "no"),
        ("square", "dim:factor=0.5:level=1", "yes"),
    }
    assert (tmp_path / "run/report/index.html").read_text().startswith("<!doctype html>")
    assert list((tmp_path / "run/report").glob("*.png"))
    assert {path.suffix for path in (tmp_path / "run/report/figures").glob("heatmap-gain.*")} == {
        ".svg",
        ".pdf",
        ".png",
    }


def test_json_answers_can_be_read_by_programs(attack: Run, run: Run, tmp_path: Path) -> None:
    """One object each on standard output."""
    code, out, _ = attack("--attacks", "fgsm", "--json")
    assert (code, json.loads(out)) == (
        0,
        {"records": 3, "failed": 0, "first_error": "", "retryable": 0, "left_out": [], "run": str(tmp_path / "run")},
    )
    _, out, _ = run("report", tmp_path / "run", "--json")
    (row,) = json.loads(out)["rows"]
    assert row["images"] == 3
    assert row["scores"]["absolute_gain"]["value"] == pytest.approx(10 / 255, rel=1e-4)


@pytest.mark.parametrize("draws", [2, "auto"])
def test_a_plan_file_gives_options_and_the_command_line_wins(draws: int | str, attack: Run, tmp_path: Path) -> None:
    """Keys are the long options; lists are allowed."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"attacks": ["fgsm", "square:queries=3"], "limit": 2, "crafting-draws": draws}))
    code, out, err = attack("--plan", plan, "--limit", 1, "--json")
    assert (code, err.count("error")) == (0, 0)
    assert json.loads(out)["records"] == 2


@pytest.mark.parametrize("by_plan", [True, False])
def test_degraded_copies_are_asked_for_by_option_or_plan(by_plan: bool, attack: Run, tmp_path: Path) -> None:
    """Eighteen of an image, beside the attack."""
    plan = tmp_path / "plan.yaml"
    plan.write_text("degraded: true\n")
    code, out, _ = attack(
        *(["--plan", plan] if by_plan else ["--degraded"]), "--attacks", "fgsm", "--limit", 1, "--json"
    )
    assert (code, json.loads(out)["records"]) == (0, 1 + 18)


@pytest.mark.parametrize(
    "item",
    [
        {"attack": "optimized-uap", "file": "FILE"},
        {"name": "optimized-uap", "file": "FILE"},
        {"optimized-uap": {"file": "FILE"}},
    ],
)
def test_a_plan_names_a_file_whatever_its_path_is_called(item: dict[str, Any], attack: Run, tmp_path: Path) -> None:
    """A path with the marks of an attack's text is taken as it is, and the attack runs beside another."""
    file = tmp_path / "a:b,c+d%3A.npy"
    np.save(file, np.full((3, 4, 4), 0.1, dtype=np.float32))
    plan = tmp_path / "plan.yaml"
    plan.write_text(json.dumps({"attacks": [item, "fgsm"], "limit": 1}).replace("FILE", str(file)))
    code, out, err = attack("--plan", plan, "--json")
    assert (code, err.count("error")) == (0, 0)
    summary = json.loads(out)
    with Ledger.open(Path(summary["run"])) as ledger:
        records = {record.attack.partition(":")[0]: record for record in ledger.records()}
    assert set(records) == {"optimized-uap", "fgsm"}
    uap = parse_attack(records["optimized-uap"].attack)
    assert isinstance(uap, OptimizedUAP)
    assert (uap.file, records["optimized-uap"].error) == (str(file), "")
    assert records["optimized-uap"].l_inf == pytest.approx(0.04)


def test_a_plan_may_say_chains_and_name_a_choice_with_colons() -> None:
    """The keys are the long options, `--chains` as well as `--defences`; `4:2:0` is one value."""
    keys = dict(keys_of(attack_command.command))
    assert keys["chains"].name == keys["defences"].name == "defences"
    steps = [{"jpeg": {"quality": 50, "subsampling": "4:2:0"}}, "none"]
    assert as_text(steps) == "jpeg:quality=50:subsampling=4:2:0,none"
    with pytest.raises(PlanError, match="holds one of the marks"):
        as_text([{"jpeg": {"quality": "50:subsampling=4:2:0"}}])


def test_a_plan_says_no_as_the_command_line_does(tmp_path: Path) -> None:
    """`no_tf32: true` is --no-tf32; `tf32: true` is --tf32."""
    plan, told = tmp_path / "plan.yaml", attack_command.command
    for text, wanted in (
        ("no_tf32: true\nno_deterministic: true", (False, False)),
        ("tf32: true\ndeterministic: true", (True, True)),
        ("no_tf32: false", (True, None)),
    ):
        plan.write_text(text)
        context = click.Context(told)
        read_plan(context, told.params[0], plan)
        found = context.default_map or {}
        assert (found.get("tf32"), found.get("deterministic")) == wanted


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("also: [host1:50051, host2:50051]", "also", ["host1:50051", "host2:50051"]),
        ("also: host1:50051", "also", ["host1:50051"]),
        ("metric: [lite, niqe]", "metric", "lite,niqe"),
        ("metric: lite,niqe", "metric", "lite,niqe"),
        ("extend: true\nworkers: 2", "workers", 2),
    ],
)
def test_a_plan_lists_metrics_and_servers(text: str, name: str, value: object, tmp_path: Path) -> None:
    """As a list or as the command line has them."""
    plan, told = tmp_path / "plan.yaml", attack_command.command
    plan.write_text(text)
    context = click.Context(told)
    read_plan(context, told.params[0], plan)
    assert (context.default_map or {})[name] == value


def test_a_chain_of_a_plan_takes_no_marks_inside_a_value(attack: Run, tmp_path: Path) -> None:
    """Its parameters are numbers."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"defences": [{"dim": {"factor": "0.5:level=1"}}]}))
    code, _, err = attack("--plan", plan)
    assert code == 2
    assert "holds one of the marks" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("atacks: [fgsm]", "line 1: unknown key 'atacks'"),
        ("- fgsm", "a mapping"),
        ("seed: 1\na: [", "line 2 cannot be read as YAML"),
        ("seed: 1\nattacks: [fgsm]\nseed: 2", "line 3: key 'seed' is there twice"),
        ("chains: none\ndefences: dim", "line 2: 'defences' was given before, maybe under its other name"),
        (
            "attacks:\n  - fgsm\n  - ifgms: {eps: 8/255}",
            "line 3: cannot read attack 'ifgms:eps=8/255': no attack 'ifgms'; did you mean ifgsm",
        ),
        ("attacks:\n  fgsm:\n  ifgsm: {epsilon: 8/255}", "no parameter 'epsilon'; did you mean eps?"),
        (
            "attacks:\n  - ifgsm: {iterations: -3}",
            "line 2: cannot read attack 'ifgsm': iterations must be at least 1, not -3",
        ),
        ("attacks:\n\n  - {name: square, queries: many}", "'many' is no value for 'queries'; it takes a whole number"),
        ("seed: 1\ndefences:\n  - dim\n  - dmi", "line 4: unknown defence 'dmi': did you mean dim?"),
        (
            "defences:\n  - none\n  - [{dim: {factor: 7}}, shift]",
            "line 3: dim:factor=7 (step 1) is out of range: 0 to 1",
        ),
        ("defences: ['dim:']", "line 1: "),
        ("limit: few", "line 1: limit: 'few' is not a valid integer range."),
        ("limit: 0", "line 1: limit: 0 is not in the range x>=1."),
        ("limit: 2.5", "line 1: limit takes a whole number, not 2.5"),
        ("limit: yes", "line 1: limit takes a value, not true"),
        ("limit: [3]", "line 1: limit takes one value"),
        ("limit:", "line 1: limit has no value"),
        ("adaptive: perhaps", "line 1: adaptive: 'perhaps' is not a valid boolean"),
        ("gradients: remote", "line 1: gradients: 'remote' is not one of"),
        ("crafting_draws: some", "line 1: crafting_draws: 'some' is not a valid integer range"),
    ],
)
def test_a_plan_file_that_cannot_be_used_gives_one_line(text: str, said: str, attack: Run, tmp_path: Path) -> None:
    """With the place in the file, and exit code 2; nothing is run."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(text)
    code, _, err = attack("--plan", plan)
    assert code == 2
    assert said in err
    assert str(plan) in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_metric_of_a_plan_that_is_not_deployed_is_named_with_its_line(
    run: Run, running: Any, photos: Path, tmp_path: Path
) -> None:
    """The command line overrides it, and is then the one that is checked."""
    plan = tmp_path / "plan.yaml"
    plan.write_text("limit: 1\nmetric: brigth\nattacks: fgsm\n")
    where = ["--plan", plan, "--images", photos, "--out", tmp_path / "run", "--target", running.target]
    code, _, err = run("attack", *where, "--gradients", "live")
    assert (code, err) == (2, f"error: {plan}, line 2: unknown metric 'brigth': did you mean bright?\n")
    assert run("attack", *where, "--gradients", "live", "--metric", "bright")[0] == 0


def test_the_run_directory_of_another_plan_gives_one_line_and_code_2(attack: Run) -> None:
    """Naming what differs."""
    assert attack("--attacks", "fgsm")[0] == 0
    code, _, err = attack("--attacks", "fgsm", "--seed", 5)
    assert code == 2
    assert "seed: 0 there, 5 here" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--attacks", "fgms"], "did you mean fgsm"),
        (["--defences", "dimm"], "did you mean dim"),
        (["--metric", "bight"], "did you mean bright"),
        (["--images", "nowhere"], "not a folder"),
        (["--limit", "0"], "limit"),
        (["--gradients", "remote"], "gradients"),
        (["--target", "localhost:1", "--timeout", "2"], "localhost:1"),
    ],
)
def test_bad_input_gives_one_line_and_code_2(arguments: list[str], said: str, attack: Run) -> None:
    """Never a traceback."""
    code, _, err = attack(*arguments)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_report_of_nothing_gives_one_line_and_code_2(run: Run, tmp_path: Path) -> None:
    """It says how to make a run."""
    code, _, err = run("report", tmp_path)
    assert code == 2
    assert "scoreguard attack --out" in err


@pytest.mark.parametrize("name", ["attack", "report"])
def test_help_shows_an_example(name: str, run: Run) -> None:
    """Both commands have one."""
    code, out, _ = run(name, "--help")
    assert code == 0
    assert f"scoreguard {name}" in out
    assert "Example" in out


def test_the_device_of_local_gradients_is_an_option(run: Run, running: Any, photos: Path, tmp_path: Path) -> None:
    """`auto` says on stderr what it took; a device that is not there ends in one line."""
    surrogate = write_archive(tmp_path / "energy").path
    fixed = ["--target", running.target, "--metric", "bright", "--images", photos, "--surrogate", surrogate]
    code, _, err = run("attack", *fixed, "--attacks", "fgsm", "--out", tmp_path / "auto", "--device", "auto")
    assert code == 0
    assert "device cpu: auto chose the CPU, since" in err or "auto chose the first GPU" in err
    code, out, err = run("attack", *fixed, "--attacks", "fgsm", "--out", tmp_path / "none", "--device", "cuda:99")
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert "cuda:99" in err


def test_a_report_says_where_gradients_were_computed(run: Run, running: Any, photos: Path, tmp_path: Path) -> None:
    """In the page and in the JSON."""
    surrogate = write_archive(tmp_path / "energy").path
    fixed = ["--target", running.target, "--metric", "bright", "--images", photos, "--surrogate", surrogate]
    run("attack", *fixed, "--attacks", "fgsm", "--out", tmp_path / "run", "--device", str(second_device()))
    code, out, _ = run("report", tmp_path / "run", "--json")
    assert code == 0
    assert json.loads(out)["computation"]["device"] == "lazy:0"
    assert run("report", tmp_path / "run")[0] == 0
    page = (tmp_path / "run/report/index.html").read_text()
    assert "<dt>Device</dt><dd>lazy, deterministic, fp32, batch 16</dd>" in page
