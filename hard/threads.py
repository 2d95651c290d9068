"""The threads of sources and sinks: one each, named after its instance.

Away means backing off and trying again, a bug means a restart within a budget, and the others
never notice.  `hard.runtime` starts and supervises them by their `pulse`; `hard replay --publish`
uses a `SinkThread` alone.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Literal

from hard.api import Message, Sink, SinkUnavailable, Source, SourceUnavailable, UnusableInput
from hard.eventlog import EventLogError
from hard.inbox import MAX_STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hard.api import Description, StreamState
    from hard.debugging import WindowBoard
    from hard.eventlog import Cursor
    from hard.states import StateBoard
    from hard.summaries import SummaryBoard

__all__ = ["Budget", "PluginThread", "Pulse", "SinkThread", "SourceThread"]

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
SETTLED_S = 60.0
"""An attempt that lasted this long was a success: what ends it is another outage, which backs off
from the start."""
SAID_REASONS = 10
"""So many reasons of one outage are told: a receiver may word each refusal otherwise."""
RESTARTS = 5
RESTARTS_WITHIN_S = 60.0
BATCH_EVENTS = 100
REPORT_S = 60.0
"""Sinks are told the daemon's health this often, and when what is degraded has changed."""
SOURCE_LIMIT_S = 30.0
"""A source looks at `stop` every 0.5 s, but connecting to a name may take its time."""
SINK_LIMIT_S = 15.0
"""A sink may block for 10 s by contract."""

_log = logging.getLogger(__name__)


class Pulse:
    """When a thread moved last, and until when it may be quiet before it counts as hung.

    Two floats, written by the thread and read by the supervisor.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._moved_s = -math.inf
        self._quiet_until_s = math.inf

    def beat(self, asleep_s: float = 0.0) -> None:
        """Show that the thread moves; it may now sleep for `asleep_s` on purpose."""
        self._moved_s = time.monotonic()
        self._quiet_until_s = self._moved_s + asleep_s + self._limit_s

    def rest(self) -> None:
        """Expect nothing more: the thread is done."""
        self._quiet_until_s = math.inf

    def is_beating(self) -> bool:
        """Tell whether the thread moved within its limit."""
        return time.monotonic() <= self._quiet_until_s

    def moved_within(self, seconds: float) -> bool:
        """Tell whether the thread moved so recently."""
        return time.monotonic() <= self._moved_s + seconds


class _Backoff:
    """Pauses from 1 s doubling to 60 s, each drawn evenly from zero up ("full jitter").

    One that is bounded does not make the next ones longer.
    """

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next_s(self, within_s: float | None) -> float:
        longest_s = within_s
        if longest_s is None:
            longest_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(self._failures, 10))
            self._failures += 1
        return random.uniform(0.0, longest_s)  # noqa: S311 - spreads reconnects, keeps no secret


class Budget:
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


class PluginThread(ABC):
    """One plugin instance in a thread of its own; errors end an attempt, seldom the thread."""

    def __init__(
        self,
        plugin: Source[Any] | Sink[Any],
        limit_s: float,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = plugin.name
        self.plugin = plugin
        self.state: Literal["ready", "running", "away", "ended", "failed"] = "ready"
        self._plugin = plugin
        self._why: str | None = None
        self.counts: Counter[str] = Counter()
        """`outages`, each once, however often it is tried meanwhile, and `bugs`."""
        self.restarts = 0
        """How often an attempt followed another, during an outage or after a bug."""
        self.pulse = Pulse(limit_s)
        self._on_done = on_done
        self._stop = threading.Event()
        self._backoff = _Backoff()
        self._budget = Budget()
        self._outage: set[str] = set()  # the reasons told of the present one
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
    def why(self) -> str | None:
        """Why it is away, was given up or is in trouble; None while all is well."""
        return self._why or self._plugin.trouble

    @property
    def is_done(self) -> bool:
        """Tell whether it ended or was given up."""
        return self.state in {"ended", "failed"}

    @property
    def is_given_up(self) -> bool:
        """Tell whether only a new instance will do, or will do at once: it leaves itself alone."""
        in_trouble = self.state == "away" and self._plugin.trouble is not None
        return in_trouble or self.state == "failed"

    @property
    @abstractmethod
    def left(self) -> str:
        """What becomes of the rest where it does not end in time."""

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
                self._outage.clear()
            return self._pauses(err)
        except UnusableInput as err:
            _log.error("%s: cannot be used: %s", self.name, err)
            self.state, self._why = "failed", str(err)
            return False
        except BaseException as err:  # noqa: BLE001 - even its sys.exit() must not go unseen
            return self._restarts(err)
        self.state = "ended"
        return False

    def _pauses(self, err: Exception) -> bool:
        self.restarts += 1
        if not self._outage:
            self.counts["outages"] += 1
        if str(err) not in self._outage and len(self._outage) < SAID_REASONS:
            self._outage.add(str(err))
            _log.warning("%s: away, trying again until it is back: %s", self.name, err)
        pause_s = self._backoff.next_s(getattr(err, "again_within_s", None))
        self.pulse.beat(pause_s)
        self.state, self._why = "away", str(err)
        return not self._stop.wait(pause_s) or self._ends()

    def _restarts(self, err: BaseException) -> bool:
        first = self.counts["bugs"] == 0
        self.counts["bugs"] += 1
        _log.error("%s: a bug: %r", self.name, err, exc_info=err if first else None)
        if self._stop.is_set():
            return self._ends()
        if self._budget.spend():
            self.restarts += 1
            return True
        _log.error("%s: given up after %d restarts", self.name, RESTARTS)
        self.state, self._why = "failed", f"a bug: {err!r}"
        return False

    def _ends(self) -> bool:
        self.state = "ended"
        return False

    def _is_back(self) -> None:
        if self._outage:
            self._outage.clear()
            self._why = None
            _log.info("%s: back", self.name)


class _WatchedStop:
    """The `Stop` a source is given: by looking at it the source shows that it moves."""

    def __init__(self, stop: threading.Event, pulse: Pulse) -> None:
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


class SourceThread(PluginThread):
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

    @property
    def left(self) -> str:
        """What it still sends is ignored."""
        return "what it still sends is ignored"

    def abandon(self) -> None:
        """Ignore what the source, which does not stop, emits from now on."""
        self._put = lambda _: None

    def expect(self, streams: Sequence[str]) -> None:
        """Tell the source which streams are known from before; before `start`."""
        try:
            self._source.expect(streams)
        except Exception:  # noqa: BLE001 - a plugin's bug must not keep the others from starting
            _log.exception("%s: a bug: it could not be told which streams are known", self.name)

    def clock_set(self) -> None:
        """Tell the source that this machine's clock was set, from any thread."""
        try:
            self._source.clock_set()
        except Exception:  # noqa: BLE001 - a plugin's bug must not keep others from being told
            _log.exception("%s: a bug: it could not be told that the clock was set", self.name)

    def _attempt(self) -> None:
        self._source.run(self._emit, _WatchedStop(self._stop, self.pulse))

    def _emit(self, message: Message) -> None:
        self.pulse.beat()
        self._is_back()
        self._put(message)


