"""What a configuration of devices means on a machine, and what an operator reads if it means nothing there."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from serve_command import command, environment
from tiny_archives import write_tiny_archive

from scoreguard.chain.devices import Device
from scoreguard.chain.numerics import DEFAULT, Numerics
from scoreguard.v1.errors import DeviceError
from scoreguard_handlers.cli import main
from scoreguard_handlers.config import ServeConfig, WorkerConfig, usable_cores
from scoreguard_handlers.device_config import FoundDevices, devices_elsewhere, devices_of, settled
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.torchserve import entry
from scoreguard_handlers.torchserve.files import Ports, server_properties
from scoreguard_handlers.worker.engines import providers
from scoreguard_handlers.worker.engines.choice import engine_name
from scoreguard_handlers.worker.engines.providers import Providers, parse_options, providers_from

CPU_ONLY = pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has CUDA")
TWO_GPUS = FoundDevices(names=("cuda:0", "cuda:1"))
GPU = Device(name="cuda:0")


@pytest.mark.parametrize(
    ("device", "found", "expected"),
    [
        ("cpu", FoundDevices(names=("cpu",)), ("cpu", 1, usable_cores())),
        ("auto", FoundDevices(names=("cpu",)), ("cpu", 1, usable_cores())),
        ("auto", TWO_GPUS, ("cuda", 16, 2)),
        ("cuda", TWO_GPUS, ("cuda", 16, 2)),
        ("cuda:1", FoundDevices(names=("cuda:1",)), ("cuda:1", 16, 1)),
    ],
)
def test_what_depends_on_the_machine_is_settled_once(
    device: str, found: FoundDevices, expected: tuple[str, int, int]
) -> None:
    """Device, batch and workers; numbers that the operator set stay."""
    config = settled(ServeConfig(model_store=Path(), device=device), found)
    assert (config.device, config.graph_batch, config.workers) == expected
    chosen = settled(ServeConfig(model_store=Path(), device=device, graph_batch=3, workers=5), found)
    assert (chosen.graph_batch, chosen.workers) == (3, 5)


@CPU_ONLY
def test_a_process_that_runs_no_graph_asks_another_one() -> None:
    """With the same answer, and the same error."""
    assert devices_elsewhere("cpu") == devices_of("cpu")
    assert devices_elsewhere("auto") == devices_of("auto")
    assert "auto chose the CPU, since torch" in devices_elsewhere("auto").announcement
    with pytest.raises(DeviceError) as here:
        devices_of("cuda")
    with pytest.raises(DeviceError) as there:
        devices_elsewhere("cuda")
    assert str(there.value) == str(here.value)


@CPU_ONLY
@pytest.mark.parametrize("backend", ["local", "torchserve"])
def test_a_device_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    """Exit status 2, before anything is started."""
    write_tiny_archive(tmp_path)
    assert main(["--model-store", str(tmp_path), "--port", "0", "--backend", backend, "--device", "cuda:0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: device 'cuda:0': torch ") and error.count("\n") == 1
    assert "install a build of torch for CUDA, or choose device 'cpu'" in error


@CPU_ONLY
def test_auto_says_what_it_chose(tmp_path: Path) -> None:
    """On standard error; standard output has the ready line alone."""
    write_tiny_archive(tmp_path)
    with subprocess.Popen(
        command(tmp_path, "--device", "auto"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("ready: ")
        server.terminate()
        _, errors = server.communicate(timeout=20)
    assert "device cpu: auto chose the CPU, since torch" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "device", "engine"),
    [
        ({}, Device(name="cpu"), "onnx"),
        ({"engine": "torchscript"}, Device(name="cpu"), "torchscript"),
        ({"precision": "fp16"}, Device(name="cpu"), "torchscript"),
        ({}, Device(name="lazy:0"), "torchscript"),
        ({"engine": "onnx"}, GPU, "onnx"),
        ({"precision": "fp16"}, GPU, "torchscript"),
    ],
)
def test_an_engine_is_chosen(options: dict[str, Any], device: Device, engine: str) -> None:
    """ONNX Runtime where it can use the device, else torch."""
    assert engine_name(WorkerConfig(**options), device) == engine


@pytest.mark.parametrize(("built", "engine"), [(True, "onnx"), (False, "torchscript")])
def test_auto_takes_onnx_runtime_on_a_gpu_if_it_was_built_for_it(
    monkeypatch: pytest.MonkeyPatch, built: bool, engine: str
) -> None:
    """The CPU build is what most have."""
    names = ["CUDAExecutionProvider"] * built + ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    assert engine_name(WorkerConfig(), GPU) == engine


def test_contradictions_are_one_line() -> None:
    """Each says what to choose."""
    with pytest.raises(StartupError, match=r"^precision fp16 runs on torch: choose --engine torchscript$"):
        engine_name(WorkerConfig(engine="onnx", precision="fp16"), Device(name="cpu"))
    with pytest.raises(
        DeviceError, match=r"^device 'lazy:0': ONNX Runtime cannot use it; choose --engine torchscript$"
    ):
        engine_name(WorkerConfig(engine="onnx"), Device(name="lazy:0"))
    with pytest.raises(StartupError, match="provider options are name=value,name=value, not 'gpu'"):
        providers_from(WorkerConfig(cuda_options="gpu"))


def test_the_engine_torchscript_needs_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the command that installs it."""
    monkeypatch.setattr("scoreguard_handlers.worker.engines.choice.find_spec", lambda name: None)
    with pytest.raises(StartupError, match=r"needs pip install 'scoreguard\[serve\]' \(no module named torch\)"):
        engine_name(WorkerConfig(engine="torchscript"), Device(name="cpu"))


