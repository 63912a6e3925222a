"""What the rules check: a class with the modules that it builds, and their graphs, each exported once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from scoreguard_export.defences.base import Defence
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.signature import describe
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.graph_module import GraphModule
from scoreguard_export.metrics.base import Metric

M = TypeVar("M", Metric, Defence)
"""The kind of module that the class makes."""


@dataclass(frozen=True, kw_only=True)
class Graphs:
    """The two files of one exported part."""

    torchscript: Path
    onnx: Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Summary of one run of a module, without the values themselves."""

    where: str
    """Sizes, parameters and images of the run."""
    images: tuple[int, ...]
    """Shape of the images, (N, 3, H, W)."""
    dtype: str
    """Type of the output's values, or of what was returned instead of a tensor."""
    shape: tuple[int, ...]
    finite: bool
    low: float
    """Least value."""
    high: float
    """Largest value."""


def outcome_of(where: str, images: Tensor, output: object) -> Outcome:
    """Summarise a run."""
    if not isinstance(output, Tensor):
        values, dtype = torch.zeros(0), type(output).__name__
    else:
        values, dtype = output, str(output.dtype)
    finite, empty = bool(values.isfinite().all()), not values.numel()
    return Outcome(
        where=where,
        images=tuple(images.shape),
        dtype=dtype,
        shape=tuple(values.shape),
        finite=finite,
        low=0.0 if empty else float(values.min()),
        high=0.0 if empty else float(values.max()),
    )


@dataclass(frozen=True, kw_only=True)
class Subject(Generic[M]):
    """A metric or a defence under test."""

    kind: type[M]
    listed_as: str | None
    """Its name in the catalogue, if it was requested by name."""
    files: Mapping[str, Path]
    """Its weights files."""
    modules: tuple[M, ...]
    """In evaluation mode: the metric, or the defence once for each structural variant."""
    folder: Path
    """Folder for exported graphs."""
    _written: dict[int, Graphs] = field(default_factory=dict)
    _outcomes: list[tuple[M, Outcome]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return its name for messages."""
        return self.listed_as or self.kind.facts.name or self.kind.__name__

    @cached_property
    def parts(self) -> tuple[GraphModule, ...]:
        """Return the modules that are exported: a diffusion's denoiser and finish, else the modules themselves."""
        return tuple(part for module in self.modules for part in module.graphs().values())

    def outcomes(self, run: Callable[[M], Iterable[Outcome]]) -> list[tuple[M, Outcome]]:
        """Return the outcome of every run of every module; they run on the first call."""
        if not self._outcomes:
            self._outcomes.extend((module, outcome) for module in self.modules for outcome in run(module))
        return self._outcomes

    def graphs(self, part: GraphModule) -> Graphs:
        """Export one of the parts, or return the files of an earlier export.

        Raises:
            GraphError: it cannot be exported.
        """
        stem = self.parts.index(part)
        if stem not in self._written:
            graphs = Graphs(torchscript=self.folder / f"{stem}.pt", onnx=self.folder / f"{stem}.onnx")
            export_torchscript(part, graphs.torchscript)
            export_onnx(part, graphs.onnx)
            self._written[stem] = graphs
        return self._written[stem]


def of_part(subject: Subject[Any], part: GraphModule) -> str:
    """Say which module a finding is about: empty for the only one of its class, else ` of blur (kernel=3)`."""
    text = describe(part)
    return "" if text == subject.kind.facts.name else f" of {text}"
