"""The thread that feeds the pipeline, in order of arrival, and hands on what it decides.

What the pipeline is fed, a recorder may see first.  Made and supervised by `hard.runtime`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from hard.api import (
    Calibrate,
    Control,
    Event,
    Evicted,
    Message,
    Pause,
    Remembered,
    Renew,
    Resume,
    SampleBatch,
    Silence,
    StreamState,
)
from hard.inbox import IDLE_S, Inbox, Reconfiguration, Refusal, Request
from hard.threads import Budget, Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hard.eventlog import EventLog
    from hard.states import StateBoard
    from hard.summaries import SummaryBoard
    from hard.wallclock import WallClock

__all__ = ["Pipeline", "PipelineThread", "Recorder"]

EVIDENCE_S = 1.0
CHECKPOINT_S = 60.0
RECENT = 20

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

    def evict(self, stream: str) -> list[Event]:
        """Close a stream's bout and forget it, as another time it made room for another."""
        ...

    def finish(self, reason: str) -> list[Event]:
        """Close every open bout."""
        ...

    def state(self, stream: str) -> StreamState | None:
        """Return what the stream is now; None for one that is not known (any more)."""
        ...

    def evicted(self) -> list[str]:
        """Return the streams that made room for others since the last call."""
        ...

    def evidence(self, streams: Iterable[str] | None = None) -> Mapping[str, int]:
        """Return stream -> data time (ns) of the last evidence of its open bout; None: of all."""
        ...

    def memory(self, stream: str) -> Mapping[str, Any]:
        """Return what is known of a stream beyond its samples to come, as JSON values."""
        ...

    def memories(self) -> Mapping[str, Mapping[str, Any]]:
        """Return `memory` of every stream of which anything is known."""
        ...

    def forget(self, stream: str) -> None:
        """Know nothing of a stream any more."""
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

    def forget(self, stream: str, timeout_s: float) -> bool:
        """Remove what is recorded of a stream; return whether that was done in time."""
        ...

    def close(self, timeout_s: float) -> bool:
        """Write the rest within `timeout_s`; return whether that succeeded."""
        ...

    def status(self) -> dict[str, Any]:
        """Return where and how much was written, as JSON values; from any thread."""
        ...


