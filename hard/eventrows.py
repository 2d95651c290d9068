"""What is written into the event log's file: the statements of one transaction each.

`hard.eventlog` calls these, in its writer thread, between BEGIN and COMMIT; they keep nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hard.api import NS_PER_S, PLAUSIBLE_NS
from hard.eventfile import WAL_BYTES, from_body, to_body, used_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from hard.api import Event
    from hard.cursor import Place

__all__ = [
    "NUMBERS_PER_BLOCK",
    "Batch",
    "Bounds",
    "Row",
    "begin_run",
    "bound_file",
    "forget",
    "last_written_ns",
    "make_room",
    "prune_old",
    "write",
]

NUMBERS_PER_BLOCK = 1_000
MAX_BOOTS = 1_000
MAX_STREAMS = 10_000
MIN_BYTES = 1_000_000
SPARE_BYTES = 130_000
DAY_NS = 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the file may hold: events, bytes (its write-ahead log takes up to 4 MB more), days.

    Age is by the wall clock at which an event was committed; None keeps events however old.
    """

    max_events: int = 100_000
    max_bytes: int = 64_000_000
    keep_days: float | None = 90.0


@dataclass(frozen=True, slots=True)
class Row:
    """An event that waits for its commit; `ends` tells whether it is the last of its append.

    Of an enter `evidence_ns` is where the evidence ends by then.
    """

    event: Event
    body: str
    ends: bool
    evidence_ns: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit writes."""

    rows: list[Row]
    evidence: Mapping[str, int] = field(default_factory=dict)
    moved: Mapping[str, Place] = field(default_factory=dict)
    states: Mapping[str, str | None] = field(default_factory=dict)
    owed: frozenset[tuple[str, str]] = frozenset()
    forgot: frozenset[tuple[str, str]] = frozenset()

    @property
    def is_evidence_alone(self) -> bool:
        """Tell whether all that it says is that bouts go on."""
        others = self.rows or self.moved or self.states or self.owed or self.forgot
        return bool(self.evidence) and not others


# -- runs and commits ----------------------------------------------------------------------------


def begin_run(db: sqlite3.Connection, now_ns: int, *, goes_on: bool) -> tuple[int, int]:
    """Begin a run: number it past all that is reserved, close what a kill left open.

    Returns the newest number in use and the highest one reserved.  To be committed synchronously:
    a power cut may take back events, committed without a sync, whose numbers a sink has already
    shown to the world.  A file begun anew within a run (`goes_on`) keeps its bouts open.
    """
    (reserved,) = db.execute("SELECT reserved FROM numbers").fetchone()
    used = used_number(db)
    skipped = (used + 1, reserved) if used < reserved else (None, None)
    db.execute(
        "INSERT INTO boots (t_ns, first_seq, skipped_first, skipped_last) VALUES (?, ?, ?, ?)",
        (now_ns, reserved + 1, *skipped),
    )
    db.execute("DELETE FROM boots WHERE boot <= (SELECT max(boot) FROM boots) - ?", (MAX_BOOTS,))
    exits: list[Event] = []
    if not goes_on:
        left_open = db.execute("SELECT body, evidence_ns FROM open_bouts ORDER BY seq")
        exits = [_interrupted(from_body(body), t_ns) for body, t_ns in left_open]
    newest = reserved + len(exits)
    rows = [Row(event, to_body(event), ends=True, evidence_ns=0) for event in exits]
    _insert(db, rows, reserved + 1, now_ns)
    db.execute("UPDATE numbers SET reserved = ?", (newest + NUMBERS_PER_BLOCK,))
    return newest, newest + NUMBERS_PER_BLOCK


def last_written_ns(db: sqlite3.Connection) -> int:
    """Return the latest wall clock of the last events and of all starts, 0 where there is none."""
    (latest,) = db.execute(
        "SELECT max(coalesce((SELECT max(t_ns) FROM boots), 0), coalesce((SELECT max(t_logged)"
        " FROM (SELECT t_logged FROM events ORDER BY seq DESC LIMIT 1000)), 0))"
    ).fetchone()
    return int(latest)


def _interrupted(enter: Event, evidence_ns: int) -> Event:
    """Return the exit of a bout whose process was killed; its means died with the process.

    It ends at the last evidence that the log knows, that at its enter at least.  This may lie
    before the enter was decided: where data time had gone on without a window, as after a silence.
    The exit is decided no earlier than the enter all the same.
    """
    t_end = max(enter.t_start, evidence_ns)
    return replace(
        enter,
        kind="exit",
        t_end=t_end,
        t_decided=max(t_end, enter.t_decided),
        confidence=None,
        probs={},
        coverage=None,
        reason="interrupted",
    )


def write(db: sqlite3.Connection, batch: Batch, first_seq: int, now_ns: int) -> None:
    """Write a batch whose events are numbered from `first_seq` on."""
    _insert(db, batch.rows, first_seq, now_ns)
    db.executemany(
        "UPDATE open_bouts SET evidence_ns = max(evidence_ns, :t) WHERE stream = :stream"
        " AND seq = (SELECT max(seq) FROM open_bouts WHERE stream = :stream)",
        [{"stream": stream, "t": t_ns} for stream, t_ns in batch.evidence.items()],
    )
    db.executemany(
        "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)",
        [(sink, *place) for sink, place in batch.moved.items()],
    )
    db.executemany("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", batch.owed)
    db.executemany("DELETE FROM forgotten WHERE sink = ? AND stream = ?", batch.forgot)
    _store_states(db, batch.states, now_ns)


def _insert(db: sqlite3.Connection, rows: list[Row], first_seq: int, now_ns: int) -> None:
    """Insert events and keep `open_bouts` in step with their enters and exits."""
    for seq, row in enumerate(rows, first_seq):
        event = row.event
        db.execute("INSERT INTO events VALUES (?, ?, ?)", (seq, row.body, now_ns))
        if event.kind == "enter":
            db.execute(
                "INSERT OR REPLACE INTO open_bouts VALUES (?, ?, ?, ?, ?)",
                (event.bout, seq, event.stream, row.evidence_ns, row.body),
            )
        elif event.kind == "exit":
            db.execute("DELETE FROM open_bouts WHERE bout = ?", (event.bout,))


def _store_states(db: sqlite3.Connection, states: Mapping[str, str | None], now_ns: int) -> None:
    """Write what changed, and once a day what did not: it is in use."""
    gone = [(stream,) for stream, text in states.items() if text is None]
    db.executemany("DELETE FROM streams WHERE stream = ?", gone)
    db.executemany(
        "INSERT INTO streams VALUES (?1, ?2, ?3) ON CONFLICT (stream) DO UPDATE"
        " SET t_stored = ?2, state = ?3 WHERE state <> ?3 OR t_stored < ?2 - ?4",
        [(stream, now_ns, text, DAY_NS) for stream, text in states.items() if text is not None],
    )


# -- bounds --------------------------------------------------------------------------------------


def bound_file(db: sqlite3.Connection, path: Path | None, max_bytes: int) -> int:
    """Bound a database to so many bytes, and below what the disk has left; return its bytes."""
    if path is not None:
        free = shutil.disk_usage(path.parent).free - 2 * WAL_BYTES
        max_bytes = min(max_bytes, max(MIN_BYTES, _bytes_of(db, "page_count") + free))
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    db.execute(f"PRAGMA max_page_count = {max_bytes // page_bytes}")
    return max_bytes


def make_room(
    db: sqlite3.Connection, batch: Batch, present: int, max_events: int, max_bytes: int
) -> list[int]:
    """Delete the oldest of `present` events until a batch fits; return the numbers deleted.

    The file's pages are used again: it does not shrink.
    """
    pruned = _delete_oldest(db, present + len(batch.rows) - max_events)
    needed = SPARE_BYTES + sum(2 * len(row.body) for row in batch.rows)
    needed += sum(2 * len(text) for text in batch.states.values() if text)
    while _bytes_of(db, "page_count") - _bytes_of(db, "freelist_count") + needed > max_bytes:
        more = _delete_oldest(db, max(100, present // 50))
        if not more:
            break
        pruned += more
    return pruned


def prune_old(db: sqlite3.Connection, cutoff_ns: int) -> list[int]:
    """Delete what was committed or stored before a time; return the numbers of the events.

    Of the events all up to the newest that is certainly older: the stamps of a clock that was not
    set yet tell nothing.  Those of schema 1 have none and age by their data time.
    """
    pruned: list[int] = []
    while old := [
        seq
        for seq, logged in db.execute(
            "SELECT seq, iif(t_logged, t_logged, body ->> '$.t_decided') FROM events"
            " ORDER BY seq LIMIT 1000"
        ).fetchall()
        if PLAUSIBLE_NS <= logged < cutoff_ns
    ]:
        seqs = db.execute("SELECT seq FROM events WHERE seq <= ? ORDER BY seq", (old[-1],))
        pruned += [seq for (seq,) in seqs]
        db.execute("DELETE FROM events WHERE seq <= ?", (old[-1],))
    db.execute(
        "DELETE FROM streams WHERE t_stored < ? OR stream IN"
        " (SELECT stream FROM streams ORDER BY t_stored DESC LIMIT -1 OFFSET ?)",
        (cutoff_ns, MAX_STREAMS),
    )
    return pruned


def _bytes_of(db: sqlite3.Connection, which: str) -> int:
    """Return the bytes of all pages, or of those that are free."""
    (pages,) = db.execute(f"PRAGMA {which}").fetchone()
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(page_bytes)


def _delete_oldest(db: sqlite3.Connection, n: int) -> list[int]:
    oldest = db.execute("SELECT seq FROM events ORDER BY seq LIMIT ?", (max(0, n),))
    seqs = [seq for (seq,) in oldest]
    if seqs:
        db.execute("DELETE FROM events WHERE seq <= ?", (seqs[-1],))
    return seqs


# -- forgetting ----------------------------------------------------------------------------------


def forget(db: sqlite3.Connection, stream: str, owed: Iterable[tuple[str, str]]) -> int:
    """Delete all rows of a stream, note what sinks have to clear; return how many events."""
    events = db.execute("DELETE FROM events WHERE body ->> '$.stream' = ?", (stream,)).rowcount
    db.execute("DELETE FROM open_bouts WHERE stream = ?", (stream,))
    db.execute("DELETE FROM streams WHERE stream = ?", (stream,))
    db.executemany("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", owed)
    return events
