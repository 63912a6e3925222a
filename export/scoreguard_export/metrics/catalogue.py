"""Every metric by name. A new one is a file beside this and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scoreguard.catalogue import Catalogue
from scoreguard_export.graph_module import NO_FILES
from scoreguard_export.metrics.base import Metric

CATALOGUE: Final = Catalogue[Metric](
    kind="metric",
    base=Metric,
    own={
        "lite": "scoreguard_export.metrics.lite:Lite",
        "cnniqa": "scoreguard_export.metrics.cnniqa:CnnIqa",
        "nima": "scoreguard_export.metrics.nima:Nima",
        "nima-aesthetic": "scoreguard_export.metrics.nima:NimaAesthetic",
        "niqe": "scoreguard_export.metrics.niqe:Niqe",
    },
)


def load_metric(name: str, files: Mapping[str, Path] = NO_FILES) -> Metric:
    """A metric in evaluation mode, from the weights files given and the shipped ones.

    Raises:
        UnknownNameError: the catalogue has no such metric; the message lists near names.
        PluginError: the package that has it cannot be used.
        WeightsError: a file is neither given nor shipped, or is not its checkpoint.
    """
    return CATALOGUE[name].from_weights(files)
