"""The events of a log as a person wants them: chosen, told as text, exported as CSV, followed.

Reads the file of a daemon beside it, running or not (`hard.eventfile`).  Called by `hard events`.
"""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from datetime import time as clock_time
from typing import IO, TYPE_CHECKING, Any

from hard.api import NS_PER_S
from hard.eventfile import EventLogError, Wanted, reading, wanted_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from hard.api import Event

__all__ = ["COLUMNS", "HEADER", "EventCsv", "followed", "listed", "time_ns", "told"]

COLUMNS = (
    "seq",
    "event_type",
    "stream",
    "activity",
    "confidence",
    "t_start",
    "t_end",
    "t_decided",
    "status",
    "previous",
    "reason",
    "coverage",
    "segment",
    "model",
    "bout",
    "id",
)
HEADER = "seq  decided              stream  event  what"
LOOK_S = 0.5
LATE_S = 60.0
"""What was decided so much after it happened says when that was."""
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def time_ns(text: str, now_ns: int, zone: tzinfo) -> int:
    """Return the time that a person means: "2h" (ago; s, m, h or d), a date, or RFC 3339.

    Or "06:00", the last that has been, "today", "yesterday", "yesterday 18:00".  A time without a
    zone is meant in `zone`.  Raises ValueError, a sentence.

    >>> from zoneinfo import ZoneInfo
    >>> time_ns("2024-05-01 09:30", 0, ZoneInfo("Europe/Berlin")) // 10**9
    1714548600
    >>> time_ns("90m", 7200 * 10**9, ZoneInfo("UTC")) // 10**9
    1800
    """
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        return now_ns - int(float(ago[1]) * _UNITS_S[ago[2]] * NS_PER_S)
    try:
        when = _of_these_days(text, now_ns, zone) or datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: write 2h (ago), 06:00, yesterday, 2026-05-01, or "
            '"2026-05-01 09:30"'
        ) from None
    when = when if when.tzinfo else when.replace(tzinfo=zone)
    since = when - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return since // timedelta(microseconds=1) * 1000


def _of_these_days(text: str, now_ns: int, zone: tzinfo) -> datetime | None:
    """Return the moment of "06:00", "today", "yesterday 18:00"; None for anything else."""
    parts = re.fullmatch(r"(?:(today|yesterday) )?(\d{1,2}:\d\d(?::\d\d)?)", text)
    word, at = parts.groups() if parts else (text, "0:00")
    if word not in {None, "today", "yesterday"}:
        return None
    now = datetime.fromtimestamp(now_ns / NS_PER_S, zone)
    hour, minute, second = map(int, f"{at}:0".split(":")[:3])
    back = timedelta(days=1 if word == "yesterday" else 0)
    of_day = clock_time(hour, minute, second)
    when = datetime.combine(now.date() - back, of_day, zone)
    if word is None and when > now:
        when = datetime.combine(now.date() - timedelta(days=1), of_day, zone)
    return when


def listed(
    path: Path,
    wanted: Wanted,
    newest: int | None = None,
    skip: Callable[[int], object] = lambda _: None,
) -> Iterator[Event]:
    """Yield the events of a log, ascending; the `newest` so many only.  Raises `EventLogError`.

    `skip` gets the number of each that can't be read.
    """
    with closing(reading(path)) as db:
        try:
            yield from wanted_events(db, wanted, skip, newest=newest)
        except sqlite3.Error as error:
            raise EventLogError(f"{path}: can't be read: {error}") from error


def followed(
    path: Path,
    wanted: Wanted,
    wait: Callable[[float], bool],
    newest: int | None = None,
    skip: Callable[[int], object] = lambda _: None,
) -> Iterator[Event]:
    """Yield the events of a log, and then those that come, until `wait` (for seconds) says so.

    A file that is put in the place of another is followed instead.  Raises `EventLogError` where
    there is none to begin with.  `skip` gets the number of each that can't be read, again and again
    while none follows.
    """
    last = 0
    db, file = reading(path), path.stat().st_ino
    try:
        for event in wanted_events(db, wanted, skip, newest=newest):
            last = event.seq or last
            yield event
        while not wait(LOOK_S):
            try:
                if path.stat().st_ino != file:
                    db.close()
                    db, file = reading(path), path.stat().st_ino
                for event in wanted_events(db, wanted, skip, last):
                    last = event.seq or last
                    yield event
            except (OSError, EventLogError, sqlite3.Error):
                continue  # another file is about to take its place
    finally:
        db.close()


def told(event: Event, zone: tzinfo) -> str:
    """Return an event as a line for people, below `HEADER`, times in `zone`."""
    if event.kind == "status":
        what = f"{event.previous} -> {event.status}"
    elif event.kind == "enter":
        what = f"{event.activity}  {event.confidence or 0:.0%}"
        what += _long_ago("since", event.t_start, event.t_decided, zone)
    else:
        what = f"{event.activity}  {((event.t_end or 0) - event.t_start) / NS_PER_S:.0f} s"
        what += _long_ago("until", event.t_end or 0, event.t_decided, zone)
    why = f"  ({event.reason})" if event.reason else ""
    doubt = "  clock_unsynced" if event.clock_unsynced else ""
    when = _moment(event.t_decided, zone)
    return f"{event.seq}  {when}  {event.stream}  {event.kind}  {what}{why}{doubt}"


def _long_ago(word: str, t_ns: int, decided_ns: int, zone: tzinfo) -> str:
    return f"  {word} {_moment(t_ns, zone)}" if decided_ns - t_ns >= LATE_S * NS_PER_S else ""


def _moment(t_ns: int, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(t_ns // NS_PER_S, zone):%Y-%m-%d %H:%M:%S}"


class EventCsv:
    """Events as CSV, `COLUMNS`; no cell is a formula to a spreadsheet, whoever chose its text."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._write(COLUMNS)

    def write(self, event: Event) -> None:
        """Append an event."""
        body = event.payload()
        self._write([_cell(body.get(column)) for column in COLUMNS])

    def _write(self, cells: Sequence[Any]) -> None:
        row = io.StringIO()
        csv.writer(row).writerow(
            cells
        )  # with "\n" alone it would not quote "\r" before Python 3.13
        self._file.write(row.getvalue().removesuffix("\r\n") + "\n")


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
