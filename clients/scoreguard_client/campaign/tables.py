"""The tables of a run: which column holds which attribute of a record or clean score."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from scoreguard_client.campaign.records import CleanKey, CleanScore, Record, RecordKey

RowType = TypeVar("RowType", bound=CleanScore | Record)
_COLUMN_NAMES: Final = {"attacked_through": "crafting"}
"""Columns whose name differs from the attribute's: readers of the tables know this name."""
_COLUMN_TYPES: Final = {
    "str": "TEXT NOT NULL",
    "int": "INTEGER NOT NULL",
    "bool": "INTEGER NOT NULL",
    "float": "REAL NOT NULL",
    "int | None": "INTEGER",
    "float | None": "REAL",
}
_MAY_DIFFER: Final = ("crafting_seconds", "scoring_seconds", "queries", "engine", "retryable")
"""What two machines need not have in common: times, calls that were sent again, and the build of the engine."""


def column_name(attribute: str) -> str:
    """Return the column name of an attribute of a record or clean score in the tables of a run."""
    return _COLUMN_NAMES.get(attribute, attribute)


def columns(attributes: Iterable[str]) -> str:
    """Return the column names of attributes, separated by commas."""
    return ",".join(map(column_name, attributes))


@dataclass(frozen=True)
class Table(Generic[RowType]):
    """A table with one row for each record, or for each clean score."""

    name: str
    """Its name in the file."""
    kind: type[RowType]
    """What a row is."""
    key: tuple[str, ...]
    """The attributes that no two rows share."""

    @property
    def attributes(self) -> list[str]:
        """The attributes of a row, in the order of the columns."""
        return [field.name for field in fields(self.kind)]

    @property
    def creation(self) -> str:
        """The statement that makes the table if there is none."""
        types = (f"{column_name(field.name)} {_COLUMN_TYPES[str(field.type)]}" for field in fields(self.kind))
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({', '.join(types)}, UNIQUE ({columns(self.key)}))"

    @property
    def insertion(self) -> str:
        """The statement that writes a row; one that is there stays as it is unless it had failed."""
        names = self.attributes
        return f"INSERT INTO {self.name} ({columns(names)}) VALUES ({','.join('?' * len(names))}) {self._unless_sound}"

    def takeover(self, other: str) -> str:
        """Return the statement that writes every row of the same table in another database."""
        names = columns(self.attributes)
        return (
            f"INSERT INTO {self.name} ({names}) SELECT {names} FROM {other}.{self.name} WHERE true {self._unless_sound}"
        )

    def conflicts(self, other: str) -> str:
        """Return the statement that counts the keys with sound rows in both databases whose numbers differ."""
        names = [column_name(name) for name in self.attributes if name not in (*self.key, *_MAY_DIFFER)]
        differ = " OR ".join(f"mine.{name} IS NOT theirs.{name}" for name in names)
        return (
            f"SELECT count(*) FROM {self.name} AS mine JOIN {other}.{self.name} AS theirs USING ({columns(self.key)}) "
            f"WHERE mine.error = '' AND theirs.error = '' AND ({differ})"
        )

    @property
    def _unless_sound(self) -> str:
        names = (column_name(name) for name in self.attributes if name not in self.key)
        updates = ",".join(f"{name}=excluded.{name}" for name in names)
        return f"ON CONFLICT ({columns(self.key)}) DO UPDATE SET {updates} WHERE {self.name}.error != ''"

    @property
    def selection(self) -> str:
        """The statement that reads every row, in key order."""
        return f"SELECT {columns(self.attributes)} FROM {self.name} ORDER BY {columns(self.key)}"

    @property
    def values(self) -> Callable[[RowType], tuple[Any, ...]]:
        """A function that turns a row into the values of its columns."""
        get = attrgetter(*self.attributes)
        return lambda row: tuple(map(_as_stored, get(row)))

    @property
    def row(self) -> Callable[[tuple[Any, ...]], RowType]:
        """A function that turns the values of the columns into a row."""
        names, kind = self.attributes, self.kind
        flags = [field.name for field in fields(kind) if field.type == "bool"]

        def read(values: tuple[Any, ...]) -> RowType:
            # The same few texts stand in most rows: one copy of each is enough.
            known = (sys.intern(value) if type(value) is str else value for value in values)
            data: dict[str, Any] = dict(zip(names, known, strict=True))
            for name in flags:
                data[name] = bool(data[name])
            return kind(**data)

        return read


RECORDS: Final = Table("records", Record, RecordKey._fields)
CLEAN: Final = Table("clean", CleanScore, CleanKey._fields)


def _as_stored(value: Any) -> Any:
    """Convert text that is not valid Unicode (from a file name) to a form that SQLite can store."""
    if type(value) is not str or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()
