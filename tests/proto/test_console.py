"""What the commands print where nobody's terminal limits them."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from rich.table import Table

from scoreguard.support import console

pytestmark = pytest.mark.base

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("clients", "export", "handlers")


def test_a_table_in_a_file_or_pipe_is_neither_folded_nor_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row is a line, and each cell stands in it whole, whatever COLUMNS says."""
    monkeypatch.setenv("COLUMNS", "40")
    chain = "blur:sigma=1.5+jpeg:quality=50+diffpure:t=10"
    table = Table("attack", "defence", *(f"column {number}" for number in range(20)), title="a title")
    table.add_row("I-FGSM", chain, *(f"{number}.123456" for number in range(20)))
    console.output().print(table)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if chain in line]
    assert all(f" {number}.123456 " in line for number in range(20))


def test_no_command_prints_to_a_console_of_its_own() -> None:
    """Standard output has one console, `console.output`; what goes to the error stream is free."""
    own = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Console":
                    own += [] if any(word.arg == "stderr" for word in node.keywords) else [f"{path}:{node.lineno}"]
    assert not own


def test_json_holds_no_number_that_json_does_not_know() -> None:
    """NaN and infinity become null, however deep; everything else stays as it is."""
    content = {"a": float("nan"), "b": [1.5, (float("inf"), {"c": -float("inf")})], "d": "NaN", "e": None, "f": True}
    wanted = {"a": None, "b": [1.5, [None, {"c": None}]], "d": "NaN", "e": None, "f": True}
    assert json.loads(console.json_text(content)) == wanted


def test_no_command_of_the_client_writes_json_another_way() -> None:
    """`json.dumps` would write NaN."""
    for path in sorted((ROOT / "clients/scoreguard_client/commands").glob("*.py")):
        assert "json.dump" not in path.read_text(encoding="utf-8"), path
