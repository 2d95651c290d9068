"""`hard replay`: recordings through the live pipeline, and what comes out told to a person.

The same `hard.pipeline` that `hard run` uses is fed from a source plugin in this thread; nothing
is lost and nothing depends on the wall clock (but `--speed`, which only waits).  Called by the
command line, `hard bench` and the training package's evaluation.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hard.api import (
    NS_PER_S,
    Annotation,
    Calibrate,
    Control,
    Evicted,
    Pause,
    Remembered,
    Renew,
    Resume,
    SampleBatch,
    Silence,
    UnusableInput,
    rfc3339,
)
from hard.conditioning import DEVICE_AXES
from hard.pipeline import Choice, Pipeline
from hard.upright import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from hard.api import DaySummary, Event, Message, Source
    from hard.conditioning import Axes
    from hard.decision import Explained, PredictionBatch

__all__ = [
    "FAULTS",
    "Bout",
    "Outcome",
    "aligned",
    "bouts",
    "day_table",
    "duration",
    "moment",
    "replay",
    "summary",
    "timeline",
]

FAULTS = frozenset({"late", "outlier", "not_finite", "out_of_range", "flood", "two_clocks"})
"""What the pipeline leaves out because the input is bad, not because a rule says so."""

_log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What a replay found: all events in the order of (t_decided, stream), and what it skipped."""

    events: list[Event] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    windows: int = 0
    relative: bool = False  # stamps count from the recording's start
    first_ns: int | None = None
    last_ns: int | None = None
    ends_ns: dict[str, int] = field(default_factory=dict)  # stream -> its last stamp
    references: dict[str, Reference] = field(default_factory=dict)  # which way was up at the end
    left_out: set[str] = field(default_factory=set)  # streams that were refused, and told so

    @property
    def faults(self) -> dict[str, int]:
        """What was skipped because the input is bad, by reason."""
        return {k: n for k, n in sorted(self.skipped.items()) if n}

    @property
    def why_no_window(self) -> str:
        """The sentence for whoever misses everything."""
        paused = {event.stream for event in self.events if event.status == "paused"}
        if paused:
            return f"no window: {', '.join(sorted(paused))} was paused while it was recorded"
        return (
            f"no window: {self.seconds:.2f} s of data are less than the model needs without a gap"
        )

    @property
    def bouts(self) -> list[Bout]:
        """What was going on when; what lasts to the end of data ends there."""
        return bouts(self.events, self.ends_ns)

    @property
    def rejections(self) -> list[Bout]:
        """The first rejection of each stream and reason, but for streams that are left out."""
        rejected = [bout for bout in self.bouts if bout.activity == "rejected"]
        first = {(bout.stream, bout.reason): bout for bout in reversed(rejected)}
        return [bout for bout in reversed(first.values()) if bout.stream not in self.left_out]

    @property
    def seconds(self) -> float:
        """The time from the first to the last sample."""
        if self.first_ns is None or self.last_ns is None:
            return 0.0
        return (self.last_ns - self.first_ns) / NS_PER_S


def replay(
    sources: Sequence[Source[Any]],
    choose: Callable[[str], Choice],
    *,
    join_s: float | None = None,
    speed: float | None = None,
    watch: Callable[[PredictionBatch], None] | None = None,
    publish: Callable[[Sequence[Event]], None] | None = None,
    progress: Callable[[float], None] | None = None,
    stop: threading.Event | None = None,
    mount: Callable[[str], Axes] = lambda _: DEVICE_AXES,
    dispensable: Collection[str] = (),
    hear: Callable[[Message], None] | None = None,
    explain: Callable[[Explained], None] | None = None,
    without_gyro: Callable[[str], Choice | None] = lambda _: None,
    renewed: Callable[[Renew], None] = lambda _: None,
    references: Mapping[str, Reference] | None = None,
) -> Outcome:
    """Feed recordings to a pipeline and return what it decided.

    With `join_s` the sources are one stream, each beginning `join_s` after the one before ended;
    otherwise each is its own.  `speed` waits so that data time passes that much faster than
    time.  `watch` sees every prediction, `publish` every event as it is decided, `progress` the
    seconds of data done; `mount(stream)` gives the axes of its device.  `hear` is told of samples
    and labels as they are fed; where recordings are joined, the label of one ends with it.
    `explain` is told how each window was judged, `without_gyro` is what the pipeline asks for,
    `renewed` is told of a recorded change of model or settings before `choose` is asked again.
    `references` say which way is up on a stream from its begin.

    Raises `UnusableInput` for a recording that is refused: nothing of it was published.  Of the
    `dispensable` sources, by their names, a refused one is told, counted and left (what live said
    of its stream stays); it is raised where none is left.
    """
    outcome = Outcome()
    stop = threading.Event() if stop is None else stop

    def count(batch: PredictionBatch) -> None:
        outcome.windows += len(batch.windows)
        if watch is not None:
            watch(batch)

    pipeline = Pipeline(
        choose,
        max_streams=10_000,
        watch=count,
        mount=mount,
        explain=explain,
        without_gyro=without_gyro,
        references=references,
    )
    spare = set() if join_s is not None else {s.name for s in sources} & set(dispensable)
    feed = _Feed(pipeline, outcome, join_s, speed, publish, progress, stop, spare, hear, renewed)
    for source in sources:
        if not stop.is_set():
            feed.run(source)
    feed.take(pipeline.finish("end_of_data"))
    feed.tell_refused(len(sources))
    outcome.skipped.update({k: n for k, n in pipeline.counts.items() if k in FAULTS})
    known = {name: memory.get("upright") for name, memory in pipeline.memories().items()}
    outcome.references = {n: Reference.from_json(up) for n, up in known.items() if up is not None}
    outcome.events.sort(key=lambda event: (event.t_decided, event.stream))
    return outcome


