"""ONNX Runtime's providers for a device, with their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import onnxruntime

from scoreguard.chain.devices import CUDA, Device
from scoreguard.chain.numerics import Numerics
from scoreguard.chain.onnx_devices import CPU_PROVIDER, CUDA_PROVIDER, cuda_options
from scoreguard.v1.errors import DeviceError
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.errors import StartupError

TENSORRT_PROVIDER: Final = "TensorrtExecutionProvider"
_ADVICE: Final = "pip uninstall -y onnxruntime, pip install 'scoreguard[serve-gpu]', or choose --engine torchscript"


@dataclass(frozen=True, kw_only=True)
class Providers:
    """What an operator sets."""

    cuda: Mapping[str, str] = field(default_factory=dict)
    """Options of the CUDA provider, by its own names; they win over ours."""
    tensorrt: Mapping[str, str] | None = None
    """Options of the TensorRT provider; None = it is not used."""

    def on(self, device: Device, numerics: Numerics) -> list[Any]:
        """Return the providers of a session, the preferred one first.

        Raises:
            DeviceError: this ONNX Runtime cannot use the device.
        """
        if device.is_cpu:
            return [CPU_PROVIDER]
        here = onnxruntime.get_available_providers()
        if device.kind != CUDA or CUDA_PROVIDER not in here:
            raise _missing(device, CUDA_PROVIDER, here)
        stream = _stream_option(device)
        providers: list[Any] = [(CUDA_PROVIDER, {**cuda_options(device.index, numerics), **stream, **self.cuda})]
        if self.tensorrt is not None:
            if TENSORRT_PROVIDER not in here:
                raise _missing(device, TENSORRT_PROVIDER, here)
            options = {"device_id": str(device.index), **stream, **self.tensorrt}
            providers.insert(0, (TENSORRT_PROVIDER, options))
        return [*providers, CPU_PROVIDER]

    def check(self, used: Sequence[str], device: Device) -> None:
        """Refuse a session that fell back to the CPU: ONNX Runtime only logs that.

        Raises:
            DeviceError: it did; usually a library of CUDA is missing, or of another version.
        """
        wanted = CPU_PROVIDER if device.is_cpu else TENSORRT_PROVIDER if self.tensorrt is not None else CUDA_PROVIDER
        if wanted not in used:
            problem = f"ONNX Runtime {onnxruntime.__version__} cannot start its {wanted}"
            advice = "install the CUDA and cuDNN that it was built for, or choose --engine torchscript"
            raise DeviceError(device.name, problem, advice)


def providers_from(config: WorkerConfig) -> Providers:
    """Return the providers that a configuration sets up.

    Raises:
        StartupError: its options cannot be read.
    """
    try:
        tensorrt = parse_options(config.tensorrt_options) if config.tensorrt else None
        return Providers(cuda=parse_options(config.cuda_options), tensorrt=tensorrt)
    except ValueError as error:
        raise StartupError(str(error)) from error


def has_cuda() -> bool:
    """Whether this ONNX Runtime was built with its CUDA provider."""
    return CUDA_PROVIDER in onnxruntime.get_available_providers()


def parse_options(text: str) -> dict[str, str]:
    """Read `name=value,name=value`.

    Raises:
        ValueError: a part is not of that form.
    """
    options: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, separator, value = part.partition("=")
        if not (separator and name.strip() and value.strip()):
            raise ValueError(f"provider options are name=value,name=value, not {part!r}")
        options[name.strip()] = value.strip()
    return options


def _stream_option(device: Device) -> dict[str, str]:
    import torch

    stream = torch.cuda.current_stream(device.torch).cuda_stream
    return {"user_compute_stream": str(stream)} if stream else {}


def _missing(device: Device, provider: str, here: Sequence[str]) -> DeviceError:
    problem = f"ONNX Runtime {onnxruntime.__version__} here has no {provider} (it has {', '.join(here)})"
    return DeviceError(device.name, problem, _ADVICE)
