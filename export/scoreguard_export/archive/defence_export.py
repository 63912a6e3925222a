"""Export every variant of a defence to graphs, and make its part of the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scoreguard.chain.devices import Device
from scoreguard.v1.manifest_pb2 import (
    DefenceArtifact,
    DefenceVariant,
    Diffusion,
    GraphFiles,
    ParameterSpec,
)
from scoreguard_export.archive.eager import EagerDefence
from scoreguard_export.archive.export_graphs import ExportedGraphs, export_graphs
from scoreguard_export.archive.facts import exported_facts, tiling_message, weights_messages
from scoreguard_export.archive.fingerprint import code_digest
from scoreguard_export.defences.base import Defence
from scoreguard_export.exporters.onnx_graph import OPSET
from scoreguard_export.graph_module import Role

Structural = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ExportedDefence:
    """An exported defence."""

    artifact: DefenceArtifact
    """Its part of the manifest."""
    files: Mapping[str, bytes]
    """The graphs, by their path in an archive."""


@dataclass(kw_only=True)
class DefenceExporter:
    """Exports defences for one build; a graph that several of them use is exported once."""

    weights: Mapping[str, Path]
    """Weights files by name, for those that are not shipped."""
    progress: Callable[[str], None] = lambda label: None
    """Called with the name of each exported variant that agrees with its module."""
    half_on: Device | None = None
    """The device that half precision is measured on; None = it is not declared."""
    _known: dict[str, ExportedGraphs] = field(default_factory=dict)

    def export(self, kind: type[Defence], variants: Sequence[Structural]) -> ExportedDefence:
        """Export the variants given.

        Raises:
            WeightsError: weights are missing, or are not what the method needs.
            ParityError: an exported graph differs from its module.
            PrecisionError: half precision gives a value that is not finite.
        """
        artifact = DefenceArtifact(facts=exported_facts(kind), code_sha256=code_digest(kind))
        files: dict[str, bytes] = {}
        digests: dict[str, str] = {}
        for structural in variants:
            module = kind.from_weights(self.weights, **structural)
            digests.update(module.weights_digests)
            artifact.variants.append(self._variant(module, structural, files))
            self.progress(stem(kind.facts.name, structural))
        _keep_what_was_exported(artifact)
        artifact.weights.extend(weights_messages(kind, digests))
        return ExportedDefence(artifact=artifact, files=files)

    def _variant(self, built: Defence, structural: Structural, files: dict[str, bytes]) -> DefenceVariant:
        variant = DefenceVariant(structural=structural)
        note_exceptions(variant, type(built), structural)
        for module, graphs in _graphs_of(built, variant):
            name = graphs.torchscript
            if name not in self._known:
                self._known[name] = export_graphs(module, self.half_on)
            exported = self._known[name]
            variant.parity.extend(exported.parity)
            if exported.half is not None:
                graphs.half.CopyFrom(exported.half)
            files[graphs.torchscript], files[graphs.onnx] = exported.torchscript, exported.onnx
        return variant


def eager_defence(kind: type[Defence], artifact: DefenceArtifact, weights: Mapping[str, Path]) -> EagerDefence:
    """Return the modules that an exported defence was made from.

    Raises:
        WeightsError: weights are missing, or are not what the method needs.
    """
    modules: dict[str, Defence] = {}
    for variant in artifact.variants:
        built = kind.from_weights(weights, **dict(variant.structural))
        modules.update({graphs.torchscript: module for module, graphs in _graphs_of(built, DefenceVariant())})
    return EagerDefence(artifact=artifact, modules=modules)


def stem(name: str, structural: Structural) -> str:
    """Return a variant's name: the defence's name and the values of its structural parameters."""
    return "-".join([name, *(f"{key}{value:g}" for key, value in structural.items())])


def _graphs_of(module: Defence, variant: DefenceVariant) -> Iterator[tuple[Defence, GraphFiles]]:
    """Yield the modules to export for a variant, each with the paths of its graphs, which the variant records."""
    places = {Role.GRAPH: variant.graphs, Role.FINISH: variant.finish}
    for role, part in module.graphs().items():
        path = f"defences/{stem(part.facts.name, part.structural)}"
        places[role].CopyFrom(GraphFiles(torchscript=f"{path}.pt", onnx=f"{path}.onnx", onnx_opset=OPSET))
        yield part, places[role]


def note_exceptions(variant: DefenceVariant, kind: type[Defence], structural: Structural) -> None:
    """Record the tiles and steps of a variant that differ from those of the facts."""
    usual = kind.facts.variants()[0]
    tiles, schedule = kind.tiles(structural), kind.schedule(structural)
    if tiles and tiles != kind.tiles(usual):
        variant.tiling.CopyFrom(tiling_message(tiles))
    if schedule != kind.schedule(usual):
        variant.diffusion.CopyFrom(Diffusion(alpha_bar=schedule))


def keep_choices(spec: ParameterSpec, kept: Iterable[float]) -> None:
    """Keep only the choices given, with their names."""
    numbers, names = list(spec.structural_choices), list(spec.choice_names)
    places = [index for index, number in enumerate(numbers) if number in set(kept)]
    spec.structural_choices[:] = [numbers[index] for index in places]
    spec.choice_names[:] = [names[index] for index in places if names]


def _keep_what_was_exported(artifact: DefenceArtifact) -> None:
    """Remove structural values that have no weights, hence no graph: a request must not choose them."""
    for spec in artifact.facts.parameters:
        if spec.structural_choices:
            exported = {variant.structural[spec.name] for variant in artifact.variants}
            keep_choices(spec, exported)
