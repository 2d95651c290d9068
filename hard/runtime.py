"""The threads that carry samples to the pipeline and events to the sinks; nothing else has any.

    source threads -> Inbox -> pipeline thread -> EventLog -> sink threads

Each source and each sink runs in a thread of its own, named after it: away means backing off and
trying again, a bug means a restart within a budget, and the others never notice.  The main thread
supervises: signals, readiness, watchdog, and at the end the shutdown, in the order of the pipe.

Nothing is decided here about activities (that is the pipeline, called from one thread only), and
nothing here reads the wall clock.  What the pipeline is fed, a `Recorder` may see first.  `hard
run` and `hard record` make a `Runtime`; `hard.control` asks it what is going on; `hard replay
--publish` uses a `SinkThread` alone.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import random
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hard import systemd
from hard.api import (
    NS_PER_S,
    Annotation,
    Calibrate,
    Event,
    Message,
    Remembered,
    SampleBatch,
    Silence,
    Sink,
    SinkUnavailable,
    Source,
    SourceUnavailable,
    StreamState,
    UnusableInput,
)
from hard.eventlog import EventLogError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from hard.eventlog import Cursor, EventLog
    from hard.summaries import SummaryBoard

__all__ = [
    "REPEAT_S",
    "Inbox",
    "Pipeline",
    "Recorder",
    "Refusal",
    "Runtime",
    "RuntimeOptions",
    "Silence",
    "SinkThread",
    "SourceThread",
    "StateBoard",
]

MAX_STREAMS = 10_000
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
REPEAT_S = 1.0
"""A second request to stop is a request to hurry only so long after the first."""
SETTLED_S = 60.0
"""An attempt that lasted this long was a success: the next outage backs off from the start."""
RESTARTS = 5
RESTARTS_WITHIN_S = 60.0
BATCH_EVENTS = 100
IDLE_S = 0.25
SAID_STREAMS = 10
"""So many streams are named when the pipeline falls behind."""
EVIDENCE_S = 1.0
CHECKPOINT_S = 60.0
STATUS_S = 5.0
COUNTERS_S = 60.0
RATE_S = 5
"""A stream's rate is that of its arrivals in about the last 5 s."""
SOURCE_LIMIT_S = 30.0
"""A source looks at `stop` every 0.5 s, but connecting to a name may take its time."""
SINK_LIMIT_S = 15.0
"""A sink may block for 10 s by contract."""

PLAUSIBLE_NS = 1_735_689_600 * NS_PER_S
"""2025: before it this machine's own clock is not set, and nobody else's is doubted."""
DAY_NS = 86_400 * NS_PER_S

_CONTROLS = (Silence, Calibrate, Remembered)
_ITEMS = (SampleBatch, Annotation, *_CONTROLS)

_log = logging.getLogger(__name__)


class Pipeline(Protocol):
    """What the runtime needs of `hard.pipeline`; all of it is called from one thread."""

    counts: Counter[str]

    def feed(self, message: Message) -> list[Event]:
        """Take what arrived together; return what was decided."""
        ...

    def tick(self, stream: str) -> list[Event]:
        """Take note that the stream fell silent: once per silence, after all that arrived."""
        ...

    def finish(self, reason: str) -> list[Event]:
        """Close every open bout."""
        ...

    def state(self, stream: str) -> StreamState | None:
        """Return what the stream is now; None for one that is not known (any more)."""
        ...

    def evidence(self) -> Mapping[str, int]:
        """Return stream -> data time (ns) of the last evidence of its open bout."""
        ...

    def memory(self, stream: str) -> Mapping[str, Any]:
        """Return what is known of a stream beyond its samples to come, as JSON values."""
        ...

    def remember(self, stream: str, state: Mapping[str, Any]) -> None:
        """Know what `memory` gave elsewhere; raise ValueError for anything else."""
        ...


