"""`scoreguard challenge` as a user runs it, against the small real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tests.clients.campaign.two_metrics import options_of

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import ScoreguardError, ScoringClient
from scoreguard_client.campaign import launch
from scoreguard_client.cli import command


@pytest.fixture
def campaign(tmp_path: Path, running: Any) -> Path:
    """A finished run, and the folder `alice` with its images made brighter by ten levels."""
    options = options_of(
        tmp_path, metric="bright", attacks="square:queries=1", defences="none,dim:factor=0.25", adaptive=False
    )
    with ScoringClient(running.target) as client:
        launch(options, client, lambda runner: lambda steps, what: None)
    (tmp_path / "alice").mkdir()
    for name in ("a.png", "b.png"):
        with PIL.Image.open(options.images / name) as opened:
            PIL.Image.fromarray(np.asarray(opened) + np.uint8(10)).save(tmp_path / "alice" / name)
    return options.out


def execute(*words: object) -> int:
    """Run the command and return its exit code."""
    return console.run(command, errors=(ScoreguardError, ContractError), argv=[str(word) for word in words])


def test_the_command_prints_what_is_best_known_now(
    campaign: Path, running: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each chain; another challenge of the name is refused in one line with exit code 2."""
    words = ["challenge", campaign, campaign.parent / "alice", "--target", running.target, "--eps", "10/255"]
    assert execute(*words) == 0
    captured = capsys.readouterr()
    assert f"2 images of alice added to {campaign}, budget L∞ 10/255\n" in captured.out
    rows = [line.split("│") for line in captured.out.splitlines() if "│ bright" in line]
    assert [row[2].strip() for row in rows] == ["none", "dim:factor=0.25"]
    assert [row[5].split()[0] for row in rows] == ["0.039", "0.010"]
    assert [row[7].strip() for row in rows] == ["alice", "alice"]
    assert "2/2" in captured.err
    assert "note:" not in captured.out
    assert execute(*words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "has a challenge of 'alice' already" in error


def test_programs_read_the_outcome(campaign: Path, running: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object; an image that is left out makes the exit code 1."""
    folder = campaign.parent / "alice"
    PIL.Image.new("RGB", (3, 3)).save(folder / "a.png")
    words = ["challenge", campaign, folder, "--target", running.target, "--name", "A. L.", "--min-ssim", 0.99, "--json"]
    assert execute(*words, "--chain", "dim:factor=0.25") == 1
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["name"], outcome["images"], outcome["records"], outcome["failed"]) == ("A. L.", 1, 1, 0)
    assert [entry["name"] for entry in outcome["left_out"]] == ["a.png"]
    (standing,) = outcome["standings"]
    assert standing["label"] == "dim:factor=0.25" and standing["images"] == 1
    assert standing["gain"]["value"] == pytest.approx(0.25 * 10 / 255 / 2, abs=1e-6)
    assert standing["is_best"] is True


def test_a_budget_beyond_the_runs_is_noted(campaign: Path, running: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It is whoever owns the run who says what is allowed, but the others had less."""
    words = ["challenge", campaign, campaign.parent / "alice", "--target", running.target, "--eps", "32/255"]
    assert execute(*words) == 0
    # Square's default of 0.1.
    assert "note: no attack of the run may change more than L∞ 25.5/255" in capsys.readouterr().out


@pytest.mark.parametrize("eps", ["0", "-1", "ten", "1/0", "2", "nan"])
def test_a_radius_that_is_none_is_refused(eps: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is opened."""
    assert execute("challenge", "typo", "typo", "--eps", eps) == 2
    assert "is no radius in (0, 1] such as 10/255" in capsys.readouterr().err


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """As every command's."""
    assert execute("challenge", "--help") == 0
    out = capsys.readouterr().out
    assert "scoreguard challenge runs/first submitted --name alice --eps 10/255" in out
