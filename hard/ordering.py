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
from itertools import pairwise
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
MAX_PENDING_SAMPLES = 200_000
"""Samples of one sensor that may wait for the watermark."""
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
    """The state of one stream; counts what it drops in `counts`."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._pending: dict[Sensor, list[Samples]] = {}
        self._last: dict[Sensor, int] = {}  # the last stamp that left, per sensor
        self._held: list[Samples] = []
        self._newest: int | None = None
        self._watermark: int | None = None
        self._numbers = _Numbers()

    def feed(self, message: Sequence[Samples], max_delay_ns: int) -> Iterator[Settled]:
        """Accept what arrived together; yield what became final."""
        queues = [_pieces(samples) for samples in message if len(samples.t)]
        for round_ in range(max(map(len, queues), default=0)):
            anchor = self._newest
            for piece in (queue[round_] for queue in queues if round_ < len(queue)):
                if anchor is None:
                    anchor = int(piece.t[0])
                if abs(int(piece.t[0]) - anchor) <= JUMP_NS:
                    self._accept(piece, max_delay_ns)
                elif self._hold(piece):
                    yield self.flush()
                    anchor = int(self._held[0].t[0])
                    held, self._held = self._held, []
                    for jumped in held:
                        self._accept(jumped, max_delay_ns)
            self._advance(message, max_delay_ns)
        if self._watermark is not None:
            yield self._settle(self._watermark)

    def flush(self) -> Settled:
        """Make everything final that was accepted and end the segment."""
        settled = self._settle((self._newest or 0) + 1, final=True)
        self._pending.clear()
        self._last.clear()
        self._newest = self._watermark = None
        self._numbers = _Numbers()
        return Settled(settled.samples, settled.until, ends_segment=True)

    def drain(self) -> Settled | None:
        """Make everything final that was accepted: the source is silent.  The clock goes on."""
        if self._newest is None:
            return None
        self._watermark = self._newest + 1
        return self._settle(self._watermark, final=True)

    def drop_held(self) -> None:
        """Forget stamps that were held aside and not continued."""
        self._counts["outlier"] += sum(len(h.t) for h in self._held)
        self._held = []

    def _accept(self, piece: Samples, max_delay_ns: int) -> None:
        """Put samples among the pending ones, less those behind the watermark."""
        if self._held:
            self.drop_held()
        t = piece.t
        limit = np.maximum.accumulate(t) - max_delay_ns
        if self._watermark is not None:
            limit = np.maximum(limit, self._watermark)
        late = t < limit
        if late.any():
            self._counts["late"] += int(late.sum())
            piece = piece.part(~late)
        queue = self._pending.setdefault(piece.sensor, [])
        if sum(len(p.t) for p in queue) > MAX_PENDING_SAMPLES:
            self._counts["flood"] += len(piece.t)
        elif len(piece.t):
            queue.append(piece)

    def _hold(self, piece: Samples) -> bool:
        """Hold a stray piece aside; return whether it now is a jump of the clock."""
        newest = self._newest
        back = newest is not None and piece.t[0] < newest
        if back and piece.message_id != _UNNUMBERED and self._numbers.seen(piece.message_id):
            # A numbered message of long ago is a late delivery, not a clock set back.
            self._counts["late"] += len(piece.t)
            return False
        if self._held and abs(int(piece.t[0]) - int(self._held[-1].t[-1])) > JUMP_NS:
            self.drop_held()
        self._held.append(piece)
        first = min(int(h.t.min()) for h in self._held)
        last = max(int(h.t.max()) for h in self._held)
        return last - first >= JUMP_CONFIRMED_NS

    def _advance(self, message: Sequence[Samples], max_delay_ns: int) -> None:
        newest = [int(p.t.max()) for queue in self._pending.values() for p in queue]
        if self._newest is not None:
            newest.append(self._newest)
        if not newest:
            return
        self._newest = max(newest)
        final = self._newest - max_delay_ns
        if max_delay_ns:
            final = max(final, self._numbers.feed(message, self._newest, max_delay_ns))
        self._watermark = final if self._watermark is None else max(self._watermark, final)

    def _settle(self, until: int, *, final: bool = False) -> Settled:
        """Take out what is stamped before `until`."""
        leaving = []
        for sensor, queue in self._pending.items():
            t = np.concatenate([p.t for p in queue]) if queue else np.empty(0, np.int64)
            ready = t < until
            if not ready.any():
                continue
            x = np.concatenate([p.x for p in queue])
            ids = np.concatenate([np.full(len(p.t), p.message_id) for p in queue])
            rest = _split(sensor, t, x, ids, ~ready)
            t, x, ids = t[ready], x[ready], ids[ready]
            if len(t) > 1 and not (t[1:] > t[:-1]).all():
                t, x, ids = self._sort(t, x, ids)
                waiting = not final and until - t[-1] <= MAX_GAP_NS
                if waiting and len(t) > 1 and t[-1] == t[-2]:
                    # The next stamp, up to which these are spread, is not known yet.
                    tail = t == t[-1]
                    until = min(until, int(t[-1]))
                    rest = _split(sensor, t, x, ids, tail) + rest
                    t, x, ids = t[~tail], x[~tail], ids[~tail]
            self._pending[sensor] = rest
            if len(t):
                following = min((int(p.t.min()) for p in rest), default=None)
                leaving.append(Samples(sensor, _spread(t, self._last.get(sensor), following), x))
                self._last[sensor] = int(t[-1])
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


def _pieces(samples: Samples) -> list[Samples]:
    """Cut where the stamp jumps by more than JUMP_NS from one sample to the next."""
    cuts = np.flatnonzero(np.abs(np.diff(samples.t)) > JUMP_NS) + 1
    bounds = [0, *cuts.tolist(), len(samples.t)]
    return [samples.part(slice(a, b)) for a, b in pairwise(bounds)]


def _split(
    sensor: Sensor,
    t: NDArray[np.int64],
    x: NDArray[np.float64],
    ids: NDArray[np.int64],
    keep: NDArray[np.bool_],
) -> list[Samples]:
    """Return the kept samples, one piece a message."""
    return [
        Samples(sensor, t[mask], x[mask], int(i))
        for i in np.unique(ids[keep])
        if (mask := keep & (ids == i)).any()
    ]


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

    def seen(self, number: int) -> bool:
        """Tell whether a message of this or a later number was counted as contiguous."""
        return self._next is not None and number < self._next

    def feed(self, message: Sequence[Samples], newest: int, max_delay_ns: int) -> int:
        """Return the time before which nothing is missing; -1 where that is not known."""
        for samples in message:
            if samples.message_id != _UNNUMBERED and len(samples.t):
                ends = self._ahead.setdefault(samples.message_id, {})
                last = int(samples.t.max())
                ends[samples.sensor] = max(last, ends.get(samples.sensor, last))
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
