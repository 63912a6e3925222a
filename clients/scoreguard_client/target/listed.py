"""Images that a CSV file lists: paths with people's scores, or the ids of the NIPS 2017 data set."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from scoreguard.images import SUFFIXES, is_image_path
from scoreguard.support.near import did_you_mean
from scoreguard.support.shown import shown, shown_path
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.images import ListedFile, name_of
from scoreguard_client.target.people import PeopleScores

_PATHS: Final = ("path", "image", "name", "file", "filename", "image_name", "image_path", "video")
"""Columns of paths, the first one that there is; in any case."""
_SCORES: Final = {"mos": True, "dmos": False}
"""Usual columns of people's scores, the first one that there is, and whether higher is better; in any case."""
_DEVIATIONS: Final = ("{}_std", "{}_sd", "std", "sd")
"""Columns of their standard deviations, by the name of the scores' column."""
_NIPS_FILES: Final = ("images.csv", "dev_dataset.csv")
_NIPS_ID: Final = "ImageId"
_NIPS_FOLDER: Final = "images"
_DELIMITERS: Final = ",;\t"


@dataclass(frozen=True, kw_only=True)
class PeopleOptions:
    """How to read people's scores."""

    column: str = ""
    """Their column; empty = the usual one."""
    lower_is_better: bool | None = None
    """Whether a low score means high quality; None = as the column's name says, which is so for DMOS."""


AS_USUAL: Final = PeopleOptions()
"""The usual column, and the direction that its name says."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One line of a CSV file."""

    place: str
    """The file and the line, for messages."""
    cells: Mapping[str, str]


def read_list(path: Path, options: PeopleOptions) -> tuple[list[ListedFile], PeopleScores]:
    """Read a list of images with people's scores; paths are relative to the list.

    Raises:
        PlanError: it cannot be read, lacks a column, or a line has no path, no number, or an image of another line or
            outside the list's folder; with the line.
    """
    header, rows = _table(path)
    where = _column(header, _PATHS) or _missing(path, header, f"of paths ({', '.join(_PATHS[:3])})")
    column, higher = _score_column(path, header, options)
    spread = _column(header, [form.format(column.lower()) for form in _DEVIATIONS])
    files: dict[str, ListedFile] = {}
    scores: dict[str, float] = {}
    deviations: dict[str, float] = {}
    for row in rows:
        name, file = _file(row, where, path.parent)
        if name in files:
            raise PlanError(f"{row.place}: {name} is listed twice, first in {files[name].place}")
        files[name] = ListedFile(name=name, path=file, place=row.place)
        scores[name] = _number(row, column)
        if spread is not None and row.cells[spread].strip():
            deviations[name] = _number(row, spread)
    if not files:
        raise PlanError(f"{shown_path(path)} lists no image")
    people = PeopleScores(
        source=path.name, column=column, higher_is_better=higher, scores=scores, deviations=deviations
    )
    return [files[name] for name in sorted(files, key=Path)], people


def nips_list(folder: Path) -> list[ListedFile] | None:
    """Return the images of a folder laid out as the NIPS 2017 data set; None if it is not.

    Such a folder has the images in `images` and `images.csv` or `dev_dataset.csv` with their ids beside it. Only what
    is listed belongs to the data set.

    Raises:
        PlanError: the table cannot be read, or a line has no id; with the line.
    """
    tables = [folder / name for name in _NIPS_FILES if (folder / name).is_file()]
    if not tables or not (folder / _NIPS_FOLDER).is_dir():
        return None
    header, rows = _table(tables[0])
    if _NIPS_ID not in header:
        return None
    files: dict[str, ListedFile] = {}
    for row in rows:
        if not (image_id := row.cells[_NIPS_ID].strip()) or Path(image_id).name != image_id:
            raise PlanError(f"{row.place}: {_NIPS_ID} is {shown(image_id) or 'empty'}, which is no name of an image")
        file = _with_suffix(folder / _NIPS_FOLDER / image_id)
        name = name_of(file, folder)
        files.setdefault(name, ListedFile(name=name, path=file, place=row.place))
    return [files[name] for name in sorted(files, key=Path)]


def _with_suffix(path: Path) -> Path:
    """Return the file of an id: the data set is PNG, copies of it need not be."""
    if is_image_path(path):
        return path
    candidates = [path.with_name(path.name + suffix) for suffix in (".png", *sorted(SUFFIXES))]
    return next((candidate for candidate in candidates if candidate.is_file()), candidates[0])


def _table(path: Path) -> tuple[list[str], Iterator[_Row]]:
    """Read the header of a CSV file, and its rows one by one; also with semicolons or tabs."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise PlanError(f"cannot read {shown_path(path)}: {reason}") from error
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    header = [cell.strip() for cell in next(reader, [])]

    def rows() -> Iterator[_Row]:
        try:
            for cells in reader:
                place = f"{shown_path(path)}, line {reader.line_num}"
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise PlanError(f"{place}: {len(cells)} cells under a heading of {len(header)}")
                yield _Row(place=place, cells=dict(zip(header, cells, strict=True)))
        except csv.Error as error:
            raise PlanError(f"{shown_path(path)}, line {reader.line_num}: {error}") from error

    return header, rows()


def _score_column(path: Path, header: Sequence[str], options: PeopleOptions) -> tuple[str, bool]:
    """Return the column of people's scores, and whether a high one means high quality."""
    if options.column and options.column not in header:
        advice = did_you_mean(options.column, list(header))
        raise PlanError(f"{shown_path(path)}, line 1: no column {shown(options.column)!r}; {advice}")
    column = options.column or _column(header, tuple(_SCORES))
    if column is None:
        _missing(path, header, f"of scores by people ({', '.join(_SCORES)}): give --mos-column")
    by_name = _SCORES.get(column.lower(), True)
    return column, by_name if options.lower_is_better is None else not options.lower_is_better


def _missing(path: Path, header: Sequence[str], what: str) -> NoReturn:
    raise PlanError(f"{shown_path(path)}, line 1: no column {what}; it has {shown(', '.join(header)) or 'none'}")


def _column(header: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the column that has the first of these names that there is, in any case."""
    known = {column.lower(): column for column in reversed(header)}
    return next((known[name] for name in names if name in known), None)


def _file(row: _Row, column: str, folder: Path) -> tuple[str, Path]:
    text = row.cells[column].strip()
    if not text:
        raise PlanError(f"{row.place}: {column} is empty")
    # Only the text is simplified: links stay as they are.
    base, path = (Path(os.path.abspath(place)) for place in (folder, folder / text))  # noqa: PTH100
    if not path.is_relative_to(base) or path == base:
        raise PlanError(f"{row.place}: {shown_path(text)} is not below the folder of the list: move the list above it")
    return name_of(path, base), folder / path.relative_to(base)


def _number(row: _Row, column: str) -> float:
    text = row.cells[column].strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise PlanError(f"{row.place}: {column} is {shown(text) or 'empty'}, not a number: mend it, or drop the line")
    return value
