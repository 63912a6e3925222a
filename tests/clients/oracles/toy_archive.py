"""A small unpacked archive with real TorchScript graphs whose values can be worked out by hand.

The metric is the mean of the squared values, times 100. Its defences: `scale` multiplies by the parameter `factor`;
`shrink` has the structural parameter `step` and keeps every step-th row and column; `round` rounds to `levels` and is
marked BPDA; `thin` drops every second row and is marked BPDA too; `noise`
adds `sigma` times a random input; `waves` takes
ten sines.
"""

from __future__ import annotations

from pathlib import Path

import torch
from google.protobuf import json_format
from torch import Tensor, nn

from scoreguard.support.digests import sha256_of
from scoreguard.v1 import archive, manifest_pb2
from scoreguard.v1.manifest_pb2 import (
    DIFFERENTIABILITY_BPDA_IDENTITY,
    DIFFERENTIABILITY_EXACT,
    ArchiveManifest,
    DefenceArtifact,
    DefenceFacts,
    DefenceVariant,
    FileEntry,
    GraphFiles,
    MetricArtifact,
    MetricFacts,
    ParameterSpec,
    RandomInput,
)

Defence = tuple[DefenceFacts, dict[tuple[tuple[str, float], ...], nn.Module]]
"""A defence's facts, and its module for each choice of the structural parameters."""


class Energy(nn.Module):
    """100 * mean(x^2)."""

    def forward(self, image: Tensor) -> Tensor:
        """Score."""
        return 100 * (image**2).mean(dim=[1, 2, 3])


class Scale(nn.Module):
    """Multiplication."""

    def forward(self, image: Tensor, factor: Tensor) -> Tensor:
        """Purify."""
        return image * factor


class Shrink(nn.Module):
    """Every step-th row and column."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def forward(self, image: Tensor) -> Tensor:
        """Purify."""
        return image[:, :, :: self.step, :: self.step]


class Round(nn.Module):
    """Rounding, whose own derivative is zero."""

    def forward(self, image: Tensor, levels: Tensor) -> Tensor:
        """Purify."""
        return torch.round(image * levels) / levels


class Noise(nn.Module):
    """Addition of noise."""

    def forward(self, image: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        """Purify."""
        return image + sigma * noise


class Waves(nn.Module):
    """Ten sines: a purifier whose inside is larger than its image."""

    def forward(self, image: Tensor) -> Tensor:
        """Purify."""
        for _ in range(10):
            image = torch.sin(image)
        return image


def _parameter(name: str, default: float, high: float, choices: tuple[float, ...] = ()) -> ParameterSpec:
    return ParameterSpec(name=name, default_value=default, minimum=0, maximum=high, structural_choices=choices)


def _defences() -> list[Defence]:
    noise = RandomInput(
        name="noise",
        distribution=manifest_pb2.DISTRIBUTION_STANDARD_NORMAL,
        shape=manifest_pb2.RANDOM_SHAPE_IMAGE,
    )
    exact, bpda = DIFFERENTIABILITY_EXACT, DIFFERENTIABILITY_BPDA_IDENTITY
    step = _parameter("step", 2, 3, (2, 3))
    return [
        (
            DefenceFacts(name="scale", parameters=[_parameter("factor", 0.5, 1)], differentiability=exact),
            {(): Scale()},
        ),
        (
            DefenceFacts(name="shrink", parameters=[step], differentiability=exact),
            {(("step", 2.0),): Shrink(2), (("step", 3.0),): Shrink(3)},
        ),
        (DefenceFacts(name="round", parameters=[_parameter("levels", 4, 255)], differentiability=bpda), {(): Round()}),
        (DefenceFacts(name="waves", differentiability=exact), {(): Waves()}),
        (DefenceFacts(name="thin", differentiability=bpda), {(): Shrink(2)}),
        (
            DefenceFacts(
                name="noise", parameters=[_parameter("sigma", 0.1, 1)], random_inputs=[noise], differentiability=exact
            ),
            {(): Noise()},
        ),
    ]


def write_archive(
    folder: Path,
    metric: nn.Module | None = None,
    name: str = "energy",
    more: list[Defence] | None = None,
) -> archive.Archive:
    """Write the archive into a folder; another metric may take the place of the energy, and more defences be added."""
    folder.mkdir(parents=True)
    files: list[FileEntry] = []

    def add(name: str, module: nn.Module) -> GraphFiles:
        path = folder / f"{name}.pt"
        torch.jit.save(
            module if isinstance(module, torch.jit.ScriptModule) else torch.jit.script(module.eval()), str(path)
        )
        data = path.read_bytes()
        files.append(FileEntry(path=path.name, sha256=sha256_of(data), size_bytes=len(data)))
        return GraphFiles(torchscript=path.name)

    facts = MetricFacts(name=name, range_low=0, range_high=100, higher_is_better=True, minimum_size=1)
    manifest = ArchiveManifest(
        format=archive.FORMAT, metric=MetricArtifact(facts=facts, graphs=add("energy", metric or Energy()))
    )
    for described, variants in [*_defences(), *(more or [])]:
        artifact = DefenceArtifact(facts=described)
        for number, (structural, module) in enumerate(variants.items()):
            graphs = add(f"{described.name}-{number}", module)
            artifact.variants.append(DefenceVariant(structural=dict(structural), graphs=graphs))
        manifest.defences.append(artifact)
    manifest.files.extend(files)
    (folder / archive.MANIFEST_NAME).write_text(json_format.MessageToJson(manifest))
    return archive.Archive(folder)
