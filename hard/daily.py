"""What a wearer did in a day, from events: seconds per activity, bouts, the longest rest.

Pure.  A day is the wearer's own, from midnight to midnight in a time zone; it may have 23 or 25
hours.  Only here bouts are split at midnight.  Fed by the runtime, and by `hard replay`.
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from hard.api import NS_PER_S, DaySummary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import tzinfo

    from hard.api import Event

__all__ = ["RESTING", "Days", "day_of", "days_of", "midnight_ns"]

RESTING = frozenset({"still", "sitting", "standing", "laying"})
"""What counts as resting; such bouts that follow each other without a break are one stretch."""

_ALL_DAYS = 100_000
_WHOLE_BUT_S = 3600.0


def day_of(t_ns: int, zone: tzinfo) -> date:
    """Return the day in which a time falls.

    >>> from zoneinfo import ZoneInfo
    >>> day_of(1_700_000_000_000_000_000, ZoneInfo("Asia/Tokyo"))
    datetime.date(2023, 11, 15)
    """
    return datetime.fromtimestamp(t_ns // NS_PER_S, UTC).astimezone(zone).date()


def midnight_ns(day: date, zone: tzinfo) -> int:
    """Return when a day begins."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int(midnight.timestamp()) * NS_PER_S


def _split(begin: int, end: int, zone: tzinfo) -> Iterator[tuple[date, int, int]]:
    """Yield the parts of [begin, end), ns, by day."""
    while begin < end:
        day = day_of(begin, zone)
        following = midnight_ns(day + timedelta(days=1), zone)
        yield day, begin, min(end, following)
        begin = following


@dataclass
class _Day:
    """What is known of one day; times in ns."""

    spent: Counter[str] = field(default_factory=Counter)
    bouts: Counter[str] = field(default_factory=Counter)
    no_data: int = 0
    first: int | None = None
    last: int | None = None
    rest: tuple[int, int] = (0, 0)
    longest: tuple[int, int] = (0, 0)

    def add(self, activity: str, begin: int, end: int, *, rests: bool) -> None:
        """Add a bout, or its part of this day; they come in order."""
        self.spent[activity] += end - begin
        self.bouts[activity] += 1
        self.see(begin)
        self.see(end)
        if rests:
            self.rest = (self.rest[0] if begin == self.rest[1] else begin, end)
            self.longest = max(self.longest, self.rest, key=lambda span: span[1] - span[0])

    def see(self, t: int) -> None:
        """Note that the stream was heard at a time of this day."""
        self.first = t if self.first is None else min(self.first, t)
        self.last = t if self.last is None else max(self.last, t)


class Days:
    """The days of one stream: fed its events in the order in which they were decided.

    The newest `keep` days are kept.  A stream whose clock is set back goes on with what its days
    have: nothing is counted twice, as bouts never overlap.
    """

    def __init__(
        self, stream: str, zone: tzinfo, keep: int = 2, resting: Collection[str] = RESTING
    ) -> None:
        self._stream, self._zone, self._keep, self._resting = stream, zone, keep, resting
        self._days: dict[date, _Day] = {}
        self._open: tuple[str, int] | None = None  # activity, onset
        self._silent_since: int | None = None

    def take(self, event: Event) -> None:
        """Take note of an event of this stream."""
        if event.kind == "enter" and event.activity is not None:
            self._open = (event.activity, event.t_start)
        elif event.kind == "exit" and event.activity is not None and event.t_end is not None:
            self._open = None
            self._add_bout(self._days, event.activity, event.t_start, event.t_end)
        elif event.kind == "status":
            if self._silent_since is not None:
                self._add_silence(self._days, self._silent_since, event.t_start)
            self._silent_since = event.t_start if event.status == "no_data" else None
        self._forget()

    def summaries(self, now_ns: int) -> list[DaySummary]:
        """Return the days that are kept, the oldest first, with what is open until `now_ns`."""
        days = self._days
        if self._open is not None or self._silent_since is not None:
            days = deepcopy(days)
        if self._open is not None:
            self._add_bout(days, *self._open, now_ns)
        if self._silent_since is not None:
            self._add_silence(days, self._silent_since, now_ns)
        kept = sorted(days)[-self._keep :]
        return [self._summary(day, days[day], now_ns) for day in kept]

    def _add_bout(self, days: dict[date, _Day], activity: str, begin: int, end: int) -> None:
        for day, first, last in _split(begin, end, self._zone):
            rests = activity in self._resting
            days.setdefault(day, _Day()).add(activity, first, last, rests=rests)

    def _add_silence(self, days: dict[date, _Day], begin: int, end: int) -> None:
        """Count silence in the days in which anything was heard, or that came between."""
        for day, first, last in _split(begin, end, self._zone):
            days.setdefault(day, _Day()).no_data += last - first

    def _forget(self) -> None:
        for day in sorted(self._days)[: -self._keep]:
            del self._days[day]

    def _summary(self, day: date, known: _Day, now_ns: int) -> DaySummary:
        begin, end = (midnight_ns(day + timedelta(days=n), self._zone) for n in (0, 1))
        rest = known.longest
        return DaySummary(
            stream=self._stream,
            date=day.isoformat(),
            timezone=str(self._zone),
            t_start=begin,
            t_end=end,
            t=min(max(now_ns, begin), end),
            activity_s={name: _seconds(ns) for name, ns in sorted(known.spent.items())},
            bouts=dict(sorted(known.bouts.items())),
            longest_rest=rest if rest[0] < rest[1] else None,
            no_data_s=_seconds(known.no_data),
            first_seen=known.first,
            last_seen=known.last,
        )


def _seconds(ns: int) -> float:
    return round(ns / NS_PER_S, 3)


def days_of(
    events: Iterable[Event], zone_of: Callable[[str], tzinfo], now_ns: int
) -> list[DaySummary]:
    """Return all days of each stream that has more than one of them, or a whole one."""
    streams: dict[str, Days] = {}
    for event in events:
        if event.stream not in streams:
            streams[event.stream] = Days(event.stream, zone_of(event.stream), keep=_ALL_DAYS)
        streams[event.stream].take(event)
    found = []
    for _, days in sorted(streams.items()):
        own = days.summaries(now_ns)
        if len(own) > 1 or any(_is_whole(day) for day in own):
            found += own
    return found


def _is_whole(day: DaySummary) -> bool:
    told_s = sum(day.activity_s.values()) + day.no_data_s
    return told_s >= (day.t_end - day.t_start) / NS_PER_S - _WHOLE_BUT_S
