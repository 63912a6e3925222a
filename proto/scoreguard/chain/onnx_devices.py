"""ONNX Runtime on GPUs: which distribution provides it, and how a session computes there as the CPU does.

Nothing here imports ONNX Runtime, so a check costs milliseconds.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from scoreguard.v1.errors import EngineError

CUDA_PROVIDER: Final = "CUDAExecutionProvider"
CPU_PROVIDER: Final = "CPUExecutionProvider"
_FOR_CPU, _FOR_GPU = "onnxruntime", "onnxruntime-gpu"
_REPAIR: Final = (
    f"pip uninstall -y {_FOR_CPU} {_FOR_GPU}, then pip install {_FOR_GPU} (without an NVIDIA GPU: {_FOR_CPU})"
)


def check_one_onnxruntime() -> None:
    """Refuse an installation with both distributions of ONNX Runtime.

    Both install the module `onnxruntime`. The one installed last overwrites the other's files, so which of them runs,
    and whether it can use a GPU, is left to chance; pip does not say so.

    Raises:
        EngineError: both are installed; the message has the commands that repair it.
    """
    found = [f"{name} {number}" for name in (_FOR_CPU, _FOR_GPU) if (number := _version_of(name))]
    if len(found) > 1:
        raise EngineError(" and ".join(found), "are both installed and overwrite each other's files", _REPAIR)


def cuda_providers(index: int) -> tuple[tuple[str, dict[str, str]], str]:
    """Return the `providers` of a session on a GPU, in full single precision and with algorithms that repeat.

    Args:
        index: Index of the GPU.
    """
    options = {"device_id": str(index), "use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}
    return (CUDA_PROVIDER, options), CPU_PROVIDER


def _version_of(distribution: str) -> str:
    """Return the version of an installed distribution; empty if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
