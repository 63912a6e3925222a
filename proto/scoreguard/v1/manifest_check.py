"""Check a manifest: its numbers stay within fixed bounds, and every listed file is referred to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from scoreguard.v1.errors import ContractError, IntegrityError
from scoreguard.v1.graph_files import Data, can_be_onnx, can_be_torchscript
from scoreguard.v1.manifest_pb2 import ArchiveManifest, GoldenVector, GraphFiles
from scoreguard.v1.members import MIB, check_name
from scoreguard.v1.spec import parse_chain

LARGEST_MANIFEST: Final = 16 * MIB
"""Largest manifest. With every metric and defence of the catalogue in one archive, it has 0.3 MiB."""
LARGEST_IMAGE: Final = 16 * MIB
"""Largest golden image: a PNG of at most a few hundred pixels a side."""
LARGEST_GRAPH: Final = 2048 * MIB
"""Largest graph: the size limit of Protobuf, hence of ONNX. The catalogue's largest, guided diffusion, has 1.1 GB."""
LARGEST_TOLERANCE: Final = 0.01
"""Largest tolerance of a golden score, as a share of the declared range's width: a larger one could not distinguish two
chains. An export allows a fifth of it for rounding that differs between processors."""


def check_manifest(manifest: ArchiveManifest, path: Path) -> None:
    """Refuse a manifest that no export would write.

    Raises:
        IntegrityError: a file has no plain name, is listed twice, is never referred to or is larger than its kind
            may be; the range is invalid; a defence is listed twice; a golden vector is missing or too tolerant.
    """
    _check_files(manifest, path)
    metric, facts = manifest.metric, manifest.metric.facts
    if metric.HasField("frame") != metric.HasField("pool") or metric.HasField("frame") != (metric.frame_numbers > 0):
        raise IntegrityError(f"{path}: the graphs of frames and of clips are not both there; build the archive again")
    width = facts.range_high - facts.range_low
    if not (math.isfinite(width) and width > 0):
        raise IntegrityError(f"{path}: {facts.range_low:g} to {facts.range_high:g} is no range; build it again")
    if "" not in {golden.defences for golden in manifest.golden_vectors}:
        raise IntegrityError(f"{path}: the golden score of the metric alone is missing; build the archive again")
    defences = [artifact.facts.name for artifact in manifest.defences]
    if len(set(defences)) != len(defences):
        raise IntegrityError(f"{path}: the manifest describes a defence twice; build the archive again")
    for golden in manifest.golden_vectors:
        _check_golden(golden, width, set(defences), path)


def size_limit(manifest: ArchiveManifest, name: str) -> int:
    """Return the largest allowed size in bytes of a file of the archive, by its kind."""
    return LARGEST_IMAGE if name in {golden.image for golden in manifest.golden_vectors} else LARGEST_GRAPH


def _check_files(manifest: ArchiveManifest, path: Path) -> None:
    listed = [entry.path for entry in manifest.files]
    for entry in manifest.files:
        check_name(path, entry.path)
        if entry.size_bytes > (limit := size_limit(manifest, entry.path)):
            raise IntegrityError(f"{path}: {entry.path} has {entry.size_bytes} bytes, more than the {limit} allowed")
    used = set(_used(manifest))
    for name in sorted(used ^ set(listed)):
        what = "does not list" if name in used else "lists, but does not use,"
        raise IntegrityError(f"{path}: the manifest {what} {name}; build the archive again")
    if len(listed) != len(used):
        raise IntegrityError(f"{path}: the manifest lists a file twice; build the archive again")


def kinds_of(manifest: ArchiveManifest) -> dict[str, Callable[[Data], bool]]:
    """Return the check that recognises each graph file of an archive, by its path."""
    kinds: dict[str, Callable[[Data], bool]] = {}
    for graphs in _graphs(manifest):
        kinds |= {graphs.torchscript: can_be_torchscript, graphs.onnx: can_be_onnx}
    return {name: kind for name, kind in kinds.items() if name}


def _used(manifest: ArchiveManifest) -> Iterator[str]:
    yield from kinds_of(manifest)
    yield from (golden.image for golden in manifest.golden_vectors)


def _graphs(manifest: ArchiveManifest) -> Iterator[GraphFiles]:
    yield manifest.metric.graphs
    yield manifest.metric.frame
    yield manifest.metric.pool
    for variant in (variant for artifact in manifest.defences for variant in artifact.variants):
        yield variant.graphs
        yield variant.finish


def _check_golden(golden: GoldenVector, width: float, defences: set[str], path: Path) -> None:
    what = f"the golden score behind {golden.defences[:80] or 'no defence'}"
    limit = LARGEST_TOLERANCE * width
    if not (math.isfinite(golden.score) and 0 < golden.tolerance <= limit):
        raise IntegrityError(
            f"{path}: {what} is {golden.score:g} ± {golden.tolerance:g}; more than ± {limit:g} proves nothing"
        )
    try:
        steps = parse_chain(golden.defences) if golden.defences else ()
    except ContractError as error:
        raise IntegrityError(f"{path}: {what} cannot be read: {error}") from error
    for step in steps:
        if step.name not in defences:
            raise IntegrityError(f"{path}: {what} is of a defence that the archive does not hold")