class _Feed:
    """Carries messages to the pipeline: joined, paced, counted."""

    def __init__(
        self,
        pipeline: Pipeline,
        outcome: Outcome,
        join_s: float | None,
        speed: float | None,
        publish: Callable[[Sequence[Event]], None] | None,
        progress: Callable[[float], None] | None,
        stop: threading.Event,
        dispensable: Collection[str],
        hear: Callable[[Message], None] | None,
        renewed: Callable[[Renew], None],
    ) -> None:
        self._renewed = renewed
        self._dispensable = dispensable
        self._hear = hear
        self._pipeline, self._outcome = pipeline, outcome
        self._join_s, self._speed = join_s, speed
        self._publish, self._progress, self._stop = publish, progress, stop
        self._began_s = time.monotonic()
        self._shift: int | None = 0
        self._joined_stream: str | None = None
        self._source = ""
        self._ends: dict[str, tuple[int, int]] = {}  # per sensor: last stamp, last spacing
        self._ok: set[str] = set()  # streams found usable
        self._sources: dict[str, str] = {}  # of each stream
        self._refused: dict[str, str] = {}  # source -> why

    def run(self, source: Source[Any]) -> None:
        """Replay one source to its end."""
        self._source = source.name
        if self._join_s is not None and self._joined_stream is not None:
            self.take(self._pipeline.cut(self._joined_stream))
            if self._hear is not None:
                self._hear([Annotation(self._joined_stream, self._end_ns(), "")])
            self._shift = None  # known with the first message
        try:
            source.run(self._emit, self._stop)
        except UnusableInput as error:
            if source.name not in self._dispensable:
                raise
            self._refused[source.name] = str(error)
        finally:
            self._outcome.skipped.update(source.counts)

    def _emit(self, message: Message) -> None:
        for item in message:
            self._sources.setdefault(item.stream, self._source)
            if isinstance(item, Control):
                self._control(item)
        batches = [item for item in message if isinstance(item, SampleBatch) and len(item)]
        labels = [item for item in message if isinstance(item, Annotation)]
        if self._join_s is not None:
            batches = [self._joined(batch, batches) for batch in batches]
            labels = [self._joined_label(label) for label in labels]
        if self._hear is not None and (batches or labels):
            self._hear([*batches, *labels])
        for part in [batches] if self._speed is None else _seconds(batches):
            self._note(part)
            self.take(self._pipeline.feed(part))
            if self._speed is not None:
                due_s = self._outcome.seconds / self._speed - (time.monotonic() - self._began_s)
                self._stop.wait(max(due_s, 0))
        if self._progress is not None:
            self._progress(self._outcome.seconds)

    def _control(self, control: Control) -> None:
        """Do what the runtime did when this was recorded."""
        stream, pipeline = self._joined_stream or control.stream, self._pipeline
        with contextlib.suppress(ValueError):  # live could not at this point either
            match control:
                case Silence():
                    self.take(pipeline.tick(stream))
                case Calibrate():
                    self.take(pipeline.calibrate(stream))
                case Evicted():
                    self.take(pipeline.evict(stream))
                case Pause():
                    self.take(pipeline.pause(stream, control.until_ns))
                case Resume():
                    self.take(pipeline.resume(stream))
                case Renew():
                    self._renewed(control)
                    self.take(pipeline.renew(stream))
                case Remembered():
                    self._remember(stream, control)

    def _remember(self, stream: str, control: Remembered) -> None:
        try:
            self._pipeline.remember(stream, control.state)
        except ValueError as error:
            self._outcome.skipped["bad_memory"] += 1
            _log.warning("%s: what was remembered can't be used: %s", self._source, error)

    def _joined(self, batch: SampleBatch, message: Sequence[SampleBatch]) -> SampleBatch:
        """Move a batch behind the recording before it, onto the same stream."""
        if self._joined_stream is None:
            self._joined_stream = batch.stream
        if self._shift is None:
            assert self._join_s is not None
            end = self._end_ns()
            first = min(int(item.t[0]) for item in message)
            self._shift = end + round(self._join_s * NS_PER_S) - first
            self._ends.clear()
        return replace(batch, stream=self._joined_stream, t=batch.t + self._shift)

    def _joined_label(self, label: Annotation) -> Annotation:
        """Move a label with the samples that it came with; before any, to where they will begin."""
        t = self._end_ns() if self._shift is None else label.t + self._shift
        return replace(label, stream=self._joined_stream or label.stream, t=t)

    def _end_ns(self) -> int:
        """Return where the recording that is joined ends: a sample's time behind its last."""
        return max((last + spacing for last, spacing in self._ends.values()), default=0)

    def _note(self, message: Sequence[SampleBatch]) -> None:
        outcome = self._outcome
        for batch in message:
            outcome.samples += len(batch)
            outcome.relative |= batch.declared.clock == "relative"
            first, last = int(batch.t.min()), int(batch.t.max())
            before, spacing = self._ends.get(batch.sensor, (last, 0))
            if len(batch) > 1:
                spacing = max(int(batch.t[-1] - batch.t[-2]), 0)
            self._ends[batch.sensor] = (max(before, last), spacing)
            outcome.first_ns = first if outcome.first_ns is None else min(outcome.first_ns, first)
            outcome.last_ns = last if outcome.last_ns is None else max(outcome.last_ns, last)
            outcome.ends_ns[batch.stream] = max(outcome.ends_ns.get(batch.stream, last), last)

    def take(self, events: Sequence[Event]) -> None:
        """Keep and publish events; a stream whose first word is `rejected` is refused."""
        for event in events:
            source = self._sources.get(event.stream, self._source)
            if event.status != "rejected":
                self._ok.add(event.stream)
                self._refused.pop(source, None)
            elif event.stream not in self._ok:
                reason = f"{source}: {event.reason}"
                if source not in self._dispensable:
                    raise UnusableInput(reason)
                self._refused.setdefault(source, reason)
        if events:
            self._outcome.events += events
            if self._publish is not None:
                self._publish(events)

    def tell_refused(self, sources: int) -> None:
        """Say which of so many sources are left out; raise `UnusableInput` where all of them."""
        reasons = list(self._refused.values())
        if reasons and len(reasons) == sources:
            raise UnusableInput("\n".join(reasons))
        self._outcome.skipped["refused_streams"] += len(reasons)
        self._outcome.left_out |= {k for k, of in self._sources.items() if of in self._refused}
        for reason in reasons:
            _log.warning("left out: %s", reason)


