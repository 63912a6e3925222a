"""Which engine runs the graphs of a worker."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from scoreguard.chain.devices import CUDA, Device, find_device
from scoreguard.chain.numerics import FP16, FP32, Numerics
from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import DeviceError, EngineError
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.worker.engines.base import ChainEngine

if TYPE_CHECKING:
    from scoreguard.chain.torchscript import TorchEngine

ONNX: Final = "onnx"
TORCHSCRIPT: Final = "torchscript"


def open_engine(archive: Archive, config: WorkerConfig) -> ChainEngine:
    """Return the engine for scores that a configuration names.

    Raises:
        DeviceError: the device cannot be used, or not by this engine.
        EngineError: the archive declares no half precision.
        StartupError: the options contradict each other.
    """
    device = find_device(config.device)
    name = engine_name(config, device)
    if name == ONNX and device.is_cpu:
        from scoreguard_handlers.worker.engines.host_engine import HostEngine

        return HostEngine(archive, threads=config.threads)
    from scoreguard_handlers.worker.engines.device_engine import DeviceEngine, Runner

    numerics = numerics_of(config)
    runner: Runner
    if name == ONNX:
        from scoreguard_handlers.worker.engines.onnx_runner import OnnxRunner
        from scoreguard_handlers.worker.engines.providers import providers_from

        runner = OnnxRunner(archive, device, numerics, providers_from(config))
    else:
        from scoreguard_handlers.worker.engines.script_runner import ScriptRunner

        check_half(archive, numerics)
        runner = ScriptRunner(engine=script_engine(archive, device, numerics))
    return DeviceEngine(runner, device, numerics, threads=config.threads)


def script_engine(archive: Archive, device: Device, numerics: Numerics, *, checkpoint: bool = False) -> TorchEngine:
    """Return the TorchScript graphs of an archive on a device."""
    from scoreguard.chain.torchscript import TorchEngine, archive_graphs

    graphs = archive_graphs(archive, device.torch)
    return TorchEngine(modules=graphs, device=device.torch, numerics=numerics, checkpoint=checkpoint)


def engine_name(config: WorkerConfig, device: Device) -> str:
    """Return `onnx` or `torchscript`.

    Raises:
        DeviceError: the engine cannot use the device.
        StartupError: half precision was requested of ONNX Runtime, or torch is missing.
    """
    if config.engine == ONNX and config.precision == FP16:
        raise StartupError("precision fp16 runs on torch: choose --engine torchscript")
    if config.engine == ONNX and not device.is_cpu and device.kind != CUDA:
        raise DeviceError(device.name, "ONNX Runtime cannot use it", "choose --engine torchscript")
    if config.engine != "auto":
        name: str = config.engine
    elif config.precision == FP16:
        name = TORCHSCRIPT
    else:
        name = ONNX if device.is_cpu or (device.kind == CUDA and _has_cuda()) else TORCHSCRIPT
    if name == TORCHSCRIPT and find_spec("torch") is None:
        raise StartupError("the engine torchscript needs pip install 'scoreguard[serve]' (no module named torch)")
    return name


def numerics_of(config: WorkerConfig) -> Numerics:
    """Return how a configuration wants graphs to be computed."""
    return Numerics(deterministic=config.deterministic, tf32=config.tf32, precision=config.precision)


def check_half(archive: Archive, numerics: Numerics) -> None:
    """Refuse half precision where the archive does not say how far it is off.

    Raises:
        EngineError: it does not.
    """
    if numerics.precision != FP32 and not archive.manifest.metric.graphs.HasField("half"):
        advice = "build it with scoreguard-export build --precision fp16"
        raise EngineError(f"archive {archive.name!r}", "does not declare how far half precision is off", advice)


def _has_cuda() -> bool:
    from scoreguard_handlers.worker.engines.providers import has_cuda

    return has_cuda()
