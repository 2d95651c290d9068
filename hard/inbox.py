"""What arrived and was not yet fed to the pipeline: samples, silences, requests, in one order.

`hard.runtime` puts in from the threads of the sources and takes out in that of the pipeline.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from hard.api import (
    NS_PER_S,
    PLAUSIBLE_NS,
    Annotation,
    Control,
    Message,
    Resume,
    SampleBatch,
    Silence,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["IDLE_S", "MAX_STREAMS", "Inbox", "Reconfiguration", "Refusal", "Request"]

MAX_STREAMS = 10_000
IDLE_S = 0.25
SAID_STREAMS = 10
"""So many streams are named when the pipeline falls behind."""
RATE_S = 5
"""A stream's rate is that of its arrivals in about the last 5 s."""

DOUBTED_S = 600.0
"""A clock so far off, beyond what may be late, is told: events and days go by it."""

_log = logging.getLogger(__name__)


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """Why a request from outside is not met: `reason` is a word, the message a sentence."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Reconfiguration:
    """What the pipeline is to go by from now on: `apply` is called in its thread.

    It returns the streams that must begin anew, and what each is recognised with then.
    """

    apply: Callable[[], Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Request:
    """Taken from the inbox in its turn: something asked of the pipeline, and where the answer goes.

    The answer is None once it is done, else why not.
    """

    control: Control | Reconfiguration
    answer: queue.SimpleQueue[Refusal | None] = field(default_factory=queue.SimpleQueue)


class _Arrivals:
    """What arrived on one stream so far, and when it will count as silent."""

    def __init__(self) -> None:
        self.at_s = self.silent_s = 0.0
        self.told = False
        self.clock: str | None = None  # what is wrong with the stamps
        self._samples: Counter[str] = Counter()  # per sensor
        self._marks: deque[tuple[float, dict[str, int]]] = deque(maxlen=RATE_S + 1)

    def note(self, batch: SampleBatch, now_s: float, silent_s: float) -> None:
        self.at_s, self.silent_s, self.told = now_s, silent_s, False
        self._samples[batch.sensor] += len(batch)
        self.clock = _doubt(batch)
        if not self._marks or now_s >= self._marks[-1][0] + 1.0:
            self._marks.append((now_s, dict(self._samples)))

    def status(self, now_s: float) -> dict[str, Any]:
        """Return JSON values: seconds since the last arrival, samples and their rate per sensor."""
        (began_s, before), (ended_s, after) = self._marks[0], self._marks[-1]
        fresh = now_s - self.at_s <= RATE_S and ended_s > began_s
        span_s = ended_s - began_s if fresh else math.inf
        rates = {s: round((n - before.get(s, 0)) / span_s, 1) for s, n in after.items()}
        age_s = round(now_s - self.at_s, 3)
        seen = {"age_s": age_s, "rate_hz": rates, "samples": dict(self._samples)}
        return seen | ({"clock": self.clock} if self.clock else {})


def _doubt(batch: SampleBatch) -> str | None:
    """Say how far the stamps are from this machine's clock; None where near, or unknown."""
    now_ns = batch.t_received_ns or 0
    # While this machine's own clock is not set, nobody else's is doubted.
    if batch.declared.clock != "epoch" or now_ns < PLAUSIBLE_NS or not len(batch):
        return None
    off_ns = int(batch.t[-1]) - now_ns
    off_s = off_ns / NS_PER_S
    if abs(off_s) <= DOUBTED_S + batch.declared.max_delay_s:
        return None
    side = "ahead of" if off_s > 0 else "behind"
    return f"its clock is {_far(abs(off_s))} {side} this machine's"


def _far(seconds: float) -> str:
    """Return a time of minutes to years in the unit that tells it best."""
    units = {"years": 365.25 * 86_400, "days": 86_400.0, "hours": 3600.0, "minutes": 60.0}
    unit = next((name for name, unit_s in units.items() if seconds >= 2 * unit_s), "minutes")
    return f"{seconds / units[unit]:.0f} {unit}"


class _Waiting(NamedTuple):
    message: Message | Request
    source: str | None  # None: the daemon itself
    stream: str | None  # None: it holds no samples
    samples: int
    at_s: float


@dataclass(slots=True)
class _Share:
    """How much waits, of a source or of one of its streams."""

    messages: int = 0
    samples: int = 0


_messages = attrgetter("messages")
_samples = attrgetter("samples")


@dataclass(slots=True)
class _StreamShare(_Share):
    numbers: deque[int] = field(default_factory=deque)  # of its messages, the oldest first


