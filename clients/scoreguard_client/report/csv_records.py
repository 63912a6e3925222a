"""Records from tables that were made elsewhere: the public benchmark's columns, or those of our own `records.csv`.

A line is one attacked image. Needed are its image, its clean and its attacked score; every other column that either
writer knows is used if it is there, and the rest can be grouped by.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.errors import TableError
from scoreguard_client.report.sheet import Line, read_sheet
from scoreguard_client.scores.fidelity import IDENTICAL_PSNR

_BENCHMARK_NAME: Final = re.compile(r"(?P<attack>.+)_(?P<metric>[^_]+)_test")
"""The benchmark names a file after the attack and the metric, which no column holds."""
IMAGE: Final = ("image", "image_name")
DATASET: Final = ("test_dataset",)
_NEEDED: Final = {
    "clean_defended": ("clean_defended", "defended-clear", "clean", "clear", "clean_score"),
    "attacked_defended": ("attacked_defended", "defended-attacked", "attacked", "attacked_score"),
}
"""Columns of the scores that are compared, the best first; names with a dash are those of the defence study."""
_OPTIONAL: Final = {
    "clean_score": ("clean_score", "clean", "clear"),
    "attacked_score": ("attacked_score", "attacked"),
    "attacked_defended_8bit": ("attacked_defended_8bit",),
    "psnr": ("psnr", "psnr_clear_attacked"),
    "ssim": ("ssim", "ssim_clear_attacked"),
    "purified_psnr": ("purified_psnr", "psnr_clear_defended-attacked"),
    "purified_ssim": ("purified_ssim", "ssim_clear_defended-attacked"),
}
_FLAGS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
IDENTITY: Final = (
    *("image", "test_dataset", "train_dataset", "amplitude", "attack", "crafting", "chain", "draw", "metric"),
    *("preset", "codec", "jpeg_quality", "start_frame", "end_frame"),
)
"""Labels that tell two lines of one image apart."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of a table."""

    record: Record
    """Its numbers; columns that the table lacks are None."""
    labels: Mapping[str, str]
    """Its cells by column, and `image`, `attack`, `chain`, `adaptive` and `metric` under these names."""
    lower_is_better: bool | None
    """What its column `lower_better` says; None if the table has none."""


def read_entries(paths: Sequence[Path], metric: str = "") -> list[Entry]:
    """Read tables.

    Args:
        paths: the files.
        metric: the metric of files without a column for it; empty = that in the benchmark's kind of file name.

    Raises:
        TableError: a file cannot be read, lacks a needed column, or has a cell that is not what its column needs.
    """
    return [entry for path in paths for entry in _entries(path, metric)]


def _entries(path: Path, given: str) -> Iterator[Entry]:
    lines = read_sheet(path)
    columns = lines[0].cells
    for title, names in {"image": IMAGE, **_NEEDED}.items():
        if not any(name in columns for name in names):
            raise TableError(f"{path} has no column for {title} ({', '.join(names)}), only {', '.join(columns)}")
    attack, metric = _named(path)
    for line in lines:
        yield _entry(line, attack, given or metric)


def file_metric(path: Path) -> str:
    """Return the metric that a file is named after, as the benchmark names its files; empty if it is not."""
    return _named(path)[1]


def _named(path: Path) -> tuple[str, str]:
    stem = path.name.removesuffix(".gz").removesuffix(".csv")
    named = _BENCHMARK_NAME.fullmatch(stem)
    return (named["attack"], named["metric"]) if named else (stem, "")


def _entry(line: Line, attack: str, metric: str) -> Entry:
    image = line.text(IMAGE)
    if not image:
        raise line.wrong(next(name for name in IMAGE if name in line.cells), "names no image")
    labels = {
        **line.cells,
        "image": image,
        "attack": line.text(("attack",)) or attack,
        "chain": line.text(("chain", "defence")) or _chain(line),
        "metric": line.text(("metric",)) or metric,
    }
    adaptive = _flag(line, "adaptive") or False
    if "adaptive" in line.cells:
        labels["adaptive"] = "yes" if adaptive else "no"
    dataset = line.text(DATASET)
    error = line.text(("error",))
    record = Record(
        image=f"{dataset}/{image}" if dataset else image,
        attack=labels["attack"],
        attacked_through=labels.get("crafting", ""),
        chain=labels["chain"],
        draw=_count(line, "draw"),
        image_sha256="",
        metric=labels["metric"],
        adaptive=adaptive,
        seed=0,
        queries=_count(line, "queries"),
        error=error,
        **_numbers(line, failed=bool(error)),
    )
    return Entry(record=record, labels=labels, lower_is_better=_flag(line, "lower_better"))


def _chain(line: Line) -> str:
    return "defended" if "defended-attacked" in line.cells else UNDEFENDED


def _numbers(line: Line, *, failed: bool) -> dict[str, Any]:
    """Read the scores and distances; a line that states an error may lack any."""
    found: dict[str, float | None] = {}
    for field, names in _NEEDED.items():
        found[field] = line.number_of(names) if failed else line.needed(names)
    for field, names in _OPTIONAL.items():
        found[field] = line.number_of(names, highest=IDENTICAL_PSNR if field.endswith("psnr") else math.nan)
    return found


def _flag(line: Line, column: str) -> bool | None:
    if column not in line.cells:
        return None
    text = line.cells[column].lower()
    if text not in _FLAGS:
        raise line.wrong(column, "is neither true nor false")
    return _FLAGS[text]


def _count(line: Line, column: str) -> int:
    value = line.number_of((column,)) or 0.0
    if value < 0 or not value.is_integer():
        raise line.wrong(column, "is no count")
    return int(value)
