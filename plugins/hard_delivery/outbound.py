"""Events on their way to one receiver over HTTP: what was refused, what waits, what is confirmed.

An event is confirmed by a 2xx.  A refusal (4xx) may mean the event or everything: an event that was
refused three times is put aside, and left out for good only once a later one is accepted; while
all are refused, the receiver counts as away and nothing is lost.  Order is kept in both cases.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from hard.api import SinkUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hard.api import Confirm, Event
    from hard_delivery.posting import Answer

TRIES: Final = 3
MAX_WAIT_S: Final = 900.0
"""A receiver that asks for more patience (Retry-After) is asked again after this."""
_BUSY_S: Final = 10.0
"""A sink may block for so long."""
_MAX_TRIED: Final = 1000
_LATER: Final = {408, 425, 429}


class Outbound:
    """The events in flight of one sink, called from its thread; no more than the runtime gives.

    `send(events)` posts some of them and returns the answer, within `timeout_s`.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Event]], Answer],
        skip: Callable[[str, str], None],
        *,
        batch: int,
        timeout_s: float,
    ) -> None:
        self._send = send
        self._skip = skip
        self._batch = batch
        self._timeout_s = timeout_s
        self._pending: deque[tuple[Event, Confirm]] = deque()
        self._aside: list[tuple[Event, Confirm]] = []
        self._alone = 0  # so many of the next go one by one, to find the one that is refused
        self._tries: OrderedDict[str, int] = OrderedDict()  # by the event's id, over outages
        self._not_before_s = 0.0
        self._refusal = self._patience = ""

    def open(self) -> None:
        """Forget what is in flight; raise `SinkUnavailable` while the receiver wants patience."""
        self._pending.clear()
        self._aside.clear()
        self._alone = 0
        if time.monotonic() < self._not_before_s:
            raise SinkUnavailable(self._patience)  # in the same words: it is the same outage

    def take(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Take events in and send what can be sent in time; the rest goes with `go`."""
        self._pending.extend((event, confirm) for event in events)
        self.go()

    def go(self, limit_s: float = _BUSY_S) -> None:
        """Send what waits, as long as another request fits into `limit_s`."""
        until_s = time.monotonic() + limit_s - self._timeout_s
        while self._pending and time.monotonic() <= until_s:
            some = list(islice(self._pending, 1 if self._alone else self._batch))
            answer = self._send([event for event, _ in some])
            if 200 <= answer.status < 300:
                self._accepted(some)
            elif not 400 <= answer.status < 500 or answer.status in _LATER:
                raise self._away(answer)
            elif not self._refused(some, answer):
                return
        if self._aside and not self._pending:
            raise SinkUnavailable(f"the receiver refuses every event ({self._refusal}): check url")

    def drain(self, timeout_s: float) -> None:
        """Send what waits, as far as the time goes."""
        self.go(timeout_s)

    def _accepted(self, some: list[tuple[Event, Confirm]]) -> None:
        """Confirm them, and leave out for good what was put aside before them."""
        for event, _ in self._aside:
            self._skip("set_aside", f"event {event.id} ({event.seq}) is refused, others are not")
        for event, confirm in (*self._aside, *some):
            self._tries.pop(event.id, None)
            if event.seq is not None:
                confirm(event.seq)
        self._aside.clear()
        for _ in some:
            self._pending.popleft()
        self._alone = max(0, self._alone - len(some))

    def _refused(self, some: list[tuple[Event, Confirm]], answer: Answer) -> bool:
        """Take note of a refusal; return whether to go on at once."""
        if len(some) > 1:
            self._alone = len(some)
            return True
        event = some[0][0]
        self._refusal = str(answer)
        tries = self._tries[event.id] = self._tries.pop(event.id, 0) + 1
        if len(self._tries) > _MAX_TRIED:
            self._tries.popitem(last=False)
        self._skip("refused", f"event {event.id} is refused ({answer})")
        if tries >= TRIES:
            self._aside.append(self._pending.popleft())
            self._alone = max(0, self._alone - 1)
            return True
        if self._aside:  # one after the other: it may well mean all of them
            raise SinkUnavailable(f"the receiver refuses one event after the other ({answer})")
        return False

    def _away(self, answer: Answer) -> SinkUnavailable:
        if 300 <= answer.status < 400:
            return SinkUnavailable(
                f"the receiver redirects to {answer.location!r}, which is not followed: set url to "
                "where the events may go"
            )
        wait_s = min(_seconds(answer.retry_after), MAX_WAIT_S)
        self._not_before_s = time.monotonic() + wait_s
        asked = f", and asks to wait for {wait_s:.0f} s" if wait_s else ""
        self._patience = f"the receiver can't take events now ({answer}){asked}"
        return SinkUnavailable(self._patience)


def _seconds(retry_after: str) -> float:
    """Return how long a Retry-After asks to wait, as seconds or as a date; 0 where it does not."""
    text = retry_after.strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, moment.timestamp() - time.time())
