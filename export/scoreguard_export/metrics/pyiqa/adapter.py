"""A metric of pyiqa as a metric of ours: the same facts, the same kind of weights, the same graphs.

pyiqa is licensed for non-commercial use alone, as are the weights that it publishes. What runs is its own code. Around
it stands what a graph needs: linear layers whose result does not depend on the other images of a batch, and networks
that pyiqa keeps out of sight of `parameters`, in sight.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final, Self

import torch
from torch import Tensor, nn

from scoreguard_export.errors import ExportError, WeightsError, one_line
from scoreguard_export.graph_module import NO_FILES
from scoreguard_export.metrics.base import Metric, MetricFacts
from scoreguard_export.metrics.pyiqa.asked import networks_in, parameters_in
from scoreguard_export.metrics.pyiqa.linears import steadied
from scoreguard_export.metrics.pyiqa.networks import NONE, configurations, network_of
from scoreguard_export.metrics.pyiqa.papers import paper_of
from scoreguard_export.metrics.pyiqa.sources import sources_of
from scoreguard_export.metrics.pyiqa.stand_ins import Given
from scoreguard_export.metrics.pyiqa.table import REPEAT, Entry, Status
from scoreguard_export.weights.checkpoints import read_content

_TOLERANCE: Final = 1e-4
"""Largest difference between a graph and the network, as a share of the range."""
_YEAR: Final = 2026
"""Year of the version of pyiqa that the table describes."""


class PyiqaMetric(Metric):
    """A metric of pyiqa; a class of its own for each is made by `metric_class`."""

    entry: ClassVar[Entry]
    addresses: ClassVar[Mapping[str, str]]
    """Where the files of the sources are from, by the sources' names."""

    def __init__(self, contents: Mapping[str, object] = NONE) -> None:
        super().__init__()
        _check_library(self.entry)
        self.network = network_of(self.entry.name, contents)
        hidden = networks_in(self.network)[1:]
        for part in hidden:
            vars(part)["to"] = _staying(part)
        self.hidden = nn.ModuleList(hidden)
        steadied(self)

    @classmethod
    def from_weights(cls, files: Mapping[str, Path] = NO_FILES, variant: str = "") -> Self:
        """Build the module in evaluation mode from the files of its sources.

        Raises:
            UnknownNameError: a variant is asked for: there are none.
            WeightsError: a file is not given, is missing, unreadable, or leaves some of the network untrained.
        """
        if variant:
            cls.facts.of_variant(variant)
        say_licence()
        paths = cls.located(files)
        read = {name: read_content(path, name, cls.sources[name]) for name, path in paths.items()}
        given = " and ".join(map(str, paths.values()))
        try:
            metric = cls({cls.addresses[name]: Given.of(content.value) for name, content in read.items()})
        except ExportError:
            raise
        except Exception as error:  # the library's code fails in many ways on a file of another network
            raise WeightsError(f"{cls.facts.name} cannot be made from {given}: {one_line(str(error))}") from error
        if read and (left := metric.untrained()):
            raise WeightsError(f"{given}: {len(left)} parameters of {cls.facts.name} stay untrained, such as {left[0]}")
        metric.weights_digests = {name: content.sha256 for name, content in read.items()}
        return metric.eval()

    def untrained(self) -> list[str]:
        """Return the names of the parameters that no file has filled: they are as they were drawn."""
        drawn = parameters_in(network_of(self.entry.name))
        return [
            name
            for name, tensor in parameters_in(self.network).items()
            if name in drawn and torch.equal(tensor, drawn[name]) and bool((tensor != tensor.flatten()[:1]).any())
        ]

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1]."""
        scores = self.network(image)
        first: Tensor = scores[0] if isinstance(scores, tuple) else scores
        return first.reshape(image.shape[0]).to(image.dtype)


def _staying(part: nn.Module) -> Callable[..., nn.Module]:
    """Return a `to` that moves nothing: pyiqa moves such a network to the image's device at every call."""

    def to(*_: object, **__: object) -> nn.Module:
        return part

    return to


def _check_library(entry: Entry) -> None:
    """Refuse a pyiqa that says otherwise than the table.

    Raises:
        ExportError: it has no such metric, or states another range or direction.
    """
    found = configurations(f"pyiqa:{entry.name}").get(entry.name, {})
    said = found.get("score_range"), found.get("lower_better", False)
    if said != (entry.score_range, entry.lower_better):
        raise ExportError(
            f"the installed pyiqa says of {entry.name} other than the table (range and lower_better {said}): "
            f"install the version of `scoreguard-export catalogue --pyiqa`, or repeat {REPEAT}"
        )


@cache
def say_licence() -> None:
    """Say once on standard error under which licence pyiqa is."""
    print(
        "pyiqa and its weights: PolyForm Noncommercial 1.0.0 and S-Lab License 1.0, no commercial use", file=sys.stderr
    )


@cache
def metric_class(entry: Entry) -> type[PyiqaMetric]:
    """Make the class of a metric of pyiqa; pyiqa itself is imported when a module of it is built.

    Raises:
        ExportError: the survey found that it cannot be exported; the message says why.
    """
    bounds = entry.bounds
    if entry.status is not Status.EXPORTS or bounds is None:
        raise ExportError(f"pyiqa:{entry.name} is not exported: {entry.status}: {entry.reason or 'its range is open'}")
    paper, year = paper_of(entry.network, _YEAR)
    facts = MetricFacts(
        name=entry.served_name,
        title=f"{entry.name} of pyiqa ({entry.network})",
        paper=paper,
        year=year,
        score_range=bounds,
        input_rule=f"RGB, as pyiqa's {entry.network} reads it; range as pyiqa states it: {entry.score_range}",
        minimum_size=entry.minimum_size,
        parity_tolerance=_TOLERANCE * bounds.width,
    )
    sources, addresses = sources_of(entry)
    return type(
        entry.served_name.replace("-", "_"),  # TorchScript writes it as an identifier
        (PyiqaMetric,),
        {
            "__module__": __name__,
            "__doc__": facts.title,
            "facts": facts,
            "entry": entry,
            "sources": MappingProxyType(sources),
            "addresses": MappingProxyType(addresses),
        },
    )
