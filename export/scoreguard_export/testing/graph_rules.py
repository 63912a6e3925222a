"""Rules about the export: it works, it matches the module, and tiles match the whole image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from scoreguard.chain.resolve import STEP_PARAMETER
from scoreguard.support.rules import Rule
from scoreguard.v1.manifest_pb2 import DefenceArtifact, DefenceVariant, GraphFiles, Tiling
from scoreguard_export.archive.defence_export import note_exceptions
from scoreguard_export.archive.eager import EagerDefence
from scoreguard_export.archive.facts import exported_facts
from scoreguard_export.archive.golden import golden_image, golden_vectors
from scoreguard_export.archive.parity import check_parity
from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.defences.base import Defence, Tiles
from scoreguard_export.errors import GraphError, ParityError
from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.signature import input_names
from scoreguard_export.graph_module import Role
from scoreguard_export.metrics.base import Metric
from scoreguard_export.testing.subject import Subject, of_part

_KEPT = 32
"""Least side that a tile under test keeps, in pixels: small enough for a small image to need several tiles."""
_SEAM = 1e-5
"""Largest difference that the order of sums in a tile may cause, in units of [0, 1]."""
_GRAPH, _FINISH = "graph", "finish"


def _exports(subject: Subject[Any]) -> Iterator[str]:
    for part in subject.parts:
        try:
            subject.graphs(part)
        except GraphError as error:
            yield f"{error.engine} cannot hold it{of_part(subject, part)}: {error.reason}"


def _parity(subject: Subject[Any]) -> Iterator[str]:
    for part in subject.parts:
        graphs = subject.graphs(part)
        try:
            check_parity(part, graphs.torchscript, graphs.onnx)
        except ParityError as error:
            yield f"the {error.engine} graph{of_part(subject, part)} differs at {error.case}: {error.reason}"


def _golden(subject: Subject[Metric]) -> Iterator[str]:
    for module in subject.modules:
        image, graphs = golden_image(module.facts.minimum_size), subject.graphs(module)
        (vector,) = golden_vectors(module, [], image)
        engines = {
            "torchscript": load_torchscript(graphs.torchscript),
            "onnx": load_onnx(graphs.onnx, input_names(module)),
        }
        for name, engine in engines.items():
            score = float(engine((image.image,)))
            if not abs(score - vector.score) <= vector.tolerance:
                yield f"the {name} graph scores the golden image {score:.6g}, the module {vector.score:.6g}"


def _tiles(subject: Subject[Defence]) -> Iterator[str]:
    for module in subject.modules:
        if tiles := subject.kind.tiles(module.structural):
            step = tiles.size - 2 * tiles.overlap
            if tiles.multiple < 1 or tiles.overlap < 0 or step - step % tiles.multiple < 1:
                yield f"{tiles}{of_part(subject, module)} keep nothing of what they read"
            else:
                yield from _seams(subject, module, tiles)


def _seams(subject: Subject[Defence], module: Defence, tiles: Tiles) -> Iterator[str]:
    """Compare tiles as small as the overlap allows with the whole image, along each axis."""
    size = -(-(2 * tiles.overlap + _KEPT) // tiles.multiple) * tiles.multiple
    cut = Tiling(size=size, overlap=tiles.overlap, multiple=tiles.multiple)
    short, long = max(module.facts.minimum_size, 41), size + _KEPT + 5
    for height, width in ((short, long), (long, short)):
        image = photographs(1, height, width, 0)
        with torch.no_grad():
            whole, joined = (_purified(module, image, tiling) for tiling in (None, cut))
        difference = float((whole - joined).abs().max())
        if not difference <= max(_SEAM, module.facts.parity_tolerance):
            yield (
                f"an image of {height} × {width} in tiles of {size}{of_part(subject, module)} differs by "
                f"{difference:.3g} from the image as a whole"
            )


def _purified(module: Defence, image: torch.Tensor, tiling: Tiling | None) -> torch.Tensor:
    """Return g(x) as the server runs a step, with the tiling given; a diffusion takes two steps."""
    variant = DefenceVariant(structural=module.structural, graphs=GraphFiles(torchscript=_GRAPH))
    parts = module.graphs()
    modules = {_GRAPH: parts[Role.GRAPH]}
    if Role.FINISH in parts:
        modules[_FINISH] = parts[Role.FINISH]
        variant.finish.torchscript = _FINISH
    note_exceptions(variant, type(module), module.structural)
    artifact = DefenceArtifact(facts=exported_facts(type(module)), variants=[variant])
    for holder in (artifact.facts, artifact.variants[0]):
        holder.ClearField("tiling")
    if tiling:
        artifact.facts.tiling.CopyFrom(tiling)
    short = {STEP_PARAMETER: 2.0} if module.schedule(module.structural) else {}
    engine = EagerDefence(artifact=artifact, modules=modules)
    return engine.purify(image, 0, **module.structural, **short)


EXPORTABLE = Rule[Subject[Any]](
    name="exportable",
    statement="The module can be written as TorchScript and as ONNX",
    advice="keep to torch operations on tensors, without numpy, .item() or int() of a size, and loop over no pixels",
    findings=_exports,
)
PARITY = Rule[Subject[Any]](
    name="parity",
    statement="Both graphs give the module's values and gradients at other sizes, batches and parameters than exported",
    advice="resize by size=, not by scale_factor=; pool by mean, not adaptively; take sizes of image.shape in forward",
    findings=_parity,
)
GOLDEN = Rule[Subject[Metric]](
    name="golden-vector",
    statement="Both graphs give the golden image the module's score: a server is ready only when it does",
    advice="see the rule parity",
    findings=_golden,
)
TILES = Rule[Subject[Defence]](
    name="tiles",
    statement="An image in tiles is the image as a whole, where tiles are declared",
    advice="overlap by as many pixels as an output pixel looks at, and begin at multiples of what is read as one",
    findings=_tiles,
)
