"""TorchScript graphs on any device of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreguard.chain.torchscript import TorchEngine
from scoreguard.v1.manifest_pb2 import GraphFiles
from scoreguard_handlers.worker.deadline import Deadline


@dataclass(frozen=True, kw_only=True)
class ScriptRunner:
    """Runs the TorchScript graphs of one archive."""

    engine: TorchEngine
    """Has the graphs, on their device."""
    uses_torchscript: bool = True

    @property
    def name(self) -> str:
        """Engine, version and device."""
        return f"torchscript {torch.__version__} {self.engine.device}"

    def run(self, graphs: GraphFiles, inputs: Mapping[str, Tensor], deadline: Deadline) -> Tensor:
        """Run one graph to its end: TorchScript cannot be stopped, so deadlines are checked between graphs."""
        del deadline
        return self.engine.run(graphs, inputs)
