"""Samples of one stream into final order: late, duplicate, disordered and jumping stamps.

Pure, in data time, called by conditioning.  Samples wait until the watermark (the newest accepted
stamp minus the source's `max_delay`, or as far as the sender's running numbers are contiguous)
has passed them; then they are final and leave sorted.  What comes behind the watermark is dropped
and counted.  A stamp more than 10 s from the newest one is held aside: a second of samples that
continue it is a jump of the clock, otherwise it is dropped.

What leaves depends on the samples and their order of arrival, not on how they were cut into
batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hard.api import NS_PER_S, Sensor

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["JUMP_NS", "MAX_GAP_NS", "Orderer", "Samples", "Settled"]

MAX_GAP_NS = NS_PER_S // 5
"""Longer gaps are not bridged."""
JUMP_NS = 10 * NS_PER_S
"""A stamp further than this from the newest one is held aside."""
JUMP_CONFIRMED_NS = NS_PER_S
"""So much data that continue a held stamp make it a jump."""
MAX_PENDING_SAMPLES = 65_536
"""Samples of one sensor that may wait for the watermark: a minute's delay at 1 kHz."""
MAX_HELD_SAMPLES = 20_000
"""Samples that may be held aside; more of them within a second are no clock that jumped."""
MAX_SAME_STAMP = 1000
"""Samples of one stamp that may wait for the next one."""
MIN_SPACING_NS = NS_PER_S // 10_000
"""No sensor is read faster; what comes closer is a flood, and thinned."""
_GRAIN_NS = NS_PER_S // 10
"""Samples leave in pieces of at least so much: a message of one sample costs as much as of ten."""
_AT_ONCE = 4096  # bounds the cost of messages full of jumps
_UNNUMBERED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples of one sensor: t int64[n] (ns), x float64[n, 3]; `message_id` -1 where unknown."""

    sensor: Sensor
    t: NDArray[np.int64]
    x: NDArray[np.float64]
    message_id: int = _UNNUMBERED

    def part(self, keep: slice | NDArray[np.bool_]) -> Samples:
        """Return some of the samples, in the same order."""
        return Samples(self.sensor, self.t[keep], self.x[keep], self.message_id)


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Final samples, strictly ascending within a sensor; none before `until` is still to come.

    After `ends_segment` the clock starts anew: the next ones belong to another segment.
    """

    samples: list[Samples]
    until: int
    ends_segment: bool = False


