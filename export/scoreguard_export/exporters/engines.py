"""Run exported files as the parity check needs: on the CPU, with one thread, inputs in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreguard.chain.execution import INEXACT_OPTIMISERS
from scoreguard.chain.torchscript import load_graph, steady
from scoreguard_export.exporters.quiet import quiet

Engine = Callable[[tuple[Tensor, ...]], Tensor]
"""Takes the inputs in the order of the graph and returns the output."""


def load_torchscript(path: Path) -> Engine:
    """Load a `.pt`; gradients pass through it.

    It runs as in the server and the surrogate, without the optimising executor, which replaces constants and would hide
    a graph that fails without it.

    Raises:
        RuntimeError: the file is not TorchScript.
    """
    with quiet():
        script = load_graph(path.read_bytes())

    def run(inputs: tuple[Tensor, ...]) -> Tensor:
        with steady():
            output: Tensor = script(*inputs)
        return output

    return run


def load_onnx(path: Path, names: Sequence[str]) -> Engine:
    """Load an `.onnx` into ONNX Runtime.

    Args:
        path: The file.
        names: Names of the inputs, in order.

    Raises:
        Exception: ONNX Runtime cannot read the file; its errors have no common base class.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"], disabled_optimizers=INEXACT_OPTIMISERS
    )

    def run(inputs: tuple[Tensor, ...]) -> Tensor:
        feed = {name: value.detach().numpy() for name, value in zip(names, inputs, strict=True)}
        output: NDArray[np.float32] = session.run(None, feed)[0]
        return torch.from_numpy(output)

    return run
