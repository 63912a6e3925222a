"""The weights files that pyiqa's networks are made from, under the names that `--weights NAME=PATH` takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from scoreguard_export.metrics.pyiqa.asked import file_name
from scoreguard_export.metrics.pyiqa.table import PREFIX, Entry, Status, survey
from scoreguard_export.weights.source import WeightsSource

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
            name, source = clip, _of_program(address, "MIT (OpenAI)")
        else:
            name = entry.served_name + (f"-{len(sources) + 1}" if sources else "")
            program = file_name(address).startswith(_PROGRAMS)
            source = _of_program(address, LICENCE) if program else WeightsSource(licence=LICENCE, download=address)
        sources[name], addresses[name] = source, address
    return sources, addresses


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A file of weights, and the metrics that are made from it."""

    users: tuple[str, ...]
    source: WeightsSource


@cache
def sources_of_all() -> dict[str, Shared]:
    """Return the files of all metrics that can be exported, by name."""
    found: dict[str, Shared] = {}
    for entry in survey().entries.values():
        for name, source in sources_of(entry)[0].items() if entry.status is Status.EXPORTS else ():
            users = found[name].users if name in found else ()
            found[name] = Shared(users=(*users, f"metric {PREFIX}{entry.name}"), source=source)
    return found


def _of_program(address: str, licence: str) -> WeightsSource:
    return WeightsSource(
        licence=licence,
        url=f"the tensors of the TorchScript archive {address}, under its names, saved as safetensors or by torch.save",
    )