class SinkThread(PluginThread):
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
        describe: Callable[[str, str], Description] | None = None,
        health: Callable[[], Mapping[str, Any]] | None = None,
        windows: WindowBoard | None = None,
    ) -> None:
        super().__init__(sink, SINK_LIMIT_S)
        self.cursor = cursor
        self._sink = sink
        self._states = states
        self._shown = 0
        self._summaries = summaries
        self._summed = 0
        self._describe = describe
        self._described: dict[str, Description] = {}
        self._health = health
        self._windows = windows if sink.shows_windows else None
        self._explained = 0 if self._windows is None else self._windows.since(0)[0]
        self._reported: tuple[float, Any] = (-math.inf, None)  # when, and what was degraded
        self._forgetting: dict[str, threading.Event] = {}
        self._check_s = 0.0
        self._deadline_s = math.inf

    def forget(self, stream: str) -> threading.Event:
        """Let the sink remove what it shows of a stream, once it is there; set when done.

        Be it in another run.  Call it when the states no longer know that stream.
        """
        done = self._forgetting.setdefault(stream, threading.Event())
        self.cursor.must_forget(stream)
        self.cursor.wake()
        return done

    @property
    def left(self) -> str:
        """How many events are not confirmed."""
        return f"{self.cursor.backlog} events wait in the log for the next start"

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
        self._described.clear()
        self._reported = (-math.inf, None)
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
        """Make one round: what is shown, the next events, each second a look at the link."""
        self._show()
        self.pulse.beat()
        events = self.cursor.read(BATCH_EVENTS)
        if events:
            self._sink.write(events, self.cursor.confirm)
        now_s = time.monotonic()
        if now_s >= self._check_s:
            self._check_s = now_s + 1.0
            self.pulse.beat()
            self._report(now_s)
            self._sink.check()
        self._is_back()

    def _show(self) -> None:
        """Show the states and days that have changed, and what became of streams that are gone."""
        for stream in self.cursor.to_forget():
            self.pulse.beat()
            self._sink.forget(stream)
            self._lose(stream)
            self.cursor.forgot(stream)
            if stream in self._forgetting:
                self._forgetting.pop(stream).set()
        before = self._shown
        self._shown, states = self._states.since(before)
        for state in states:
            self.pulse.beat()
            self._introduce(state)
            self._sink.update(state)
        for stream in self._states.gone_since(before):
            self.pulse.beat()
            self._sink.retire(stream)
            self._lose(stream)
        if self._summaries is not None:
            fresh = self._summed == 0
            self._summed, summaries = self._summaries.since(self._summed)
            # After `open` nobody needs a day that is over: whoever counts would count it twice.
            newest = {summary.stream: summary for summary in summaries}
            for summary in newest.values() if fresh else summaries:
                self.pulse.beat()
                self._sink.summarise(summary)
        if self._windows is not None:
            self._explained, windows = self._windows.since(self._explained)
            for window in windows:
                self.pulse.beat()
                self._sink.explain(window.payload())

    def _lose(self, stream: str) -> None:
        """Introduce a stream anew should it come back."""
        self._described.pop(stream, None)

    def _introduce(self, state: StreamState) -> None:
        if self._describe is None:
            return
        description = self._describe(state.stream, state.model)
        if self._described.get(state.stream) == description:
            return
        if len(self._described) >= MAX_STREAMS:
            self._described.clear()
        self._described[state.stream] = description
        self._sink.describe(description)

    def _report(self, now_s: float) -> None:
        if self._health is None:
            return
        health = self._health()
        told_s, degraded = self._reported
        if now_s >= told_s + REPORT_S or health.get("degraded") != degraded:
            self._reported = (now_s, health.get("degraded"))
            self._sink.report(health)

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
