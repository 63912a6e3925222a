"""`verify` and `build` on a device: the same numbers as on the CPU, or one line that says which are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from export_samples import Contrast, Grainy
from second_device import SECOND_DEVICE, second_device
from torch import Tensor

from scoreguard.chain.devices import DEVICE_FACTOR, find_device
from scoreguard.chain.torchscript import load_graph
from scoreguard.v1.errors import DeviceMemoryError
from scoreguard_export.archive import device_parity
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_export.archive.device_parity import check_on_device
from scoreguard_export.archive.parity import parity_cases
from scoreguard_export.cli import main
from scoreguard_export.errors import DeviceParityError
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.graph_module import GraphModule

Change = Callable[[tuple[Tensor, ...]], Tensor]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the shipped metric behind two quick defences."""
    folder = tmp_path_factory.mktemp("store")
    build(BuildConfig(metrics=("lite",), defences=("quantise", "blur"), model_store=folder, default_variants=True))
    return folder


def script_of(module: GraphModule, folder: Path) -> bytes:
    """The module's TorchScript file."""
    export_torchscript(module.eval(), folder / "module.pt")
    return (folder / "module.pt").read_bytes()


@pytest.mark.parametrize("module", [Contrast(), Grainy()])
def test_a_graph_that_agrees_is_recorded(module: GraphModule, tmp_path: Path) -> None:
    """Largest error, tolerance and gradient, over every parity case; ONNX Runtime does not know this device."""
    second_device()
    (record,) = check_on_device(module, script_of(module, tmp_path), b"", find_device(SECOND_DEVICE))
    assert (record.engine, record.device, record.cases) == ("torchscript", SECOND_DEVICE, len(parity_cases(module)))
    assert record.largest_error <= record.tolerance == DEVICE_FACTOR * module.facts.parity_tolerance
    assert record.gradient_error is not None
    assert record.gradient_error <= device_parity.GRADIENT_TOLERANCE
    assert record.unrepeatable == ()


def changed(monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor], Tensor]) -> None:
    """Let the second device alone give other numbers."""
    real = device_parity.script_engine

    def engine(torchscript: bytes, device: Any, *rest: Any) -> Any:
        run = real(torchscript, device, *rest)
        return run if device.is_cpu else lambda inputs: change(run(inputs))

    monkeypatch.setattr(device_parity, "script_engine", engine)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda score: score + 0.01, "1×3×16×16: by 0.01, allowed 0.001"),
        (lambda score: score[:, None], "1×3×16×16: it gives (1, 1), the CPU (1,)"),
        (lambda score: score * float("nan"), "1×3×16×16: its output is not finite on a photographic image"),
        (lambda score: score.detach() + 0.9 * (score - score.detach()), "the gradient differs by 0.1 of its size"),
    ],
)
def test_a_graph_that_differs_is_refused_with_the_case(
    change: Callable[[Tensor], Tensor], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Module, engine, device, case and difference in one line."""
    second_device()
    changed(monkeypatch, change)
    with pytest.raises(DeviceParityError) as caught:
        check_on_device(Contrast(), script_of(Contrast(), tmp_path), b"", find_device(SECOND_DEVICE))
    assert str(caught.value).startswith(f"torchscript graph of contrast on {SECOND_DEVICE} differs from the CPU at ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_device_without_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device and the images are named; that is no difference between devices."""
    second_device()

    def fail(*inputs: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")

    monkeypatch.setattr(
        device_parity, "load_graph", lambda source, device: load_graph(source) if device.type == "cpu" else fail
    )
    with pytest.raises(DeviceMemoryError, match=r"^module\.pt needs more memory than lazy:0 has left for images of"):
        check_on_device(Contrast(), script_of(Contrast(), tmp_path), b"", find_device(SECOND_DEVICE))


def test_verify_compares_every_graph_on_the_device(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside what it checks on the CPU; the answer for programs has each graph's error and tolerance."""
    second_device()
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "--model-store", str(store), "--device", "lazy", "--json"])
    assert stopped.value.code == 0
    (result,) = json.loads(capsys.readouterr().out)
    rows = result["on_device"]
    assert [row["module"] for row in rows] == ["lite", "quantise", "blur (kernel=3)"]
    assert all(row["largest_error"] <= row["tolerance"] and row["device"] == SECOND_DEVICE for row in rows)


def test_auto_says_what_it_took(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error; on the CPU nothing is left to compare."""
    with pytest.raises(SystemExit):
        main(["verify", "--model-store", str(store), "--device", "auto", "--json"])
    captured = capsys.readouterr()
    assert captured.err.startswith("device ")
    if "auto chose the CPU" in captured.err:
        assert json.loads(captured.out)[0]["on_device"] == []


@pytest.mark.parametrize("command", ["build", "verify"])
def test_a_device_that_is_not_there_is_one_line(
    command: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read or written."""
    folder = tmp_path / "untouched" if command == "build" else store
    with pytest.raises(SystemExit) as stopped:
        main([command, "--model-store", str(folder), "--device", "cuda:99"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: device 'cuda:99': ")
    assert not (tmp_path / "untouched").exists()


@pytest.mark.slow
def test_build_compares_before_it_packs(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that differs on the device leaves no archive; one that agrees leaves the same bytes as on the CPU."""
    second_device()
    config = {"metrics": ("lite",), "defences": ("quantise", "blur"), "default_variants": True}
    device = find_device(SECOND_DEVICE)
    there = build(BuildConfig(model_store=tmp_path / "there", device=device, **config))  # type: ignore[arg-type]
    assert [row.module for row in there.on_device] == ["lite", "quantise", "blur (kernel=3)"]
    assert there.archives[0].path.read_bytes() == (store / "lite.mar").read_bytes()
    changed(monkeypatch, lambda output: output + 0.1)
    with pytest.raises(DeviceParityError):
        build(BuildConfig(model_store=tmp_path / "refused", device=device, **config))  # type: ignore[arg-type]
    assert not list((tmp_path / "refused").glob("*.mar"))