@dataclass(slots=True)
class _SourceShare(_Share):
    streams: dict[str | None, _StreamShare] = field(default_factory=dict)
    ranks: list[dict[str | None, None]] = field(default_factory=list)
    """The streams of which one message waits, those of which two do, and so on."""

    def change(self, name: str | None, messages: int, samples: int) -> _StreamShare:
        """Note that of a stream one message more waits, or one less; return its share."""
        stream = self.streams.setdefault(name, _StreamShare())
        if stream.messages:
            del self.ranks[stream.messages - 1][name]
        for share in (self, stream):
            share.messages += messages
            share.samples += samples
        if stream.messages > len(self.ranks):
            self.ranks.append({})
        if stream.messages:
            self.ranks[stream.messages - 1][name] = None
        else:
            del self.streams[name]
        if not self.ranks[-1]:
            self.ranks.pop()
        return stream

    def of_most_messages(self) -> _StreamShare:
        """Return the share of the stream of which most messages wait; a flood asks each time."""
        return self.streams[next(iter(self.ranks[-1]))]

    def of_most_samples(self) -> _StreamShare:
        """Return the share of the stream of which most samples wait; few and large ones ask."""
        return max(self.streams.values(), key=_samples)


class Inbox:
    """What arrived and was not yet fed, bounded in messages and samples; it also hears silence.

    `put` is called from any source's thread and never blocks: at the bound the source that takes
    most room loses the oldest message of that stream of its own which takes most, counted.  So a
    flood costs the other sources nothing, be it of one name or of thousands, and one stream's flood
    nothing to the others of its source.  Everything else is called from the pipeline's thread.  All
    times are monotonic.
    """

    def __init__(self, max_messages: int, max_samples: int, no_data_after_s: float) -> None:
        self.counts: Counter[str] = Counter()
        self.arrived: Counter[str] = Counter()
        """Samples that came in so far, by sensor; those that were then dropped are among them."""
        self._max_messages = max_messages
        self._max_samples = max_samples
        self._no_data_after_s = no_data_after_s
        self._filled = threading.Condition()
        self._queue: OrderedDict[int, _Waiting] = OrderedDict()  # by running number
        self._shares: dict[str | None, _SourceShare] = {}
        self._put = self._samples = 0
        self._arrivals: OrderedDict[str, _Arrivals] = OrderedDict()
        self._silent: deque[tuple[float, str]] = deque()
        self._resumes: dict[str, float] = {}  # stream -> when its pause ends
        self._look_s = 0.0
        self._said: set[str] = set()
        self._said_clocks: set[str] = set()
        self._closed = False

    @property
    def exhausted(self) -> bool:
        """Tell whether nothing is left and nothing more will come."""
        return self._closed and not self._queue

    @property
    def known_streams(self) -> int:
        """The number of streams that arrived."""
        return len(self._arrivals)

    def put(self, items: Message, source: str | None = None) -> None:
        """Take a message of a source in; drop some while there are too many messages or samples.

        Raises TypeError for what no source may emit.
        """
        message = tuple(items)
        if not all(isinstance(item, (SampleBatch, Annotation, Control)) for item in message):
            raise TypeError("a message holds SampleBatch and Annotation only, or a control")
        batches = [item for item in message if isinstance(item, SampleBatch)]
        samples = sum(map(len, batches))
        now_s = time.monotonic()
        with self._filled:
            if self._closed or samples > self._max_samples:
                self._count_drop(message)
                return
            for batch in batches:
                self._note_arrival(batch, now_s)
                self.arrived[batch.sensor] += len(batch)
            stream = batches[0].stream if batches else None
            self._append(_Waiting(message, source, stream, samples, now_s))
            while len(self._queue) > self._max_messages:
                share = max(self._shares.values(), key=_messages)
                self._drop_oldest(share.of_most_messages())
            while self._samples > self._max_samples:
                share = max(self._shares.values(), key=_samples)
                self._drop_oldest(share.of_most_samples())
            self._filled.notify()

    def ask(self, request: Request) -> None:
        """Take a request in, behind what has arrived; it may be answered at once, with why not."""
        with self._filled:
            if self._closed:
                request.answer.put(Refusal("stopping", "the daemon is about to stop"))
                return
            self._append(_Waiting(request, None, None, 0, time.monotonic()))
            self._filled.notify()

    def forget(self, stream: str) -> None:
        """Know nothing of a stream until it sends again."""
        with self._filled:
            self._arrivals.pop(stream, None)
            self._resumes.pop(stream, None)

    def streams(self, most: int = MAX_STREAMS) -> dict[str, dict[str, Any]]:
        """Return the status of the streams that arrived, the latest first, at most so many."""
        now_s = time.monotonic()
        with self._filled:
            latest = islice(reversed(self._arrivals.items()), most)
            return {stream: arrivals.status(now_s) for stream, arrivals in latest}

    def limit(self, max_messages: int, no_data_after_s: float) -> None:
        """Take so many messages in from now on; what comes counts as silent after so long."""
        with self._filled:
            self._max_messages, self._no_data_after_s = max_messages, no_data_after_s

    def resume_after(self, stream: str, pause_s: float | None) -> None:
        """Let `take` tell that a stream's pause is over in `pause_s`; None: never."""
        with self._filled:
            self._resumes.pop(stream, None)
            if pause_s is not None:
                self._resumes[stream] = time.monotonic() + pause_s

    def pause_left_s(self, stream: str) -> float | None:
        """Return how long a stream's pause will last, None where no end is set."""
        with self._filled:
            end_s = self._resumes.get(stream)
        return None if end_s is None else max(0.0, end_s - time.monotonic())

    def take(self, timeout_s: float) -> Message | Silence | Resume | Request | None:
        """Return what is next, in order of arrival; None after `timeout_s`."""
        with self._filled:
            if not (self._queue or self._silent or self._closed):
                self._filled.wait(timeout_s)
            stream = None if self._closed else self._next_silent(time.monotonic())
            if stream is not None:
                return Silence(stream)
            if self._resumes and (stream := self._next_resumed(time.monotonic())) is not None:
                return Resume(stream)
            return self._pop() if self._queue else None

    def close(self) -> None:
        """Take nothing more in; what is there can still be taken out."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()

    def abandon(self) -> int:
        """Drop and count what is there; return the number of messages."""
        with self._filled:
            n = len(self._queue)
            while self._queue:
                self._count_drop(self._pop())
            return n

    def _append(self, waiting: _Waiting) -> None:
        self._put += 1
        self._queue[self._put] = waiting
        source = self._shares.setdefault(waiting.source, _SourceShare())
        source.change(waiting.stream, 1, waiting.samples).numbers.append(self._put)
        self._samples += waiting.samples

    def _next(self) -> _Waiting:
        return next(iter(self._queue.values()))

    def _pop(self) -> Message | Request:
        return self._remove(next(iter(self._queue)))

    def _drop_oldest(self, stream: _StreamShare) -> None:
        self._count_drop(self._remove(stream.numbers[0]))

    def _remove(self, number: int) -> Message | Request:
        """Take out a message, the oldest of its stream."""
        waiting = self._queue.pop(number)
        source = self._shares[waiting.source]
        source.change(waiting.stream, -1, -waiting.samples).numbers.popleft()
        self._samples -= waiting.samples
        if not source.messages:
            del self._shares[waiting.source]
        return waiting.message

    def _note_arrival(self, batch: SampleBatch, now_s: float) -> None:
        silent_s = now_s + self._no_data_after_s + batch.declared.max_delay_s
        arrivals = self._arrivals.setdefault(batch.stream, _Arrivals())
        arrivals.note(batch, now_s, silent_s)
        self._arrivals.move_to_end(batch.stream)
        if arrivals.clock is not None and batch.stream not in self._said_clocks:
            self._say_clock(batch.stream, arrivals.clock)
        if len(self._arrivals) > MAX_STREAMS:
            self._arrivals.popitem(last=False)
            self.counts["untracked_streams"] += 1

    def _say_clock(self, stream: str, doubt: str) -> None:
        """Say once of a stream that its stamps are far off; events and history go by them."""
        self.counts["clocks_far_off"] += 1
        if len(self._said_clocks) < MAX_STREAMS:
            self._said_clocks.add(stream)
            _log.warning(
                "stream %r: %s: set the sender's clock, unless it sends what it kept (said once)",
                *(stream, doubt),
            )

    def _next_silent(self, now_s: float) -> str | None:
        """Return a stream whose silence fell due before whatever is next in the queue arrived."""
        if now_s >= self._look_s:  # not at each message: there may be thousands of streams
            self._look_s = now_s + IDLE_S / 2
            self._silent = deque(
                sorted(
                    (arrival.silent_s, stream)
                    for stream, arrival in self._arrivals.items()
                    if not arrival.told and arrival.silent_s <= now_s
                )
            )
        while self._silent:
            silent_s, stream = self._silent[0]
            if self._queue and self._next().at_s <= silent_s:
                return None
            self._silent.popleft()
            arrival = self._arrivals.get(stream)
            if arrival and not arrival.told and arrival.silent_s == silent_s:
                arrival.told = True
                return stream
        return None

    def _next_resumed(self, now_s: float) -> str | None:
        stream, end_s = min(self._resumes.items(), key=lambda item: item[1])
        if self._closed or end_s > now_s:
            return None
        del self._resumes[stream]
        return stream

    def _count_drop(self, message: Message | Request) -> None:
        if isinstance(message, Request):
            message.answer.put(Refusal("behind", "the pipeline is behind: try again"))
            return
        self.counts["dropped_messages"] += 1
        for item in message:
            if not isinstance(item, SampleBatch):
                continue
            self.counts["dropped_samples"] += len(item)
            if item.stream not in self._said and len(self._said) < SAID_STREAMS:
                self._said.add(item.stream)
                last = len(self._said) == SAID_STREAMS
                _log.warning(
                    "stream %r: the pipeline is behind, samples are dropped (said once%s)",
                    item.stream,
                    "; further streams are only counted" if last else "",
                )
