"""The threads that carry samples to the pipeline and events to the sinks; nothing else has any.

    source threads -> Inbox -> pipeline thread -> EventLog -> sink threads

Each source and each sink runs in a thread of its own (`hard.threads`), the pipeline in another
(`hard.feeding`).  The main thread supervises them, here: signals, readiness, watchdog, and at the
end the shutdown, in the order of the pipe.

Nothing is decided here about activities (that is the pipeline, called from one thread only), and
the wall clock is only asked whether it can be believed (`hard.wallclock`).  `hard run` and `hard
record` make a `Runtime`; `hard.control` asks it what is going on.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from hard import systemd
from hard.api import (
    NS_PER_S,
    Annotation,
    Calibrate,
    Control,
    Pause,
    Resume,
    Sink,
    Source,
    StreamState,
)
from hard.commanding import Commands, checked
from hard.eventlog import EventLogError, again
from hard.feeding import Pipeline, PipelineThread, Recorder
from hard.inbox import Inbox, Reconfiguration, Refusal, Request
from hard.instances import Instances
from hard.metrics import LogAges, Work, resident_bytes
from hard.states import StateBoard
from hard.threads import PluginThread, SinkThread, SourceThread
from hard.wallclock import WallClock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from hard.api import Description, Event
    from hard.debugging import WindowBoard
    from hard.eventlog import EventLog
    from hard.summaries import SummaryBoard

__all__ = ["REPEAT_S", "Runtime", "RuntimeOptions"]

CLEAR_S = 1.0
"""So long is waited for sinks that clear what they show of a stream."""
REPEAT_S = 1.0
"""A second request to stop is a request to hurry only so long after the first."""
RECONFIGURE_S = 10.0
"""The pipeline may take so long to get to other settings."""
STATUS_S = 5.0
COUNTERS_S = 60.0
SUPERVISOR_S = 10.0
"""The supervisor looks around each second, or it hangs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """The bounds of the runtime; times in seconds.

    A stream is silent `no_data_after_s` (and its declared `max_delay_s`) after its last arrival.
    A message may keep the pipeline busy for `hung_after_s` before the watchdog is no longer fed.
    SIGHUP means a reload if `hangup_reloads`, else that the terminal closes: the end.
    `from_oldest` names the sinks that, when new, begin with the oldest event in the log.
    """

    no_data_after_s: float = 10.0
    shutdown_s: float = 4.5
    hung_after_s: float = 10.0
    hangup_reloads: bool = False
    inbox_messages: int = 1024
    inbox_samples: int = 2_000_000
    from_oldest: Collection[str] = ()


def _told(event: Event) -> dict[str, Any]:
    """Return what `hard top` shows of an event."""
    names = ("stream", "activity", "status", "reason")
    shown = {name: getattr(event, name) for name in names}
    return {"event_type": event.kind, "t_decided_ns": event.t_decided, **shown}


def _working(thread: PluginThread) -> dict[str, Any]:
    """Return how a source or a sink does."""
    return {name: getattr(thread, name) for name in ("name", "state", "why", "restarts")}


@cache
def _version() -> str:
    return version("hard-daemon")


