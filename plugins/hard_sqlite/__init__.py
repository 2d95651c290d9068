"""Bouts and changes of status in an SQLite database to be queried: `SqliteSink`.

It keeps what can be asked for later, a row for each bout, and no outbox: that is the daemon's event
log.  The runtime finds it through its entry point.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from hard.api import NS_PER_S, Confirm, Event, PluginConfig, Sink, SinkUnavailable, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["SqliteSink", "SqliteSinkConfig"]

_SCHEMA: Final = 2
_APPLICATION: Final = 0x68617264  # "hard"
_BUSY_S: Final = 5.0
_TIDY_EVERY_S: Final = 600.0
_ROWS_AT_ONCE: Final = 5_000
_DAY_NS: Final = 86_400 * NS_PER_S
_BYTES_PER_MB: Final = 1_000_000

_TABLES: Final = (
    """CREATE TABLE bouts (
         bout TEXT PRIMARY KEY, stream TEXT NOT NULL, activity TEXT NOT NULL,
         t_start TEXT NOT NULL, t_end TEXT,
         duration_s REAL GENERATED ALWAYS AS ((t_end_ns - t_start_ns) / 1e9) VIRTUAL,
         confidence REAL, coverage REAL, reason TEXT, model TEXT NOT NULL, segment INTEGER NOT NULL,
         t_start_ns INTEGER NOT NULL, t_end_ns INTEGER,
         clock_unsynced INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    "CREATE INDEX bouts_by_start ON bouts (t_start_ns)",
    """CREATE TABLE statuses (
         id TEXT PRIMARY KEY, stream TEXT NOT NULL, t TEXT NOT NULL, status TEXT NOT NULL,
         previous TEXT, reason TEXT, model TEXT NOT NULL, t_ns INTEGER NOT NULL,
         clock_unsynced INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    "CREATE INDEX statuses_by_time ON statuses (t_ns)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_SCHEMA}",
)
_FROM_1: Final = (
    *(
        f"ALTER TABLE {table} ADD COLUMN clock_unsynced INTEGER NOT NULL DEFAULT 0"
        for table in ("bouts", "statuses")
    ),
    f"PRAGMA user_version = {_SCHEMA}",
)
_BOUT: Final = """
    INSERT INTO bouts (bout, stream, activity, t_start, t_start_ns, t_end, t_end_ns, confidence,
                       coverage, reason, model, segment, clock_unsynced)
    VALUES (:bout, :stream, :activity, :t_start, :t_start_ns, :t_end, :t_end_ns, :confidence,
            :coverage, :reason, :model, :segment, :clock_unsynced)
    ON CONFLICT (bout) DO """
# An enter that comes again (an outage in between) must not open a bout that has ended.
_ENTER: Final = f"{_BOUT} NOTHING"
# What a bout that was interrupted can't tell about itself, its enter has told.
_EXIT: Final = f"""{_BOUT} UPDATE SET
    t_end = excluded.t_end, t_end_ns = excluded.t_end_ns, reason = excluded.reason,
    confidence = coalesce(excluded.confidence, confidence),
    coverage = coalesce(excluded.coverage, coverage),
    clock_unsynced = max(clock_unsynced, excluded.clock_unsynced)"""
_STATUS: Final = """
    INSERT INTO statuses (id, stream, t, t_ns, status, previous, reason, model, clock_unsynced)
    VALUES (:id, :stream, :t_start, :t_start_ns, :status, :previous, :reason, :model,
            :clock_unsynced)
    ON CONFLICT (id) DO NOTHING"""
_STATEMENTS: Final = {"enter": _ENTER, "exit": _EXIT, "status": _STATUS}


class SqliteSinkConfig(PluginConfig):
    """Which database, and how much is kept in it."""

    path: Annotated[Path, Field(strict=False)]
    retention_days: float = Field(365.0, gt=0, le=36_500)
    max_mb: float = Field(200.0, ge=1)


class SqliteSink(Sink[SqliteSinkConfig]):
    """Bouts and changes of status in an SQLite database, for questions and dashboards.

    An event is confirmed when its row is on the disk.
    """

    Config = SqliteSinkConfig

    def __init__(self, name: str, config: SqliteSinkConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._db: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        self._tidy_s = 0.0

    def open(self) -> None:
        """Open the database, make it where there is none; refuse that of another program."""
        path = self.config.path
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o640)
            db = self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            self._prepare(db)
            self._file = path.stat()
        self._tidy_s = 0.0

    def write(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Write the rows of all `events` in one transaction, then confirm them."""
        if not events:
            return
        db = self._live()
        with self._told(), _transaction(db):
            for event in events:
                db.execute(_STATEMENTS[event.kind], _row(event))
        for event in events:
            if event.seq is not None:
                confirm(event.seq)

    def forget(self, stream: str) -> None:
        """Remove the rows of a stream, from the disk as well."""
        db = self._live()
        with self._told():
            with _transaction(db):
                for table in ("bouts", "statuses"):
                    db.execute(f"DELETE FROM {table} WHERE stream = ?", (stream,))  # noqa: S608
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def check(self) -> None:
        """See that the file is still there; every ten minutes remove what is too old."""
        db = self._live()
        now_s = time.monotonic()
        if now_s >= self._tidy_s:
            with self._told():
                more = self._tidy(db)
            self._tidy_s = now_s + (0.0 if more else _TIDY_EVERY_S)

    def close(self) -> None:
        """Close the database."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _prepare(self, db: sqlite3.Connection) -> None:
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        path = str(self.config.path)
        if tables and application != _APPLICATION:
            raise SinkUnavailable(f"{path!r} is another program's database: set path to a new file")
        if version > _SCHEMA:
            raise SinkUnavailable(
                f"{path!r} was made by a newer version (tables {version}, this one knows "
                f"{_SCHEMA}): install that one again, or set path to a new file"
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        # Confirmed means safe: with NORMAL a power cut may take the last commits.
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")  # what is removed is overwritten
        if version < _SCHEMA:
            with _transaction(db):
                for statement in _FROM_1 if tables else _TABLES:
                    db.execute(statement)

    def _live(self) -> sqlite3.Connection:
        if self._db is None or self._file is None:
            raise SinkUnavailable("not open")
        with self._told():
            if not os.path.samestat(self.config.path.stat(), self._file):
                raise SinkUnavailable(f"{str(self.config.path)!r} was replaced while in use")
        return self._db

    def _tidy(self, db: sqlite3.Connection) -> bool:
        """Remove some of what is too old or too much; return whether more may be left to remove.

        Too old is told by the clock and by the newest bout, whichever is earlier: neither a clock
        that jumped nor a phone that is years ahead empties the database.
        """
        (newest_ns,) = db.execute("SELECT max(t_start_ns) FROM bouts").fetchone()
        if newest_ns is None:
            return False
        oldest_ns = min(newest_ns, time.time_ns()) - int(self.config.retention_days * _DAY_NS)
        (free,) = db.execute("PRAGMA freelist_count").fetchone()
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        full = (pages - free) * page_bytes > self.config.max_mb * _BYTES_PER_MB
        removed = self._remove(db, "bouts", "bout", "t_start_ns", oldest_ns, full=full)
        removed |= self._remove(db, "statuses", "id", "t_ns", oldest_ns, full=full)
        return removed

    def _remove(
        self, db: sqlite3.Connection, table: str, key: str, time: str, before_ns: int, *, full: bool
    ) -> bool:
        """Remove the oldest rows of a table; return whether there were as many as go at once."""
        too_old = "" if full else f"WHERE {time} < :before_ns "
        cursor = db.execute(
            f"DELETE FROM {table} WHERE {key} IN "  # noqa: S608 - names of ours
            f"(SELECT {key} FROM {table} {too_old}ORDER BY {time} LIMIT {_ROWS_AT_ONCE})",
            {"before_ns": before_ns},
        )
        if cursor.rowcount:
            why = "max_mb is reached" if full else "older than retention_days"
            self.skip("removed_rows", f"the oldest rows go: {why}", cursor.rowcount)
        return cursor.rowcount == _ROWS_AT_ONCE

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say what the disk or the database does not let us do."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            cause = error.strerror if isinstance(error, OSError) else error
            raise SinkUnavailable(
                f"can't write the database {str(self.config.path)!r} ({cause}): free space, let "
                "go of it in other programs, or change path"
            ) from error


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    with db:  # commits, or rolls back and raises
        yield


def _row(event: Event) -> dict[str, Any]:
    ends = event.t_end is not None
    return {
        "id": event.id,
        "bout": event.bout,
        "stream": event.stream,
        "activity": event.activity,
        "t_start": rfc3339(event.t_start),
        "t_start_ns": event.t_start,
        "t_end": rfc3339(event.t_end) if event.t_end is not None else None,
        "t_end_ns": event.t_end,
        "confidence": event.confidence,
        "coverage": event.coverage,
        "reason": event.reason if ends or event.kind == "status" else None,
        "model": event.model,
        "segment": event.segment,
        "status": event.status,
        "previous": event.previous,
        "clock_unsynced": bool(event.clock_unsynced),
    }
