"""Which map onto a reference metric a report applies first: a fitted one from a file, or the public benchmark's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from scoreguard.score_range import ScoreRange
from scoreguard_client._extras import require_torch
from scoreguard_client.campaign.errors import RunError
from scoreguard_client.scores.benchmark_map import BenchmarkMap
from scoreguard_client.scores.domain_transform import DomainTransform
from scoreguard_client.scores.scaling import Values

AS_BENCHMARK: Final = "as-benchmark:"
_VARIANT: Final = "-as-benchmark"
_THEIR_NAMES: Final = {"koncept512": "koncept"}
"""Names of metrics in the published file that differ from ours."""


class Transform(Protocol):
    """A map of scores onto a reference metric."""

    @property
    def range(self) -> ScoreRange:
        """Range and direction of the reference."""
        ...

    @property
    def source_is_higher_better(self) -> bool:
        """Direction of the metric that is mapped."""
        ...

    @property
    def reference_name(self) -> str:
        """Name of the reference."""
        ...

    @property
    def origin(self) -> str:
        """Where the map is from, in a few words."""
        ...

    def apply(self, scores: Values) -> Values:
        """Map scores: (N,)."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return the map's provenance as JSON."""
        ...


def read_transform(text: str, metric: str, *, higher_is_better: bool | None = None) -> Transform:
    """Read the map of a metric.

    Args:
        text: the file of a fitted map, or `as-benchmark:` and the published file.
        metric: name of the metric whose scores are to be mapped.
        higher_is_better: its direction; None = that of the map.

    Raises:
        RunError: the file is unreadable, or has no map of this metric and direction.
        MissingExtraError: the published file needs torch.
    """
    found = _read(text, metric)
    if higher_is_better not in (None, found.source_is_higher_better):
        theirs, ours = ("higher", "lower") if found.source_is_higher_better else ("lower", "higher")
        raise RunError(f"{text} takes {theirs} scores of {metric} for better ones, and here {ours} ones are")
    return found


def _read(text: str, metric: str) -> Transform:
    if text.startswith(AS_BENCHMARK):
        path = Path(text.removeprefix(AS_BENCHMARK))
        maps = benchmark_maps(path)
        name = metric.removesuffix(_VARIANT)
        name = _THEIR_NAMES.get(name, name)
        if name not in maps:
            raise RunError(f"{path} has no map of {metric or 'a metric without a name'}, only of {', '.join(maps)}")
        return maps[name]
    try:
        found = DomainTransform.read(Path(text))
    except ValueError as error:
        raise RunError(str(error)) from error
    if found.source.metric != metric:
        raise RunError(f"{text} maps scores of {found.source.metric}, not of {metric or 'a metric without a name'}")
    return found


def domain_words(transform: Transform | None) -> str:
    """Return which map was applied to the scores, in words; empty if none was."""
    return "" if transform is None else f"mapped onto {transform.reference_name} ({transform.origin})"


def benchmark_maps(path: Path) -> dict[str, BenchmarkMap]:
    """Read every map of the published file, by the benchmark's name of the metric.

    The file has plain tensors and numbers; one with pickled objects, as first published, is refused.

    Raises:
        RunError: it cannot be read, or has other content.
        MissingExtraError: torch is not installed.
    """
    torch = require_torch(f"{AS_BENCHMARK}{path}")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, Mapping) or not content:
            raise ValueError("it has no entries")
        return {str(name): BenchmarkMap.of(str(name), entry, sha256=digest) for name, entry in content.items()}
    except (
        Exception
    ) as error:  # torch's reader takes any file for a pickle, and fails in as many ways as there are files
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{path} is not the benchmark's file of domain transforms: {why:.200}") from error
