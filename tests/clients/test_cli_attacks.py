"""`scoreguard attacks`: the catalogue for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scoreguard_client.attacks import CATALOGUE, parse_attack
from scoreguard_client.cli import main
from scoreguard_client.degradations import DEGRADATIONS

DOCS = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"


def test_the_documented_table_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/attacks.md cannot fall behind the code."""
    assert main(["attacks", "--markdown"]) == 0
    table = capsys.readouterr().out
    assert table.count("\n") == len(CATALOGUE) + 2
    assert table in DOCS.read_text(encoding="utf-8")


def test_programs_get_every_attack_with_its_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    """The defaults are those of the attack that is made without parameters."""
    assert main(["attacks", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == list(CATALOGUE)
    assert listed["ifgsm"]["parameters"]["eps"] == "10/255"
    assert listed["korhonen"]["parameters"]["iterations"] == str(parse_attack("korhonen").queries_needed)
    assert {facts["needs"] for facts in listed.values()} == {"gradient", "scores", "training set", "nothing"}
    assert listed["dct-threshold"]["chain"] == "a chain whose first step is jpeg or quantise"
    assert {facts["chain"] for name, facts in listed.items() if name != "dct-threshold"} == {"any chain"}
    assert all(facts["budget"] and facts["paper"] for facts in listed.values())


def test_people_get_a_listing(capsys: pytest.CaptureFixture[str]) -> None:
    """Three lines for each attack; the degraded copies, which are none, stand below, a line each."""
    assert main(["attacks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 * len(CATALOGUE) + 1 + len(DEGRADATIONS)
    assert lines[-6] == "  degraded-blur: Gaussian blur; strength 1 to 5"
    assert lines[0].startswith("fgsm: FGSM, 2015")
    assert any(line.endswith("needs gradient; a chain whose first step is jpeg or quantise") for line in lines)


def test_the_listing_needs_no_torch() -> None:
    """The base install prints it."""
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from scoreguard_client.cli import main; sys.exit(main(['attacks', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