def test_an_onnx_runtime_without_the_provider_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real build here has the CPU alone."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError) as caught:
        Providers().on(GPU, DEFAULT)
    assert "here has no CUDAExecutionProvider (it has CPUExecutionProvider); pip uninstall -y onnxruntime" in str(
        caught.value
    )
    with pytest.raises(DeviceError, match="cannot start its CUDAExecutionProvider; install the CUDA and cuDNN that"):
        Providers().check(["CPUExecutionProvider"], GPU)
    Providers().check(["CUDAExecutionProvider", "CPUExecutionProvider"], GPU)


def test_an_operators_provider_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours keep results repeatable and in full precision; TensorRT comes first if it is turned on."""
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(providers, "_stream_option", lambda device: {})
    config = WorkerConfig(
        cuda_options="gpu_mem_limit=1000, use_tf32=1", tensorrt=True, tensorrt_options="trt_fp16_enable=1"
    )
    tensorrt, cuda, cpu = providers_from(config).on(Device(name="cuda:1"), DEFAULT)
    assert tensorrt == ("TensorrtExecutionProvider", {"device_id": "1", "trt_fp16_enable": "1"})
    assert cuda[1] == {
        "device_id": "1", "use_tf32": "1", "cudnn_conv_algo_search": "DEFAULT", "gpu_mem_limit": "1000"
    }  # fmt: skip
    assert cpu == "CPUExecutionProvider"
    _, options = Providers().on(GPU, Numerics(deterministic=False, tf32=True))[0]
    assert (options["use_tf32"], options["cudnn_conv_algo_search"]) == ("1", "EXHAUSTIVE")


@pytest.mark.parametrize(("text", "options"), [("", {}), ("a=1", {"a": "1"}), ("a=1, b=x=y", {"a": "1", "b": "x=y"})])
def test_provider_options_are_read(text: str, options: dict[str, str]) -> None:
    """Pairs with commas between."""
    assert parse_options(text) == options


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=1,b"])
def test_provider_options_that_are_no_pairs_are_refused(text: str) -> None:
    """The part is named."""
    with pytest.raises(ValueError, match="not '"):
        parse_options(text)


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 0), ("cuda", 3), ("cuda:1", 0)])
def test_torchserve_spreads_workers_over_gpus(tmp_path: Path, device: str, gpus: int) -> None:
    """TorchServe caps the number at the GPUs that there are."""
    ports = Ports.free()
    config = ServeConfig(model_store=tmp_path, device=device, workers=3)
    assert server_properties(config, ports, tmp_path)["number_of_gpu"] == gpus


class Context:
    """TorchServe's context of one worker."""

    def __init__(self, gpu: object) -> None:
        self.system_properties = {"gpu_id": gpu}


@pytest.mark.parametrize(
    ("configured", "gpu", "taken"),
    [
        ("cpu", None, "cpu"),
        ("cpu", 1, "cpu"),
        ("cuda", 1, "cuda:1"),
        ("cuda", "0", "cuda:0"),
        ("cuda", None, "cuda"),
        ("cuda", 3, "cuda:1"),
        ("cuda:0", 1, "cuda:0"),
    ],
)
def test_a_worker_of_torchserve_takes_the_gpu_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch, configured: str, gpu: object, taken: str
) -> None:
    """Of two; a device that the operator chose wins."""
    monkeypatch.setenv("SCOREGUARD_DEVICE", configured)
    monkeypatch.setattr(entry, "gpu_count", lambda: 2)
    assert entry._config(Context(gpu)).device == taken  # type: ignore[arg-type]
