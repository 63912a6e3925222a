"""`scoreguard-export catalogue`: what people and programs read about the defences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tampering import with_manifest
from tiny_archives import write_tiny_archive

from scoreguard.support.weights_folder import FOLDER_VARIABLE
from scoreguard_export import cli
from scoreguard_export.defences.catalogue import CATALOGUE
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS

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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of weights."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def metrics(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, Any]]:
    """The facts of every metric as JSON, by its name."""
    return {metric["name"]: metric for metric in json.loads(printed(capsys, "--json", *words))["metrics"]}


def test_every_metric_says_what_its_range_is_and_who_may_use_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Range, direction, how the range was obtained, the weights and what their licence allows."""
    found = metrics(capsys)
    assert set(found) == set(METRICS)
    for name, facts in found.items():
        assert facts["range_basis"] in ("hard bounds", "declared scale", "measured"), name
        assert bool(facts["measured_on"]) == (facts["range_basis"] == "measured"), name
        assert (facts["weights"] == "none") == (facts["commercial_use"] is None), name
        assert facts["formats"] == ["torchscript", "onnx"] and facts["parity_error"] is None
    states = {name: found[name]["weights"] for name in ("lite", "piqe", "cnniqa", "spaq")}
    assert states == {"lite": "shipped", "piqe": "none", "cnniqa": "to fetch", "spaq": "yours"}
    uses = {name: found[name]["commercial_use"] for name in ("lite", "cnniqa", "spaq")}
    assert uses == {"lite": "yes", "cnniqa": "not stated", "spaq": "no"}
    assert found["nima"]["range_basis"] == "hard bounds" and found["spaq"]["range_basis"] == "declared scale"
    assert found["spaq"]["backbone"] == "ResNet-50" and not found["niqe"]["higher_is_better"]


def test_weights_in_the_folder_are_seen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once there, they are fetched, whoever put them there."""
    (folder / "spaq.pth").touch()
    assert metrics(capsys)["spaq"]["weights"] == "fetched"


def test_the_parity_error_is_that_of_a_built_store(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The largest of each format; what the store lacks is not built, and a store without archives is one line."""
    cases = [("torchscript", 1e-7), ("onnx", 3e-5), ("onnx", 2e-5)]
    archive = write_tiny_archive(tmp_path / "store", "lite")
    with_manifest(
        archive,
        lambda manifest: manifest["metric"].update(
            parity=[{"engine": engine, "max_abs_error": error} for engine, error in cases]
        ),
    )
    found = metrics(capsys, "--model-store", str(tmp_path / "store"))
    assert found["lite"]["parity_error"] == {"torchscript": 1e-7, "onnx": 3e-5}
    assert found["nima"]["parity_error"] is None
    assert "onnx 3e-05" in printed(capsys, "--model-store", str(tmp_path / "store"))
    with pytest.raises(SystemExit) as stopped:
        cli.main(["catalogue", "--model-store", str(tmp_path / "none")])
    assert stopped.value.code == 2
    assert "no .mar archive here" in capsys.readouterr().err
