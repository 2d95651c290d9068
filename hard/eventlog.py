"""The event log: a durable, bounded log of events in SQLite, and the outbox of every sink.

An event is committed here before any sink sees it.  Each sink has a `Cursor`, so that a slow or
absent one holds up no other and delivering again is moving a cursor.  One writer thread groups
commits; one connection, guarded by one lock, does all reading and writing.

Not a queue between threads (samples travel in `hard.runtime.Inbox`) and not a history to query:
what exceeds the row cap goes, oldest first, delivered or not (counted if not).

`hard.runtime` appends and delivers; `hard replay --publish` does so with a log in memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import sqlite3
import threading
import time
from collections import Counter, deque
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from hard.api import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["MAX_IN_FLIGHT", "Cursor", "EventLog", "EventLogError"]

SCHEMA = 1
"""Of the file, in its `user_version`; not the schema of the events' JSON."""
NUMBERS_PER_BLOCK = 1_000
MAX_QUEUED = 10_000
MAX_IN_FLIGHT = 100
GROUP_S = 0.1
GROUP_ROWS = 50
RETRY_S = 1.0
LAZY_S = 60.0
BUSY_S = 0.2
"""How long a commit waits for a foreign writer; short, as sinks wait for the same connection."""
MAX_BOOTS = 1_000

