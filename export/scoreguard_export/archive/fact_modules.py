"""Modules that stand for exported graphs where only facts count: names, inputs and tolerances."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import nn

from scoreguard.v1.manifest_pb2 import BuildRecord, GraphFiles
from scoreguard_export.archive.manifest_facts import defence_facts, finish_facts, metric_facts
from scoreguard_export.archive.scripted import ScriptedDefence, ScriptedMetric, scripted_parts
from scoreguard_export.graph_module import GraphModule


def fact_modules(record: BuildRecord) -> Iterator[tuple[GraphModule, GraphFiles]]:
    """Yield a module for each graph of a metric's or a defence's record, with its files; the modules cannot run.

    Raises:
        ArchiveError: the record holds no parity.
    """
    if record.HasField("metric"):
        metric = record.metric
        yield ScriptedMetric(nn.Identity(), metric_facts(metric, Path(metric.facts.name))), metric.graphs
        yield from scripted_parts(metric, Path(metric.facts.name), lambda name: nn.Identity())
    for variant in record.defence.variants:
        path, structural = Path(record.defence.facts.name), dict(variant.structural)
        facts = defence_facts(record.defence, variant, path)
        yield ScriptedDefence(nn.Identity(), facts, structural), variant.graphs
        if variant.HasField("finish"):
            facts = finish_facts(record.defence, variant, path)
            yield ScriptedDefence(nn.Identity(), facts, structural), variant.finish
