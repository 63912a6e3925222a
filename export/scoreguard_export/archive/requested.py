"""Resolve what a command line asks to build: lists of names, and weights that are given, fetched or missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scoreguard_export.archive.weights_store import fetched
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.defences.catalogue import buildable
from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS
from scoreguard_export.metrics.catalogue import VARIANT_SIGN, known
from scoreguard_export.metrics.pyiqa.table import served

EVERYTHING: Final = "all"


@dataclass(frozen=True, kw_only=True)
class Requested:
    """A resolved request."""

    metrics: tuple[str, ...]
    """Names of metrics; the build rejects unknown ones."""
    defences: tuple[str, ...]
    """Names of defences; the build rejects unknown ones."""
    weights: Mapping[str, Path]
    """Files by name; given ones take precedence over fetched ones."""


def requested(metrics: str, defences: str, weights: tuple[str, ...], notice: Callable[[str], None]) -> Requested:
    """Resolve a request. `all` skips what has no weights, with a notice.

    Args:
        metrics: Names of metrics separated by commas, or `all`.
        defences: Names of defences separated by commas, or `all`.
        weights: NAME=FILE each, or FILE if only one metric is built.
        notice: Called with one line for each notice about what is skipped.

    Raises:
        WeightsError: a file has no name although several metrics are built, or two fetched files have one name.
    """
    every = _names(metrics, METRICS)
    files = {**_fetched(every, _names(defences, DEFENCES)), **dict(_weights(text, every) for text in weights)}
    return Requested(
        metrics=_with_weights(metrics, every, _scorable(files), notice),
        defences=_with_weights(defences, _names(defences, DEFENCES), buildable(files), notice),
        weights=files,
    )


def _names(text: str, catalogue: Mapping[str, object]) -> tuple[str, ...]:
    if text == EVERYTHING:
        return tuple(catalogue)
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _fetched(metrics: tuple[str, ...], defences: tuple[str, ...]) -> dict[str, Path]:
    """Return the files fetched by `weights get` that the build can use."""
    kinds = [metric.partition(VARIANT_SIGN)[0] for metric in metrics]
    needed = [name for kind in kinds if (metric := known(kind)) is not None for name in metric.sources]
    needed += [name for defence in defences if defence in DEFENCES for name in DEFENCES[defence].sources]
    return fetched(dict.fromkeys(needed))


def _scorable(files: Mapping[str, Path]) -> tuple[str, ...]:
    return tuple(name for name, metric in METRICS.items() if metric.at_hand(files))


def _with_weights(
    text: str, names: tuple[str, ...], found: tuple[str, ...], notice: Callable[[str], None]
) -> tuple[str, ...]:
    """Return the names; for `all`, those that have weights."""
    if text != EVERYTHING:
        return names
    if missing := [name for name in names if name not in found]:
        notice(f"skipped, no weights (scoreguard-export weights list): {', '.join(missing)}")
    return found


def _weights(text: str, metrics: tuple[str, ...]) -> tuple[str, Path]:
    name, equals, path = text.rpartition("=")
    if not equals and len(metrics) != 1:
        raise WeightsError(f"--weights {text}: write NAME={text}, several metrics are built")
    return served(name or metrics[0]), Path(path)