_TABLES = (
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE cursors (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE open_bouts (
         bout TEXT PRIMARY KEY, seq INTEGER NOT NULL, stream TEXT NOT NULL,
         evidence_ns INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX open_bouts_stream ON open_bouts (stream, seq)",
    """CREATE TABLE boots (
         boot INTEGER PRIMARY KEY, t_ns INTEGER NOT NULL, first_seq INTEGER NOT NULL,
         skipped_first INTEGER, skipped_last INTEGER)""",
    "CREATE TABLE numbers (reserved INTEGER NOT NULL)",
    "INSERT INTO numbers VALUES (0)",
    f"PRAGMA user_version = {SCHEMA}",
)
_FIELDS = tuple(field.name for field in fields(Event) if field.name != "seq")

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


class Cursor:
    """One sink's place in the log: what it confirmed, what is in flight, what comes next.

    `read`, `rewind` and `wait` belong to the sink's thread; `confirm` and `wake` may be called
    from any.  `position` is the highest number up to which everything is confirmed; it is stored
    with the log's next commit.  `dropped` counts events pruned before this sink confirmed them.
    """

    def __init__(
        self, log: EventLog, name: str, position: int, changed: threading.Condition
    ) -> None:
        self.name = name
        self.position = position
        self.dropped = 0
        self._log = log
        self._changed = changed  # the log's: notified by commits as well
        self._read_to = position
        self._highest = position
        self._in_flight: deque[int] = deque()
        self._confirmed: set[int] = set()
        self._woken = False

    @property
    def backlog(self) -> int:
        """Return how far behind the log this sink is, in numbers (skipped ones included)."""
        return max(0, self._log.newest - self.position)

    @property
    def is_behind(self) -> bool:
        """Tell whether the log holds events that were not yet read for this sink."""
        return self._log.newest > self._read_to

    def read(self, limit: int) -> list[Event]:
        """Return the next events, ascending, and count them as in flight; empty without room.

        At most `MAX_IN_FLIGHT` are ever in flight.  What was confirmed before a `rewind` is left
        out.  Raises `EventLogError` when the log cannot be read.
        """
        with self._changed:
            room = min(limit, MAX_IN_FLIGHT - len(self._in_flight))
            newest = self._log.newest
        if room <= 0:
            return []
        events = self._log.read(self._read_to, room)
        with self._changed:
            self._in_flight.extend(event.seq for event in events if event.seq is not None)
            last = self._in_flight[-1] if self._in_flight else 0
            # Beyond the last there are only numbers that a restart skipped, up to `newest`.
            self._read_to = last if len(events) == room else max(last, newest)
            self._highest = max(self._highest, self._read_to)
            fresh = [event for event in events if event.seq not in self._confirmed]
            self._advance()
        return fresh

    def confirm(self, seq: int) -> None:
        """Note that an event is delivered for good; in any order, from any thread."""
        with self._changed:
            if self.position < seq <= self._highest:
                self._confirmed.add(seq)
                self._advance()
                self._changed.notify_all()

    def rewind(self) -> None:
        """Forget what is in flight: `read` gives again what is not confirmed."""
        with self._changed:
            self._in_flight.clear()
            self._read_to = self.position
            self._confirmed = {seq for seq in self._confirmed if seq > self.position}

    def wait(self, timeout_s: float) -> bool:
        """Sleep until `read` would give something, or `wake`, at most `timeout_s`."""
        with self._changed:
            ready = self._changed.wait_for(self._is_ready, timeout_s)
            self._woken = False
            return ready

    def wake(self) -> None:
        """End the present `wait`, or the next one if there is none."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def unconfirmed(self, seqs: Iterable[int]) -> int:
        """Return how many of `seqs` this sink has not confirmed; the log's lock is held."""
        return sum(seq > self.position and seq not in self._confirmed for seq in seqs)

    def _is_ready(self) -> bool:
        return self._woken or (self.is_behind and len(self._in_flight) < MAX_IN_FLIGHT)

    def _advance(self) -> None:
        while self._in_flight and self._in_flight[0] in self._confirmed:
            self.position = self._in_flight.popleft()
            self._confirmed.discard(self.position)
        if not self._in_flight:
            self.position = self._read_to


class EventLog:
    """The log of one installation at `path`; None keeps it in memory and promises nothing.

    Opening reserves numbers, closes the bouts a killed run left open (`exit`, `interrupted`, the
    first events of the new run) and starts the writer thread; it raises `EventLogError` when the
    file is not a log, is newer than this program, is in use, or cannot be written.

    `max_events` bounds the file.  `synchronous` "NORMAL" survives a kill without loss and a power
    cut with the loss of what the kernel had not written yet; "FULL" syncs every commit.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        max_events: int = 100_000,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._max_events = max_events
        self._synchronous = synchronous
        self._path = path
        self._lock = threading.Lock()  # guards everything below but the connection
        self._queued = threading.Condition(self._lock)
        self._changed = threading.Condition(self._lock)
        self._queue: deque[tuple[Event, str]] = deque()
        self._batch: list[tuple[Event, str]] = []
        self._evidence: dict[str, int] = {}
        self._cursors: dict[str, Cursor] = {}
        self._flushing = self._failing = self._closing = False
        self._attempted_s = -math.inf
        self._db_lock = threading.Lock()  # guards the connection; never taken inside `_lock`
        if path is None:
            _log.warning("the event log is in memory: what is undelivered at exit is lost")
        try:
            with contextlib.ExitStack() as opened:
                if path:
                    opened.enter_context(_claimed(path))
                self._db = opened.enter_context(contextlib.closing(_connected(path)))
                _prepare(self._db, path)
                self._stored = dict(self._db.execute("SELECT sink, seq FROM cursors").fetchall())
                self._newest, self._reserved = self._boot()
                (self._rows,) = self._db.execute("SELECT count(*) FROM events").fetchone()
                self._opened = opened.pop_all()
        except (OSError, sqlite3.Error) as err:
            raise EventLogError(_refusal(path, str(err))) from err
        self._writer = threading.Thread(target=self._run, name="event-log", daemon=True)
        self._writer.start()

    @property
    def newest(self) -> int:
        """Return the number of the newest committed event (or the last number before the first)."""
        return self._newest

    @property
    def is_failing(self) -> bool:
        """Tell whether the last commit failed: events wait in memory and are tried each second."""
        return self._failing

    @property
    def is_alive(self) -> bool:
        """Tell whether the writer thread runs."""
        return self._writer.is_alive()

    def append(self, events: Iterable[Event]) -> None:
        """Queue events for the next commit; those of one call share it.  Never waits for a disk.

        At `MAX_QUEUED` the oldest not yet committed are dropped and counted.  Raises TypeError
        for an event that is not plain JSON (a programming error), nothing else.
        """
        rows = [(event, to_body(event)) for event in events]
        with self._lock:
            if self._closing:
                self.counts["dropped_uncommitted"] += len(rows)
                return
            for event, _ in rows:
                if event.kind != "status":  # what is noted speaks for the bout before
                    self._evidence.pop(event.stream, None)
            self._queue.extend(rows)
            self._drop_excess()
            self._queued.notify()

    def evidence(self, stream: str, t_ns: int) -> None:
        """Note the last evidence of the stream's open bout, stored with a later commit.

        It is the end of that bout should this process be killed.
        """
        with self._lock:
            if not self._evidence:
                self._queued.notify()
            self._evidence[stream] = t_ns

    def read(self, after_seq: int, limit: int) -> list[Event]:
        """Return at most `limit` committed events numbered above `after_seq`, ascending.

        Raises `EventLogError` when the disk cannot be read.
        """
        try:
            with self._db_lock:
                rows = self._db.execute(
                    "SELECT body, seq FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                    (after_seq, self._newest, limit),
                ).fetchall()
        except sqlite3.Error as err:
            raise EventLogError(f"the event log cannot be read ({err}): check the disk") from err
        return [from_body(body, seq) for body, seq in rows]

    def wait(self, after_seq: int, timeout_s: float) -> bool:
        """Sleep until an event above `after_seq` is committed; return whether one is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._newest > after_seq, timeout_s)

    def cursor(self, sink: str, start: Literal["now", "oldest"] = "now") -> Cursor:
        """Return the cursor of a configured sink, the same each time.

        A sink seen before goes on where it was; a new one begins at `start`.  Cursors of sinks
        that are not asked for are kept, in case they return, but nothing is counted for them.
        """
        with self._lock:
            if sink not in self._cursors:
                position = self._stored.get(sink, self._newest if start == "now" else 0)
                self._cursors[sink] = Cursor(self, sink, position, self._changed)
            return self._cursors[sink]

    def flush(self, timeout_s: float) -> bool:
        """Commit at once what was appended; return whether it was done within `timeout_s`."""
        with self._changed:
            self._flushing = True
            self._queued.notify()
            return self._changed.wait_for(lambda: not (self._queue or self._batch), timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Commit what is queued and all cursors, then close; a hanging disk is left behind."""
        with self._lock:
            self._closing = True
            self._queued.notify()
        self._writer.join(timeout_s)
        if self._writer.is_alive():
            _log.error("the event log could not be closed within %.1f s: the disk hangs", timeout_s)

    # -- the writer thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_until_due():
            self._commit()
        self._commit()
        if self._queue:
            _log.error("%d events could not be committed and are lost", len(self._queue))
        self._release()

    def _wait_until_due(self) -> bool:
        """Sleep until a commit is due; return False when the log closes instead."""
        with self._lock:
            while not self._closing:
                remaining_s = self._due_s() - time.monotonic()
                if remaining_s <= 0:
                    return True
                self._queued.wait(None if remaining_s == math.inf else remaining_s)
            return False

    def _due_s(self) -> float:
        if self._failing:
            return self._attempted_s + RETRY_S
        if self._queue:
            hurry = self._flushing or len(self._queue) >= GROUP_ROWS
            return -math.inf if hurry else self._attempted_s + GROUP_S
        if self._evidence or self._moved():
            return self._attempted_s + LAZY_S
        return math.inf

    def _moved(self) -> dict[str, int]:
        places = ((name, cursor.position) for name, cursor in self._cursors.items())
        return {name: seq for name, seq in places if self._stored.get(name) != seq}

    def _commit(self) -> None:
        """Write everything that waits; on a disk error put it back for the next attempt."""
        with self._lock:
            self._batch = list(self._queue)
            self._queue.clear()
            evidence, moved = dict(self._evidence), self._moved()
            self._attempted_s = time.monotonic()
        try:
            if self._path is not None and not self._path.exists():
                self._save_anew(self._path)
            pruned = self._write(self._batch, evidence, moved)
        except (sqlite3.Error, OSError, EventLogError) as err:
            self._put_back(err)
        else:
            self._settle(evidence, moved, pruned)

    def _put_back(self, err: Exception) -> None:
        with self._lock:
            if not self._failing:
                _log.error("the event log cannot be written (%s): events wait in memory", err)
            self._failing = True
            self._queue.extendleft(reversed(self._batch))
            self._batch = []
            self._drop_excess()

    def _settle(
        self, evidence: Mapping[str, int], moved: Mapping[str, int], pruned: list[int]
    ) -> None:
        with self._lock:
            if self._failing:
                _log.info("the event log can be written again")
            self._failing = False
            self._flushing = self._flushing and bool(self._queue)
            self._newest += len(self._batch)
            self._rows += len(self._batch) - len(pruned)
            self._batch = []
            for stream, t_ns in evidence.items():
                if self._evidence.get(stream) == t_ns:
                    del self._evidence[stream]
            self._stored |= moved
            for cursor in self._cursors.values():
                cursor.dropped += cursor.unconfirmed(pruned)
            self._changed.notify_all()

    def _drop_excess(self) -> None:
        excess = len(self._queue) - MAX_QUEUED
        for _ in range(excess):
            self._queue.popleft()
        if excess > 0:
            self.counts["dropped_uncommitted"] += excess

    # -- the database --------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, synchronous: str) -> Iterator[sqlite3.Connection]:
        with self._db_lock:
            self._db.execute(f"PRAGMA synchronous = {synchronous}")
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:  # commits, or rolls back and raises
                yield self._db

    def _boot(self) -> tuple[int, int]:
        """Begin a run: number it past everything reserved, close what a kill left open.

        Returns the newest number in use and the highest one reserved.  A block is reserved in a
        synchronous commit of its own because a power cut may take back events, committed without
        a sync, whose numbers a sink has already shown to the world.
        """
        with self._transaction("FULL") as db:
            (reserved,) = db.execute("SELECT reserved FROM numbers").fetchone()
            (used,) = db.execute(
                "SELECT max(coalesce((SELECT max(seq) FROM events), 0),"
                " coalesce((SELECT max(first_seq) - 1 FROM boots), 0))"
            ).fetchone()
            skipped = (used + 1, reserved) if used < reserved else (None, None)
            db.execute(
                "INSERT INTO boots (t_ns, first_seq, skipped_first, skipped_last)"
                " VALUES (?, ?, ?, ?)",
                (time.time_ns(), reserved + 1, *skipped),
            )
            db.execute(
                "DELETE FROM boots WHERE boot <= (SELECT max(boot) FROM boots) - ?", (MAX_BOOTS,)
            )
            left_open = db.execute("SELECT body, evidence_ns FROM open_bouts ORDER BY seq")
            exits = [_interrupted(from_body(body), t_ns) for body, t_ns in left_open.fetchall()]
            newest = reserved + len(exits)
            _insert(db, reserved + 1, [(event, to_body(event)) for event in exits])
            db.execute("UPDATE numbers SET reserved = ?", (newest + NUMBERS_PER_BLOCK,))
        return newest, newest + NUMBERS_PER_BLOCK

    def _write(
        self,
        batch: list[tuple[Event, str]],
        evidence: Mapping[str, int],
        moved: Mapping[str, int],
    ) -> list[int]:
        """Commit all of it, or raise sqlite3.Error and commit nothing; return pruned numbers."""
        last = self._newest + len(batch)
        if last > self._reserved:
            with self._transaction("FULL") as db:
                db.execute("UPDATE numbers SET reserved = ?", (last + NUMBERS_PER_BLOCK,))
            self._reserved = last + NUMBERS_PER_BLOCK
        with self._transaction(self._synchronous) as db:
            _insert(db, self._newest + 1, batch)
            db.executemany(
                "UPDATE open_bouts SET evidence_ns = max(evidence_ns, :t) WHERE stream = :stream"
                " AND seq = (SELECT max(seq) FROM open_bouts WHERE stream = :stream)",
                [{"stream": stream, "t": t_ns} for stream, t_ns in evidence.items()],
            )
            db.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?)", moved.items())
            excess = max(0, self._rows + len(batch) - self._max_events)
            oldest = db.execute("SELECT seq FROM events ORDER BY seq LIMIT ?", (excess,))
            pruned = [seq for (seq,) in oldest.fetchall()]
            if pruned:
                db.execute("DELETE FROM events WHERE seq <= ?", (pruned[-1],))
        return pruned

    def _save_anew(self, path: Path) -> None:
        """Write the log, which is still open, to the place that its file was removed from."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(f"{path}.new")
        aside.unlink(missing_ok=True)
        with self._db_lock:
            try:
                self._db.execute("VACUUM INTO ?", (str(aside),))
            except sqlite3.Error:
                aside.unlink(missing_ok=True)
                raise
            aside.chmod(0o600)
            self._opened.close()  # before the new one opens: it takes its files -wal and -shm along
            for suffix in ("-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            with contextlib.ExitStack() as opened:
                opened.enter_context(_claimed(path))
                aside.replace(path)
                self._db = opened.enter_context(contextlib.closing(_connected(path)))
                _prepare(self._db, path)
                self._opened = opened.pop_all()
        self.counts["files_removed"] += 1
        _log.warning("%s: removed while it was in use: written anew, nothing is lost", path)

    def _release(self) -> None:
        """Give back the numbers not used and close the file."""
        try:
            with self._transaction("FULL") as db:
                db.execute("UPDATE numbers SET reserved = ?", (self._newest,))
        except sqlite3.Error as err:
            _log.warning("numbers stay reserved, the next run skips them: %s", err)
        with self._db_lock:
            self._opened.close()


def _claimed(path: Path) -> TextIO:
    """Make the file, for its owner only, and hold it against a second process.

    The lock is on a file beside it: opening and closing the database's own would release the
    locks that SQLite holds on it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(f"{path}.lock")
    for file in (path, lock):
        file.touch(mode=0o600)
    guard = lock.open("w")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        guard.close()
        raise EventLogError(
            f"{path}: in use by another process; stop that one or give this one its own file"
        ) from None
    return guard


def _connected(path: Path | None) -> sqlite3.Connection:
    return sqlite3.connect(
        path or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )


def _prepare(db: sqlite3.Connection, path: Path | None) -> None:
    """Refuse a file that is not ours, before anything in it changes; make the tables of a new."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version > SCHEMA:
        raise EventLogError(
            f"{path}: schema {version} is newer than this program's {SCHEMA}; "
            "install the newer version again or move the file away"
        )
    if version == 0 and tables:
        raise EventLogError(_refusal(path, "it holds another program's tables"))
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA journal_size_limit = 4194304")
    if version == 0:
        db.execute("BEGIN IMMEDIATE")
        with db:
            for statement in _TABLES:
                db.execute(statement)


def _refusal(path: Path | None, cause: str) -> str:
    return (
        f"{path}: cannot be used as the event log ({cause}); "
        "check disk and permissions, or move the file away to begin a new log"
    )


def _insert(db: sqlite3.Connection, first_seq: int, batch: list[tuple[Event, str]]) -> None:
    """Insert events and keep `open_bouts` in step with their enters and exits."""
    for seq, (event, body) in enumerate(batch, first_seq):
        db.execute("INSERT INTO events VALUES (?, ?)", (seq, body))
        if event.kind == "enter":
            db.execute(
                "INSERT OR REPLACE INTO open_bouts VALUES (?, ?, ?, ?, ?)",
                (event.bout, seq, event.stream, event.t_start, body),
            )
        elif event.kind == "exit":
            db.execute("DELETE FROM open_bouts WHERE bout = ?", (event.bout,))


def _interrupted(enter: Event, evidence_ns: int) -> Event:
    """Return the exit of a bout whose process was killed; its means died with the process."""
    t_end = max(enter.t_start, evidence_ns)
    return replace(
        enter,
        kind="exit",
        t_end=t_end,
        t_decided=t_end,
        confidence=None,
        probs={},
        coverage=None,
        reason="interrupted",
    )
