"""The records of a run on disk: one SQLite file that survives the process being killed at any moment.

Write-ahead logging keeps committed records, and a unique key prevents duplicates: writing a record again changes
nothing unless the one on disk had failed. Several processes may write one ledger: leases share the work among them.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from scoreguard_client.campaign.differences import differences
from scoreguard_client.campaign.errors import PlanMismatchError, RunError
from scoreguard_client.campaign.external import EXTERNAL, ExternalRecord
from scoreguard_client.campaign.leases import CREATION as LEASES
from scoreguard_client.campaign.leases import Claim, Leases
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import CleanKey, CleanScore, Record, RecordKey
from scoreguard_client.campaign.tables import CLEAN, RECORDS, RowType, Table, column_name, columns

FILE_NAME: Final = "campaign.sqlite"
IMAGES: Final = "images"
"""Folder of a run's images."""
_LAYOUT: Final = 4
"""Version of the tables and of the stored plan; 4 = several metrics."""
_BUSY_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 0.02
_PRIMARY: Final = 0xFF
"""The part of an error's code that says which error it is."""


class Ledger:
    """An open run."""

    def __init__(self, run: Path, connection: sqlite3.Connection) -> None:
        self.run = run
        """The run directory."""
        self.leases = Leases(connection)
        """The work that this process has taken."""
        self._connection = connection

    @classmethod
    def create(cls, run: Path, plan: Plan, facts: Mapping[str, Any]) -> Ledger:
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
            ledger = cls(run, _connect(path))
            ledger._check_layout(new=True)
            ledger._prepare(plan, facts)
        except (OSError, sqlite3.Error) as error:
            raise RunError(f"{run}: cannot be used as a run directory: {error}") from error
        return ledger

    @classmethod
    def open(cls, run: Path) -> Ledger:
        """Open an existing run.

        Raises:
            RunError: there is none, or another version wrote it.
        """
        path = run / FILE_NAME
        if not path.is_file():
            raise RunError(f"{run} holds no campaign; make one with scoreguard attack --out {run}")
        _refuse_emptied(path)
        with _explained(path):
            ledger = cls(run, _connect(path))
            ledger._check_layout()
        return ledger

    def __enter__(self) -> Ledger:
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

    def extend(self, known: Plan, wider: Plan, facts: Mapping[str, Any]) -> None:
        """Give the run a plan that has more, and its facts.

        Args:
            known: the plan that it must have now: two extensions at once would lose one.
            wider: the plan to store.
            facts: what else the report needs of it, as JSON.

        Raises:
            PlanMismatchError: it has another plan.
        """
        with self._explained(), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            if (found := self.plan) != known:
                raise PlanMismatchError(self.run, differences(found, known))
            meta = {"plan": wider.canonical_json(), "plan_sha256": wider.digest, "facts": _json(facts)}
            connection.executemany("UPDATE meta SET value = ? WHERE name = ?", [(v, k) for k, v in meta.items()])

    def add_unit(self, records: Iterable[Record], unrepeatable: Collection[str], lease: str = "") -> None:
        """Write what became of a unit in one transaction.

        Args:
            records: its records; existing ones that did not fail stay unchanged.
            unrepeatable: operations that ran without a deterministic kernel, added to the facts about the computation.
            lease: the lease that ends with it; empty = none.
        """
        with self._explained(), self._connection as connection:
            self._insert(connection, RECORDS, records)
            self._note_unrepeatable(connection, unrepeatable)
            self.leases.end(connection, lease)

    def add_records(self, records: Iterable[Record]) -> None:
        """Write records in one transaction; existing ones that did not fail stay unchanged."""
        self.add_unit(records, ())

    def add_clean(self, scores: Iterable[CleanScore], lease: str = "") -> None:
        """Write clean scores in one transaction; existing ones that did not fail stay unchanged.

        Args:
            scores: the scores.
            lease: the lease that ends with them; empty = none.
        """
        with self._explained(), self._connection as connection:
            self._insert(connection, CLEAN, scores)
            self.leases.end(connection, lease)

    def claim(self, work: str) -> Claim:
        """Take a piece of work, if no other process has it."""
        with self._explained():
            return self.leases.claim(work)

    def sharing(self) -> AbstractContextManager[None]:
        """Keep the leases of this process while a block runs."""
        return self.leases.kept(lambda: _connect(self.run / FILE_NAME))

    def absorb(self, other: Path) -> int:
        """Take over what another run of the same layout has; of two results for one key the first that is sound stays.

        Returns:
            The number of keys for which both have a sound record, with other numbers.

        Raises:
            RunError: the other run cannot be read.
        """
        Ledger.open(other).close()
        with _explained(other / FILE_NAME):
            self._connection.execute("ATTACH DATABASE ? AS other", [str(other / FILE_NAME)])
            try:
                with self._connection as connection:
                    conflicts = int(connection.execute(RECORDS.conflicts("other")).fetchone()[0])
                    connection.execute(RECORDS.takeover("other"))
                    connection.execute(CLEAN.takeover("other"))
                    if self._has_external("other"):
                        connection.execute(EXTERNAL.creation)
                        conflicts += int(connection.execute(EXTERNAL.conflicts("other")).fetchone()[0])
                        connection.execute(EXTERNAL.takeover("other"))
            finally:
                self._connection.execute("DETACH DATABASE other")
        return conflicts

    def records(self) -> list[Record]:
        """Return every record, in key order."""
        return self._read(RECORDS)

    def clean(self) -> list[CleanScore]:
        """Return every clean score, in key order."""
        return self._read(CLEAN)

    def external(self) -> list[ExternalRecord]:
        """Return the records of images that were made elsewhere, in key order; they are in no other list or count."""
        with self._explained():
            there = self._has_external("main")
        return self._read(EXTERNAL) if there else []

    def replace_external(self, attacks: Iterable[str], records: Iterable[ExternalRecord]) -> None:
        """Write records of images that were made elsewhere in one transaction, after deleting those of some attacks."""
        with self._explained(), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            # Runs that nobody challenged have no such table.
            connection.execute(EXTERNAL.creation)
            connection.executemany(f"DELETE FROM {EXTERNAL.name} WHERE attack = ?", [(attack,) for attack in attacks])
            self._insert(connection, EXTERNAL, records)

    def done(self) -> set[RecordKey]:
        """Return the keys of the records that did not fail."""
        with self._explained():
            rows = self._connection.execute(f"SELECT {columns(RecordKey._fields)} FROM records WHERE error = ''")
            return {RecordKey._make(row) for row in rows}

    def missing(self, keys: Sequence[RecordKey]) -> list[RecordKey]:
        """Return those of some keys whose record is not there, or failed."""
        found = "SELECT 1 FROM records WHERE error = '' AND " + _equal(RecordKey._fields)
        with self._explained():
            return [key for key in keys if self._connection.execute(found, key).fetchone() is None]

    def clean_of(self, keys: Iterable[CleanKey]) -> dict[CleanKey, CleanScore]:
        """Return the clean scores of some keys, as far as they are there."""
        select = f"SELECT {columns(CLEAN.attributes)} FROM clean WHERE {_equal(CleanKey._fields)}"
        with self._explained():
            rows = ((key, self._connection.execute(select, key).fetchone()) for key in keys)
            read = CLEAN.row
            return {key: read(row) for key, row in rows if row is not None}

    def count(self) -> int:
        """Count the records that did not fail."""
        with self._explained():
            return int(self._connection.execute("SELECT count(*) FROM records WHERE error = ''").fetchone()[0])

    def failures(self) -> list[tuple[str, bool]]:
        """List the cause of each failed record, in key order, and whether a rerun may help."""
        with self._explained():
            rows = self._connection.execute(
                f"SELECT error, retryable FROM records WHERE error != '' ORDER BY {columns(RecordKey._fields)}"
            )
            return [(str(error), bool(retryable)) for error, retryable in rows]

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
            # Another process that starts at the same time sees all of it or nothing.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            connection.execute(RECORDS.creation)
            connection.execute(CLEAN.creation)
            connection.execute(LEASES)
            meta = {
                "layout": str(_LAYOUT),
                "plan": plan.canonical_json(),
                "plan_sha256": plan.digest,
                "facts": _json(facts),
            }
            connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", meta.items())
        if self._meta("plan_sha256") != plan.digest:
            found = differences(self.plan, plan)
            self.close()
            raise PlanMismatchError(self.run, found)

    def _meta(self, name: str) -> str | None:
        with closing(self._connection.execute("SELECT value FROM meta WHERE name = ?", [name])) as cursor:
            row = cursor.fetchone()
        return None if row is None else str(row[0])

    def _note_unrepeatable(self, connection: sqlite3.Connection, operations: Collection[str]) -> None:
        if not operations:
            return
        facts = self.facts
        computation = facts.setdefault("computation", {})
        known = set(computation.get("unrepeatable", ()))
        if known < known.union(operations):
            computation["unrepeatable"] = sorted(known.union(operations))
            connection.execute("UPDATE meta SET value = ? WHERE name = 'facts'", [_json(facts)])

    def _has_external(self, database: str) -> bool:
        found = self._connection.execute(f"SELECT 1 FROM {database}.sqlite_master WHERE name = ?", [EXTERNAL.name])
        return found.fetchone() is not None

    def _insert(self, connection: sqlite3.Connection, table: Table[RowType], rows: Iterable[RowType]) -> None:
        connection.executemany(table.insertion, map(table.values, rows))

    def _read(self, table: Table[RowType]) -> list[RowType]:
        with self._explained():
            return list(map(table.row, self._connection.execute(table.selection)))


def _equal(attributes: Iterable[str]) -> str:
    return " AND ".join(f"{column_name(attribute)} = ?" for attribute in attributes)


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True)


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


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # For this statement SQLite does not wait for other processes, which may be starting too.
            if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection
