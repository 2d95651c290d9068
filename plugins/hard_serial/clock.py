"""When each reading was taken, from when the bytes arrived: a device's clock, recovered.

Readings are taken evenly and arrive in bursts (the 16 ms latency timer of USB adapters, 100 ms of
Bluetooth), never before they were taken.  So the line "reading k was taken at t0 + k * period" lies
below all arrivals and touches the quickest ones: it is the edge of their lower convex hull over the
last minute that faces the middle (after the linear program of Moon, Skelly and Towsley,
"Estimation and removal of clock skew from network delay measurements", 1999).  Stamps follow the
line through a first-order loop, so that a better estimate bends them instead of making them jump.

Pure: arrivals in, stamps out, both on the host's monotonic clock.  `hard_serial.source` calls it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

import numpy as np

from hard.api import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["DeviceClock", "Stamped"]

HOLD_NS = NS_PER_S
"""Readings wait so long after a (re)start until the rate is known."""
HOLD_READS = 4
"""And for so many arrivals: one burst has no rate."""
RELEASE_NS = NS_PER_S // 4
"""Afterwards stamps are given four times a second."""
WINDOW_NS = 60 * NS_PER_S
"""Arrivals older than this no longer count: drift is followed."""
STALL_NS = NS_PER_S // 5
"""An arrival so far off the line is a stall or another rate: a new start."""
SLIP_RELEASES = 8
"""When the quickest of so many are half a period late, readings were lost without a number."""
TIME_CONSTANTS_NS = (1 * NS_PER_S, 10 * NS_PER_S)
"""Of the loop that stamps follow the line by: at first, and when the line is well known."""


@dataclass(frozen=True, slots=True, eq=False)
class Stamped:
    """Readings and when they were taken: `index` and `t`, both int64[n], strictly increasing.

    `t` is in ns of the host's monotonic clock.  A reading that is left out between them, or before
    them, gets no stamp any more.
    """

    index: NDArray[np.int64]
    t: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Arrival:
    index: int
    t: int


@dataclass(frozen=True, slots=True)
class _Line:
    """Reading `index` was taken at `t`, and every other one a multiple of `period_ns` from it."""

    index: int
    t: int
    period_ns: float

    def at(self, index: int) -> int:
        """Return when reading `index` was taken."""
        return self.t + round((index - self.index) * self.period_ns)


_NOTHING = Stamped(np.empty(0, np.int64), np.empty(0, np.int64))


class DeviceClock:
    """Stamps one device's readings; `restarts` counts how often it had to begin anew."""

    def __init__(self) -> None:
        self.restarts = 0
        self._last: _Arrival | None = None  # the last stamped reading
        self._begin()

    def _begin(self) -> None:
        self._held: list[NDArray[np.int64]] = []
        self._recent: list[_Arrival] = []  # the newest reading of each arrival since a release
        self._quickest: list[_Arrival] = []  # of each release
        self._line: _Line | None = None
        self._follows = False  # whether stamps go on from the last one

    @property
    def rate_hz(self) -> float | None:
        """The device's sampling rate by the host's clock, None until it is known."""
        return None if self._line is None else NS_PER_S / self._line.period_ns

    def feed(self, index: NDArray[np.int64], arrived_ns: int) -> Stamped:
        """Take the readings int64[n], n > 0, that arrived at `arrived_ns`; return stamped ones.

        Those are the oldest of all that got none so far.  Right after a start nothing is returned
        until the rate is known.
        """
        stamped, newest = _NOTHING, _Arrival(int(index[-1]), arrived_ns)
        if self._line and abs(arrived_ns - self._line.at(newest.index)) > STALL_NS:
            stamped = self._release(self._line)
            self._restart()
        self._held.append(index)
        self._recent.append(newest)
        if self._line is None:
            self._line = self._first_line()
        elif arrived_ns - self._quickest[-1].t >= RELEASE_NS:
            self._line = self._better(self._line)
        else:
            return stamped
        return stamped if self._line is None else self._release(self._line)

    def _restart(self) -> None:
        self.restarts += 1
        self._begin()

    def _first_line(self) -> _Line | None:
        """Return the line once it can be drawn; begin anew if the arrivals hold a stall."""
        first, last = self._recent[0], self._recent[-1]
        if last.t - first.t < HOLD_NS or len(self._recent) < HOLD_READS:
            return None
        line = _below(self._recent)
        if max(arrival.t - line.at(arrival.index) for arrival in self._recent) > STALL_NS:
            held = self._held[-1]
            self._restart()
            self._held, self._recent = [held], [last]
            return None
        self._quickest, self._recent = self._recent, []
        return line

    def _better(self, line: _Line) -> _Line:
        """Return what the arrivals since the last release make of `line`."""
        quickest = min(self._recent, key=lambda arrival: arrival.t - line.at(arrival.index))
        self._recent = []
        self._quickest.append(quickest)
        if _slipped(self._quickest, line):
            self._quickest = self._quickest[-SLIP_RELEASES:]
        oldest_ns = quickest.t - WINDOW_NS
        self._quickest = [arrival for arrival in self._quickest if arrival.t >= oldest_ns]
        return _below(self._quickest)

    def _release(self, line: _Line) -> Stamped:
        """Stamp what is held: on the line at first, then through the loop towards it."""
        if not self._held:
            return _NOTHING
        index = np.concatenate(self._held)
        self._held = []
        end = int(index[-1])
        if self._last is None or not self._follows:
            base, period_ns = _Arrival(end, line.at(end)), line.period_ns
        else:
            base, n = self._last, end - self._last.index
            error_ns = line.at(end) - base.t - n * line.period_ns
            quick_ns, slow_ns = TIME_CONSTANTS_NS
            known_ns = self._quickest[-1].t - self._quickest[0].t
            constant_ns = min(max(quick_ns, known_ns / 3), slow_ns)
            share = 1 - exp(-n * line.period_ns / constant_ns)
            period_ns = line.period_ns + share * error_ns / n
        t = base.t + np.rint((index - base.index) * period_ns).astype(np.int64)
        if self._last is not None and not self._follows:  # a new start may reach back a little
            later = t > self._last.t
            index, t = index[later], t[later]
        self._follows = True
        if len(t):
            self._last = _Arrival(end, int(t[-1]))
        return Stamped(index, t)


def _slipped(arrivals: Sequence[_Arrival], line: _Line) -> bool:
    """Tell whether the newest arrivals are all late: half a period, and more than others were."""
    if len(arrivals) < 2 * SLIP_RELEASES:
        return False
    late_ns = [arrival.t - line.at(arrival.index) for arrival in arrivals]
    least_ns = min(late_ns[-SLIP_RELEASES:])
    if least_ns <= line.period_ns / 2:
        return False
    others_ns = sorted(late_ns[:-SLIP_RELEASES])
    return least_ns > others_ns[len(others_ns) * 9 // 10]


def _below(arrivals: Sequence[_Arrival]) -> _Line:
    """Return the edge of the lower convex hull of `arrivals` that faces their middle.

    At least two, ascending in index.
    """
    hull: list[_Arrival] = []
    for c in arrivals:
        while len(hull) > 1:
            a, b = hull[-2:]
            if (b.t - a.t) * (c.index - a.index) < (c.t - a.t) * (b.index - a.index):
                break
            hull.pop()
        hull.append(c)
    middle = (arrivals[0].index + arrivals[-1].index) / 2
    i = next(i for i, corner in enumerate(hull) if corner.index >= middle)
    a, b = hull[max(i - 1, 0)], hull[max(i, 1)]
    return _Line(b.index, b.t, max((b.t - a.t) / (b.index - a.index), 1.0))
