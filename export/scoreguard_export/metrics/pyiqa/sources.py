"""The weights files that pyiqa's networks are made from, under the names that `--weights NAME=PATH` takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from scoreguard_export.metrics.pyiqa.asked import file_name
from scoreguard_export.metrics.pyiqa.table import PREFIX, Entry, Status, survey
from scoreguard_export.weights.source import CommercialUse, WeightsSource

LICENCE: Final = "PolyForm Noncommercial 1.0.0 and S-Lab License 1.0 (pyiqa): non-commercial use only"
_CLIP: Final = {"RN50.pt": "clip-rn50", "ViT-B-32.pt": "clip-vit-b-32", "ViT-L-14.pt": "clip-vit-l-14"}
"""OpenAI's files, which several metrics share, by file name."""
_PROGRAMS: Final = "regressor_"
"""Begins the names of ARNIQA's regressions, which are published as TorchScript too."""


def sources_of(entry: Entry) -> tuple[dict[str, WeightsSource], dict[str, str]]:
    """Return the sources of a metric, its own first, and their addresses, both by the names of the files."""
    sources: dict[str, WeightsSource] = {}
    addresses: dict[str, str] = {}
    for address in reversed(entry.files):
        if clip := _CLIP.get(file_name(address)):
            name, source = clip, _of_program(address, "MIT (OpenAI)", CommercialUse.YES)
        else:
            name = entry.served_name + (f"-{len(sources) + 1}" if sources else "")
            program = file_name(address).startswith(_PROGRAMS)
            source = _of_program(address, LICENCE, CommercialUse.NO) if program else _of_file(address)
        sources[name], addresses[name] = source, address
    return sources, addresses


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A file of weights, and the metrics that are made from it."""

    metrics: tuple[str, ...]
    """Their names, as a build takes them."""
    source: WeightsSource


@cache
def sources_of_all() -> dict[str, Shared]:
    """Return the files of all metrics that can be exported, by name."""
    found: dict[str, Shared] = {}
    for entry in survey().entries.values():
        for name, source in sources_of(entry)[0].items() if entry.status is Status.EXPORTS else ():
            metrics = found[name].metrics if name in found else ()
            found[name] = Shared(metrics=(*metrics, f"{PREFIX}{entry.name}"), source=source)
    return found


def _of_file(address: str) -> WeightsSource:
    return WeightsSource(licence=LICENCE, commercial=CommercialUse.NO, download=address)


def _of_program(address: str, licence: str, commercial: CommercialUse) -> WeightsSource:
    return WeightsSource(
        licence=licence,
        commercial=commercial,
        url=f"the tensors of the TorchScript archive {address}, under its names, saved as safetensors or by torch.save",
    )
