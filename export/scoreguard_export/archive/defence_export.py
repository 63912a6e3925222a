"""Every variant of a defence to graphs, and its part of the manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scoreguard.v1.archive import sha256_of
from scoreguard.v1.manifest_pb2 import DefenceArtifact, DefenceVariant, Diffusion, GraphFiles, WeightsFile
from scoreguard_export.archive.eager import EagerDefence
from scoreguard_export.archive.export_graphs import ExportedGraphs, export_graphs
from scoreguard_export.archive.facts import exported_facts, tiling_message
from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.catalogue import chosen_variants, defence_named
from scoreguard_export.exporters.onnx_graph import OPSET


@dataclass(frozen=True, kw_only=True)
class ExportedDefence:
    """A defence, exported."""

    artifact: DefenceArtifact
    """Its part of the manifest."""
    files: Mapping[str, bytes]
    """The graphs, by their path in an archive."""
    eager: EagerDefence
    """The modules that they were made from."""


@dataclass(kw_only=True)
class DefenceExporter:
    """Exports defences for one build; a graph that several of them use is exported once."""

    weights: Mapping[str, Path]
    """Weights files by name, for those that are not shipped."""
    done: Callable[[str], None] = lambda label: None
    """Told the name of each variant that is exported and agrees with its module."""
    default_only: bool = False
    """Whether to export the default structural variant of each defence alone."""
    _known: dict[str, ExportedGraphs] = field(default_factory=dict)

    def export(self, name: str) -> ExportedDefence:
        """Export every variant that the weights at hand allow.

        Raises:
            UnknownNameError: no defence has this name.
            WeightsError: weights are missing, or are not what the method needs.
            ParityError: an exported graph differs from its module.
        """
        kind = defence_named(name)
        artifact = DefenceArtifact(facts=exported_facts(kind))
        files: dict[str, bytes] = {}
        modules: dict[str, Defence] = {}
        for structural in chosen_variants(name, self.weights, default_only=self.default_only):
            module = kind.from_weights(self.weights, **structural)
            artifact.variants.append(self._variant(kind, module, structural, files, modules))
            self.done(_stem(name, structural))
        _keep_what_was_exported(artifact)
        artifact.weights.extend(self._weights_of(kind, artifact))
        return ExportedDefence(artifact=artifact, files=files, eager=EagerDefence(artifact=artifact, modules=modules))

    def _variant(
        self,
        kind: type[Defence],
        module: Defence,
        structural: dict[str, float],
        files: dict[str, bytes],
        modules: dict[str, Defence],
    ) -> DefenceVariant:
        graph, finish = module.graph(), module.finish()
        variant = DefenceVariant(structural=structural)
        exported = self._exported(graph, variant.graphs, files, modules)
        variant.parity.extend(exported.parity)
        if finish:
            variant.parity.extend(self._exported(finish, variant.finish, files, modules).parity)
        note_exceptions(variant, kind, structural)
        return variant

    def _exported(
        self, module: Defence, graphs: GraphFiles, files: dict[str, bytes], modules: dict[str, Defence]
    ) -> ExportedGraphs:
        stem = f"defences/{_stem(module.facts.name, module.structural)}"
        if stem not in self._known:
            self._known[stem] = export_graphs(module)
        exported = self._known[stem]
        graphs.CopyFrom(GraphFiles(torchscript=f"{stem}.pt", onnx=f"{stem}.onnx", onnx_opset=OPSET))
        files[graphs.torchscript], files[graphs.onnx] = exported.torchscript, exported.onnx
        modules[graphs.torchscript] = module
        return exported

    def _weights_of(self, kind: type[Defence], artifact: DefenceArtifact) -> list[WeightsFile]:
        used: dict[str, Path] = {}
        for variant in artifact.variants:
            used.update(kind.used(self.weights, dict(variant.structural)))
        return [
            WeightsFile(name=name, sha256=sha256_of(path.read_bytes()), licence=kind.sources[name].licence)
            for name, path in used.items()
        ]


def _stem(name: str, structural: Mapping[str, float]) -> str:
    return "-".join([name, *(f"{key}{value:g}" for key, value in structural.items())])


def note_exceptions(variant: DefenceVariant, kind: type[Defence], structural: Mapping[str, float]) -> None:
    """Tiles and steps of a variant that are not those of the facts."""
    usual = kind.facts.variants()[0]
    tiles, schedule = kind.tiles(structural), kind.schedule(structural)
    if tiles and tiles != kind.tiles(usual):
        variant.tiling.CopyFrom(tiling_message(tiles))
    if schedule != kind.schedule(usual):
        variant.diffusion.CopyFrom(Diffusion(alpha_bar=schedule))


def _keep_what_was_exported(artifact: DefenceArtifact) -> None:
    """Structural values without weights, hence without a graph, are none that a request may choose."""
    for spec in artifact.facts.parameters:
        if spec.structural_choices:
            exported = {variant.structural[spec.name] for variant in artifact.variants}
            spec.structural_choices[:] = [value for value in spec.structural_choices if value in exported]
