"""pyiqa's metrics where pyiqa is not installed: names, the table of what exports, and one line for each mistake."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest
import torch

from scoreguard.catalogue import UnknownNameError
from scoreguard.v1.spec import parse_chain
from scoreguard_export.archive.weights_store import weights_file
from scoreguard_export.cli import main
from scoreguard_export.errors import ExportError, MissingExtraError
from scoreguard_export.metrics.catalogue import known, metric_of, named
from scoreguard_export.metrics.pyiqa.adapter import metric_class
from scoreguard_export.metrics.pyiqa.papers import PAPERS
from scoreguard_export.metrics.pyiqa.replaced import replaced
from scoreguard_export.metrics.pyiqa.table import Entry, Status, find, served, survey
from scoreguard_export.weights.source import CommercialUse

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = survey().entries
EXPORTED = [entry for entry in ENTRIES.values() if entry.status is Status.EXPORTS]
OTHERS = [entry for entry in ENTRIES.values() if entry.status is not Status.EXPORTS]


def entry(score_range: str) -> Entry:
    """An entry with a range."""
    return Entry(name="x", network="X", score_range=score_range, lower_better=True, status=Status.EXPORTS)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says before it exits with code 2: one line."""
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said.count("\n") == 1, said
    return said


def test_every_metric_has_a_served_name_of_its_own_that_every_engine_takes() -> None:
    """Neither `+` nor capitals can stand in a chain."""
    names = [found.served_name for found in ENTRIES.values()]
    assert len(set(names)) == len(names) == 74
    assert [step.name for step in parse_chain("+".join(names))] == names
    assert served("pyiqa:clipiqa+_vitL14_512") == "pyiqa-clipiqa-plus-vitl14-512"
    assert served("niqe") == "niqe"


@pytest.mark.parametrize("found", ENTRIES.values(), ids=ENTRIES)
def test_every_row_says_what_can_be_done_and_why_not(found: Entry) -> None:
    """What exports has a smallest image and its files; anything else has a reason that begins with the stage."""
    if found.status is Status.EXPORTS:
        assert found.bounds is not None
        assert found.minimum_size >= 16
        assert found.files
        assert all(address.startswith("https://") for address in found.files)
        assert found.parity_error <= 1e-3
        assert found.batch_error <= 1e-3
    else:
        assert found.reason.partition(":")[0] in {
            *("load", "score", "range", "repeat", "gradient", "batch", "torchscript", "onnx", "time", "memory"),
        }


@pytest.mark.parametrize("found", EXPORTED, ids=[found.name for found in EXPORTED])
def test_what_exports_is_a_metric_with_facts_and_licensed_weights(found: Entry) -> None:
    """By either of its names, without pyiqa."""
    metric = named(f"pyiqa:{found.name}")
    assert metric is named(found.served_name) is metric_of(f"pyiqa:{found.name}")[0]
    assert metric.facts.name == found.served_name
    assert metric.facts.higher_is_better is not found.lower_better
    assert found.network in PAPERS
    assert metric.sources or not found.parameters
    for name, source in metric.sources.items():
        assert "non-commercial" in source.licence or name.startswith("clip-")
    assert next(iter(metric.sources)) == found.served_name or next(iter(metric.sources)).startswith("clip-")


@pytest.mark.parametrize(
    ("text", "low", "high"), [("0, 1", 0, 1), ("~0, ~100", 0, 100), ("~-1, ~0.1", -1, 0.1), ("0, 2.5", 0, 2.5)]
)
def test_a_range_is_read_as_pyiqa_writes_it(text: str, low: float, high: float) -> None:
    """With and without a sign for a rough number."""
    bounds = entry(text).bounds
    assert bounds is not None
    assert (bounds.low, bounds.high, bounds.higher_is_better) == (low, high, False)


def test_an_open_range_is_no_range() -> None:
    """A metric without one cannot be served."""
    assert entry("~0, ~").bounds is None
    with pytest.raises(ExportError, match="its range is open"):
        metric_class(entry("~0, ~"))


@pytest.mark.parametrize("found", OTHERS[:4], ids=[found.name for found in OTHERS[:4]])
def test_what_does_not_export_is_refused_with_the_reason(found: Entry, capsys: pytest.CaptureFixture[str]) -> None:
    """The same that the table shows."""
    assert found.reason in refused(capsys, "build", "--metrics", f"pyiqa:{found.name}", "--defences", "flip")


