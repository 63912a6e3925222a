"""docs/gpu.md: its tables are those of the committed results, with each aim judged."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import gpu_page
import pytest
from gpu.sections import SECTIONS
from gpu.tables import MISSED, REACHED, UNKNOWN, tables, verdict
from gpu_page import PageError, measured, page_with
from study_speeds import FPS, STUDY

EMPTY: dict[str, Any] = {
    "section": "",
    "status": "done",
    "reason": "",
    "seconds": 1.0,
    "allowed_seconds": 2.0,
    "rows": [],
    "failures": [],
    "left_out": [],
    "notes": [],
    "memory": {},
}


def speed(name: str, batch: int, per_second: float) -> dict[str, Any]:
    """A row of the section `defences`."""
    study = FPS.get(name)
    ratio = per_second / study if study else None
    return {"name": name, "batch": batch, "per_second": per_second, "ratio": ratio, "rounds": 7, "peak_bytes": 3 << 20}


def result(**rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A result with rows in some sections."""
    parts = {section.name: copy.deepcopy(EMPTY) | {"section": section.name} for section in SECTIONS}
    for name, found in rows.items():
        parts[name]["rows"] = found
    device = {
        "name": "cuda:0",
        "title": "A card, 79 GiB",
        "software": {"torch": "2.11"},
        "numerics": "deterministic, fp32",
    }
    times = {"time": "2026-11-27T10:00:00+00:00", "budget_seconds": 480.0, "spent_seconds": 301.4}
    return {"format": 1, "quick": False, "device": device, "sections": parts, **times}


def line_with(text: str, start: str) -> str:
    """The only line of a table that begins so."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {start}"))
    return line


def test_the_page_has_the_tables_of_the_committed_results() -> None:
    """Whoever commits a result writes the page again: `python scripts/gpu_page.py`."""
    assert gpu_page.main(["--check"]) == 0


def test_without_a_result_the_page_says_that_nothing_was_measured(tmp_path: Path) -> None:
    """In plain words, and with no table."""
    part = measured(tmp_path)
    assert part.startswith("**Not measured on a GPU yet.**") and "|" not in part


def test_only_what_lies_between_the_marks_is_replaced() -> None:
    """The rest is written by hand."""
    text = f"before\n{gpu_page._BEGIN}\nold\n{gpu_page._END}\nafter\n"
    assert page_with(text, "new") == f"before\n{gpu_page._BEGIN}\n\nnew\n\n{gpu_page._END}\nafter\n"
    with pytest.raises(PageError, match="lacks"):
        page_with("no marks", "new")


@pytest.mark.parametrize("content", ["[1]", "{}", "no json", json.dumps(result() | {"quick": True})])
def test_what_is_no_full_result_is_refused(content: str, tmp_path: Path) -> None:
    """A quick run's speeds mean nothing."""
    (tmp_path / "gpu-card.json").write_text(content)
    with pytest.raises(PageError, match=r"gpu-card\.json is "):
        measured(tmp_path)


def test_an_aim_is_reached_only_if_all_of_it_was_measured() -> None:
    """One miss decides; then one that is unknown."""
    assert verdict([3.0, 4.5], 3.0) == REACHED
    assert verdict([2.9, 4.5, None], 3.0) == MISSED
    assert verdict([4.5, None], 3.0) == UNKNOWN
    assert verdict([], 3.0) == UNKNOWN


def test_every_number_of_the_defences_is_the_results() -> None:
    """The study's speed and the multiple of it stand beside ours; what was not measured says so."""
    rows = [speed("flip", 1, 367.0), speed("flip", 16, 734.0), speed("jpeg", 1, 31.52), speed("jpeg", 16, 315.2)]
    text = tables(result(defences=[*rows, speed("blur", 1, 50.0), speed("blur", 16, 60.0)]), "the command")
    assert line_with(text, "`flip`") == "| `flip` | 36.7 | 367 | 10 × | 734 | 20 × | ≥ 3 × | reached | 3 |"
    assert line_with(text, "`jpeg`") == "| `jpeg` | 15.8 | 31.5 | 2 × | 315 | 20 × | ≥ 3 × | not reached | 3 |"
    assert "| – | not measured | – | not measured | ≥ 2 × | not measured | – |" in line_with(text, "`mprnet`")
    assert "no published speed" in line_with(text, "`blur`")
    aim = line_with(text, "classical and geometric defences")
    assert "`flip` 10 ×" in aim and "`jpeg` 2 ×" in aim and "`resize` not measured" in aim
    assert aim.endswith("| not reached |")
    assert "the command" in text and "A card, 79 GiB" in text


def test_the_service_is_judged_at_16_callers_and_on_the_device_only() -> None:
    """A service that scored on the CPU reaches nothing."""
    row = {"name": "lite", "chain": "none", "callers": 16, "engine": "torchscript", "on_device": True, "failures": 0}
    numbers = {"per_second": 900.0, "limit_per_second": 1000.0, "ratio": 0.9, "p50_ms": 3.0, "p99_ms": 9.0}
    lone = row | numbers | {"callers": 1, "ratio": 0.3}
    start = "service, 16 callers"
    assert line_with(tables(result(service=[row | numbers, lone]), ""), start).endswith("| lowest 0.9 | reached |")
    elsewhere = row | numbers | {"on_device": False}
    assert line_with(tables(result(service=[elsewhere]), ""), start).endswith("| – | not measured |")


def test_failures_left_out_items_and_notes_are_on_the_page() -> None:
    """A table that hides what failed would pass for a complete one."""
    found = result()
    found["sections"]["metrics"] |= {
        "status": "out of time",
        "reason": "its process was ended",
        "failures": [{"item": "niqe", "error": "EngineError: a | b"}],
        "left_out": ["nima"],
        "notes": ["a note"],
        "memory": {"device": 5 << 20},
    }
    text = tables(found, "")
    for expected in (
        "- out of time: its process was ended",
        "- `niqe` failed: EngineError: a / b",
        "- out of time before nima",
        "- a note",
        "- peak memory: 5 MiB of tensors on the GPU",
    ):
        assert expected in text.splitlines()


def test_the_study_has_sixteen_defences_and_its_speeds_are_among_them() -> None:
    """A slip in a name would leave a row unmeasured."""
    assert len(set(STUDY)) == 16
    assert set(FPS) <= set(STUDY)
