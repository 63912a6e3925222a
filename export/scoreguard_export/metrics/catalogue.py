"""Every metric by name. To add one, add a file next to this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scoreguard.catalogue import Catalogue
from scoreguard.v1.errors import ContractError
from scoreguard_export.errors import ExportError
from scoreguard_export.graph_module import NO_FILES
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.pyiqa.adapter import metric_class
from scoreguard_export.metrics.pyiqa.table import find

CATALOGUE: Final = Catalogue[Metric](
    kind="metric",
    base=Metric,
    own={
        "lite": "scoreguard_export.metrics.lite:Lite",
        "brisque": "scoreguard_export.metrics.brisque:Brisque",
        "brisque-opencv": "scoreguard_export.metrics.brisque_opencv:BrisqueOpenCv",
        "cnniqa": "scoreguard_export.metrics.cnniqa:CnnIqa",
        "nima": "scoreguard_export.metrics.nima:Nima",
        "nima-aesthetic": "scoreguard_export.metrics.nima:NimaAesthetic",
        "niqe": "scoreguard_export.metrics.niqe:Niqe",
        "piqe": "scoreguard_export.metrics.piqe:Piqe",
        "spaq": "scoreguard_export.metrics.spaq:Spaq",
        "meta-iqa": "scoreguard_export.metrics.meta_iqa:MetaIqa",
        "linearity": "scoreguard_export.metrics.linearity:Linearity",
        "wsp": "scoreguard_export.metrics.wsp:Wsp",
        "vsfa": "scoreguard_export.metrics.vsfa:Vsfa",
        "mdtvsfa": "scoreguard_export.metrics.mdtvsfa:Mdtvsfa",
        "rank-iqa": "scoreguard_export.metrics.rank_iqa:RankIqa",
        "fpr": "scoreguard_export.metrics.fpr:Fpr",
        "dbcnn": "scoreguard_export.metrics.dbcnn:DbCnn",
        "hyper-iqa": "scoreguard_export.metrics.hyper_iqa:HyperIqa",
        "paq2piq": "scoreguard_export.metrics.paq2piq:Paq2Piq",
        "tres": "scoreguard_export.metrics.tres:Tres",
        "koncept512": "scoreguard_export.metrics.koncept512:Koncept512",
        "nima-inceptionresnetv2": "scoreguard_export.metrics.nima_ava:NimaInceptionResnetV2",
        "nima-vgg16": "scoreguard_export.metrics.nima_ava:NimaVgg16",
        "maniqa": "scoreguard_export.metrics.maniqa:Maniqa",
        "clip-iqa": "scoreguard_export.metrics.clip_iqa:ClipIqa",
        "laion-aesthetic": "scoreguard_export.metrics.laion_aesthetic:LaionAesthetic",
    },
)


VARIANT_SIGN: Final = "@"
"""Separates a metric and its variant: `niqe@as-official`."""


def named(name: str) -> type[Metric]:
    """Return the metric of a name: one of the catalogue, or `pyiqa:musiq`, which is served as `pyiqa-musiq`.

    Raises:
        UnknownNameError: neither the catalogue nor the table of pyiqa has such a metric.
        PluginError: the package that has it cannot be used.
        ExportError: pyiqa has it, and it cannot be exported; the message says why.
    """
    entry = find(name)
    return metric_class(entry) if entry is not None else CATALOGUE[name]


def known(name: str) -> type[Metric] | None:
    """Return the metric of a name, or None: of an archive that another version or a plug-in made, for example."""
    try:
        return named(name)
    except (ContractError, ExportError):
        return None


def metric_of(text: str) -> tuple[type[Metric], str]:
    """Return a metric and its variant; empty means the usual one.

    Args:
        text: `niqe`, `niqe@as-official`, or `pyiqa:musiq`.

    Raises:
        UnknownNameError: there is no such metric, or the metric has no such variant.
        PluginError: the package that has it cannot be used.
        ExportError: pyiqa has it, and it cannot be exported.
    """
    name, _, variant = text.partition(VARIANT_SIGN)
    metric = named(name)
    if variant:
        metric.facts.of_variant(variant)
    return metric, variant


def load_metric(name: str, files: Mapping[str, Path] = NO_FILES) -> Metric:
    """Load a metric in evaluation mode, from the weights files given and the shipped ones.

    Raises:
        UnknownNameError: the catalogue has no such metric, or the metric no such variant; the message lists similar
            names.
        PluginError: the package that has it cannot be used.
        WeightsError: a file is neither given nor shipped, or is not its checkpoint.
    """
    metric, variant = metric_of(name)
    return metric.from_weights(files, variant) if variant else metric.from_weights(files)
