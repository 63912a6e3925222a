"""ONNX Runtime on GPUs: which distribution provides it, and how a session computes there as the CPU does.

Nothing here imports ONNX Runtime, so a check costs milliseconds.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from scoreguard.chain.numerics import DEFAULT, Numerics
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
    return (CUDA_PROVIDER, cuda_options(index, DEFAULT)), CPU_PROVIDER


def cuda_options(index: int, numerics: Numerics) -> dict[str, str]:
    """Return the CUDA provider's options for a GPU, by its index, that computes as `numerics` says."""
    # A search by trial may choose another algorithm, and so other last bits, in the next process.
    search = "DEFAULT" if numerics.deterministic else "EXHAUSTIVE"
    return {"device_id": str(index), "use_tf32": str(int(numerics.tf32)), "cudnn_conv_algo_search": search}


def _version_of(distribution: str) -> str:
    """Return the version of an installed distribution; empty if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