class PipelineThread:
    """Feeds the pipeline, in order of arrival, and hands on what it decides."""

    def __init__(
        self,
        pipeline: Pipeline,
        inbox: Inbox,
        log: EventLog,
        states: StateBoard,
        recorder: Recorder | None,
        summaries: SummaryBoard | None,
        clock: WallClock,
        *,
        hung_after_s: float,
        on_done: Callable[[], None],
    ) -> None:
        self.name = "pipeline"
        self.events = 0
        self.recent: tuple[Event, ...] = ()
        """The last that were decided, the oldest first."""
        self.counts: Counter[str] = Counter()
        self.pulse = Pulse(hung_after_s)
        self.is_broken = False
        self._pipeline = pipeline
        self._inbox = inbox
        self._log = log
        self._states = states
        self._recorder = recorder
        self._summaries = summaries
        self._clock = clock
        self._unsynced: set[str] = set()  # open bouts whose enter was flagged
        self._on_done = on_done
        self._budget = Budget()
        self.calibrations: dict[str, str] = {}
        """Of each stream that was to be calibrated: waiting, learned or failed."""
        self._calibrating_ns: dict[str, int] = {}  # since when the waiting ones do
        self._kept = set(pipeline.memories())
        self._at_risk = 0  # samples of what is being fed
        self._evidence_s = 0.0
        self._checkpoint_s = time.monotonic() + CHECKPOINT_S
        self._reason = "shutdown"
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.pulse.beat()
        self._thread.start()

    def finish(self, reason: str) -> None:
        """End once the inbox, which takes nothing more in, is dry; open bouts get `reason`."""
        self._reason = reason
        self._inbox.close()

    def forget(self, stream: str) -> None:
        """Show no event of a stream any more; from its own thread."""
        self.recent = tuple(event for event in self.recent if event.stream != stream)

    @property
    def left(self) -> str:
        """What becomes of the bouts that it had no time to close."""
        return "bouts that are still open end as interrupted at the next start"

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end, at most `timeout_s`; return whether it has."""
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
            self._meet(taken)
        elif taken is not None:
            message = (taken,) if isinstance(taken, (Silence, Resume)) else taken
            self._at_risk = sum(len(i) for i in message if isinstance(i, SampleBatch))
            self._feed(message)
        self._note_evidence()

    def _feed(self, message: Message) -> None:
        self._record(message)
        events: list[Event] = []
        for item in message:
            if isinstance(item, Control):
                with contextlib.suppress(Refusal):  # nobody asked
                    events += self._obey(item)
        data = [item for item in message if not isinstance(item, Control)]
        if data:
            events += self._pipeline.feed(data)
        self._note_calibrations()
        self._publish(events, [item.stream for item in message])

    def _meet(self, request: Request) -> None:
        """Do what is asked, and answer it whatever happens."""
        refusal: Refusal | None = Refusal("bug", "it failed: the log tells more")
        try:
            if isinstance(request.control, Reconfiguration):
                self._reconfigure(request.control)
            else:
                self._record((request.control,))
                events = self._obey(request.control)
                self._publish(events, [request.control.stream], keep=True)
            refusal = None
        except Refusal as error:
            refusal = error
        finally:
            request.answer.put(refusal)

    def _obey(self, control: Control) -> list[Event]:
        """Do what the pipeline is told; raise `Refusal` where it can't."""
        match control:
            case Silence():
                return self._pipeline.tick(control.stream)
            case Evicted():
                return self._pipeline.evict(control.stream)
            case Remembered():
                self._remember(control)
                return []
        name = type(control).__name__.lower()
        method = getattr(self._pipeline, name, None)
        if method is None:
            raise Refusal("unsupported", f"this pipeline has nothing to {name}")
        more = [control.until_ns] if isinstance(control, Pause) else []
        try:
            events: list[Event] = method(control.stream, *more)
        except ValueError as error:
            raise Refusal("not_now", str(error)) from error
        if isinstance(control, Calibrate):
            self._await_calibration(control.stream)
        return events

    def _reconfigure(self, change: Reconfiguration) -> None:
        """Go by other settings from here on; streams for which they mean a change begin anew."""
        for stream, about in change.apply().items():
            control = Renew(stream, about)
            self._record((control,))
            self._publish(self._obey(control), [stream])

    def _await_calibration(self, stream: str) -> None:
        since_ns = self._pipeline.memory(stream).get("calibrating_since_ns")
        if since_ns is not None:
            self.calibrations[stream] = "waiting"
            self._calibrating_ns[stream] = since_ns

    def _note_calibrations(self) -> None:
        """See what became of those that wait."""
        for stream, since_ns in list(self._calibrating_ns.items()):
            known = self._pipeline.memory(stream)
            if known.get("calibrating_since_ns") is not None:
                continue
            upright = known.get("upright") or {}
            learned = upright.get("source") == "calibration" and upright["t_learned_ns"] > since_ns
            self.calibrations[stream] = "learned" if learned else "failed"
            del self._calibrating_ns[stream]

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
        self._keep()

    def _publish(self, events: list[Event], streams: list[str], *, keep: bool = False) -> None:
        """Log events and show what the streams are now; `keep` with what is known of them."""
        events = self._flagged(events)
        known = {stream: self._pipeline.memory(stream) or None for stream in streams if keep}
        entered = [event.stream for event in events if event.kind == "enter"]
        self._log.append(events, known, self._pipeline.evidence(entered))
        self._kept |= {stream for stream, memory in known.items() if memory}
        for event in events:
            if self._summaries is not None:
                self._summaries.take(event)
            if event.kind == "status":
                level = logging.WARNING if event.status == "rejected" else logging.INFO
                why = f": {event.reason}" if event.reason else ""
                _log.log(level, "stream %s: %s%s", event.stream, event.status, why)
        self.events += len(events)
        if events:
            self.recent = (*self.recent, *events)[-RECENT:]
        streams = [*self._pipeline.evicted(), *streams, *(event.stream for event in events)]
        for stream in dict.fromkeys(streams):
            state = self._pipeline.state(stream)
            self._states.show(stream, state)
            if self._summaries is not None and state is not None and state.t is not None:
                self._summaries.reach(stream, state.t)

    def _flagged(self, events: list[Event]) -> list[Event]:
        """Return events with what is to be said of this machine's clock.

        The exit of a bout that began while it could not be believed has its onset of then.
        """
        if not events or not (self._unsynced or self._clock.is_unsynced()):
            return events
        unsynced = self._clock.is_unsynced()
        flagged = []
        for event in events:
            bout = event.bout
            if bout is not None and event.kind == "enter" and unsynced:
                self._unsynced.add(bout)
            doubtful = unsynced or bout in self._unsynced
            flagged.append(replace(event, clock_unsynced=True) if doubtful else event)
            if bout is not None and event.kind == "exit":
                self._unsynced.discard(bout)
        return flagged

    def _keep(self) -> None:
        """Store what is known of the streams."""
        memories = self._pipeline.memories()
        self._log.append([], {**dict.fromkeys(self._kept - memories.keys()), **memories})
        self._kept = set(memories)

    def _note_evidence(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._evidence_s:
            self._evidence_s = now_s + EVIDENCE_S
            for stream, t_ns in self._pipeline.evidence().items():
                self._log.evidence(stream, t_ns)
        if now_s >= self._checkpoint_s:
            self._checkpoint_s = now_s + CHECKPOINT_S
            self._keep()
