"""The check of a GPU, run where there is none: on the CPU as a user runs it, and on a second device of torch."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gpu_check
import psutil
import pytest
import torch
from gpu import attack_steps, bring, parity, runner, speeds
from gpu.part import CUT, DONE, FAILED, SKIPPED, Part
from gpu.runner import Check
from gpu.sections import SECTIONS, chosen
from gpu.subjects import QUICK
from gpu.work import Work
from second_device import second_device

from scoreguard.chain.devices import find_device
from scoreguard.v1.archive import Archive
from scoreguard.v1.blobs import blob_path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/gpu_check.py"
NAMES = [section.name for section in SECTIONS]


def run(
    out: Path, *words: str, python: Sequence[str] = (sys.executable,)
) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run the script; gives the process and the results, if it wrote any."""
    line = [*python, str(SCRIPT), "--out", str(out), *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    return done, json.loads(out.read_text()) if out.exists() else None


def work_on(store: Path, device: str, folder: Path, seconds: float = 300.0) -> Work:
    """A quick section under way in this process."""
    part, ends = Part(section="tried"), time.monotonic() + seconds
    return Work(device=find_device(device), store=store, quick=True, ends=ends, part=part, path=folder / "part.json")


@pytest.mark.slow
def test_a_quick_check_on_the_cpu_measures_every_section(lite_store: Path, tmp_path: Path) -> None:
    """The same script, server, campaign and JSON as on a GPU; only the numbers mean nothing."""
    words = ("--model-store", str(lite_store), "--device", "cpu", "--quick", "--budget", "280")
    done, results = run(tmp_path / "gpu.json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    parts = results["sections"]
    assert list(parts) == NAMES
    assert {name: (part["status"], part["failures"], part["left_out"]) for name, part in parts.items()} == {
        name: (DONE, [], []) for name in NAMES
    }
    assert all(part["rows"] and part["memory"]["process"] > 0 for part in parts.values())
    assert results["device"]["name"] == "cpu" and results["quick"]
    assert {row["largest"] for row in parts["parity"]["rows"]} == {0.0}
    assert {row["batch"] for row in parts["defences"]["rows"]} == {1, 2}
    assert all(row["ratio"] > 0 and row["steps"] == 10 for row in parts["attacks"]["rows"])
    assert all(row["ratio"] > 0 and row["failures"] == 0 and row["on_device"] for row in parts["service"]["rows"])
    (campaign,) = parts["campaign"]["rows"]
    assert (campaign["images"], campaign["records"], campaign["failed"]) == (2, 6, 0)
    assert {row["provider"] for row in parts["onnx"]["rows"]} == {"CPUExecutionProvider"}
    assert all(row["largest"] <= row["tolerance"] for row in parts["onnx"]["rows"])


@pytest.mark.slow
def test_a_damaged_graph_fails_alone_and_the_rest_is_measured(lite_store: Path, tmp_path: Path) -> None:
    """One changed byte in the graph of `blur`: both sections say so and go on with the other defences."""
    archive = Archive(lite_store / "lite.mar")
    (blur,) = (each for each in archive.manifest.defences if each.facts.name == "blur")
    (entry,) = (each for each in archive.manifest.files if each.path == blur.variants[0].graphs.torchscript)
    path = blob_path(archive.blobs, entry)
    content = path.read_bytes()
    words = ("--model-store", str(lite_store), "--device", "cpu", "--quick", "--sections", "parity,defences")
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        done, results = run(tmp_path / "gpu.json", *words)
    finally:
        path.write_bytes(content)
    assert done.returncode == 0
    for name in ("parity", "defences"):
        part = results["sections"][name]
        (failure,) = part["failures"]
        assert failure["item"] == "blur" and failure["error"].startswith("IntegrityError: ")
        assert str(lite_store) not in failure["error"]
        assert part["status"] == DONE
        assert set(QUICK) - {"blur"} <= {row["name"] for row in part["rows"]}


def test_a_budget_that_is_used_up_skips_what_is_left_and_says_so(lite_store: Path, tmp_path: Path) -> None:
    """Nothing is started that could not end in time."""
    started = time.monotonic()
    done, results = run(tmp_path / "gpu.json", "--model-store", str(lite_store), "--device", "cpu", "--budget", "1")
    assert done.returncode == 0
    assert {part["status"] for part in results["sections"].values()} == {SKIPPED}
    assert {part["reason"] for part in results["sections"].values()} == {"the budget of 1 s was used up"}
    assert time.monotonic() - started < 20


def test_a_section_out_of_time_names_what_it_left_out(lite_store: Path, tmp_path: Path) -> None:
    """It stops between two items, and keeps those that it measured."""
    work = work_on(lite_store, "cpu", tmp_path, seconds=0.0)
    speeds.defences(work)
    work.finish()
    assert Part.read(work.path).left_out == list(QUICK)
    assert Part.read(work.path).status == CUT


def test_a_process_that_does_not_end_is_ended(
    lite_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of a second is not enough for torch to be imported."""
    monkeypatch.setattr(runner, "LEAST_SECONDS", 0.0)
    check = Check(
        sections=chosen("device"),
        budget=0.1,
        began=time.monotonic(),
        out=tmp_path / "gpu.json",
        home=tmp_path,
        options=["--model-store", str(lite_store), "--device", "cpu"],
        device="cpu",
        quick=True,
    )
    started = time.monotonic()
    part = check.run()["sections"]["device"]
    assert (part["status"], part["reason"]) == (CUT, "its process was ended")
    assert time.monotonic() - started < 10


def test_a_check_that_is_stopped_keeps_what_was_measured(lite_store: Path, tmp_path: Path) -> None:
    """The section under way is in the results too, and its process does not outlive the check."""
    out = tmp_path / "gpu.json"
    words = ["--model-store", str(lite_store), "--device", "cpu", "--budget", "120", "--sections", "parity"]
    line = [sys.executable, str(SCRIPT), "--out", str(out), *words]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (out.exists() and json.loads(out.read_text())["sections"]["device"]["status"] == DONE):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == gpu_check.STOPPED
        assert process.stderr is not None and process.stderr.read().count("\n") == 1
    part = json.loads(out.read_text())["sections"]["parity"]
    assert (part["status"], part["reason"]) == (CUT, "the check was stopped")
    running = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
    assert not any(str(SCRIPT) in line and str(lite_store) in line for line in running)


def test_what_one_section_leaves_goes_to_the_next_ones() -> None:
    """The last one may take all that is left, and the shares of the others add up to it."""
    left = 480.0
    for number in range(len(SECTIONS)):
        allowed = runner._allowed(SECTIONS[number:], left)
        assert allowed > 480 * SECTIONS[number].share / sum(section.share for section in SECTIONS) - 1e-6
        left -= allowed / 2
    assert runner._allowed(SECTIONS[-1:], 10.0) == 10.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_the_device_nothing_is_measured_and_one_line_says_why(lite_store: Path, tmp_path: Path) -> None:
    """It is the line of `find_device`, and the exit code that of an error."""
    words = ("--model-store", str(lite_store), "--device", "cuda", "--sections", "metrics")
    done, results = run(tmp_path / "gpu.json", *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "cuda" in done.stderr
    parts = results["sections"]
    assert (parts["device"]["status"], parts["metrics"]["status"]) == (FAILED, SKIPPED)
    assert parts["metrics"]["reason"] == "the device cannot be used"


def test_a_python_without_anything_is_told_which_wheels_to_bring(tmp_path: Path) -> None:
    """One line for each module, with the command that fetches it."""
    done, results = run(tmp_path / "gpu.json", "--model-store", str(tmp_path), python=(sys.executable, "-S", "-E"))
    assert (done.returncode, results) == (2, None)
    lines = done.stderr.splitlines()
    assert len(lines) == len(bring.NEEDS)
    assert all("pip download --no-deps -d wheels " in line for line in lines)
    assert lines[1].startswith("gpu_check: no module torch (for every section): ")


def test_an_unknown_section_and_a_missing_store_are_refused_in_one_line(tmp_path: Path) -> None:
    """Before anything is imported."""
    for words, part in ((["--sections", "speed"], "no section 'speed'"), ([], "nowhere")):
        done, _ = run(tmp_path / "gpu.json", "--model-store", str(tmp_path / "nowhere"), "--device", "cpu", *words)
        assert done.returncode == 2
        assert part in done.stderr and done.stderr.count("\n") == 1


def test_wheels_are_used_without_being_installed(tmp_path: Path) -> None:
    """Unpacked once, each to a folder of its own, and importable by a process that is started with them."""
    with zipfile.ZipFile(tmp_path / "brought-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("brought/__init__.py", "VALUE = 7\n")
    (folder,) = bring.unpacked(tmp_path, tmp_path / "home")
    assert bring.unpacked(tmp_path, tmp_path / "home") == [folder]
    line = [sys.executable, "-c", "import brought; print(brought.VALUE)"]
    found = subprocess.run(line, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True)
    assert found.stdout == "7\n"


@pytest.mark.parametrize(
    "section",
    [parity.measure, speeds.defences, speeds.metrics, pytest.param(attack_steps.measure, marks=pytest.mark.slow)],
)
def test_a_section_runs_on_a_device_that_is_not_the_cpu(
    section: Callable[[Work], None], lite_store: Path, tmp_path: Path
) -> None:
    """Nothing mixes tensors of two devices, and what the device computes is what the CPU computes."""
    second_device()
    work = work_on(lite_store, "lazy", tmp_path)
    section(work)
    work.finish()
    assert (work.part.status, work.part.failures) == (DONE, [])
    assert len(work.part.rows) >= 2
    if section is parity.measure:
        assert {row["name"] for row in work.part.rows} == {"lite", *QUICK}
        assert all(row["beyond"] == 0 for row in work.part.rows if row["what"] != "gradients")
        assert all(row["largest"] < 1e-4 for row in work.part.rows if row["what"] == "gradients")