class Orderer:
    """The state of one stream; counts what it drops in `counts`, and the jumps of its clock."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._held: dict[Sensor, _Held] = {}
        self._start_segment()

    def _start_segment(self) -> None:
        self._queues: dict[Sensor, _Queue] = {}
        self._newest: int | None = None  # as of the last message
        self._watermark: int | None = None
        self._settled = 0  # the watermark when samples left last
        self._numbers = _Numbers()

    def feed(self, message: Sequence[Samples], max_delay_ns: int) -> Iterator[Settled]:
        """Accept what arrived together; yield what became final."""
        waiting = [samples for samples in message if len(samples.t)]
        while waiting:
            jumped: list[Samples] = []
            for samples in waiting:
                jumped += self._sift(samples, max_delay_ns)
            self._advance(max_delay_ns)
            if jumped:
                self._counts["jump"] += 1
                yield self.flush()
                jumped += self._release_held()
            waiting = jumped
        if self._watermark is not None and self._watermark - self._settled >= _GRAIN_NS:
            yield self._settle(self._watermark)

    def flush(self) -> Settled:
        """Make everything final that was accepted and end the segment."""
        settled = self._settle((self._newest or 0) + 1, final=True)
        self._start_segment()
        return Settled(settled.samples, settled.until, ends_segment=True)

    def drain(self) -> Settled | None:
        """Make everything final that was accepted: the source is silent.  The clock goes on."""
        if self._newest is None:
            return None
        settled = self._settle(self._newest + 1, final=True)
        # Samples of one stamp were spread beyond it: what follows must come after them.
        self._watermark = 1 + max([self._newest, *(int(s.t[-1]) for s in settled.samples)])
        return settled

    def drop_held(self) -> None:
        """Forget stamps that were held aside and not continued."""
        for sensor in list(self._held):
            self._counts["outlier"] += self._held.pop(sensor).samples

    def _release_held(self) -> list[Samples]:
        held, self._held = self._held, {}
        return [piece for stretch in held.values() for piece in stretch.pieces]

    def _sift(self, samples: Samples, max_delay_ns: int) -> list[Samples]:
        """Accept what fits the clock, hold aside what does not; return all from a jump on."""
        queue = self._queues.setdefault(samples.sensor, _Queue())
        flooded = queue.waiting > MAX_PENDING_SAMPLES  # by earlier messages: one may be as long
        at_once = len(samples.t)  # all of it, as nearly always
        while len(samples.t):
            if self._newest is None:
                self._newest = int(samples.t[0])
            clock = max(self._newest, queue.newest)
            fits, n = _stretch(samples.t[:at_once], clock)
            at_once = _AT_ONCE
            piece, samples = samples.part(slice(n)), samples.part(slice(n, None))
            if fits:
                piece = self._accepted(piece, queue, max_delay_ns)
                if flooded:
                    self._counts["flood"] += len(piece.t)
                elif len(piece.t):
                    queue.put(piece.t, piece.x, np.full(len(piece.t), piece.message_id))
            elif self._hold(piece, clock):
                return [
                    *self._held.pop(samples.sensor).pieces,
                    *([samples] if len(samples.t) else []),
                ]
        return []

    def _accepted(self, piece: Samples, queue: _Queue, max_delay_ns: int) -> Samples:
        """Return samples that fit the clock, less those behind the watermark."""
        if piece.sensor in self._held:
            self._counts["outlier"] += self._held.pop(piece.sensor).samples
        watermark = -1 if self._watermark is None else self._watermark
        if piece.t[0] >= max(queue.newest, watermark) and (piece.t[1:] >= piece.t[:-1]).all():
            queue.newest = int(piece.t[-1])  # in order, as nearly always: nothing is late
            self._numbers.note(piece.message_id, piece.sensor, queue.newest)
            return piece
        newest = np.maximum(np.maximum.accumulate(piece.t), queue.newest)
        limit = np.maximum(newest - max_delay_ns, watermark)
        queue.newest = int(newest[-1])
        self._numbers.note(piece.message_id, piece.sensor, int(piece.t.max()))
        late = piece.t < limit
        if late.any():
            self._counts["late"] += int(late.sum())
            piece = piece.part(~late)
        return piece

    def _hold(self, piece: Samples, clock: int) -> bool:
        """Hold a stray piece aside; return whether it now is a jump of the clock."""
        if piece.t[0] < clock and self._numbers.seen(piece.message_id):
            # A numbered message of long ago is a late delivery, not a clock set back.
            self._counts["late"] += len(piece.t)
            return False
        held = self._held.get(piece.sensor)
        if held is None or held.samples > MAX_HELD_SAMPLES or not held.continued_by(piece):
            self._counts["outlier"] += 0 if held is None else held.samples
            held = self._held[piece.sensor] = _Held()
        held.append(piece)
        return held.last - held.first >= JUMP_CONFIRMED_NS

    def _advance(self, max_delay_ns: int) -> None:
        """Move the watermark after all of a message was accepted."""
        if self._newest is None:
            return
        self._newest = max(self._newest, *(queue.newest for queue in self._queues.values()))
        final = self._newest - max_delay_ns
        if max_delay_ns:
            final = max(final, self._numbers.final(self._newest, max_delay_ns))
        self._watermark = final if self._watermark is None else max(self._watermark, final)

    def _settle(self, until: int, *, final: bool = False) -> Settled:
        """Take out what is stamped before `until`."""
        leaving = []
        self._settled = until
        for sensor, queue in self._queues.items():
            if queue.earliest >= until:
                continue
            t, x, ids = queue.take(until)
            if not (t[1:] > t[:-1]).all():
                t, x, ids = self._sort(t, x, ids)
                waiting = not final and until - t[-1] <= MAX_GAP_NS
                if waiting and len(t) > 1 and t[-1] == t[-2]:
                    # The next stamp, up to which these are spread, is not known yet.
                    until = int(t[-1])
                    n = int(np.searchsorted(t, until))
                    surplus = max(len(t) - n - MAX_SAME_STAMP, 0)
                    self._counts["flood"] += surplus
                    tail = slice(n, len(t) - surplus)
                    queue.put(t[tail], x[tail], ids[tail])
                    t, x = t[:n], x[:n]
            if len(t):
                spread = _spread(t, queue.left, queue.earliest if queue.waiting else None)
                queue.left = int(t[-1])
                apart = _apart(spread, queue.kept)
                if not apart.all():
                    self._counts["flood"] += int((~apart).sum())
                    spread, x = spread[apart], x[apart]
                if len(spread):
                    queue.kept = int(spread[-1])
                    leaving.append(Samples(sensor, spread, x))
        return Settled(leaving, until)

    def _sort(
        self, t: NDArray[np.int64], x: NDArray[np.float64], ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Sort by stamp, message and arrival; drop repeats of the same stamp and values."""
        by_value = np.lexsort((x[:, 2], x[:, 1], x[:, 0], t))
        same = (np.diff(t[by_value]) == 0) & (np.diff(x[by_value], axis=0) == 0).all(axis=1)
        fresh = np.ones(len(t), bool)
        fresh[by_value[1:][same]] = False
        self._counts["duplicate"] += int(same.sum())
        t, x, ids = t[fresh], x[fresh], ids[fresh]
        order = np.lexsort((ids, t))
        return t[order], x[order], ids[order]


