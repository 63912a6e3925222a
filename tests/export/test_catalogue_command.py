"""`scoreguard-export catalogue`: what people and programs read about the defences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scoreguard_export import cli
from scoreguard_export.defences.catalogue import CATALOGUE

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/defences.md"
STUDY = [
    *("bilateral", "flip", "blur", "jpeg", "median", "mprnet", "crop", "realesrgan", "resize", "rotate", "unsharp"),
    *("upscale", "fcn-filter", "diffpure", "diffpure-edge", "diffpure-unsharp"),
]
LATER = ["quantise", "noise", "tv", "nlm", "wavelet", "fbcnn"]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command writes."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["catalogue", *words])
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", [*STUDY, *LATER])
def test_every_defence_of_the_studies_has_its_row(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The sixteen of the first study and those of the later benchmarks."""
    assert f"\n| `{name}` | " in printed(capsys, "--markdown")


def test_the_document_has_the_table_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever changes a defence prints the table again."""
    assert printed(capsys, "--markdown").strip() in DOCUMENT.read_text(encoding="utf-8")


def test_programs_read_what_is_random_and_which_weights_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    """The facts that a table for people shows, as JSON."""
    found = {defence["name"]: defence for defence in json.loads(printed(capsys, "--json"))["defences"]}
    assert set(found) == set(CATALOGUE)
    random = {name for name, facts in found.items() if facts.get("random_inputs") or facts["sampled"]}
    assert random == {"crop", "noise", "rotate", "diffpure", "diffpure-edge", "diffpure-unsharp"}
    assert [weights["name"] for weights in found["realesrgan"]["weights"]] == ["realesrgan", "realesrgan-wdn"]
    assert not any(weights["shipped"] for weights in found["mprnet"]["weights"])
    assert found["diffpure"]["half_precision"]
    assert not found["blur"]["half_precision"]
    assert found["diffpure"]["weights"][0]["shipped"]
    assert found["fcn-filter"]["weights"][0]["shipped"]
    assert found["bfcnn"]["tiling"] == {"size": 1024, "overlap": 20, "multiple": 1}
