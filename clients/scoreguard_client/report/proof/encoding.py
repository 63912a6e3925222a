"""Records as columns of JSON: what the tables need of them, exactly, and in few bytes.

Text, and numbers that come again, are a list of what there is and an index for each record. A score is a float32: if
all numbers of a column are, they are written with the digits that a float32 needs, half as many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from scoreguard_client.campaign.records import Record
from scoreguard_client.report.proof.errors import PageError

FIELDS: Final = (
    "image",
    "attack",
    "attacked_through",
    "chain",
    "draw",
    "adaptive",
    "failed",
    "clean_score",
    "clean_defended",
    "attacked_score",
    "attacked_defended",
    "attacked_score_8bit",
    "attacked_defended_8bit",
    "psnr",
    "ssim",
    "perceptual",
    "purified_psnr",
    "purified_ssim",
    "queries",
    "scoring_seconds",
)
"""The columns; `failed` says whether the record states an error."""
FAILED: Final = "failed"
_WORDS: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}
"""Numbers that JSON lacks, as JavaScript reads them."""

Column = dict[str, Any]


def encoded(records: Sequence[Record]) -> dict[str, Column]:
    """Return the columns of records, each with one entry for each record."""
    return {name: _column([_of(record, name) for record in records]) for name in FIELDS}


def decoded(columns: Mapping[str, Column], metric: str) -> list[Record]:
    """Return the records of columns; what no table needs is left empty.

    Raises:
        PageError: a column is missing, or has another form or length.
    """
    try:
        lists = {name: _values(columns[name]) for name in FIELDS}
        failed = lists.pop(FAILED)
        if len({len(values) for values in lists.values()} | {len(failed)}) > 1:
            raise ValueError("columns of different lengths")
        names = list(lists)
        return [
            Record(
                **dict(zip(names, values, strict=True)),
                image_sha256="",
                metric=metric,
                seed=0,
                error=FAILED if bad else "",
            )
            for *values, bad in zip(*lists.values(), failed, strict=True)
        ]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise PageError(f"the records of {metric} are not what this version writes ({error!r:.80})") from error


def _of(record: Record, name: str) -> Any:
    return bool(record.error) if name == FAILED else getattr(record, name)


def _column(values: Sequence[Any]) -> Column:
    single = all(_is_single(value) for value in values if type(value) is float)
    written = [_written(value, single=single) for value in values]
    # By their text: -0.0 and 0.0 are equal, and so are 1 and True.
    kinds = {repr(value): value for value in written}
    column: Column = {"single": True} if single and any(type(value) is float for value in values) else {}
    if 2 * len(kinds) > len(written) > 1:
        return column | {"values": written}
    places = {text: index for index, text in enumerate(kinds)}
    return column | {"values": list(kinds.values()), "places": [places[repr(value)] for value in written]}


def _is_single(value: float) -> bool:
    if not math.isfinite(value):
        return True
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(single) == value and float(np.float32(float(str(single)))) == value


def _written(value: Any, *, single: bool) -> Any:
    if type(value) is not float:
        return value
    if not math.isfinite(value):
        return _WORDS.get(value, "NaN")
    return float(str(np.float32(value))) if single else value


def _values(column: Column) -> list[Any]:
    single = bool(column.get("single"))
    values = [_read(value, single=single) for value in column["values"]]
    return [values[place] for place in column["places"]] if "places" in column else values


def _read(value: Any, *, single: bool) -> Any:
    if single and isinstance(value, float | str):
        return float(np.float32(value))
    return float(value) if value in ("NaN", *_WORDS.values()) else value