class Runtime:
    """Runs sources, pipeline and sinks until told to stop or until every source has ended.

    Sources and sinks are instances by name.  The log is open, and closed at the end of `run`; so
    is the recorder, if there is one.  `summaries` is told what a day consists of, and asked by the
    sinks' threads; so is `describe`, which tells a stream's name and activities.  `reload`, called
    from the thread of the commands, applies what changed in the configuration (by `reconfigure` and
    `exchange`), or raises `Refusal`.  `clock` is this machine's, whose doubts are told;
    `windows` is where the pipeline puts how it judged each.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sources: Mapping[str, Source[Any]],
        sinks: Mapping[str, Sink[Any]],
        log: EventLog,
        options: RuntimeOptions,
        recorder: Recorder | None = None,
        summaries: SummaryBoard | None = None,
        describe: Callable[[str, str], Description] | None = None,
        *,
        reload: Callable[[], Mapping[str, Any]] | None = None,
        clock: WallClock | None = None,
        windows: WindowBoard | None = None,
    ) -> None:
        self._options = options
        self._recorder = recorder
        self._log = log
        self._states = StateBoard()
        self._requests: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._deadline_s = math.inf
        self._asked_s = math.inf
        self.leaves_threads = False
        """Whether the shutdown left threads behind, that hang or had too much to do."""
        self._inbox = Inbox(options.inbox_messages, options.inbox_samples, options.no_data_after_s)
        self._pipeline, self._pipeline_counts = pipeline, pipeline.counts
        self._summaries = summaries
        self._work: Work = getattr(pipeline, "work", None) or Work()
        self._ages = LogAges()
        self._describe = describe
        self._windows = windows
        self._clock = clock or WallClock(log.known_ns)
        self._doubt: str | None = None
        self._clock_counts: Counter[str] = Counter()
        self._pauses_ns: dict[str, int] = {}  # of an earlier run: until when
        self.commands = Commands(self)
        self._instances = Instances(self._run_source, self._run_sink, log.leave)
        self._instances.add(sources.values(), sinks.values())
        self._pipe = PipelineThread(
            pipeline,
            self._inbox,
            log,
            self._states,
            recorder,
            summaries,
            self._clock,
            hung_after_s=options.hung_after_s,
            on_done=self._look,
        )
        self._reload = reload
        self._reloaded: tuple[float, Refusal | None] | None = None  # when, and why it was refused
        self._hangup = False
        self._began_s = self._attended_s = time.monotonic()
        self._watchdog_s = (systemd.watchdog_interval_s() or math.inf) / 3
        self._fed_s = self._status_s = 0.0
        self._rate_hz, self._arrived = 0.0, 0  # until the status was last told
        self._counters_s = time.monotonic() + COUNTERS_S
        self._counters: dict[str, int] = {}
        self._stuck: set[str] = set()

    def _run_source(self, source: Source[Any]) -> SourceThread:
        source.ask = self.commands.obey
        put = partial(self._inbox.put, source=source.name)
        thread = SourceThread(source, put, self._look)
        if type(source).expect is not Source.expect:  # the look through the log takes a while
            with contextlib.suppress(EventLogError):  # which the log tells by itself
                thread.expect(self._log.streams())
        return thread

    def _run_sink(self, sink: Sink[Any]) -> SinkThread:
        start: Literal["now", "oldest"] = "now"
        if sink.name in self._options.from_oldest:
            start = "oldest"
        return SinkThread(
            sink,
            self._log.cursor(sink.name, start),
            self._states,
            self._summaries,
            self._describe,
            self.health,
            self._windows,
        )

    @property
    def _sources(self) -> tuple[SourceThread, ...]:
        return self._instances.sources

    @property
    def _sinks(self) -> tuple[SinkThread, ...]:
        return self._instances.sinks

    @property
    def _threads(self) -> tuple[PluginThread | PipelineThread, ...]:
        return (*self._sinks, self._pipe, *self._sources)

    def run(self) -> int:
        """Run to the end; return 0 after a request to stop or the end of data, else 1.

        1 means that the pipeline or, by the end of data, a source was given up.  In the main thread
        SIGTERM and SIGINT call `stop`, SIGHUP `stop` or `reload` (`RuntimeOptions`).
        """
        with self._signals():
            if self._recorder is not None:
                self._recorder.start()
            self._look_at_clock()
            self.commands.start()
            for thread in self._threads:
                thread.start()
            systemd.notify("READY=1")
            while not self._is_over():
                with contextlib.suppress(queue.Empty):
                    self._requests.get(timeout=min(1.0, self._watchdog_s))
                if self._hangup:
                    self._hangup = False
                    self.commands.submit(checked({"command": "reload"}), lambda _: None)
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
            "recent": [_told(event) for event in self._pipe.recent],
            "known_streams": self._inbox.known_streams,
            "streams": [
                {
                    "stream": stream,
                    "calibration": self._pipe.calibrations.get(stream),
                    **arrived,
                    **self._shown(states.get(stream)),
                }
                for stream, arrived in shown.items()
            ],
            "sources": [_working(thread) for thread in self._sources],
            "sinks": [_working(s) | {"backlog": s.cursor.backlog} for s in self._sinks],
            "degraded": "; ".join(self._faults()) or None,
            "reload": self._last_reload(),
            "record": None if recorder is None else recorder.status(),
            "counts": self.counts(),
        }

    def _shown(self, state: StreamState | None) -> dict[str, Any]:
        """Return what `hard status` shows of a state; nothing is decided of it yet if None."""
        if state is None:
            return {"status": None, "activity": None}
        names = ("status", "activity", "confidence", "since", "reason", "model")
        shown = {name: getattr(state, name) for name in names} | {"probs": dict(state.probs)}
        if state.status == "paused":
            left_s = self._inbox.pause_left_s(state.stream)
            shown["resumes_in_s"] = None if left_s is None else round(left_s, 1)
        return shown

    def _last_reload(self) -> dict[str, Any] | None:
        if self._reloaded is None:
            return None
        at_s, refusal = self._reloaded
        told = {} if refusal is None else {"error": refusal.reason, "message": str(refusal)}
        return {"ok": refusal is None, "age_s": round(time.monotonic() - at_s, 1), **told}

    def health(self) -> dict[str, Any]:
        """Return how the daemon does, as JSON values; from any thread.

        `degraded` says, as a text, what is broken or away, None when nothing is.  Samples dropped
        are those that the pipeline was too slow for; events dropped were never confirmed by a sink.
        """
        dropped = sum(sink.cursor.dropped for sink in self._sinks)
        return {
            "version": _version(),
            "uptime_s": round(time.monotonic() - self._began_s, 1),
            "streams": len(self._states),
            "events": self._pipe.events,
            "backlog": {sink.name: sink.cursor.backlog for sink in self._sinks},
            "clock_unsynced": self._doubt is not None,
            "dropped_samples": self._inbox.counts["dropped_samples"],
            "dropped_events": self._log.counts["dropped_uncommitted"] + dropped,
            "degraded": "; ".join(self._faults()) or None,
            "rss_mb": round(resident_bytes() / 1e6, 1),
        }

    def figures(self) -> dict[str, Any]:
        """Return what was done and how far behind each sink is, as JSON values; from any thread."""
        now_s = time.monotonic()
        plugins = (*self._sources, *self._sinks)
        return {
            "samples": dict(self._inbox.arrived),
            "gaps": self._work.gaps,
            "windows": self._work.windows,
            "inference_s": self._work.inference_s,
            "events": self._pipe.events,
            "streams": dict(Counter(state.status for state in self._states.since(0)[1])),
            "backlog": {sink.name: sink.cursor.backlog for sink in self._sinks},
            "backlog_s": {
                sink.name: self._ages.age_s(sink.cursor.position, now_s) for sink in self._sinks
            },
            "up": {thread.name: thread.state == "running" for thread in plugins},
            "restarts": {thread.name: thread.restarts for thread in plugins},
        }

    def unhealthy(self) -> list[str]:
        """Return why this process is of no more use, a text each; from any thread."""
        reasons = [
            f"{thread.name} makes no progress"
            for thread in self._threads
            if not thread.pulse.is_beating()
        ]
        if time.monotonic() > self._attended_s + SUPERVISOR_S:
            reasons.append("the supervisor makes no progress")
        if not self._log.is_alive:
            reasons.append("the event log's thread has ended")
        if self._pipe.is_broken:
            reasons.append("the pipeline is given up")
        return reasons

    def unready(self) -> list[str]:
        """Return why nothing can be recognised or kept now, a text each; from any thread."""
        reasons = self.unhealthy()
        if self._deadline_s < math.inf:
            reasons.append("it is stopping")
        if not any(source.state == "running" for source in self._sources):
            reasons.append("no source runs")
        if self._log.is_failing:
            reasons.append("the event log cannot be written")
        return reasons

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
        self._ask(Calibrate(stream), timeout_s)

    def pause(
        self, stream: str, for_s: float | None, until_ns: int | None, timeout_s: float
    ) -> None:
        """Recognise nothing of a stream until `resume`, from any thread.

        That comes by itself after `for_s`, which is at `until_ns` by this machine's clock.
        """
        self._require(stream)
        self._ask(Pause(stream, until_ns), timeout_s)
        self._inbox.resume_after(stream, for_s)

    def resume(self, stream: str, timeout_s: float) -> None:
        """Recognise a stream again, from any thread; `Refusal` where it is not paused."""
        self._ask(Resume(stream), timeout_s)
        self._inbox.resume_after(stream, None)

    def pause_left_s(self, stream: str) -> float | None:
        """Return how long a stream stays paused, None where no end is set; from any thread."""
        return self._inbox.pause_left_s(stream)

    def stay_paused(self, stream: str, until_ns: int | None) -> None:
        """Let a pause that the pipeline remembers end at `until_ns`, None: never; before `run`."""
        if until_ns is not None:
            self._pauses_ns[stream] = until_ns
            self._time_pauses()

    def _time_pauses(self) -> None:
        """Let pauses of an earlier run end when they should by the clock, once it is right."""
        if self._clock.doubt() is not None:
            return
        for stream, until_ns in self._pauses_ns.items():
            self._inbox.resume_after(stream, (until_ns - self._clock.now_ns()) / NS_PER_S)
        self._pauses_ns.clear()

    # -- another configuration -----------------------------------------------------------------

    def reload(self) -> Mapping[str, Any]:
        """Apply what changed in the configuration; from the thread of the commands only.

        Raises `Refusal` where it can't be used: then everything runs on as it was, and the status
        says so until another reload succeeds.
        """
        if self._reload is None:
            raise Refusal("unsupported", "this process has no configuration to read again")
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        refused = None
        try:
            return self._reload()
        except Refusal as refusal:
            refused = refusal
            for line in str(refusal).splitlines():
                _log.error("reload refused (%s): %s", refusal.reason, line)
            raise
        finally:
            self._reloaded = (time.monotonic(), refused)
            systemd.notify("READY=1", f"STATUS={self._status()}")
            self._look()

    def reconfigure(self, options: RuntimeOptions, change: Reconfiguration) -> None:
        """Go by other bounds, and let the pipeline go by other settings: in its thread, in turn.

        Raises `Refusal` where the pipeline does not take it in.
        """
        self._options = options
        self._inbox.limit(options.inbox_messages, options.no_data_after_s)
        self._ask(change, RECONFIGURE_S)

    def exchange(
        self, sources: Mapping[str, Source[Any] | None], sinks: Mapping[str, Sink[Any] | None]
    ) -> list[str]:
        """Stop the instances of these names and start these in their place (`Instances`)."""
        try:
            return self._instances.exchange(sources, sinks)
        finally:
            self._look()

    def failed(self) -> tuple[list[str], list[str]]:
        """Return the names of the sources and the sinks that were given up, or are left alone."""
        sources = [thread.name for thread in self._sources if thread.is_given_up]
        return sources, [thread.name for thread in self._sinks if thread.is_given_up]

    def _ask(self, control: Control | Reconfiguration, timeout_s: float) -> None:
        """Let the pipeline do something in its turn; raise its `Refusal`."""
        request = Request(control)
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

    def clear(self, stream: str, timeout_s: float) -> dict[str, bool]:
        """Let every sink remove what it shows of a stream, from any thread.

        Returns sink -> whether it has done so; one that is away does it once it is back.  Should
        the stream send again it is shown again.
        """
        self._states.forget(stream)
        asked = {sink.name: sink.forget(stream) for sink in self._sinks if not sink.is_done}
        end_s = time.monotonic() + timeout_s
        return {name: done.wait(max(0.0, end_s - time.monotonic())) for name, done in asked.items()}

    def forget(self, stream: str, timeout_s: float) -> dict[str, Any]:
        """Remove all that is known, kept and shown of a stream, from any thread.

        Returns how many events that were, and sink -> whether it has cleared what it shows by
        now; one that is away does it once it is back, in whichever run.  `Refusal` says why it is
        not done.  Should the stream send again it begins anew.
        """

        def in_its_turn() -> Mapping[str, Mapping[str, Any]]:
            self._pipeline.forget(stream)
            self._states.forget(stream)
            self._inbox.forget(stream)
            self._pipe.forget(stream)
            if self._summaries is not None:
                self._summaries.forget(stream)
            return {}

        self._ask(Reconfiguration(in_its_turn), timeout_s)
        if self._recorder is not None and not self._recorder.forget(stream, timeout_s):
            raise Refusal("behind", "the recorder is behind: try again")
        asked = {sink.name: sink.forget(stream) for sink in self._sinks}
        try:
            events = self._log.forget(stream, timeout_s)
        except EventLogError as error:
            raise Refusal("not_now", str(error)) from error
        end_s = time.monotonic() + CLEAR_S
        cleared = {n: done.wait(max(0.0, end_s - time.monotonic())) for n, done in asked.items()}
        return {"events": events, "sinks": cleared}

    def redeliver(
        self, sink: str, after_seq: int | None, since_ns: int | None, stream: str | None
    ) -> int:
        """Deliver events again to a sink, above a number or from a time on; return how many."""
        cursors = {thread.name: thread.cursor for thread in self._sinks}
        if sink not in cursors:
            there = ", ".join(cursors) or "none"
            raise Refusal("unknown_sink", f"no sink is named {sink!r}; there are: {there}")
        try:
            return again(self._log, cursors[sink], after_seq, since_ns, stream)
        except EventLogError as error:
            raise Refusal("not_now", str(error)) from error

    def counts(self) -> dict[str, int]:
        """Return every counter of what was dropped, skipped or went wrong, as `part.reason`."""
        parts: list[tuple[str, Counter[str]]] = [
            ("inbox", self._inbox.counts),
            ("pipeline", self._pipeline_counts),
            ("pipeline", self._pipe.counts),
            ("log", self._log.counts),
            ("clock", self._clock_counts),
            ("record", self._recorder.counts if self._recorder else Counter()),
            *((t.name, t.plugin.counts) for t in (*self._sources, *self._sinks)),
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
        if self._options.hangup_reloads:
            signal.signal(signal.SIGHUP, lambda *_: self._hang_up())
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _hang_up(self) -> None:
        self._hangup = True
        self._look()

    def _look(self) -> None:
        """Wake the supervisor."""
        self._requests.put(None)

    def _is_over(self) -> bool:
        return (
            self._deadline_s < math.inf
            or self._pipe.is_broken
            or (not self._instances.is_changing and all(source.is_done for source in self._sources))
        )

    # -- supervision ---------------------------------------------------------------------------

    def _attend(self) -> None:
        now_s = self._attended_s = time.monotonic()
        self._ages.note(self._log.newest, now_s)
        self._look_at_clock()
        moves = self._moves()
        if moves and now_s >= self._fed_s + self._watchdog_s:
            self._fed_s = now_s
            systemd.notify("WATCHDOG=1")
        if now_s >= self._status_s + STATUS_S:
            arrived = sum(dict(self._inbox.arrived).values())
            self._rate_hz = (arrived - self._arrived) / (now_s - self._status_s)
            self._status_s, self._arrived = now_s, arrived
            systemd.notify(f"STATUS={self._status()}")
        if now_s >= self._counters_s:
            self._counters_s = now_s + COUNTERS_S
            self._log_counters()

    def _look_at_clock(self) -> None:
        """Tell when the clock was set, and when it can be believed or no longer can."""
        set_ns, before, self._doubt = self._clock.look(), self._doubt, self._clock.doubt()
        if set_ns:
            self._clock_counts["set"] += 1
            way = "ahead" if set_ns > 0 else "back"
            _log.warning(
                "this machine's clock was set %s by %.0f s: no window moves",
                *(way, abs(set_ns) / NS_PER_S),
            )
        if self._doubt is not None and before is None:
            _log.warning("%s: events are flagged clock_unsynced until then", self._doubt)
        if self._doubt is None and before is not None:
            _log.info("this machine's clock can be believed now")
            self._time_pauses()
            for source in self._sources:
                source.clock_set()

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
        n_streams = len(self._states)
        backlog = max((sink.cursor.backlog for sink in self._sinks), default=0)
        text = (
            f"{n_streams} stream{'' if n_streams == 1 else 's'}, {self._rate_hz:.0f} samples/s, "
            f"{self._pipe.events} events{self._last_event()}, backlog {backlog}"
        )
        return f"{text}; degraded: {'; '.join(faults)}" if (faults := self._faults()) else text

    def _last_event(self) -> str:
        if not self._pipe.recent:
            return ""
        event = self._pipe.recent[-1]
        at = time.strftime("%H:%M:%SZ", time.gmtime(event.t_decided // NS_PER_S))
        return f" (the last: {event.stream} {event.kind} {event.activity or event.status} {at})"

    def _faults(self) -> list[str]:
        """Return what is broken or away, a text each; from any thread."""
        faults = [f"hangs: {', '.join(sorted(self._stuck))}"] if self._stuck else []
        if self._reloaded is not None and self._reloaded[1] is not None:
            first, *more = str(self._reloaded[1]).splitlines()
            others = f" (and {len(more)} more)" if more else ""
            faults.append(f"{self._reloaded[1].reason}, the old runs on: {first}{others}")
        if self._doubt is not None:
            faults.append(f"clock_unsynced: {self._doubt}")
        if self._log.trouble is not None:
            faults.append(self._log.trouble)
        for state in ("away", "failed"):
            plugins = (*self._sources, *self._sinks)
            names = [thread.name for thread in plugins if thread.state == state]
            if names:
                faults.append(f"{state}: {', '.join(names)}")
        in_trouble = [(t.name, t.plugin.trouble) for t in (*self._sources, *self._sinks)]
        return faults + [f"{name}: {trouble}" for name, trouble in in_trouble if trouble]

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
        self.commands.stop()
        self._instances.settle()
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
                self.leaves_threads = True
                self._tell_left_behind(thread)
        self._log_counters()
        self._log.close(max(0.1, self._left_s(1.0)))
        return 1 if failed and not asked else 0

    def _tell_left_behind(self, thread: PluginThread | PipelineThread) -> None:
        """Say that a thread has not ended: it hangs if it did not move in the latter half."""
        if thread.pulse.moved_within(self._options.shutdown_s / 2):
            _log.warning("shutdown: %s did not get done in time: %s", thread.name, thread.left)
        else:
            _log.warning("shutdown: %s hangs and is left behind", thread.name)

    def _recorder_limit_s(self) -> float:
        """Return how long the recorder may take; at the end of data there is no deadline yet."""
        return min(self._left_s(0.75), self._options.shutdown_s)

    def _left_s(self, share: float) -> float:
        """Return the seconds until `share` of the time for the shutdown is used up."""
        until_s = self._deadline_s - (1.0 - share) * self._options.shutdown_s
        return max(0.0, until_s - time.monotonic())

    def _await(self, threads: Iterable[PluginThread | PipelineThread], share: float) -> None:
        """Join threads until `share` of the time for the shutdown is used up.

        In slices: a second request to stop moves the deadline, and a long run to the end of the
        inbox must keep the watchdog fed.
        """
        for thread in threads:
            while not thread.join(min(0.1, self._left_s(share))) and self._left_s(share) > 0.0:
                self._attend()
