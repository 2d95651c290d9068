"""One sink's place in the event log, and what it is to be given next.

Made by `hard.eventlog`, whose lock it shares; read by the sink's thread.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from hard.api import Event

__all__ = ["MAX_IN_FLIGHT", "Cursor", "Place"]

MAX_IN_FLIGHT = 100


class Place(NamedTuple):
    """Where a sink stands: what it has, and up to where it gets one stream's events again."""

    position: int
    again_to: int = 0
    again_stream: str | None = None


class _Log(Protocol):
    """What a cursor needs of `hard.eventlog.EventLog`."""

    @property
    def newest(self) -> int:
        """Return the number of the newest committed event."""
        ...

    def read(self, after_seq: int, limit: int) -> list[Event]:
        """Return the next committed events."""
        ...

    def count(self, after_seq: int, last_seq: int, stream: str | None) -> int:
        """Return how many events are numbered so."""
        ...

    def numbers_above(self, seq: int) -> int:
        """Return how many numbers above one were given to events."""
        ...

    def to_forget(self, sink: str) -> list[str]:
        """Return the streams that a sink has still to clear."""
        ...

    def owe(self, sink: str, stream: str) -> None:
        """Note that a sink has to clear a stream."""
        ...

    def forgot(self, sink: str, stream: str) -> None:
        """Note that a sink has cleared a stream."""
        ...


class Cursor:
    """One sink's place in the log: what it confirmed, what is in flight, what comes next.

    `read`, `rewind` and `wait` belong to the sink's thread; the rest may be called from any.
    `position` is the highest number up to which everything is confirmed; it is stored with the
    log's next commit.  `dropped` counts events pruned before this sink confirmed them.
    """

    def __init__(self, log: _Log, name: str, place: Place, changed: threading.Condition) -> None:
        self.name = name
        self.dropped = 0
        self._log = log
        self._changed = changed  # the log's: notified by commits as well
        self._in_flight: deque[int] = deque()
        self._confirmed: set[int] = set()
        self._moves = 0
        self._woken = False
        self.put(place)

    @property
    def backlog(self) -> int:
        """Return how many numbers this sink is behind the log, without those nobody was given."""
        return self._log.numbers_above(self.position)

    @property
    def is_behind(self) -> bool:
        """Tell whether the log holds events that were not yet read for this sink."""
        return self._log.newest > self._read_to

    @property
    def place(self) -> Place:
        """Return what the log stores of it."""
        return Place(self.position, self._again_to, self._again_stream)

    def put(self, place: Place) -> None:
        """Begin there; the log's lock is held, or nobody else knows the cursor yet."""
        self.position, self._again_to, self._again_stream = place
        self._read_to = self._highest = self.position

    def read(self, limit: int) -> list[Event]:
        """Return the next events, ascending, and count them as in flight; empty without room.

        At most `MAX_IN_FLIGHT` are ever in flight.  What was confirmed before a `rewind` is left
        out.  Raises `EventLogError` when the log cannot be read.
        """
        with self._changed:
            room = min(limit, MAX_IN_FLIGHT - len(self._in_flight))
            newest, moves, begin = self._log.newest, self._moves, self._read_to
        if room <= 0:
            return []
        events = self._log.read(begin, room)
        with self._changed:
            if moves != self._moves:  # told meanwhile to deliver again
                return []
            self._in_flight.extend(event.seq for event in events if event.seq is not None)
            last = self._in_flight[-1] if self._in_flight else 0
            # Beyond the last there are only numbers that a restart skipped, up to `newest`.
            self._read_to = last if len(events) == room else max(last, newest)
            self._highest = max(self._highest, self._read_to)
            self._confirmed.update(e.seq for e in events if e.seq and self._is_left_out(e))
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

    def deliver_again(self, after_seq: int, stream: str | None = None) -> int:
        """Give the sink again what is numbered above `after_seq`, of one stream or of all.

        Returns how many events that are.  Raises `EventLogError` when the log cannot be read.
        """
        with self._changed:
            self._again_to = max(self._again_to, self.position)
            self._again_stream = stream
            self._moves += 1
            self.position = self._read_to = min(self.position, after_seq)
            self._in_flight.clear()
            self._confirmed = {seq for seq in self._confirmed if seq > self._again_to}
            last = self._again_to
            self._changed.notify_all()
        return self._log.count(after_seq, last, stream)

    def must_forget(self, stream: str) -> None:
        """Note, to be stored, that the sink has to clear what it keeps of a stream."""
        self._log.owe(self.name, stream)

    def to_forget(self) -> list[str]:
        """Return the streams of which the sink has still to clear what it keeps."""
        return self._log.to_forget(self.name)

    def forgot(self, stream: str) -> None:
        """Note that the sink has cleared what it kept of a stream."""
        self._log.forgot(self.name, stream)

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

    def _is_left_out(self, event: Event) -> bool:
        """Tell whether the event was delivered before and is not what is to come again."""
        return (
            self._again_stream is not None
            and event.stream != self._again_stream
            and (event.seq or 0) <= self._again_to
        )

    def _is_ready(self) -> bool:
        return self._woken or (self.is_behind and len(self._in_flight) < MAX_IN_FLIGHT)

    def _advance(self) -> None:
        while self._in_flight and self._in_flight[0] in self._confirmed:
            self.position = self._in_flight.popleft()
            self._confirmed.discard(self.position)
        if not self._in_flight:
            self.position = self._read_to
        if self._again_to and self.position >= self._again_to:
            self._again_to, self._again_stream = 0, None
