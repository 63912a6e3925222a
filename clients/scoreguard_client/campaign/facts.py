"""What a run states beside its plan: titles, labels, versions, the device; as JSON, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from scoreguard.support.console import DISTRIBUTION
from scoreguard.v1.archive import Archive
from scoreguard.v1.spec import Step, format_chain, parse_chain
from scoreguard_client._models import Catalogue, MetricDescription
from scoreguard_client.campaign.originals import FOLDERS
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.oracles.computing import Computation
from scoreguard_client.target.chains import complete_chains
from scoreguard_client.target.image_sets import ImageSet
from scoreguard_client.target.images import LeftOut
from scoreguard_client.target.people import KEY, united_people

SHOWN_IMAGES: Final = 3
"""Images of a campaign that are kept for the report."""
_NOT_EXACT: Final = ("straight_through", "bpda_identity")


@dataclass(frozen=True, kw_only=True)
class MetricSources:
    """One attacked metric: what is deployed, and where attacks on it get their gradients."""

    metric: MetricDescription
    """The deployed metric."""
    chains: tuple[tuple[Step, ...], ...]
    """The chains before it, as the user wrote them."""
    surrogate: Archive | None
    """The archive for gradients; None = the endpoint gives them, or no attack needs any."""


def facts_of(
    plan: Plan,
    sources: Sequence[MetricSources],
    catalogue: Catalogue,
    computation: Computation,
    left_out: Sequence[LeftOut],
    images: ImageSet,
) -> dict[str, Any]:
    """Return what a report needs beside a plan and its records, as JSON."""
    said = images.people.of({image.name for image in plan.images}) if images.people else None
    of_metrics = {source.metric.name: _of_metric(source) for source in sources}
    return {
        "shown": [image.name for image in plan.images[:SHOWN_IMAGES]],
        "metrics": {name: facts | {"expected": plan.records_of(name)} for name, facts in of_metrics.items()},
        "server_version": catalogue.server_version,
        "client_version": _client_version(),
        "computation": computation.record(),
        "left_out": [asdict(entry) for entry in left_out],
        FOLDERS: [str(images.reader.root.resolve())],
        **({KEY: said.facts()} if said else {}),
    }


def _client_version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0"  # the sources run uninstalled


def _of_metric(source: MetricSources) -> dict[str, Any]:
    metric = source.metric
    return {
        "title": metric.title,
        "calibration": asdict(metric.calibration) if metric.calibration else None,
        "transfer": source.surrogate is not None and not _same_metric(source.surrogate, metric),
        "labels": {complete_chains([chain], metric)[0]: format_chain(chain) for chain in source.chains},
        "rounding": [chain for chain in complete_chains(source.chains, metric) if rounds(chain, metric)],
        "papers": _papers(source),
    }


def _papers(source: MetricSources) -> dict[str, list[str | int]]:
    """Return paper and year of the metric and of each defence, by name."""
    metric = source.metric
    defences = (metric.defence(name) for name in dict.fromkeys(step.name for chain in source.chains for step in chain))
    return {metric.name: [metric.paper, metric.year], **{found.name: [found.paper, found.year] for found in defences}}


def rounds(chain: str, metric: MetricDescription) -> bool:
    """Whether a gradient passes the chain as if a rounding, or a whole step, were absent."""
    return any(metric.defence(step.name).differentiability in _NOT_EXACT for step in parse_chain(chain))


def _same_metric(surrogate: Archive, metric: MetricDescription) -> bool:
    ours = surrogate.digest_of(surrogate.manifest.metric.graphs.torchscript)
    return any(file.sha256 == ours for file in metric.files)


def merged_facts(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a run that was extended, or of two that were merged.

    Args:
        there: the facts of the run.
        here: those of the wider plan, or of the other run.

    Raises:
        PlanError: both have scores by people, which do not fit together.
    """
    metrics = {**there["metrics"]}
    for name, facts in here["metrics"].items():
        known = metrics.get(name, facts)
        rounding = [*known["rounding"], *facts["rounding"]]
        metrics[name] = facts | {
            "labels": known["labels"] | facts["labels"],
            "papers": known.get("papers", {}) | facts.get("papers", {}),
            "rounding": list(dict.fromkeys(rounding)),
            "transfer": known["transfer"] or facts["transfer"],
        }
    computation = here["computation"]
    unrepeatable = sorted({*there["computation"].get("unrepeatable", ()), *computation.get("unrepeatable", ())})
    return {
        **here,
        "metrics": metrics,
        "shown": list(there["shown"]),
        "computation": {**computation, "unrepeatable": unrepeatable},
        FOLDERS: list(dict.fromkeys([*there.get(FOLDERS, ()), *here.get(FOLDERS, ())])),
        **{key: _both(there[key], here[key]) for key in ("server_version", "client_version")},
        **united_people(there, here),
    }


def _both(one: str, other: str) -> str:
    """Name both versions of a run that two versions worked on."""
    return ", ".join(dict.fromkeys([*one.split(", "), *other.split(", ")]))
