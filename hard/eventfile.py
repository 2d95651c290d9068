"""The file of the event log: its tables, how it is opened, brought up to date, read and rescued.

    events      seq, the event as JSON, when it was committed (wall clock, ns)
    cursors     how far each sink has got; what it gets again (`again_to`, `again_stream`)
    open_bouts  each enter without its exit, and the last evidence of its bout
    streams     what the pipeline knows of each stream, as JSON: stored with the events it explains
    forgotten   the streams whose retained topics a sink has still to clear
    boots       each start: when, the first number of that run, the numbers that were skipped
    numbers     the highest number that may be in use

Beside it lies where the evidence of open bouts ends, as last noted: a line of JSON that is written
over each minute, for one page of the disk where a commit takes five.

A file of an older schema is brought up to date in one transaction.  A damaged one is set aside
under another name; what can still be read of it goes into a new one.

`hard.eventlog` writes it; `hard events` and `hard backup` read it beside a running daemon.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import sqlite3
import time
import zlib
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote

from hard.api import NS_PER_S, PLAUSIBLE_NS, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "EVIDENCE",
    "PARTS",
    "SCHEMA",
    "WAL_BYTES",
    "EventLogError",
    "Wanted",
    "check_same",
    "check_whole",
    "claimed",
    "connected",
    "damage",
    "files_aside",
    "from_body",
    "held",
    "note_evidence",
    "prepare",
    "reading",
    "refusal",
    "remove_database",
    "set_aside",
    "set_stranger_aside",
    "stored_states",
    "take_evidence",
    "to_body",
    "trouble",
    "used_number",
    "wanted_events",
]

SCHEMA = 2
"""Of the file, in its `user_version`; not the schema of the events' JSON."""
PAGE_BYTES = 1024
"""Of a new file.  A commit writes whole pages, mostly for one event or less: small ones spare SD
cards."""
BUSY_S = 0.2
"""How long a commit waits for a foreign writer; short, as sinks wait for the same connection."""
WAL_BYTES = 4_194_304
EVIDENCE = ".evidence"
LOCK = ".lock"
PARTS = ("", "-wal", "-shm", LOCK, EVIDENCE)
"""What follows a log's path in the names of the files that are it, there or not."""
KEPT_DAMAGED = 2

_STREAMS = """CREATE TABLE streams (
  stream TEXT PRIMARY KEY, t_stored INTEGER NOT NULL, state TEXT NOT NULL)"""
_FORGOTTEN = """CREATE TABLE forgotten (
  sink TEXT NOT NULL, stream TEXT NOT NULL, PRIMARY KEY (sink, stream)) WITHOUT ROWID"""