class Recorder(Protocol):
    """What the runtime needs of `hard.recording`: it sees what the pipeline is fed, in order."""

    counts: Counter[str]

    def start(self) -> None:
        """Begin to write, in a thread of its own."""
        ...

    def wants(self, stream: str) -> bool:
        """Tell whether this stream is recorded."""
        ...

    def take(self, message: Message, known: Mapping[str, Mapping[str, Any]]) -> None:
        """Take in what the pipeline is about to be fed, knowing what; never blocks."""
        ...

    def close(self, timeout_s: float) -> bool:
        """Write the rest within `timeout_s`; return whether that succeeded."""
        ...

    def status(self) -> dict[str, Any]:
        """Return where and how much was written, as JSON values; from any thread."""
        ...


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """Why a request from outside is not met: `reason` is a word, the message a sentence."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """The bounds of the runtime; times in seconds.

    A stream is silent `no_data_after_s` (and its declared `max_delay_s`) after its last arrival.
    A message may keep the pipeline busy for `hung_after_s` before the watchdog is no longer fed.
    `from_oldest` names the sinks that, when new, begin with the oldest event in the log.
    """

    no_data_after_s: float = 10.0
    shutdown_s: float = 4.5
    hung_after_s: float = 10.0
    inbox_messages: int = 1024
    inbox_samples: int = 2_000_000
    from_oldest: Collection[str] = ()


# -- between the threads -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """Taken from the inbox in its turn: something asked of the pipeline, and where the answer goes.

    The answer is None once it is done, else why not.
    """

    control: Calibrate
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
    """Say how far the stamps are from this machine's clock; None within a day, or if unknown."""
    now_ns = batch.t_received_ns or 0
    if batch.declared.clock != "epoch" or now_ns < PLAUSIBLE_NS or not len(batch):
        return None
    off_ns = int(batch.t[-1]) - now_ns
    if abs(off_ns) <= DAY_NS:
        return None
    days = abs(off_ns) / DAY_NS
    far = f"{days:.0f} days" if days < 730 else f"{days / 365.25:.0f} years"
    return f"its clock is {far} {'ahead of' if off_ns > 0 else 'behind'} this machine's"


class Inbox:
    """What arrived and was not yet fed, bounded in messages and samples; it also hears silence.

    `put` is called from any source's thread and never blocks: at the bound the oldest message is
    dropped and counted.  Everything else is called from the pipeline's thread.  All times are
    monotonic.
    """

    def __init__(self, max_messages: int, max_samples: int, no_data_after_s: float) -> None:
        self.counts: Counter[str] = Counter()
        self._max_messages = max_messages
        self._max_samples = max_samples
        self._no_data_after_s = no_data_after_s
        self._filled = threading.Condition()
        self._queue: deque[tuple[Message | Request, int, float]] = deque()
        self._samples = 0
        self._arrivals: OrderedDict[str, _Arrivals] = OrderedDict()
        self._silent: deque[tuple[float, str]] = deque()
        self._look_s = 0.0
        self._said: set[str] = set()
        self._said_clocks: set[str] = set()
        self._closed = False

    @property
    def exhausted(self) -> bool:
        """Tell whether nothing is left and nothing more will come."""
        return self._closed and not self._queue

    def put(self, items: Message) -> None:
        """Take a message in; drop the oldest while there are too many messages or samples.

        Raises TypeError for what no source may emit.
        """
        message = tuple(items)
        if not all(isinstance(item, _ITEMS) for item in message):
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
            self._queue.append((message, samples, now_s))
            self._samples += samples
            while len(self._queue) > self._max_messages or self._samples > self._max_samples:
                self._count_drop(self._pop())
            self._filled.notify()

    def ask(self, request: Request) -> None:
        """Take a request in, behind what has arrived; it may be answered at once, with why not."""
        with self._filled:
            if self._closed:
                request.answer.put(Refusal("stopping", "the daemon is about to stop"))
                return
            self._queue.append((request, 0, time.monotonic()))
            self._filled.notify()

    def streams(self, most: int = MAX_STREAMS) -> dict[str, dict[str, Any]]:
        """Return the status of the streams that arrived, the latest first, at most so many."""
        now_s = time.monotonic()
        with self._filled:
            latest = islice(reversed(self._arrivals.items()), most)
            return {stream: arrivals.status(now_s) for stream, arrivals in latest}

    def take(self, timeout_s: float) -> Message | Silence | Request | None:
        """Return what is next, in order of arrival; None after `timeout_s`."""
        with self._filled:
            if not self._queue and not self._closed:
                self._filled.wait(timeout_s)
            stream = None if self._closed else self._next_silent(time.monotonic())
            if stream is not None:
                return Silence(stream)
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

    def _pop(self) -> Message | Request:
        message, samples, _ = self._queue.popleft()
        self._samples -= samples
        return message

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
            _log.warning("stream %r: %s: set the sender's clock (said once)", stream, doubt)

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
            if self._queue and self._queue[0][2] <= silent_s:
                return None
            self._silent.popleft()
            arrival = self._arrivals.get(stream)
            if arrival and not arrival.told and arrival.silent_s == silent_s:
                arrival.told = True
                return stream
        return None

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


