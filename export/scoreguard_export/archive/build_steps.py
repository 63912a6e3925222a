"""The steps of a build: a metric, a defence, a golden score; each made, or reused from an earlier build."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from scoreguard.chain.devices import Device
from scoreguard.v1.manifest_pb2 import BuildRecord, GoldenScore, MetricArtifact
from scoreguard_export.archive.build_records import BuildRecords
from scoreguard_export.archive.defence_export import DefenceExporter, eager_defence, stem
from scoreguard_export.archive.eager import EagerDefence
from scoreguard_export.archive.eager_check import check_before_export
from scoreguard_export.archive.facts import commercial_use_of, licence_of, metric_message, weights_messages
from scoreguard_export.archive.fingerprint import code_digest, combined, export_key
from scoreguard_export.archive.golden import golden_image, golden_score
from scoreguard_export.archive.metric_export import export_metric
from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.catalogue import chosen_variants
from scoreguard_export.errors import WeightsError
from scoreguard_export.graph_module import GraphModule
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import load_metric, metric_of

Kind = TypeVar("Kind", bound=GraphModule)


@dataclass(frozen=True, kw_only=True)
class Made(Generic[Kind]):
    """A metric or a defence of a build."""

    kind: type[Kind]
    key: str
    """Digest of everything that determines the record."""
    record: BuildRecord
    kept: bool
    """Whether an earlier build made it."""

    @property
    def name(self) -> str:
        """Name in the archive; each variant has a separate one."""
        return self.record.metric.facts.name or self.record.defence.facts.name


@dataclass(kw_only=True)
class BuildSteps:
    """Makes what the records do not contain."""

    records: BuildRecords
    weights: Mapping[str, Path]
    """Weights files by name, for those that are not shipped."""
    progress: Callable[[str], None] = lambda label: None
    """Called with the name of each graph pair that agrees with its module."""
    default_variants: bool = False
    """Whether to export only the default structural variant of each defence."""
    half_on: Device | None = None
    """The device that half precision is measured on; None = it is not declared."""
    _asked: dict[str, str] = field(default_factory=dict)
    """Names of the metrics as requested, by key."""
    _metrics: dict[str, Metric] = field(default_factory=dict)
    _eager: dict[str, EagerDefence] = field(default_factory=dict)

    def load(self, name: str) -> None:
        """Read a metric's weights if an export needs them, to find bad ones before anything is written.

        Raises:
            WeightsError: weights are missing, or are not what the method needs.
        """
        key = self._metric_key(name)
        if self.records.find(key) is None:
            self._loaded(name, key)

    def metric(self, name: str) -> Made[Metric]:
        """Return the graphs and facts of a metric, `niqe`, or of a variant, `niqe@as-official`.

        Raises:
            WeightsError: weights are missing, or are not what the method needs.
            RuleBrokenError: the metric itself gives no usable scores.
            ParityError: an exported graph differs from its module.
            PrecisionError: half precision gives a value that is not finite.
        """
        key = self._metric_key(name)
        record = self.records.find(key)
        kept = record is not None
        if record is None:
            record = self._export_metric(name, key)
        made = Made(kind=metric_of(name)[0], key=key, record=record, kept=kept)
        self._asked[key] = name
        self.progress(made.name)
        return made

    def defence(self, kind: type[Defence]) -> Made[Defence]:
        """Return a defence's graphs and facts; raises as `metric` does."""
        variants = chosen_variants(kind.facts.name, self.weights, default_only=self.default_variants)
        key = self._key(kind, variants=variants)
        record = self.records.find(key)
        if record is not None:
            for structural in variants:
                self.progress(stem(kind.facts.name, structural))
            return Made(kind=kind, key=key, record=record, kept=True)
        exported = self._exporter.export(kind, variants)
        record = self.records.keep(key, BuildRecord(defence=exported.artifact), exported.files)
        return Made(kind=kind, key=key, record=record, kept=False)

    def golden(self, metric: Made[Metric], defence: Made[Defence] | None) -> GoldenScore:
        """Return the golden score of a metric, alone or behind a defence."""
        key = combined(golden=metric.key, behind=defence.key if defence else "")
        if (record := self.records.find(key)) is not None:
            return record.golden
        image = golden_image(metric.record.metric.facts.minimum_size)
        score = golden_score(
            self._loaded(self._asked[metric.key], metric.key), self._eager_of(defence) if defence else None, image
        )
        return self.records.keep(key, BuildRecord(golden=score), {}).golden

    @cached_property
    def _exporter(self) -> DefenceExporter:
        return DefenceExporter(weights=self.weights, progress=self.progress, half_on=self.half_on)

    def _key(self, kind: type[GraphModule], **options: object) -> str:
        files = {name: path for name, path in self._files(kind).items() if path is not None}
        try:
            return export_key(kind, files, half=self.half_on.name if self.half_on else "", **options)
        except OSError as error:
            raise WeightsError(f"{error.filename} cannot be read: {error.strerror or error}") from error

    def _files(self, kind: type[GraphModule]) -> dict[str, Path | None]:
        """Return the available weights files of a class."""
        return {name: self.weights.get(name) or source.shipped for name, source in kind.sources.items()}

    def _metric_key(self, name: str) -> str:
        kind, variant = metric_of(name)
        return self._key(kind, variant=variant)

    def _export_metric(self, name: str, key: str) -> BuildRecord:
        kind, metric = metric_of(name)[0], self._loaded(name, key)
        check_before_export(metric)
        artifact = MetricArtifact(
            facts=metric_message(metric.facts, licence_of(metric), commercial_use_of(metric)),
            weights=weights_messages(kind, metric.weights_digests),
            code_sha256=code_digest(kind),
        )
        files = export_metric(metric, artifact, self.half_on)
        return self.records.keep(key, BuildRecord(metric=artifact), files)

    def _loaded(self, name: str, key: str) -> Metric:
        if key not in self._metrics:
            self._metrics[key] = load_metric(name, self.weights)
        return self._metrics[key]

    def _eager_of(self, made: Made[Defence]) -> EagerDefence:
        if made.key not in self._eager:
            self._eager[made.key] = eager_defence(made.kind, made.record.defence, self.weights)
        return self._eager[made.key]
