"""The days of every stream, for any number of sinks that come when they like.

The pipeline's thread tells it of events and of the time; sinks' threads ask what has changed.
Nothing is decided or kept here: after a restart the event log tells it again what was said.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from hard.daily import Days

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from hard.api import DaySummary, Event

__all__ = ["EVERY_S", "SummaryBoard"]

EVERY_S = 60.0
"""A bout that goes on changes its day this often, not with every window."""
_MAX_STREAMS = 10_000


class SummaryBoard:
    """Today and the day before of each stream; `zone_of(stream)` gives its time zone."""

    def __init__(self, zone_of: Callable[[str], tzinfo], max_streams: int = _MAX_STREAMS) -> None:
        self._zone_of, self._max_streams = zone_of, max_streams
        self._days: OrderedDict[str, Days] = OrderedDict()  # the longest unchanged first
        self._told_s: dict[str, float] = {}  # when each stream was summed up last, monotonic
        self._lock = threading.Lock()
        # The days of each stream by date, with the version of their last change; the stream that
        # is the longest unchanged first.
        self._shown: OrderedDict[str, dict[str, tuple[int, DaySummary]]] = OrderedDict()
        self._version = 0

    def take(self, event: Event) -> None:
        """Take note of an event, in the order in which they are decided."""
        if event.stream not in self._days:
            self._days[event.stream] = Days(event.stream, self._zone_of(event.stream))
        self._days.move_to_end(event.stream)
        self._days[event.stream].take(event)
        self._told_s.pop(event.stream, None)
        while len(self._days) > self._max_streams:
            self.forget(next(iter(self._days)))

    def reach(self, stream: str, now_ns: int) -> None:
        """Sum a stream up until data time `now_ns`, if that is due."""
        days, now_s = self._days.get(stream), time.monotonic()
        if days is None or now_s < self._told_s.get(stream, -EVERY_S) + EVERY_S:
            return
        self._told_s[stream] = now_s
        summaries = days.summaries(now_ns)
        with self._lock:
            before, version = self._shown.get(stream, {}), self._version
            shown = {}
            for summary in summaries:
                at, known = before.get(summary.date, (0, None))
                if known != summary:
                    self._version = at = self._version + 1
                shown[summary.date] = (at, summary)
            if self._version > version:
                self._shown[stream] = shown
                self._shown.move_to_end(stream)

    def since(self, version: int) -> tuple[int, list[DaySummary]]:
        """Return the present version and what changed after `version`; of a stream older first."""
        with self._lock:
            changed: list[DaySummary] = []
            for days in reversed(self._shown.values()):
                newer = [summary for at, summary in days.values() if at > version]
                if not newer:
                    break
                changed += reversed(newer)
            return self._version, changed[::-1]

    def forget(self, stream: str) -> None:
        """Know nothing of a stream's days any more."""
        self._days.pop(stream, None)
        self._told_s.pop(stream, None)
        with self._lock:
            self._shown.pop(stream, None)
