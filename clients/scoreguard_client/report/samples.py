"""Clean scores of one metric, one an image, to fit a domain transform to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from scoreguard_client.report.csv_records import DATASET, IMAGE, file_metric
from scoreguard_client.report.errors import TableError
from scoreguard_client.report.sheet import read_sheet
from scoreguard_client.scores.domain_transform import Sample, sample_sha256
from scoreguard_client.scores.scaling import Values

_SCORE: Final = ("score", "clean_score", "clean", "clear")
_JSON: Final = frozenset({".json", ".jsonl"})


def read_sample(path: Path, *, metric: str = "", higher_is_better: bool = True) -> tuple[Sample, Values]:
    """Read the scores of a file: a CSV table, or what `scoreguard score --json` prints (`.json`, `.jsonl`).

    A table may be one of attacks, in which the lines of an image repeat its clean score.

    Args:
        path: the file.
        metric: name of the metric; empty = that of the table's column `metric`, or in the benchmark's kind of file
            name.
        higher_is_better: its direction.

    Returns:
        What the sample is, and its scores in the order of the file: (N,).

    Raises:
        TableError: the file cannot be read, an image has two scores or none, or nothing names the metric.
    """
    scores: dict[str, float] = {}
    metrics: set[str] = set()
    for where, image, score, named in _json_lines(path) if path.suffix in _JSON else _csv_lines(path):
        if scores.setdefault(image, score) != score:
            raise TableError(f"{where}: another score of {image} is {scores[image]:g}, and here it is {score:g}")
        metrics.add(named)
    if not scores:
        raise TableError(f"{path} has no score: every line states an error")
    name = metric or (next(iter(metrics)) if len(metrics) == 1 else "")
    if not name or (metric and metrics - {metric, ""}):
        listed = ", ".join(sorted(filter(None, metrics))) or "a metric without a name"
        raise TableError(f"{path} has scores of {listed}: name the metric, or choose its lines")
    values = np.array(list(scores.values()))
    digest = sample_sha256(list(scores), values)
    return Sample(metric=name, higher_is_better=higher_is_better, images=len(scores), sha256=digest), values


_Row = tuple[str, str, float, str]
"""Where it is, the image, its score and the metric."""


def _csv_lines(path: Path) -> Iterator[_Row]:
    lines = read_sheet(path)
    columns = lines[0].cells
    for title, names in (("image", IMAGE), ("score", _SCORE)):
        if not any(name in columns for name in names):
            raise TableError(f"{path} has no column for {title} ({', '.join(names)}), only {', '.join(columns)}")
    for line in lines:
        if line.text(("error",)):
            continue
        image, dataset = line.text(IMAGE), line.text(DATASET)
        name, metric = f"{dataset}/{image}" if dataset else image, line.text(("metric",)) or file_metric(path)
        yield f"{path}, line {line.number}", name, line.needed(_SCORE), metric


def _json_lines(path: Path) -> Iterator[_Row]:
    try:
        texts: Iterable[str] = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    found = False
    for number, text in enumerate(texts, 1):
        where, found = f"{path}, line {number}", True
        try:
            content = json.loads(text)
            image, score = content["image"], content["score"]
        except (ValueError, TypeError, KeyError) as error:
            raise TableError(f"{where} is no answer of scoreguard score --json with a score") from error
        if type(score) not in (int, float) or not math.isfinite(score):
            raise TableError(f"{where}: the score {score!r:.40} of {image} is no finite number")
        yield where, str(image), float(score), ""
    if not found:
        raise TableError(f"{path} is empty")