def _seconds(batches: Sequence[SampleBatch]) -> Iterator[list[SampleBatch]]:
    """Cut a message into parts of a second, all sensors at the same times."""
    if not batches:
        return
    edges = np.unique(np.concatenate([batch.t // NS_PER_S for batch in batches])) * NS_PER_S
    cuts = [np.searchsorted(np.maximum.accumulate(b.t), edges).tolist() for b in batches]
    for i in range(len(cuts[0])):
        part = []
        for batch, at in zip(batches, cuts, strict=True):
            a, b = at[i], at[i + 1] if i + 1 < len(at) else len(batch)
            if a < b:
                part.append(replace(batch, t=batch.t[a:b], values=batch.values[a:b]))
        if part:
            yield part


@dataclass(frozen=True, slots=True)
class Bout:
    """One stretch of one activity, or of silence, of one stream; times in ns."""

    stream: str
    t_start: int
    t_end: int
    activity: str
    confidence: float | None
    reason: str | None = None  # of a rejection

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.t_end - self.t_start) / NS_PER_S


def bouts(events: Sequence[Event], ends_ns: Mapping[str, int] | None = None) -> list[Bout]:
    """Return what was going on when, in the order of (start, stream).

    That is bouts, `no_data` and `rejected`; one of those two that nothing ends lasts until its
    stream's last stamp in `ends_ns`.  They give way to the bout behind them, whose onset may lie
    before the verdict that let it begin.
    """
    found: dict[str, list[Bout]] = {}
    silent: dict[str, Event] = {}
    for event in events:
        rows = found.setdefault(event.stream, [])
        if event.kind == "exit" and event.activity is not None and event.t_end is not None:
            if rows and rows[-1].confidence is None and event.t_start < rows[-1].t_end:
                rows[-1] = replace(rows[-1], t_end=max(event.t_start, rows[-1].t_start))
            rows.append(
                Bout(event.stream, event.t_start, event.t_end, event.activity, event.confidence)
            )
        elif event.kind == "status":
            if (since := silent.pop(event.stream, None)) is not None:
                rows.append(_silent(since, event.t_start))
            if event.status in {"no_data", "rejected"}:
                silent[event.stream] = event
    for stream, since in silent.items():
        found[stream].append(_silent(since, max(since.t_decided, (ends_ns or {}).get(stream, 0))))
    lasting = (bout for rows in found.values() for bout in rows if bout.t_end > bout.t_start)
    return sorted(lasting, key=lambda bout: (bout.t_start, bout.stream))


def _silent(since: Event, t_end: int) -> Bout:
    """Return the stretch without an activity that a change of status began."""
    return Bout(since.stream, since.t_start, t_end, str(since.status), None, since.reason)


def timeline(outcome: Outcome) -> str:
    """Return the bouts as a table for people: from, to, duration, activity, confidence, why."""
    rows = outcome.bouts
    several = len({bout.stream for bout in rows}) > 1
    told = any(bout.reason for bout in rows)
    head = ["from", "to", "duration", "activity", "confidence", *(["why"] if told else [])]
    table = [[*(["stream"] if several else []), *head]]
    for bout in rows:
        sure = "" if bout.confidence is None else f"{bout.confidence:.0%}"
        table.append(
            [
                *([bout.stream] if several else []),
                moment(bout.t_start, relative=outcome.relative),
                moment(bout.t_end, relative=outcome.relative),
                duration(bout.seconds),
                bout.activity,
                sure,
                *([bout.reason or ""] if told else []),
            ]
        )
    return aligned(table, right={"duration", "confidence"})


def summary(outcome: Outcome) -> str:
    """Return the time per activity, the longest first, as a table for people."""
    spent: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for bout in outcome.bouts:
        spent[bout.activity] += round(bout.seconds * 1000)
        times[bout.activity] += 1
    total = sum(spent.values()) or 1
    table = [["activity", "time", "share", "bouts"]]
    for activity, ms in spent.most_common():
        table.append([activity, duration(ms / 1000), f"{ms / total:.0%}", str(times[activity])])
    return aligned(table, right={"time", "share", "bouts"})


def day_table(summaries: Sequence[DaySummary]) -> str:
    """Return days as a table for people: a row a stream and day, time by activity."""
    names = list(dict.fromkeys(name for day in summaries for name in sorted(day.activity_s)))
    head = ["stream", "day", *names, "no_data", "bouts", "longest rest"]
    table = [head]
    for day in summaries:
        begin, end = day.longest_rest or (0, 0)
        seconds = [day.activity_s.get(name, 0.0) for name in names]
        table.append(
            [
                *(day.stream, day.date),
                *(duration(s) for s in (*seconds, day.no_data_s)),
                str(sum(day.bouts.values())),
                duration((end - begin) / NS_PER_S),
            ]
        )
    return aligned(table, right=set(head[2:]))


def moment(t_ns: int, *, relative: bool) -> str:
    """Return a time of day in UTC, or for a recording without absolute time the time elapsed."""
    if not relative or t_ns > 365 * 86400 * NS_PER_S:
        return rfc3339(t_ns).replace("T", " ")
    return duration(t_ns / NS_PER_S)


def duration(seconds: float) -> str:
    """Return seconds as h:mm:ss.s.

    >>> duration(3725.25)
    '1:02:05.2'
    """
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{tenths // 10:02d}.{tenths % 10}"


def aligned(table: list[list[str]], right: set[str]) -> str:
    """Return rows, the first of them the heads, in columns; those named in `right` to the right."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        cells = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, table[0], strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