class _Held:
    """Samples of one sensor that stray from the clock but continue each other."""

    def __init__(self) -> None:
        self.pieces: list[Samples] = []
        self.samples = 0
        self.first, self.last = np.iinfo(np.int64).max, -1  # the earliest and latest stamps

    def append(self, piece: Samples) -> None:
        self.pieces.append(piece)
        self.samples += len(piece.t)
        self.first = min(self.first, int(piece.t.min()))
        self.last = max(self.last, int(piece.t.max()))

    def continued_by(self, piece: Samples) -> bool:
        return abs(int(piece.t[0]) - int(self.pieces[-1].t[-1])) <= JUMP_NS


class _Queue:
    """Accepted samples of one sensor that wait for the watermark, in order of arrival."""

    def __init__(self) -> None:
        self.newest = -1  # of all that were accepted
        self.left: int | None = None  # the last stamp that left, before it was spread
        self.kept = -MIN_SPACING_NS  # the same after it was, if not thinned out
        self._clear()

    def _clear(self) -> None:
        self.waiting = 0
        self.earliest = np.iinfo(np.int64).max
        self._pieces: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]] = []

    def put(self, t: NDArray[np.int64], x: NDArray[np.float64], ids: NDArray[np.int64]) -> None:
        """Append samples and the numbers of their messages."""
        self.waiting += len(t)
        self.earliest = min(self.earliest, int(t.min()))
        self._pieces.append((t, x, ids))

    def take(self, until: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Take out what is stamped before `until`."""
        if len(self._pieces) == 1:
            t, x, ids = self._pieces[0]
        else:
            t, x, ids = (np.concatenate(parts) for parts in zip(*self._pieces, strict=True))
        self._clear()
        ready = t < until
        n = int(np.count_nonzero(ready))
        if n == len(t):
            return t, x, ids
        if ready[:n].all():  # in order, as nearly always: no copies
            self.put(t[n:], x[n:], ids[n:])
            return t[:n], x[:n], ids[:n]
        self.put(t[~ready], x[~ready], ids[~ready])
        return t[ready], x[ready], ids[ready]


def _stretch(t: NDArray[np.int64], clock: int) -> tuple[bool, int]:
    """Tell whether the first stamp fits the clock, and how many stamps in a row do as it does."""
    first, last = int(t.min()), int(t.max())
    if last <= clock + JUMP_NS and first >= max(clock, last) - JUMP_NS:
        return True, len(t)
    steps = t[1:] - t[:-1]
    if abs(int(t[0]) - clock) <= JUMP_NS and steps.min() >= 0 and steps.max() <= JUMP_NS:
        return True, len(t)
    before = np.maximum.accumulate(np.append(clock, t[:-1]))
    fits = np.abs(t - before) <= JUMP_NS
    if fits[0]:
        ends = np.flatnonzero(~fits)
        return True, int(ends[0]) if len(ends) else len(t)
    strays = np.abs(t - clock) > JUMP_NS
    strays[1:] &= np.abs(np.diff(t)) <= JUMP_NS
    ends = np.flatnonzero(~strays)
    return False, int(ends[0]) if len(ends) else len(t)


def _spread(t: NDArray[np.int64], previous: int | None, following: int | None) -> NDArray[np.int64]:
    """Spread samples of one stamp evenly up to the next stamp.

    Where the next one is further than MAX_GAP_NS, or there is none, the spacing before is used.
    """
    if (t[1:] > t[:-1]).all():
        return t
    starts = np.flatnonzero(np.diff(t, prepend=t[0] - 1))
    sizes = np.diff(starts, append=len(t))
    distinct = t[starts]
    before = np.diff(distinct, prepend=distinct[0] - 1 if previous is None else previous)
    after = np.diff(distinct, append=t[-1] + MAX_GAP_NS + 1 if following is None else following)
    step = np.where(after <= MAX_GAP_NS, after, np.minimum(before, MAX_GAP_NS))
    index = np.arange(len(t)) - np.repeat(starts, sizes)
    spread: NDArray[np.int64] = t + index * np.repeat(step, sizes) // np.repeat(sizes, sizes)
    return spread


def _apart(t: NDArray[np.int64], kept: int) -> NDArray[np.bool_]:
    """Tell which stamps (ascending) follow the last one kept by MIN_SPACING_NS or more."""
    apart = np.ones(len(t), bool)
    if t[0] - kept < MIN_SPACING_NS or (t[1:] - t[:-1] < MIN_SPACING_NS).any():
        for i, stamp in enumerate(t.tolist()):
            apart[i] = stamp - kept >= MIN_SPACING_NS
            kept = stamp if apart[i] else kept
    return apart


class _Numbers:
    """How far a sender's running message numbers make its samples final.

    Believed only after `max_delay` of data: before that, a number lower than the first one seen
    may still come.
    """

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._next: int | None = None
        self._ahead: dict[int, dict[Sensor, int]] = {}
        self._reached: dict[Sensor, int] = {}

    def note(self, number: int, sensor: Sensor, end: int) -> None:
        """Take note of a message (or none) whose samples of `sensor` reach to `end`."""
        if number == _UNNUMBERED:
            return
        if self.seen(number) and end > max(self._reached.values()):
            # Newer, yet a lower number: the sender restarted.
            self._first_ns = self._next = None
            self._ahead.clear()
            self._reached.clear()
        ends = self._ahead.setdefault(number, {})
        ends[sensor] = max(end, ends.get(sensor, end))

    def seen(self, number: int) -> bool:
        """Tell whether a message of this or a later number was counted as contiguous."""
        return number != _UNNUMBERED and self._next is not None and number < self._next

    def final(self, newest: int, max_delay_ns: int) -> int:
        """Return the time before which nothing is missing; -1 where that is not known."""
        if self._first_ns is None:
            self._first_ns = newest
        if not self._ahead or newest - self._first_ns <= max_delay_ns:
            return -1
        if self._next is None:
            self._next = min(self._ahead)
        if self._next not in self._ahead and max(self._ahead) > self._next + 64:
            self._next = min(n for n in self._ahead if n > self._next)  # the rest is lost
        while self._next in self._ahead:
            for sensor, end in self._ahead.pop(self._next).items():
                self._reached[sensor] = max(end, self._reached.get(sensor, end))
            self._next += 1
        for number in [n for n in self._ahead if n < self._next or len(self._ahead) > 256]:
            del self._ahead[number]
        recent = [end for end in self._reached.values() if end > newest - max_delay_ns]
        return min(recent, default=-1)