class StateBoard:
    """What each stream is now, for any number of readers that come when they like.

    A state that differs in its confidence, probabilities or data time only is no change: sinks
    are told of changes, not of every window.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[str, tuple[int, StreamState]] = OrderedDict()
        self._version = 0

    def __len__(self) -> int:
        """Return the number of streams known."""
        return len(self._states)

    def streams(self) -> list[str]:
        """Return the streams known, the longest unchanged first."""
        with self._lock:
            return list(self._states)

    def show(self, stream: str, state: StreamState | None) -> None:
        """Replace what is known of a stream; None removes it."""
        with self._lock:
            version, old = self._states.get(stream, (0, None))
            if state is None:
                self._states.pop(stream, None)
            elif old is not None and _essence(old) == _essence(state):
                self._states[stream] = (version, state)  # for those who come later
            else:
                self._version += 1
                self._states[stream] = (self._version, state)
                self._states.move_to_end(stream)
                if len(self._states) > MAX_STREAMS:
                    self._states.popitem(last=False)

    def since(self, version: int) -> tuple[int, list[StreamState]]:
        """Return the present version and the states changed after `version`, oldest first."""
        with self._lock:
            changed: list[StreamState] = []
            for at, state in reversed(self._states.values()):
                if at <= version:
                    break
                changed.append(state)
            return self._version, changed[::-1]


def _shown(state: StreamState | None) -> dict[str, Any]:
    """Return what `hard status` shows of a stream's state; nothing is decided of it yet if None."""
    if state is None:
        return {"status": None, "activity": None}
    names = ("status", "activity", "confidence", "since", "reason", "model")
    return {name: getattr(state, name) for name in names}


def _essence(state: StreamState) -> StreamState:
    return replace(state, t=0, confidence=None, probs={})


# -- plugins in threads --------------------------------------------------------------------------


class _Pulse:
    """Until when a thread may be quiet before it counts as hung.

    One float, written by the thread and read by the supervisor.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._quiet_until_s = math.inf

    def beat(self, asleep_s: float = 0.0) -> None:
        """Show that the thread moves; it may now sleep for `asleep_s` on purpose."""
        self._quiet_until_s = time.monotonic() + asleep_s + self._limit_s

    def rest(self) -> None:
        """Expect nothing more: the thread is done."""
        self._quiet_until_s = math.inf

    def is_beating(self) -> bool:
        """Tell whether the thread moved within its limit."""
        return time.monotonic() <= self._quiet_until_s


class _Backoff:
    """Pauses from 1 s doubling to 60 s, each drawn evenly from zero up ("full jitter")."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next_s(self) -> float:
        longest_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return random.uniform(0.0, longest_s)  # noqa: S311 - spreads reconnects, keeps no secret


class _Budget:
    """Restarts of something with a bug: 5 within 60 s, then no more."""

    def __init__(self) -> None:
        self._spent_s: deque[float] = deque()

    def spend(self) -> bool:
        """Take one restart; return whether there was one left."""
        now_s = time.monotonic()
        while self._spent_s and self._spent_s[0] <= now_s - RESTARTS_WITHIN_S:
            self._spent_s.popleft()
        self._spent_s.append(now_s)
        return len(self._spent_s) <= RESTARTS


