"""The event log: a durable, bounded log of events in SQLite, and the outbox of every sink.

An event is committed here before any sink sees it.  Each sink has a `Cursor`, so that a slow or
absent one holds up no other and delivering again is moving a cursor.  One writer thread groups
commits; one connection, guarded by one lock, does all reading and writing.

Not a queue between threads (samples travel in `hard.inbox.Inbox`) and no archive: what exceeds
the bounds (number, size, age) goes, oldest first, delivered or not (counted if not).

A disk that can't be written, now or at the start, costs nothing at first: events wait in memory,
the oldest go at a bound, counted, and each second it is tried again.  A file that turns out to be
damaged is set aside, and what can be read of it goes into another (`hard.eventfile`).

`hard.runtime` appends and delivers; `hard replay --publish` does so with a log in memory.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sqlite3
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hard.api import PLAUSIBLE_NS
from hard.cursor import MAX_IN_FLIGHT, Cursor, Place
from hard.eventfile import (
    EventLogError,
    check_same,
    claimed,
    connected,
    damage,
    files_aside,
    from_body,
    held,
    note_evidence,
    prepare,
    refusal,
    remove_database,
    set_aside,
    set_stranger_aside,
    take_evidence,
    to_body,
    trouble,
)
from hard.eventrows import (
    DAY_NS,
    NUMBERS_PER_BLOCK,
    Batch,
    Bounds,
    Row,
    begin_run,
    bound_file,
    forget,
    last_written_ns,
    make_room,
    prune_old,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hard.api import Event

__all__ = ["MAX_IN_FLIGHT", "Bounds", "Cursor", "EventLog", "EventLogError", "again"]

MAX_QUEUED = 10_000
GROUP_S = 0.1
GROUP_ROWS = 50
BATCH_ROWS = 1_000
LAST_EVENTS = 10_000
RETRY_S = 1.0
LAZY_S = 60.0
PRUNE_S = 3600.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Order:
    """A stream to be forgotten; how many events that were."""

    stream: str
    events: int = 0
    done: threading.Event = field(default_factory=threading.Event)


class EventLog:
    """The log of one installation at `path`; None keeps it in memory and promises nothing.

    Opening reserves numbers, closes the bouts a killed run left open (`exit`, `interrupted`, the
    first events of the new run) and starts the writer thread; it raises `EventLogError` when the
    file is not a log, is newer than this program, is in use, or its place is forbidden.  On a disk
    that is full or read-only it opens later.

    `synchronous` "NORMAL" survives a kill without loss and a power cut with the loss of what the
    kernel had not written yet; "FULL" syncs every commit.  `now_ns` is the wall clock, by which
    events age.  Where nothing else is to be written, cursors and evidence wait for `lazy_s`.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        bounds: Bounds | None = None,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
        now_ns: Callable[[], int] = time.time_ns,
        lazy_s: float = LAZY_S,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._bounds = bounds or Bounds()
        self._synchronous = synchronous
        self._now_ns = now_ns
        self._lazy_s = lazy_s
        self._path = path
        self._lock = threading.Lock()  # guards everything below but the connection
        self._queued = threading.Condition(self._lock)
        self._changed = threading.Condition(self._lock)
        self._queue: deque[Row] = deque()
        self._batch: list[Row] = []
        self._evidence: dict[str, int] = {}
        self._states: dict[str, str | None] = {}  # JSON texts; None: removed
        self._kept: dict[str, str | None] = {}  # those that the file holds, as far as is known
        self._noted: dict[str, int] = {}  # bout -> where its evidence ends, ns: beside the file
        self._orders: deque[_Order] = deque()
        self._cursors: dict[str, Cursor] = {}
        self._starts: dict[str, Literal["now", "oldest"]] = {}  # of cursors not yet placed
        self._left: dict[str, Place] = {}  # sink that went -> its place
        self._stored: dict[str, Place] = {}
        self._to_forget: set[tuple[str, str]] = set()  # (sink, stream)
        self._owed: set[tuple[str, str]] = set()
        self._forgot: set[tuple[str, str]] = set()
        self._skipped: list[tuple[int, int]] = []
        self._newest = self._reserved = self._rows = self._max_bytes = self._known_ns = 0
        self._flushing = self._closing = self._is_short = False
        self._file = (0, 0, 0)  # device, inode and time of the last write, as this one left it
        self._trouble: str | None = None
        self._damaged: Exception | None = None
        self._attempted_s = self._pruned_s = -math.inf
        self._db_lock = threading.Lock()  # guards the connection; never taken inside `_lock`
        self._db: sqlite3.Connection | None = None
        self._opened: contextlib.ExitStack | None = None
        if path is None:
            _log.warning("the event log is in memory: what is undelivered at exit is lost")
        self._try_to_open()
        self._writer = threading.Thread(target=self._run, name="event-log", daemon=True)
        self._writer.start()

    @property
    def newest(self) -> int:
        """Return the number of the newest committed event (or the last number before the first)."""
        return self._newest

    @property
    def known_ns(self) -> int:
        """Return the latest time at which an earlier run wrote, ns; 0 before there was one."""
        return self._known_ns

    @property
    def is_failing(self) -> bool:
        """Tell whether the last commit failed: events wait in memory and are tried each second."""
        return self._trouble is not None

    @property
    def trouble(self) -> str | None:
        """Return what keeps the log from being written ("disk full", say); None when nothing."""
        return self._trouble

    @property
    def is_alive(self) -> bool:
        """Tell whether the writer thread runs."""
        return self._writer.is_alive()

    def append(
        self,
        events: Iterable[Event],
        states: Mapping[str, Mapping[str, Any] | None] | None = None,
        evidence: Mapping[str, int] | None = None,
    ) -> None:
        """Queue events for the next commit; those of one call share it.  Never waits for a disk.

        `states`, stream -> what the pipeline knows of it after these events, JSON values, is
        committed with the last of them, or soon where there are none; None removes a stream's.
        `evidence`, stream -> ns, is where that of a bout that these open ends by now.  At
        `MAX_QUEUED` the oldest events not yet committed are dropped and counted.  Raises TypeError
        for what is not plain JSON (a programming error), nothing else.
        """
        given = list(events)
        known = evidence or {}
        rows = [
            Row(event, to_body(event), n == len(given), known.get(event.stream, event.t_start))
            for n, event in enumerate(given, 1)
        ]
        texts = {
            stream: None if state is None else json.dumps(state, separators=(",", ":"))
            for stream, state in (states or {}).items()
        }
        with self._lock:
            texts = {s: t for s, t in texts.items() if s in self._states or self._is_new(s, t)}
            if not rows and not texts:
                return
            if self._closing:
                self.counts["dropped_uncommitted"] += len(rows)
                return
            for event in given:
                if event.kind != "status":  # what is noted speaks for the bout before
                    self._evidence.pop(event.stream, None)
            self._queue.extend(rows)
            self._states |= texts
            self._drop_excess()
            self._queued.notify()

    def evidence(self, stream: str, t_ns: int) -> None:
        """Note the last evidence of the stream's open bout, stored with a later commit.

        Where none comes for a minute, it is written beside the file.  It is the end of that bout
        should this process be killed.
        """
        with self._lock:
            if not self._evidence:
                self._queued.notify()
            self._evidence[stream] = t_ns

    def read(self, after_seq: int, limit: int) -> list[Event]:
        """Return at most `limit` committed events numbered above `after_seq`, ascending.

        None while the file could not be opened yet.  Raises `EventLogError` when the disk cannot
        be read.
        """
        rows = self._query(
            "SELECT body, seq FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            (after_seq, self._newest, limit),
        )
        return [from_body(body, seq) for body, seq in rows]

    def states(self) -> dict[str, Any]:
        """Return stream -> what was stored of it last (`append`), also by earlier runs.

        What is no JSON is left out, said and counted.  Raises `EventLogError` as `read` does.
        """
        found = {}
        for stream, text in self._query("SELECT stream, state FROM streams", ()):
            try:
                found[stream] = json.loads(text)
            except (ValueError, TypeError, RecursionError) as error:
                self.counts["bad_states"] += 1
                _log.warning("stream %r: what was known of it can't be used: %s", stream, error)
        return found

    def streams(self) -> list[str]:
        """Return the streams of the last events, the latest first; those of open bouts are first.

        For a run that a kill or a stop ended closed them last.  Raises `EventLogError` as `read`
        does.
        """
        rows = self._query(
            "SELECT body ->> '$.stream' FROM events ORDER BY seq DESC LIMIT ?", (LAST_EVENTS,)
        )
        return list(dict.fromkeys(stream for (stream,) in rows))

    def count(self, after_seq: int, last_seq: int, stream: str | None = None) -> int:
        """Return how many events are numbered so, of one stream or of all."""
        ((n,),) = self._query(
            "SELECT count(*) FROM events WHERE seq > ?1 AND seq <= ?2"
            " AND (?3 IS NULL OR body ->> '$.stream' = ?3)",
            (after_seq, last_seq, stream),
        ) or [(0,)]
        return int(n)

    def number_at(self, t_ns: int, stream: str | None = None) -> int:
        """Return the number before the first event decided at `t_ns` or later, else the newest."""
        ((seq,),) = self._query(
            "SELECT min(seq) FROM events WHERE body ->> '$.t_decided' >= ?1"
            " AND (?2 IS NULL OR body ->> '$.stream' = ?2)",
            (t_ns, stream),
        ) or [(None,)]
        return self._newest if seq is None else int(seq) - 1

    def numbers_above(self, seq: int) -> int:
        """Return how many numbers above `seq` were given to events."""
        unused = sum(max(0, last - max(first, seq + 1) + 1) for first, last in self._skipped)
        return max(0, self._newest - seq - unused)

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
                if self._opened is None:
                    self._starts[sink] = start
                self._cursors[sink] = Cursor(self, sink, self._place(sink, start), self._changed)
            return self._cursors[sink]

    def leave(self, sink: str) -> None:
        """Forget the cursor of a sink that is no longer there: nothing is counted for it.

        Its place is kept, should it return.
        """
        with self._lock:
            self._starts.pop(sink, None)
            cursor = self._cursors.pop(sink, None)
            if cursor is not None:
                self._left[sink] = cursor.place
                self._queued.notify()

    def forget(self, stream: str, timeout_s: float = 5.0) -> int:
        """Remove all that is kept of a stream; return how many events that were.

        What sinks have still to clear of it stays known (`owe`).  Raises `EventLogError` when it
        is not done within `timeout_s`; it is then done once the disk can be written.
        """
        order = _Order(stream)
        with self._lock:
            self._queue = deque(row for row in self._queue if row.event.stream != stream)
            self._evidence.pop(stream, None)
            self._states.pop(stream, None)
            self._orders.append(order)
            self._queued.notify()
        if not order.done.wait(timeout_s):
            raise EventLogError(f"{stream} is not forgotten yet: the event log can't be written")
        return order.events

    def to_forget(self, sink: str) -> list[str]:
        """Return the streams of which a sink has still to clear what it keeps."""
        with self._lock:
            return sorted(stream for name, stream in self._to_forget if name == sink)

    def owe(self, sink: str, stream: str) -> None:
        """Note that a sink has to clear what it keeps of a stream, in whichever run it can."""
        with self._lock:
            self._to_forget.add((sink, stream))
            self._forgot.discard((sink, stream))
            self._owed.add((sink, stream))
            self._queued.notify()

    def forgot(self, sink: str, stream: str) -> None:
        """Note that a sink has cleared what it kept of a stream; stored with a later commit."""
        with self._lock:
            self._to_forget.discard((sink, stream))
            self._owed.discard((sink, stream))
            self._forgot.add((sink, stream))
            self._queued.notify()

    def flush(self, timeout_s: float) -> bool:
        """Commit at once what was appended; return whether it was done within `timeout_s`."""
        with self._changed:
            self._flushing = True
            self._queued.notify()
            return self._changed.wait_for(self._is_written, timeout_s)

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
        while self._queue and not self.is_failing:
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
        if self._trouble is not None:
            return self._attempted_s + RETRY_S
        if self._orders or self._damaged:
            return -math.inf
        if self._queue:
            hurry = self._flushing or len(self._queue) >= GROUP_ROWS
            return -math.inf if hurry else self._attempted_s + GROUP_S
        if self._states or self._owed:
            return -math.inf if self._flushing else self._attempted_s + GROUP_S
        if self._evidence or self._forgot or self._moved():
            return self._attempted_s + self._lazy_s
        return math.inf if self._bounds.keep_days is None else self._pruned_s + PRUNE_S

    def _is_written(self) -> bool:
        return not (self._queue or self._batch or self._states or self._owed)

    def _moved(self) -> dict[str, Place]:
        places = {name: cursor.place for name, cursor in self._cursors.items()} | self._left
        return {name: place for name, place in places.items() if self._stored.get(name) != place}

    def _commit(self) -> None:
        """Write everything that waits; on a disk error put it back for the next attempt."""
        with self._lock:
            batch = self._taken()
            self._attempted_s = time.monotonic()
        try:
            self._be_ready()
            pruned = [] if self._is_noted(batch) else self._write(batch)
            self._note_write()
            self._settle(batch, pruned)
            self._follow_orders()
        except (sqlite3.Error, OSError, EventLogError) as err:
            self._put_back(err)

    def _is_noted(self, batch: Batch) -> bool:
        """Write evidence that comes alone beside the file; tell whether there is nothing else."""
        due = self._closing or self._trouble or time.monotonic() >= self._pruned_s + PRUNE_S
        if self._path is None or due or not batch.is_evidence_alone:
            return False
        open_bouts = self._rows_of("SELECT stream, bout FROM open_bouts ORDER BY seq")
        ends = {bout: batch.evidence.get(stream) for stream, bout in dict(open_bouts).items()}
        known = {bout: self._noted.get(bout) if t is None else t for bout, t in ends.items()}
        self._noted = {bout: t_ns for bout, t_ns in known.items() if t_ns is not None}
        try:
            note_evidence(self._path, self._noted)
        except OSError as error:
            _log.debug("evidence goes into the log itself: %s", error)
            return False
        return True

    def _taken(self) -> Batch:
        """Take what the next commit writes; what speaks for the last event goes with that one."""
        while self._queue and (len(self._batch) < BATCH_ROWS or not self._batch[-1].ends):
            self._batch.append(self._queue.popleft())
        if self._opened is None:  # cursors have no places yet
            return Batch(self._batch)
        if self._queue:
            return Batch(self._batch, moved=self._moved())
        return Batch(
            self._batch,
            dict(self._evidence),
            self._moved(),
            dict(self._states),
            frozenset(self._owed),
            frozenset(self._forgot),
        )

    def _be_ready(self) -> None:
        """Open the file where it could not be opened yet, is damaged, or was removed."""
        if self._damaged is not None and self._opened is not None:
            with self._db_lock:
                self._db = None
                self._opened.close()
                self._opened = None
        if self._opened is None:
            self._open()
        elif self._path is not None:
            self._look_at_file(self._path)

    def _note_write(self) -> None:
        """Know when this one wrote last; what lies there by now may be another file."""
        there = _seen(self._path)
        if there is not None and there[:2] == self._file[:2]:
            self._file = there

    def _look_at_file(self, path: Path) -> None:
        """Mend what others did to the file: removed it, laid another in its place, wrote into it.

        Raises sqlite3.Error where what was written over it has to be set aside, by `_put_back`.
        """
        there = _seen(path)
        if there is None:
            self._save_anew(path, "removed")
        elif there[:2] != self._file[:2]:
            aside = set_stranger_aside(path)
            self._save_anew(path, f"replaced by a file that is now {aside.name},")
        elif there != self._file:
            check_same(path, self._reserved, self._newest)

    def _put_back(self, err: Exception) -> None:
        if damage(err):
            self._damaged = err
        with self._lock:
            if self._trouble is None:
                _log.error("the event log cannot be written (%s): events wait in memory", err)
            self._trouble = trouble(err) or "the event log cannot be written"
            self._queue.extendleft(reversed(self._batch))
            self._batch = []
            self._drop_excess()

    def _settle(self, batch: Batch, pruned: list[int]) -> None:
        with self._lock:
            if self._trouble is not None:
                _log.info("the event log can be written again")
            self._trouble = None
            self._newest += len(self._batch)
            self._rows += len(self._batch) - len(pruned)
            self._batch = []
            for stream, t_ns in batch.evidence.items():
                if self._evidence.get(stream) == t_ns:
                    del self._evidence[stream]
            for stream, text in batch.states.items():
                self._kept[stream] = text
                if self._states.get(stream, "") == text:
                    del self._states[stream]
            self._flushing = self._flushing and not self._is_written()
            self._stored |= batch.moved
            self._owed -= batch.owed
            self._forgot -= batch.forgot
            for cursor in self._cursors.values():
                cursor.dropped += cursor.unconfirmed(pruned)
            self._changed.notify_all()

    def _is_new(self, stream: str, state: str | None) -> bool:
        return stream not in self._kept or self._kept[stream] != state

    def _drop_excess(self) -> None:
        excess = len(self._queue) - MAX_QUEUED
        for _ in range(excess):
            self._queue.popleft()
        if excess > 0:
            self.counts["dropped_uncommitted"] += excess

    def _follow_orders(self) -> None:
        """Remove the streams that shall be forgotten, after what was committed of them."""
        while self._orders:
            order = self._orders[0]
            order.events = self._forget(order)
            self._note_write()
            with self._lock:
                self._orders.popleft()
                self._kept.pop(order.stream, None)
                self._rows -= order.events
                self._changed.notify_all()
            order.done.set()

    # -- the file ------------------------------------------------------------------------------

    def _try_to_open(self) -> None:
        """Open the file; a damaged one is set aside, a disk that is full may be so for a while."""
        for _ in range(2):
            try:
                self._open()
            except (OSError, sqlite3.Error) as err:
                self._trouble = trouble(err)
                if self._damaged is not None:
                    continue
                if self._path is None or self._trouble is None:
                    raise EventLogError(refusal(self._path, err)) from err
                _log.error("%s: %s (%s): events wait in memory", self._path, self._trouble, err)
            return
        raise EventLogError(refusal(self._path, self._damaged)) from self._damaged

    def _open(self) -> None:
        """Connect, begin a run, learn where everything stands."""
        path = self._path
        with contextlib.ExitStack() as opened:
            if path:
                opened.enter_context(claimed(path))
                if self._damaged is not None:
                    set_aside(path, self._damaged, self._reserved)
                    opened.enter_context(held(path))
                    self.counts["files_damaged"] += 1
                    self._damaged = None
            self._db = opened.enter_context(contextlib.closing(connected(path)))
            try:
                prepare(self._db, path)
                self._bound(self._db)
                self._known_ns = last_written_ns(self._db)
                with self._transaction("FULL") as db:
                    take_evidence(db, path)
                    numbers = begin_run(db, self._now_ns(), goes_on=self._reserved > 0)
                self._checkpoint()  # so that they stand in the file, whatever happens to its log
                self._learn(*numbers)
            except (OSError, sqlite3.Error, EventLogError) as err:
                self._db = None
                if path and damage(err):
                    self._damaged = err
                raise
            self._file = _seen(path) or self._file
            self._opened = opened.pop_all()

    def _bound(self, db: sqlite3.Connection) -> None:
        """Bound the file by what is configured, and by what the disk has left now."""
        path, wanted = self._path, self._bounds.max_bytes
        self._max_bytes = bound_file(db, path, wanted)
        short = self._max_bytes < wanted
        if short and not self._is_short:
            _log.warning(
                "%s: the disk has room for %d MB of events, not for %d: older ones go sooner",
                *(path, self._max_bytes // 1_000_000, wanted // 1_000_000),
            )
        self._is_short = short

    def _learn(self, newest: int, reserved: int) -> None:
        """Take over what the file says of numbers, cursors and what is to be forgotten."""
        places = self._rows_of("SELECT sink, seq, again_to, again_stream FROM cursors")
        debts = self._rows_of("SELECT sink, stream FROM forgotten")
        ((rows,),) = self._rows_of("SELECT count(*) FROM events")
        skipped = self._rows_of(
            "SELECT skipped_first, skipped_last FROM boots WHERE skipped_last > 0"
        )
        with self._lock:
            self._newest, self._reserved, self._rows = newest, reserved, rows
            self._kept.clear()
            self._stored = {sink: Place(*place) for sink, *place in places}
            self._to_forget = {*debts, *self._owed} - self._forgot
            self._skipped = skipped
            for sink, start in self._starts.items():
                self._cursors[sink].put(self._place(sink, start))
            self._starts.clear()

    def _place(self, sink: str, start: Literal["now", "oldest"]) -> Place:
        left = self._left.pop(sink, None) or self._stored.get(sink)
        return left or Place(self._newest if start == "now" else 0)

    def _query(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Return what the file tells; raises `EventLogError`."""
        try:
            return self._rows_of(query, values)
        except sqlite3.Error as err:
            if damage(err):
                with self._lock:
                    self._damaged = err
                    self._queued.notify()
            raise EventLogError(f"the event log cannot be read ({err}): check the disk") from err

    def _rows_of(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return what the file tells, nothing while it could not be opened yet."""
        with self._db_lock:
            return [] if self._db is None else self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self, synchronous: str) -> Iterator[sqlite3.Connection]:
        with self._db_lock:
            assert self._db is not None
            self._db.execute(f"PRAGMA synchronous = {synchronous}")
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:  # commits, or rolls back and raises
                yield self._db

    def _checkpoint(self, how: Literal["PASSIVE", "TRUNCATE"] = "PASSIVE") -> None:
        with self._db_lock:
            assert self._db is not None
            self._db.execute(f"PRAGMA wal_checkpoint({how})")

    def _write(self, batch: Batch) -> list[int]:
        """Commit all of it, or raise sqlite3.Error and commit nothing; return pruned numbers."""
        last = self._newest + len(batch.rows)
        if last > self._reserved:
            with self._transaction("FULL") as db:
                db.execute("UPDATE numbers SET reserved = ?", (last + NUMBERS_PER_BLOCK,))
            self._reserved = last + NUMBERS_PER_BLOCK
            self._checkpoint()
        now_ns = self._now_ns()
        with self._transaction(self._synchronous) as db:
            pruned = []
            if time.monotonic() >= self._pruned_s + PRUNE_S:
                self._pruned_s = time.monotonic()
                self._kept.clear()  # what goes on unchanged is in use: stored again once a day
                self._bound(db)
                pruned = self._prune_old(db, now_ns)
            present, most = self._rows - len(pruned), self._bounds.max_events
            pruned += make_room(db, batch, present, most, self._max_bytes)
            write(db, batch, self._newest + 1, now_ns)
        return pruned

    def _prune_old(self, db: sqlite3.Connection, now_ns: int) -> list[int]:
        """Delete what is too old, as far as the clock can tell; return the events' numbers."""
        if self._bounds.keep_days is None or now_ns < PLAUSIBLE_NS:
            return []
        cutoff_ns = now_ns - int(self._bounds.keep_days * DAY_NS)
        for file in [] if self._path is None else files_aside(self._path):
            if file.stat().st_mtime_ns < cutoff_ns:
                remove_database(file)
        return prune_old(db, cutoff_ns)

    def _forget(self, order: _Order) -> int:
        """Delete a stream so that no trace of it stays in the file; return the events deleted."""
        with self._lock:
            owed = frozenset(self._owed)
        with self._transaction("FULL") as db:
            db.execute("PRAGMA secure_delete = ON")
            try:
                events = forget(db, order.stream, owed)
            finally:
                db.execute("PRAGMA secure_delete = FAST")
        self._checkpoint("TRUNCATE")
        return events

    def _save_anew(self, path: Path, was: str) -> None:
        """Write the log, which is still open, to the place where its file no longer is."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(f"{path}.new")
        aside.unlink(missing_ok=True)
        with self._db_lock:
            assert self._db is not None
            assert self._opened is not None
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
                opened.enter_context(claimed(path))
                aside.replace(path)
                opened.enter_context(held(path))
                self._db = opened.enter_context(contextlib.closing(connected(path)))
                prepare(self._db, path)
                self._bound(self._db)
                self._file = _seen(path) or self._file
                self._opened = opened.pop_all()
        self.counts["files_removed"] += 1
        _log.warning("%s: %s while it was in use: written anew, nothing is lost", path, was)

    def _release(self) -> None:
        """Give back the numbers not used and close the file."""
        if self._opened is None:
            return
        try:
            with self._transaction("FULL") as db:
                db.execute("UPDATE numbers SET reserved = ?", (self._newest,))
        except sqlite3.Error as err:
            _log.warning("numbers stay reserved, the next run skips them: %s", err)
        with self._db_lock:
            self._opened.close()


def _seen(path: Path | None) -> tuple[int, int, int] | None:
    """Return device and inode of a file, and when it was written last; None where there is none."""
    if path is None:
        return None
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def again(
    log: EventLog,
    cursor: Cursor,
    after_seq: int | None,
    since_ns: int | None,
    stream: str | None,
) -> int:
    """Let a cursor deliver events again, above a number or decided since; return how many."""
    if after_seq is None:
        after_seq = log.newest if since_ns is None else log.number_at(since_ns, stream)
    return cursor.deliver_again(after_seq, stream)
