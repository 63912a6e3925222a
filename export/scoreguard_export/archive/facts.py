"""The facts of metrics and defences as the messages of a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from scoreguard.v1 import manifest_pb2 as pb
from scoreguard_export.defences.base import (
    Defence,
    DefenceFacts,
    Differentiability,
    Distribution,
    RandomShape,
    Tiles,
)
from scoreguard_export.graph_module import GraphModule
from scoreguard_export.metrics.base import Metric, MetricFacts
from scoreguard_export.weights.source import CommercialUse, strictest

DIFFERENTIABILITY: Final = {
    Differentiability.EXACT: pb.DIFFERENTIABILITY_EXACT,
    Differentiability.STRAIGHT_THROUGH: pb.DIFFERENTIABILITY_STRAIGHT_THROUGH,
    Differentiability.BPDA_IDENTITY: pb.DIFFERENTIABILITY_BPDA_IDENTITY,
}
DISTRIBUTION: Final = {
    Distribution.STANDARD_NORMAL: pb.DISTRIBUTION_STANDARD_NORMAL,
    Distribution.UNIFORM: pb.DISTRIBUTION_UNIFORM,
}
COMMERCIAL: Final = {
    CommercialUse.YES: pb.COMMERCIAL_USE_YES,
    CommercialUse.NO: pb.COMMERCIAL_USE_NO,
    CommercialUse.NOT_STATED: pb.COMMERCIAL_USE_NOT_STATED,
}
SHAPE: Final = {RandomShape.IMAGE: pb.RANDOM_SHAPE_IMAGE, RandomShape.ITEM: pb.RANDOM_SHAPE_ITEM}


def metric_message(facts: MetricFacts, licence: str = "", commercial: CommercialUse | None = None) -> pb.MetricFacts:
    """Return a metric's facts, with the licence of its weights and whether it allows commercial use."""
    return pb.MetricFacts(
        name=facts.name,
        title=facts.title,
        paper=facts.paper,
        year=facts.year,
        range_low=facts.score_range.low,
        range_high=facts.score_range.high,
        higher_is_better=facts.higher_is_better,
        input_rule=facts.input_rule,
        minimum_size=facts.minimum_size,
        weights_licence=licence,
        variant=facts.variant,
        commercial_use=COMMERCIAL[commercial] if commercial else pb.COMMERCIAL_USE_UNSPECIFIED,
    )


def licence_of(module: type[GraphModule] | GraphModule) -> str:
    """Return the licences of a module's weights; empty if it has none."""
    return "; ".join(dict.fromkeys(source.licence for source in module.sources.values()))


def commercial_use_of(module: type[GraphModule] | GraphModule) -> CommercialUse | None:
    """Return whether all weights of a module may be used commercially; None if it has none."""
    return strictest(source.commercial for source in module.sources.values()) if module.sources else None


def declares_half(module: type[GraphModule] | GraphModule) -> bool:
    """Return whether half precision is measured for a module: for metrics, and defences with weights."""
    kind = module if isinstance(module, type) else type(module)
    return issubclass(kind, Metric) or bool(module.sources)


def weights_messages(kind: type[GraphModule], digests: Mapping[str, str]) -> list[pb.WeightsFile]:
    """Return the weights files that a module was filled from, given their digests by name."""
    return [
        pb.WeightsFile(
            name=name,
            sha256=digest,
            licence=kind.sources[name].licence,
            commercial_use=COMMERCIAL[kind.sources[name].commercial],
        )
        for name, digest in digests.items()
    ]


def defence_message(facts: DefenceFacts) -> pb.DefenceFacts:
    """Return a defence's facts."""
    return pb.DefenceFacts(
        name=facts.name,
        title=facts.title,
        paper=facts.paper,
        year=facts.year,
        parameters=[parameter.to_message() for parameter in facts.parameters],
        random_inputs=[
            pb.RandomInput(name=r.name, distribution=DISTRIBUTION[r.distribution], shape=SHAPE[r.shape])
            for r in facts.random_inputs
        ],
        differentiability=DIFFERENTIABILITY[facts.differentiability],
        size_preserving=facts.size_preserving,
        minimum_size=facts.minimum_size,
    )


def exported_facts(defence: type[Defence]) -> pb.DefenceFacts:
    """Return a defence's facts, including how its graph is used: in tiles, or by a sampler."""
    message = defence_message(defence.facts)
    variant = defence.facts.variants()[0]
    tiles = defence.tiles(variant)
    if tiles:
        message.tiling.CopyFrom(tiling_message(tiles))
    if schedule := defence.schedule(variant):
        message.diffusion.alpha_bar.extend(schedule)
    return message


def tiling_message(tiles: Tiles) -> pb.Tiling:
    """Return how images are cut into tiles."""
    return pb.Tiling(size=tiles.size, overlap=tiles.overlap, multiple=tiles.multiple)