_TABLES = (
    """CREATE TABLE events (
         seq INTEGER PRIMARY KEY, body TEXT NOT NULL, t_logged INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE cursors (
         sink TEXT PRIMARY KEY, seq INTEGER NOT NULL,
         again_to INTEGER NOT NULL DEFAULT 0, again_stream TEXT) WITHOUT ROWID""",
    """CREATE TABLE open_bouts (
         bout TEXT PRIMARY KEY, seq INTEGER NOT NULL, stream TEXT NOT NULL,
         evidence_ns INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX open_bouts_stream ON open_bouts (stream, seq)",
    """CREATE TABLE boots (
         boot INTEGER PRIMARY KEY, t_ns INTEGER NOT NULL, first_seq INTEGER NOT NULL,
         skipped_first INTEGER, skipped_last INTEGER)""",
    "CREATE TABLE numbers (reserved INTEGER NOT NULL)",
    "INSERT INTO numbers VALUES (0)",
    _STREAMS,
    _FORGOTTEN,
    f"PRAGMA user_version = {SCHEMA}",
)
# What makes a file of the key's schema one of the next; no row is written, however many there are.
_STEPS = {
    1: (
        "ALTER TABLE events ADD COLUMN t_logged INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE cursors ADD COLUMN again_to INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE cursors ADD COLUMN again_stream TEXT",
        _STREAMS,
        _FORGOTTEN,
        "PRAGMA user_version = 2",
    ),
}
_KEPT = {
    "cursors": "sink, seq",
    "open_bouts": "bout, seq, stream, evidence_ns, body",
    "streams": "stream, t_stored, state",
    "forgotten": "sink, stream",
    "boots": "boot, t_ns, first_seq, skipped_first, skipped_last",
}
"""What else is rescued of a damaged file."""
_FIELDS = tuple(field.name for field in fields(Event) if field.name != "seq")
_FULL = {errno.ENOSPC, errno.EDQUOT}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR}

_log = logging.getLogger(__name__)


class EventLogError(Exception):
    """The log cannot be used; the message names the file, the cause and the remedy."""


def to_body(event: Event) -> str:
    """Return the JSON text of an event's fields; `seq`, a column of its own, and None left out."""
    body = {name: getattr(event, name) for name in _FIELDS}
    body["probs"] = dict(event.probs)
    given = {name: value for name, value in body.items() if value is not None}
    return json.dumps(given, separators=(",", ":"))


def from_body(body: str, seq: int | None = None) -> Event:
    """Return the event of `to_body`, equal to the original field by field."""
    return Event(**json.loads(body), seq=seq)


# -- what is wrong with it -----------------------------------------------------------------------


def refusal(path: Path | None, cause: object) -> str:
    """Return a sentence: what can't be used, why, and what to do."""
    return (
        f"{path}: cannot be used as the event log ({cause}); "
        "check disk and permissions, or move the file away to begin a new log"
    )


def damage(error: BaseException) -> bool:
    """Tell whether an error means that the file's content is damaged."""
    return isinstance(error, sqlite3.Error) and _code(error) in _DAMAGED


def trouble(error: Exception) -> str | None:
    """Return what is wrong with the disk, None for an error that no other disk would mend."""
    code = _code(error) if isinstance(error, sqlite3.Error) else None
    number = error.errno if isinstance(error, OSError) else None
    if code == sqlite3.SQLITE_FULL or number in _FULL or _is_memory_refused(error):
        return "disk full"
    if code == sqlite3.SQLITE_READONLY or number == errno.EROFS:
        return "disk read-only"
    return "disk error" if code in _DISK or number == errno.EIO else None


def _is_memory_refused(error: Exception) -> bool:
    """Tell whether the file that SQLite shares as memory found no room on the disk."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE


def _code(error: BaseException) -> int:
    """Return the primary result code, 0 for an error that is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


# -- opening it ----------------------------------------------------------------------------------


def claimed(path: Path) -> contextlib.ExitStack:
    """Make the file, for its owner only, and hold it against a second process.

    The locks are on a file beside it and, should somebody remove that, on the database's own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(f"{path}{LOCK}")
    for file in (path, lock):
        file.touch(mode=0o600)
    with contextlib.ExitStack() as guards:
        guards.enter_context(_locked(lock, path))
        guards.enter_context(held(path))
        return guards.pop_all()


def held(path: Path) -> TextIO:
    """Hold the database's own file, from before its connection is made until after it is closed.

    To close any other descriptor of it meanwhile would release the locks that SQLite has on it;
    flock(2) is none of those.
    """
    return _locked(path, path)


def _locked(file: Path, path: Path) -> TextIO:
    guard = file.open("r+")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        guard.close()
        raise EventLogError(
            f"{path}: in use by another process; stop that one or give this one its own file"
        ) from None
    return guard


def connected(path: Path | None) -> sqlite3.Connection:
    """Return a connection for any one thread at a time; None: to a database in memory."""
    return sqlite3.connect(
        path or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )


def prepare(db: sqlite3.Connection, path: Path | None) -> None:
    """Refuse a file that is not ours, before anything in it changes; else bring it up to date.

    Raises `EventLogError`, and sqlite3.DatabaseError with a code of `damage` for a file that was
    not closed in order and is not whole.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version > SCHEMA:
        raise EventLogError(
            f"{path}: schema {version} is newer than this program's {SCHEMA}; "
            "install the newer version again or move the file away"
        )
    if version == 0 and tables:
        raise EventLogError(refusal(path, "it holds another program's tables"))
    db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # nothing, where there are pages
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    db.execute("PRAGMA secure_delete = FAST")
    if version == 0:
        _change(db, _TABLES)
        return
    if not _was_closed(db):
        check_whole(db)
    for old in range(version, SCHEMA):
        _change(db, _STEPS[old])
        _log.info("%s: brought from schema %d to %d", path, old, old + 1)


def used_number(db: sqlite3.Connection) -> int:
    """Return the highest number that is certainly in use, or the last before the first."""
    (used,) = db.execute(
        "SELECT max(coalesce((SELECT max(seq) FROM events), 0),"
        " coalesce((SELECT max(first_seq) - 1 FROM boots), 0))"
    ).fetchone()
    return int(used)


def _was_closed(db: sqlite3.Connection) -> bool:
    """Tell whether the last run gave back its numbers, so that nothing was torn."""
    (reserved,) = db.execute("SELECT max(reserved) FROM numbers").fetchone()
    return reserved is not None and bool(reserved == used_number(db))


def check_whole(db: sqlite3.Connection) -> None:
    """Look at every page; raises sqlite3.DatabaseError, as if it had come across the damage."""
    found = [line for (line,) in db.execute("PRAGMA quick_check(1)")]
    (numbers,) = db.execute("SELECT count(*) FROM numbers").fetchone()
    if found != ["ok"] or numbers != 1:
        raise _damaged(found[0] if numbers else "no numbers in it")


def _damaged(why: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(why)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _change(db: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    db.execute("BEGIN IMMEDIATE")
    with db:  # commits, or rolls back and raises
        for statement in statements:
            db.execute(statement)


# -- beside it -----------------------------------------------------------------------------------


def note_evidence(path: Path, ends: Mapping[str, int]) -> None:
    """Write beside the log where the evidence of open bouts ends: bout -> ns.  Raises OSError."""
    text = json.dumps(ends, separators=(",", ":")).encode()
    place = os.open(f"{path}{EVIDENCE}", os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(place, "wb") as file:  # over what is there: to truncate it first is a page more
        file.write(b"%08x %s\n" % (zlib.crc32(text), text))
        file.truncate()


def take_evidence(db: sqlite3.Connection, path: Path | None) -> None:
    """Let open bouts last until where their evidence was noted to end; torn, it tells nothing."""
    try:
        line, _, _ = Path(f"{path}{EVIDENCE}").read_bytes().partition(b"\n")
        checksum, _, text = line.partition(b" ")
        ends = json.loads(text) if int(checksum, 16) == zlib.crc32(text) else {}
    except (OSError, ValueError):
        return
    db.executemany(
        "UPDATE open_bouts SET evidence_ns = max(evidence_ns, ?2) WHERE bout = ?1", ends.items()
    )


# -- a damaged one -------------------------------------------------------------------------------


def set_aside(path: Path, cause: Exception, at_least: int = 0) -> None:
    """Put a new file, with what can be read of it, in the place of a damaged one.

    The file at `path` is claimed and nobody else is connected.  Numbers go on beyond all that can
    be read and `at_least`, and not below the seconds since the epoch: more than were ever given.
    Until the new file is whole nothing is changed.
    """
    new = Path(f"{path}.new")
    remove_database(new)
    try:
        new.touch(mode=0o600)
        with contextlib.closing(connected(new)) as db:
            prepare(db, new)
            events = _rescue(path, db, at_least)
    except BaseException:
        remove_database(new)
        raise
    aside = Path(f"{path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    for suffix in ("-wal", ""):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").replace(f"{aside}{suffix}")
    Path(f"{path}-shm").unlink(missing_ok=True)
    new.replace(path)
    for older in files_aside(path, "damaged")[:-KEPT_DAMAGED]:
        remove_database(older)
    _log.error(
        "%s: damaged (%s): set aside as %s; %d events could be read and are kept, numbers go on "
        "beyond any that was given: look at the disk, and remove that file",
        *(path, cause, aside.name, events),
    )


def set_stranger_aside(path: Path) -> Path:
    """Put a file that somebody laid in the place of one in use under another name; return that.

    Raises `EventLogError` where another process uses it.
    """
    aside = Path(f"{path}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    with held(path):
        path.replace(aside)
    return aside


def check_same(path: Path, reserved: int, newest: int) -> None:
    """Look whether a file that somebody wrote into is still ours, and whole.

    Raises sqlite3.DatabaseError, with a code of `damage`, where it is not.
    """
    with contextlib.closing(_read_only(path)) as db:
        check_whole(db)
        numbers = db.execute(
            "SELECT reserved, coalesce((SELECT max(seq) FROM events), 0) FROM numbers"
        ).fetchone()
    if numbers[0] != reserved or numbers[1] > newest:
        raise _damaged("another log was written over it")


def files_aside(path: Path, why: str = "*") -> list[Path]:
    """Return the files that took part as a log and were set aside, the oldest first.

    `why` is `damaged`, or `replaced` by a restored one.
    """
    found = path.parent.glob(f"{path.name}.{why}-*Z")
    return sorted(found, key=lambda file: file.name.rpartition("-")[2])


def remove_database(path: Path) -> None:
    """Remove a database with its companions."""
    for suffix in PARTS:
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _rescue(damaged: Path, db: sqlite3.Connection, at_least: int) -> int:
    """Copy what can be read; return the number of events."""
    reserved = max(at_least, time.time_ns() // NS_PER_S, PLAUSIBLE_NS // NS_PER_S)
    with contextlib.closing(_read_only(damaged)) as old:
        db.execute("BEGIN IMMEDIATE")
        with db:
            events = 0
            for row in _readable_events(old):
                events += db.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", row).rowcount
            for table, columns in _KEPT.items():
                places = ", ".join("?" * (columns.count(",") + 1))
                for row in _readable(old, f"SELECT {columns} FROM {table}"):  # noqa: S608 - ours
                    with contextlib.suppress(sqlite3.IntegrityError):
                        db.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", row)  # noqa: S608 - ours
            for query in ("SELECT reserved FROM numbers", "SELECT seq FROM cursors"):
                seen = [row[0] for row in _readable(old, query) if isinstance(row[0], int)]
                reserved = max(reserved, *seen, 0)
            db.execute("UPDATE numbers SET reserved = ?", (max(reserved, used_number(db)),))
    return events


def _readable_events(old: sqlite3.Connection) -> Iterator[tuple[int, str, int]]:
    """Yield what can be read from the oldest on, and from the newest back to the damage."""
    logged = "t_logged" if _has_times(old) else "0"
    for order in ("ASC", "DESC"):
        for seq, body, t_logged in _readable(
            old,
            f"SELECT seq, body, {logged} FROM events ORDER BY seq {order}",  # noqa: S608 - ours
        ):
            try:
                from_body(body, seq)
            except (ValueError, TypeError, RecursionError):
                continue
            yield seq, body, t_logged if isinstance(t_logged, int) else 0


def _has_times(old: sqlite3.Connection) -> bool:
    return any(row[1] == "t_logged" for row in _readable(old, "PRAGMA table_info(events)"))


def _readable(old: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows up to the first that can't be read."""
    with contextlib.suppress(sqlite3.Error):
        yield from old.execute(query)


# -- reading it ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: `stream` is a glob; times are data time in ns, [since, until)."""

    stream: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    activity: str | None = None
    kind: str | None = None

    def clauses(self) -> tuple[str, list[object]]:
        """Return an SQL condition, an AND before it, and its values; what is no JSON is let by."""
        found: dict[str, object] = {
            "body ->> '$.stream' GLOB ?": self.stream,
            "body ->> '$.activity' = ?": self.activity,
            "body ->> '$.kind' = ?": self.kind,
            "body ->> '$.t_decided' >= ?": self.since_ns,
            "body ->> '$.t_decided' < ?": self.until_ns,
        }
        given = {clause: value for clause, value in found.items() if value is not None}
        every = " AND ".join(given) or "1"
        return f" AND CASE WHEN json_valid(body) THEN {every} ELSE 1 END", list(given.values())


def reading(path: Path) -> sqlite3.Connection:
    """Return a connection that only reads, beside whoever writes; raises `EventLogError`."""
    if not path.exists():
        raise EventLogError(f"{path}: no event log is there: has the daemon run with it?")
    with contextlib.ExitStack() as opened:
        try:
            db = opened.enter_context(contextlib.closing(_read_only(path)))
            (version,) = db.execute("PRAGMA user_version").fetchone()
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise EventLogError(f"{path}: can't be read ({error}): is it yours to read?") from error
        if not 1 <= version <= SCHEMA:
            raise EventLogError(f"{path}: of schema {version}, this program reads 1 to {SCHEMA}")
        opened.pop_all()
    return db


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)


def stored_states(db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield each stream and what was stored of it last, as JSON."""
    with contextlib.suppress(sqlite3.OperationalError):  # no such table in schema 1
        yield from db.execute("SELECT stream, state FROM streams")


def wanted_events(
    db: sqlite3.Connection,
    wanted: Wanted,
    skip: Callable[[int], object],
    after_seq: int = 0,
    newest: int | None = None,
) -> Iterator[Event]:
    """Yield committed events above a number, ascending; the `newest` so many of them only.

    `skip` gets the number of each whose body can't be read.
    """
    clauses, values = wanted.clauses()
    query = f"SELECT body, seq FROM events WHERE seq > ?{clauses} ORDER BY seq"  # noqa: S608 - ours
    if newest is None:
        rows = iter(db.execute(query, (after_seq, *values)))
    else:
        found = db.execute(f"{query} DESC LIMIT ?", (after_seq, *values, newest)).fetchall()
        rows = reversed(found)
    for body, seq in rows:
        try:
            event = from_body(body, seq)
            event.payload()
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            skip(seq)
        else:
            yield event