def test_an_unknown_name_is_answered_by_similar_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    assert "unknown metric of pyiqa 'metaiqe': did you mean metaiqa" in refused(
        capsys, "build", "--metrics", "pyiqa:metaiqe", "--defences", "flip"
    )
    assert find("musiq") is None
    with pytest.raises(UnknownNameError):
        find("pyiqa:metaiqe")
    assert known("pyiqa:metaiqe") is None


def test_missing_weights_are_named_with_their_address_and_how_to_get_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched while a metric is built."""
    monkeypatch.setenv("SCOREGUARD_WEIGHTS", str(tmp_path))
    said = refused(capsys, "build", "--metrics", "pyiqa:metaiqa", "--defences", "flip")
    assert "--weights pyiqa-metaiqa=PATH" in said
    assert "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/Metaiqa_livec.pth" in said
    assert "`scoreguard-export weights get pyiqa-metaiqa` fetches it" in said


def test_the_weights_command_knows_the_files() -> None:
    """Their addresses, who reads them, and that the licence is restricted."""
    file = weights_file("pyiqa-metaiqa")
    assert file.users == ("metric pyiqa:metaiqa",)
    assert file.source.download.endswith("/Metaiqa_livec.pth")
    assert file.source.commercial is CommercialUse.NO


def test_a_missing_extra_is_one_line_with_the_pip_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only when a network is made is pyiqa needed."""
    monkeypatch.setitem(sys.modules, "pyiqa.default_model_configs", None)
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(MissingExtraError, match=r"pyiqa:metaiqa needs pip install 'scoreguard\[pyiqa\]'"):
        named("pyiqa:metaiqa").from_weights({"pyiqa-metaiqa": path})


def test_weights_of_a_metric_that_is_not_built_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As for every other metric."""
    words = ("build", "--metrics", "lite", "--defences", "flip", "--weights", f"pyiqa-metaiqa={tmp_path}/x.pth")
    assert "which nothing needs that is built: see --metrics" in refused(capsys, *words)


def test_the_table_is_printed_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """Every name with what can be done, the versions, the licence and how to repeat it."""
    for words in ((), ("--json",)):
        with pytest.raises(SystemExit) as stopped:
            main(["catalogue", "--pyiqa", *words])
        assert stopped.value.code == 0
    text, _, data = capsys.readouterr().out.partition('{\n  "licence"')
    content = json.loads('{"licence"' + data)
    assert [row["name"] for row in content["metrics"]] == [f"pyiqa:{name}" for name in ENTRIES]
    assert content["versions"]["pyiqa"] == "0.1.16"
    assert "PolyForm Noncommercial" in content["licence"]
    assert content["repeat"] == "python scripts/pyiqa_survey.py"
    assert (ROOT / content["repeat"].split()[1]).is_file()
    assert f"{len(EXPORTED)} exports" in text


def test_nothing_but_the_adapter_imports_pyiqa() -> None:
    """Its licence is non-commercial: nothing may come to depend on it unseen."""
    home = ROOT / "export/scoreguard_export/metrics/pyiqa"
    folders = [ROOT / part for part in ("proto", "export", "handlers", "clients")]
    files = [path for folder in folders for path in folder.rglob("*.py") if home not in path.parents]
    assert len(files) > 200
    assert [path for path in files if "pyiqa" in set(imported(path))] == []
    assert [path for path in home.glob("*.py") if "pyiqa" in set(imported(path, by_name=False))] == []


def imported(path: Path, *, by_name: bool = True) -> list[str]:
    """The packages that a file imports, and those whose name it gives to a function that imports."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
        elif by_name and isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            found += [str(node.args[0].value)] if called in ("library", "import_module") else []
    return [name.partition(".")[0] for name in found]


def test_what_is_replaced_is_put_back_whatever_happens() -> None:
    """After an error too; an owner without the attribute is not touched."""
    load, save = torch.load, torch.save
    with pytest.raises(ZeroDivisionError), replaced(torch, load=None, save=None):
        assert torch.load is None
        raise ZeroDivisionError
    assert (torch.load, torch.save) == (load, save)
    with pytest.raises(AttributeError), replaced(torch, load=None, no_such_thing=None):
        pass
    assert torch.load is load
