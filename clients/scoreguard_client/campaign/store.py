"""The records of a run on disk: one SQLite file that survives the process being killed at any moment.

Write-ahead logging keeps committed records, and a unique key prevents duplicates: writing a record again changes
nothing unless the one on disk had failed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from scoreguard_client.campaign.errors import PlanMismatchError, RunError
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import CleanKey, CleanScore, Record, RecordKey

FILE_NAME: Final = "campaign.sqlite"
IMAGES: Final = "images"
"""Folder of a run's images."""
_LAYOUT: Final = 3
_RECORD_KEY: Final = RecordKey._fields
_CLEAN_KEY: Final = CleanKey._fields
_COLUMN_NAMES: Final = {"attacked_through": "crafting"}
"""Columns whose name differs from the attribute's: existing runs and their readers use this name."""
_BUSY_SECONDS: Final = 60.0

_Row = TypeVar("_Row", CleanScore, Record)


class Store:
    """An open run."""

    def __init__(self, run: Path, connection: sqlite3.Connection) -> None:
        self.run = run
        """The run directory."""
        self._connection = connection

    @classmethod
    def create(cls, run: Path, plan: Plan, facts: Mapping[str, Any]) -> Store:
        """Open a run for writing, creating it if there is none.

        Args:
            run: the run directory.
            plan: the plan that the run must belong to.
            facts: what else the report needs, as JSON; stored when the run is created.

        Raises:
            PlanMismatchError: the run belongs to another plan.
            RunError: the directory cannot be written, or its file is not a run, or is another version's.
        """
        path = run / FILE_NAME
        try:
            run.mkdir(parents=True, exist_ok=True)
            _refuse_emptied(path)
            store = cls(run, _connect(path))
            store._check_layout(new=True)
            store._prepare(plan, facts)
        except (OSError, sqlite3.Error) as error:
            raise RunError(f"{run}: cannot be used as a run directory: {error}") from error
        return store

    @classmethod
    def open(cls, run: Path) -> Store:
        """Open an existing run.

        Raises:
            RunError: there is none, or another version wrote it.
        """
        path = run / FILE_NAME
        if not path.is_file():
            raise RunError(f"{run} holds no campaign; make one with scoreguard attack --out {run}")
        _refuse_emptied(path)
        with _explained(path):
            store = cls(run, _connect(path))
            store._check_layout()
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def plan(self) -> Plan:
        """The plan of the run."""
        return Plan.from_json(self._meta("plan") or "{}")

    @property
    def facts(self) -> dict[str, Any]:
        """The facts stored for the report."""
        facts: dict[str, Any] = json.loads(self._meta("facts") or "{}")
        return facts

    def note_unrepeatable(self, operations: Collection[str]) -> None:
        """Add operations that ran without a deterministic kernel to the facts about the computation."""
        facts = self.facts
        computation = facts.setdefault("computation", {})
        known = set(computation.get("unrepeatable", ()))
        if known >= set(operations):
            return
        computation["unrepeatable"] = sorted(known.union(operations))
        with self._explained(), self._connection as connection:
            connection.execute("UPDATE meta SET value = ? WHERE name = 'facts'", [json.dumps(facts, sort_keys=True)])

    def add_records(self, records: Iterable[Record]) -> None:
        """Write records in one transaction; existing ones that did not fail stay unchanged."""
        self._add("records", Record, _RECORD_KEY, records)

    def add_clean(self, scores: Iterable[CleanScore]) -> None:
        """Write clean scores in one transaction; existing ones that did not fail stay unchanged."""
        self._add("clean", CleanScore, _CLEAN_KEY, scores)

    def records(self) -> list[Record]:
        """Return every record, in key order."""
        return self._read("records", Record, _RECORD_KEY)

    def clean(self) -> list[CleanScore]:
        """Return every clean score, in key order."""
        return self._read("clean", CleanScore, _CLEAN_KEY)

    def done(self) -> set[RecordKey]:
        """Return the keys of the records that did not fail."""
        with self._explained():
            rows = self._connection.execute(f"SELECT {_columns(_RECORD_KEY)} FROM records WHERE error = ''")
            return {RecordKey._make(row) for row in rows}

    def _explained(self) -> AbstractContextManager[None]:
        return _explained(self.run / FILE_NAME)

    def _check_layout(self, *, new: bool = False) -> None:
        tables = self._connection.execute("SELECT name FROM sqlite_master WHERE name = 'meta'").fetchall()
        layout = self._meta("layout") if tables else None
        if layout == str(_LAYOUT) or (new and not tables):
            return
        self.close()
        raise RunError(
            f"{self.run / FILE_NAME} has layout {layout}, not {_LAYOUT}: another version wrote it; "
            "run the campaign again in a new directory"
        )

    def _prepare(self, plan: Plan, facts: Mapping[str, Any]) -> None:
        with self._connection as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            connection.execute(_table("records", Record, _RECORD_KEY))
            connection.execute(_table("clean", CleanScore, _CLEAN_KEY))
            for name in self._missing("records", Record):
                connection.execute(f"ALTER TABLE records ADD COLUMN {name} {_type_of(Record, name)}")
            meta = {
                "layout": str(_LAYOUT),
                "plan": plan.canonical_json(),
                "plan_sha256": plan.digest,
                "facts": json.dumps(facts, sort_keys=True),
            }
            connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", meta.items())
        if self._meta("plan_sha256") != plan.digest:
            differences = self.plan.differences(plan)
            self.close()
            raise PlanMismatchError(self.run, differences)

    def _meta(self, name: str) -> str | None:
        with closing(self._connection.execute("SELECT value FROM meta WHERE name = ?", [name])) as cursor:
            row = cursor.fetchone()
        return None if row is None else str(row[0])

    def _add(self, table: str, kind: type[_Row], key: tuple[str, ...], rows: Iterable[_Row]) -> None:
        names = [field.name for field in fields(kind)]
        updates = ",".join(f"{name}=excluded.{name}" for name in names if name not in key)
        statement = (
            f"INSERT INTO {table} ({_columns(names)}) VALUES ({','.join('?' * len(names))}) "
            f"ON CONFLICT ({_columns(key)}) DO UPDATE SET {updates} WHERE {table}.error != ''"
        )
        values = [[_as_stored(getattr(row, name)) for name in names] for row in rows]
        with self._explained(), self._connection as connection:
            connection.executemany(statement, values)

    def _read(self, table: str, kind: type[_Row], key: tuple[str, ...]) -> list[_Row]:
        missing = self._missing(table, kind)
        names = [field.name for field in fields(kind) if field.name not in missing]
        flags = [field.name for field in fields(kind) if field.type == "bool"]
        with self._explained():
            rows = self._connection.execute(f"SELECT {_columns(names)} FROM {table} ORDER BY {_columns(key)}")
            return [kind(**_with_flags(dict(zip(names, row, strict=True)), flags)) for row in rows]

    def _missing(self, table: str, kind: type[_Row]) -> list[str]:
        """List the attributes that a run of an earlier version has no column for: all have a default."""
        there = {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")}
        return [field.name for field in fields(kind) if column_name(field.name) not in there]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about a full disk or a damaged file into one line."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise RunError(f"{path}: {error}; what was written before is kept") from error
    except sqlite3.Error as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def _refuse_emptied(path: Path) -> None:
    """Refuse an empty file next to images of the run: starting over would hide that its records are lost."""
    if path.is_file() and path.stat().st_size == 0 and (path.parent / IMAGES).is_dir():
        raise RunError(
            f"{path} is empty: the records of this run are lost; choose another --out, or delete {path.parent}"
        )


def _as_stored(value: Any) -> Any:
    """Convert text that is not valid Unicode (from a file name) to a form that SQLite can store."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _table(name: str, kind: type[_Row], key: tuple[str, ...]) -> str:
    columns = ", ".join(f"{column_name(field.name)} {_type_of(kind, field.name)}" for field in fields(kind))
    return f"CREATE TABLE IF NOT EXISTS {name} ({columns}, UNIQUE ({_columns(key)}))"


def _type_of(kind: type[_Row], attribute: str) -> str:
    return next(_COLUMN_TYPES[str(field.type)] for field in fields(kind) if field.name == attribute)


def column_name(attribute: str) -> str:
    """Return the column name of an attribute of a record or clean score in the tables of a run."""
    return _COLUMN_NAMES.get(attribute, attribute)


def _columns(attributes: Iterable[str]) -> str:
    return ",".join(map(column_name, attributes))


def _with_flags(values: dict[str, Any], flags: list[str]) -> dict[str, Any]:
    return values | {name: bool(values[name]) for name in flags}


_COLUMN_TYPES: Final = {
    "str": "TEXT NOT NULL",
    "int": "INTEGER NOT NULL",
    "bool": "INTEGER NOT NULL",
    "float": "REAL NOT NULL",
    "int | None": "INTEGER",
    "float | None": "REAL",
}