class _PluginThread(ABC):
    """One plugin instance in a thread of its own; errors end an attempt, seldom the thread."""

    def __init__(
        self,
        plugin: Source[Any] | Sink[Any],
        limit_s: float,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = plugin.name
        self.state: Literal["ready", "running", "away", "ended", "failed"] = "ready"
        self.counts: Counter[str] = Counter()
        self.pulse = _Pulse(limit_s)
        self._on_done = on_done
        self._stop = threading.Event()
        self._backoff = _Backoff()
        self._budget = _Budget()
        self._outage = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.pulse.beat()
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end, at most `timeout_s`; return whether it has."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    @property
    def is_done(self) -> bool:
        """Tell whether it ended or was given up."""
        return self.state in {"ended", "failed"}

    @abstractmethod
    def _attempt(self) -> None:
        """Use the plugin until it ends, is told to stop, or raises."""

    def _run(self) -> None:
        while self._survives_attempt():
            pass
        self.pulse.rest()
        self._on_done()

    def _survives_attempt(self) -> bool:
        """Make one attempt; return whether to make another."""
        began_s = time.monotonic()
        self.state = "running"
        try:
            self._attempt()
        except (SourceUnavailable, SinkUnavailable, EventLogError) as err:
            if time.monotonic() - began_s >= SETTLED_S:
                self._backoff.reset()
            return self._pauses(err)
        except UnusableInput as err:
            _log.error("%s: cannot be used: %s", self.name, err)
            self.state = "failed"
            return False
        except BaseException as err:  # noqa: BLE001 - even its sys.exit() must not go unseen
            return self._restarts(err)
        self.state = "ended"
        return False

    def _pauses(self, err: Exception) -> bool:
        if not self._outage:
            self._outage = True
            _log.warning("%s: away, trying again until it is back: %s", self.name, err)
        pause_s = self._backoff.next_s()
        self.counts["outages"] += 1
        self.pulse.beat(pause_s)
        self.state = "away"
        return not self._stop.wait(pause_s) or self._ends()

    def _restarts(self, err: BaseException) -> bool:
        first = self.counts["bugs"] == 0
        self.counts["bugs"] += 1
        _log.error("%s: a bug: %r", self.name, err, exc_info=err if first else None)
        if self._stop.is_set():
            return self._ends()
        if self._budget.spend():
            return True
        _log.error("%s: given up after %d restarts", self.name, RESTARTS)
        self.state = "failed"
        return False

    def _ends(self) -> bool:
        self.state = "ended"
        return False

    def _is_back(self) -> None:
        if self._outage:
            self._outage = False
            _log.info("%s: back", self.name)


class _WatchedStop:
    """The `Stop` a source is given: by looking at it the source shows that it moves."""

    def __init__(self, stop: threading.Event, pulse: _Pulse) -> None:
        self._stop = stop
        self._pulse = pulse

    def is_set(self) -> bool:
        self._pulse.beat()
        return self._stop.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self._pulse.beat(math.inf if timeout is None else timeout)
        stopped = self._stop.wait(timeout)
        self._pulse.beat()
        return stopped


class SourceThread(_PluginThread):
    """Runs one source until it ends, fails for good, or is told to stop."""

    def __init__(
        self, source: Source[Any], put: Callable[[Message], None], on_done: Callable[[], None]
    ) -> None:
        super().__init__(source, SOURCE_LIMIT_S, on_done)
        self._source = source
        self._put = put

    def stop(self) -> None:
        """Tell the source to return, also from a back-off."""
        self._stop.set()

    def _attempt(self) -> None:
        self._source.run(self._emit, _WatchedStop(self._stop, self.pulse))

    def _emit(self, message: Message) -> None:
        self.pulse.beat()
        self._is_back()
        self._put(message)


class SinkThread(_PluginThread):
    """Delivers the log to one sink through its cursor, and shows it what the streams are.

    `start`, append to the log as it comes, `flush` the log, then `finish` and `join`.  What is
    not confirmed by then stays in the log: `cursor.backlog` tells.
    """

    def __init__(
        self,
        sink: Sink[Any],
        cursor: Cursor,
        states: StateBoard,
        summaries: SummaryBoard | None = None,
    ) -> None:
        super().__init__(sink, SINK_LIMIT_S)
        self.cursor = cursor
        self._sink = sink
        self._states = states
        self._shown = 0
        self._summaries = summaries
        self._summed = 0
        self._check_s = 0.0
        self._deadline_s = math.inf

    def finish(self, timeout_s: float) -> None:
        """Write what is in the log, drain and close within `timeout_s`; do not wait for it.

        A sink that is away is given up at once.
        """
        self._deadline_s = time.monotonic() + timeout_s
        self._stop.set()
        self.cursor.wake()

    def _attempt(self) -> None:
        self.cursor.rewind()
        self._shown = self._summed = 0
        try:
            self.pulse.beat()
            self._sink.open()
            while not self._stop.is_set():
                self._deliver()
                self.cursor.wait(1.0)
            self._drain()
        finally:
            self.pulse.beat()
            self._sink.close()

    def _deliver(self) -> None:
        """Make one round: changed states, days, the next events, each second a look at the link."""
        self._shown, states = self._states.since(self._shown)
        for state in states:
            self.pulse.beat()
            self._sink.update(state)
        if self._summaries is not None:
            self._summed, summaries = self._summaries.since(self._summed)
            for summary in summaries:
                self.pulse.beat()
                self._sink.summarise(summary)
        self.pulse.beat()
        events = self.cursor.read(BATCH_EVENTS)
        if events:
            self._sink.write(events, self.cursor.confirm)
        now_s = time.monotonic()
        if now_s >= self._check_s:
            self._check_s = now_s + 1.0
            self.pulse.beat()
            self._sink.check()
        self._is_back()

    def _drain(self) -> None:
        """Write the rest, as far as the deadline and the room in flight allow, and wait for it."""
        self._deliver()
        while self.cursor.is_behind and self._left_s() > 0:
            self.cursor.wait(min(1.0, self._left_s()))
            self._deliver()
        self.pulse.beat(max(0.0, self._left_s()))
        self._sink.drain(max(0.0, self._left_s()))

    def _left_s(self) -> float:
        return self._deadline_s - time.monotonic()


class _PipelineThread:
    """Feeds the pipeline, in order of arrival, and hands on what it decides."""

    def __init__(
        self,
        pipeline: Pipeline,
        inbox: Inbox,
        log: EventLog,
        states: StateBoard,
        recorder: Recorder | None,
        summaries: SummaryBoard | None,
        *,
        hung_after_s: float,
        on_done: Callable[[], None],
        checkpoint: Callable[[], None],
    ) -> None:
        self.name = "pipeline"
        self.events = 0
        self.counts: Counter[str] = Counter()
        self.pulse = _Pulse(hung_after_s)
        self.is_broken = False
        self._pipeline = pipeline
        self._inbox = inbox
        self._log = log
        self._states = states
        self._recorder = recorder
        self._summaries = summaries
        self._on_done = on_done
        self._budget = _Budget()
        self._checkpoint = checkpoint
        self._at_risk = 0  # samples of what is being fed
        self._evidence_s = 0.0
        self._checkpoint_s = time.monotonic() + CHECKPOINT_S
        self._reason = "shutdown"
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self.pulse.beat()
        self._thread.start()

    def finish(self, reason: str) -> None:
        """End once the inbox, which takes nothing more in, is dry; open bouts get `reason`."""
        self._reason = reason
        self._inbox.close()

    def join(self, timeout_s: float) -> bool:
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not (self._inbox.exhausted or self.is_broken):
            self._guarded(self._turn)
        self._guarded(self._end)
        self.pulse.rest()
        self._on_done()

    def _guarded(self, step: Callable[[], None]) -> None:
        """Make one step; a bug costs what was being fed, too many of them end the service."""
        self.pulse.beat()
        try:
            step()
        except Exception:  # noqa: BLE001 - a bug of the pipeline must not pass for silence
            self.counts["bugs"] += 1
            self.counts["lost_samples"] += self._at_risk
            _log.exception("the pipeline has a bug: one input is lost")
            self.is_broken = self.is_broken or not self._budget.spend()

    def _turn(self) -> None:
        taken = self._inbox.take(IDLE_S)
        self._at_risk = 0
        if isinstance(taken, Request):
            self._record((taken.control,))
            taken.answer.put(self._calibrate(taken.control.stream))
        elif taken is not None:
            message = (taken,) if isinstance(taken, Silence) else taken
            self._at_risk = sum(len(i) for i in message if isinstance(i, SampleBatch))
            self._feed(message)
        self._note_evidence()

    def _feed(self, message: Message) -> None:
        self._record(message)
        events: list[Event] = []
        for item in message:
            if isinstance(item, Silence):
                events += self._pipeline.tick(item.stream)
            elif isinstance(item, Calibrate):
                self._calibrate(item.stream)
            elif isinstance(item, Remembered):
                self._remember(item)
        data = [item for item in message if not isinstance(item, _CONTROLS)]
        if data:
            events += self._pipeline.feed(data)
        self._publish(events, [item.stream for item in message])

    def _calibrate(self, stream: str) -> Refusal | None:
        """Let the pipeline calibrate a stream; return why that can't be done, None if it was."""
        calibrate = getattr(self._pipeline, "calibrate", None)
        if calibrate is None:
            return Refusal("unsupported", "this pipeline has nothing to calibrate")
        try:
            events = calibrate(stream)
        except ValueError as error:
            return Refusal("not_now", str(error))
        self._publish(events, [stream])
        return None

    def _remember(self, item: Remembered) -> None:
        try:
            self._pipeline.remember(item.stream, item.state)
        except ValueError as error:
            self.counts["bad_memory"] += 1
            _log.warning("stream %r: what its recording knew can't be used: %s", item.stream, error)

    def _record(self, message: Message) -> None:
        if self._recorder is not None:
            streams = {item.stream for item in message}
            self._recorder.take(message, {s: self._pipeline.memory(s) for s in streams})

    def _end(self) -> None:
        self._publish(self._pipeline.finish(self._reason), self._states.streams())
        self._checkpoint()

    def _publish(self, events: list[Event], streams: list[str]) -> None:
        self._log.append(events)
        for event in events:
            if self._summaries is not None:
                self._summaries.take(event)
            if event.kind == "status":
                level = logging.WARNING if event.status == "rejected" else logging.INFO
                why = f": {event.reason}" if event.reason else ""
                _log.log(level, "stream %s: %s%s", event.stream, event.status, why)
        self.events += len(events)
        for stream in dict.fromkeys([*streams, *(event.stream for event in events)]):
            state = self._pipeline.state(stream)
            self._states.show(stream, state)
            if self._summaries is not None and state is not None and state.t is not None:
                self._summaries.reach(stream, state.t)

    def _note_evidence(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._evidence_s:
            self._evidence_s = now_s + EVIDENCE_S
            for stream, t_ns in self._pipeline.evidence().items():
                self._log.evidence(stream, t_ns)
        if now_s >= self._checkpoint_s:
            self._checkpoint_s = now_s + CHECKPOINT_S
            self._checkpoint()


# -- all of it -----------------------------------------------------------------------------------


class Runtime:
    """Runs sources, pipeline and sinks until told to stop or until every source has ended.

    Sources and sinks are instances by name.  The log is open, and closed at the end of `run`; so
    is the recorder, if there is one.  `summaries` is told what a day consists of, and asked by the
    sinks' threads.  `checkpoint` is called from the pipeline's thread once a
    minute and at its end.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sources: Mapping[str, Source[Any]],
        sinks: Mapping[str, Sink[Any]],
        log: EventLog,
        options: RuntimeOptions,
        recorder: Recorder | None = None,
        checkpoint: Callable[[], None] = lambda: None,
        summaries: SummaryBoard | None = None,
    ) -> None:
        self._options = options
        self._recorder = recorder
        self._log = log
        self._states = StateBoard()
        self._requests: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._deadline_s = math.inf
        self._asked_s = math.inf
        self._inbox = Inbox(options.inbox_messages, options.inbox_samples, options.no_data_after_s)
        self._plugins: Mapping[str, Source[Any] | Sink[Any]] = {**sources, **sinks}
        self._pipeline_counts = pipeline.counts
        self._sources = [
            SourceThread(source, self._inbox.put, self._look) for source in sources.values()
        ]
        self._sinks = [
            SinkThread(
                sink,
                log.cursor(name, "oldest" if name in options.from_oldest else "now"),
                self._states,
                summaries,
            )
            for name, sink in sinks.items()
        ]
        self._pipe = _PipelineThread(
            pipeline,
            self._inbox,
            log,
            self._states,
            recorder,
            summaries,
            hung_after_s=options.hung_after_s,
            on_done=self._look,
            checkpoint=checkpoint,
        )
        self._threads: tuple[_PluginThread | _PipelineThread, ...] = (
            *self._sinks,
            self._pipe,
            *self._sources,
        )
        self._watchdog_s = (systemd.watchdog_interval_s() or math.inf) / 3
        self._fed_s = self._status_s = 0.0
        self._counters_s = time.monotonic() + COUNTERS_S
        self._counters: dict[str, int] = {}
        self._stuck: set[str] = set()

    def run(self) -> int:
        """Run to the end; return 0 after a request to stop or the end of data, else 1.

        1 means that the pipeline or, by the end of data, a source was given up.  In the main thread
        SIGTERM, SIGINT and SIGHUP (a terminal that closes) call `stop`.
        """
        with self._signals():
            if self._recorder is not None:
                self._recorder.start()
            for thread in self._threads:
                thread.start()
            systemd.notify("READY=1")
            while not self._is_over():
                with contextlib.suppress(queue.Empty):
                    self._requests.get(timeout=min(1.0, self._watchdog_s))
                self._attend()
            return self._shut_down()

    def stop(self) -> None:
        """Ask for the shutdown, from any thread or signal handler; again later: leave at once.

        A handler may interrupt any line of the main thread, so nothing here takes a lock that
        the main thread may hold: `SimpleQueue.put` is reentrant.
        """
        now_s = time.monotonic()
        if self._deadline_s == math.inf:
            self._asked_s = now_s
            self._deadline_s = now_s + self._options.shutdown_s
        elif now_s > self._asked_s + REPEAT_S:  # sooner it is the same request, sent twice
            self._deadline_s = now_s
        self._look()

    def status(self, most_streams: int) -> dict[str, Any]:
        """Return what streams, sources and sinks are now, as JSON values; from any thread.

        Of the streams those that are known, the latest arrived first, at most so many.
        """
        states = {state.stream: state for state in self._states.since(0)[1]}
        shown = self._inbox.streams(most_streams)
        recorder = self._recorder
        return {
            "events": self._pipe.events,
            "streams": [
                {"stream": stream, **arrived, **_shown(states.get(stream))}
                for stream, arrived in shown.items()
            ],
            "sources": [{"name": s.name, "state": s.state} for s in self._sources],
            "sinks": [
                {"name": s.name, "state": s.state, "backlog": s.cursor.backlog} for s in self._sinks
            ],
            "record": None if recorder is None else recorder.status(),
            "counts": self.counts(),
        }

    def label(self, stream: str, t_ns: int, text: str) -> None:
        """Give a stream's recording a label from `t_ns` on, from any thread; `Refusal` if none."""
        self._require(stream)
        if self._recorder is None or not self._recorder.wants(stream):
            raise Refusal(
                "not_recording",
                f"labels are for recordings, and {stream!r} is not recorded: add [record] to the "
                "configuration, or use hard record",
            )
        self._inbox.put([Annotation(stream, t_ns, text)])

    def label_all(self, t_ns: int, text: str) -> int:
        """Label every stream that is recorded, from any thread; return how many."""
        recorder = self._recorder
        streams = [s for s in self._inbox.streams() if recorder and recorder.wants(s)]
        self._inbox.put([Annotation(stream, t_ns, text) for stream in streams])
        return len(streams)

    def calibrate(self, stream: str, timeout_s: float) -> None:
        """Let the pipeline calibrate a stream, from any thread; `Refusal` says why it did not."""
        self._require(stream)
        request = Request(Calibrate(stream))
        self._inbox.ask(request)
        try:
            refusal = request.answer.get(timeout=timeout_s)
        except queue.Empty:
            refusal = Refusal("behind", f"no answer within {timeout_s:g} s: the pipeline is behind")
        if refusal is not None:
            raise refusal

    def _require(self, stream: str) -> None:
        known = self._inbox.streams()
        if stream not in known:
            some = ", ".join(map(repr, islice(known, 10))) or "none"
            raise Refusal("unknown_stream", f"nothing arrived on {stream!r}; streams: {some}")

    def counts(self) -> dict[str, int]:
        """Return every counter of what was dropped, skipped or went wrong, as `part.reason`."""
        parts: list[tuple[str, Counter[str]]] = [
            ("inbox", self._inbox.counts),
            ("pipeline", self._pipeline_counts),
            ("pipeline", self._pipe.counts),
            ("log", self._log.counts),
            ("record", self._recorder.counts if self._recorder else Counter()),
            *((name, plugin.counts) for name, plugin in self._plugins.items()),
            *((thread.name, thread.counts) for thread in (*self._sources, *self._sinks)),
            *((sink.name, Counter(dropped=sink.cursor.dropped)) for sink in self._sinks),
        ]
        total: Counter[str] = Counter()
        for part, counts in parts:
            # dict() copies in one step, whatever the owner's thread is doing
            total.update({f"{part}.{reason}": n for reason, n in dict(counts).items() if n})
        return dict(sorted(total.items()))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = [signal.signal(number, lambda *_: self.stop()) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _look(self) -> None:
        """Wake the supervisor."""
        self._requests.put(None)

    def _is_over(self) -> bool:
        return (
            self._deadline_s < math.inf
            or self._pipe.is_broken
            or all(source.is_done for source in self._sources)
        )

    # -- supervision ---------------------------------------------------------------------------

    def _attend(self) -> None:
        now_s = time.monotonic()
        moves = self._moves()
        if moves and now_s >= self._fed_s + self._watchdog_s:
            self._fed_s = now_s
            systemd.notify("WATCHDOG=1")
        if now_s >= self._status_s + STATUS_S:
            self._status_s = now_s
            systemd.notify(f"STATUS={self._status()}")
        if now_s >= self._counters_s:
            self._counters_s = now_s + COUNTERS_S
            self._log_counters()

    def _moves(self) -> bool:
        """Tell whether every thread moved within its limit; name each that does not, once."""
        stuck = {thread.name for thread in self._threads if not thread.pulse.is_beating()}
        if not self._log.is_alive:
            stuck.add("event-log")
        for name in sorted(stuck - self._stuck):
            _log.error("%s: makes no progress, the watchdog is no longer fed", name)
        self._stuck = stuck
        return not stuck

    def _status(self) -> str:
        backlog = max((sink.cursor.backlog for sink in self._sinks), default=0)
        text = f"{len(self._states)} streams, {self._pipe.events} events, backlog {backlog}"
        if self._log.is_failing:
            text += "; degraded: the event log cannot be written"
        for state in ("away", "failed"):
            plugins = (*self._sources, *self._sinks)
            names = [thread.name for thread in plugins if thread.state == state]
            if names:
                text += f"; {state}: {', '.join(names)}"
        return text

    def _log_counters(self) -> None:
        counters = self.counts()
        if counters != self._counters:
            self._counters = counters
            _log.info("counted: %s", ", ".join(f"{name} {n}" for name, n in counters.items()))

    # -- shutdown, in the order of the pipe ----------------------------------------------------

    def _shut_down(self) -> int:
        """Stop sources, run the inbox dry, close bouts, commit, deliver, close; return the code."""
        asked = self._deadline_s < math.inf
        reason = "shutdown" if asked or self._pipe.is_broken else "end_of_data"
        failed = self._pipe.is_broken or any(source.state == "failed" for source in self._sources)
        systemd.notify("STOPPING=1")
        if self._pipe.is_broken and not asked:
            self._deadline_s = time.monotonic() + self._options.shutdown_s
        for source in self._sources:
            source.stop()
        self._await(self._sources, 0.25)
        self._pipe.finish(reason)
        self._await([self._pipe], 0.6)
        if abandoned := self._inbox.abandon():
            _log.warning("shutdown: %d messages are not fed any more", abandoned)
        self._await([self._pipe], 0.7)
        if self._recorder is not None and not self._recorder.close(self._recorder_limit_s()):
            _log.error("shutdown: the end of the recording is not written")
        if self._deadline_s == math.inf:  # at the end of data only the delivery has a deadline
            self._deadline_s = time.monotonic() + self._options.shutdown_s
        if not self._log.flush(self._left_s(0.8)):
            _log.error("shutdown: the last events are not committed")
        for sink in self._sinks:
            sink.finish(self._left_s(0.95))
        self._await(self._sinks, 0.97)
        for thread in self._threads:
            if not thread.join(0.0):
                _log.warning("shutdown: %s hangs and is left behind", thread.name)
        self._log_counters()
        self._log.close(max(0.1, self._left_s(1.0)))
        return 1 if failed and not asked else 0

    def _recorder_limit_s(self) -> float:
        """Return how long the recorder may take; at the end of data there is no deadline yet."""
        return min(self._left_s(0.75), self._options.shutdown_s)

    def _left_s(self, share: float) -> float:
        """Return the seconds until `share` of the time for the shutdown is used up."""
        until_s = self._deadline_s - (1.0 - share) * self._options.shutdown_s
        return max(0.0, until_s - time.monotonic())

    def _await(self, threads: Iterable[_PluginThread | _PipelineThread], share: float) -> None:
        """Join threads until `share` of the time for the shutdown is used up.

        In slices: a second request to stop moves the deadline, and a long run to the end of the
        inbox must keep the watchdog fed.
        """
        for thread in threads:
            while not thread.join(min(0.1, self._left_s(share))) and self._left_s(share) > 0.0:
                self._attend()
