"""The pipe: samples in, events out.  No thread, no wall clock, no I/O, no global.

   source plugins         the pipeline: pure, per stream, in data time            sink plugins
  +-------------+ Sample +-----------+  +---------+  +------------+  +---------+ Event +--------+
  | mqtt phone  | Batch  | condition |->| window  |->| classify   |->| decide  |------>| mqtt   |
  | serial IMU  |------->| units,    |  | ring    |  | TFLite     |  | smooth, |       | jsonl  |
  | file replay | inbox  | order,    |  | buffer, |  | LSTM,      |  | unknown,|  log  | stdout |
  | simulator   |        | resample  |  | stride  |  | calibrated |  | dwell   |       | ...    |
  +-------------+        +-----------+  +---------+  +------------+  +---------+       +--------+

For a model in the upright frame, `hard.upright` learns from the grid which way is up and turns the
windows; until it is known, `still` stands for every posture.

Live and replay run this very code and differ only in who calls `feed`: the runtime's pipeline
thread, or `hard replay`'s loop over a file.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hard.api import SampleBatch
from hard.conditioning import (
    CHECK_NS,
    DEVICE_AXES,
    MAX_T_NS,
    NO_GYROSCOPE,
    Conditioner,
    SegmentEnd,
    Verdict,
)
from hard.decision import Decision, DecisionSettings, PredictionBatch
from hard.metrics import Work
from hard.novelty import novelty
from hard.snapshot import restored, saved
from hard.upright import Reference, UprightEstimator, to_upright
from hard.windowing import Windower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from hard.api import Event, Message, Reason, StreamState
    from hard.card import ModelCard
    from hard.classifier import TFLiteClassifier
    from hard.conditioning import Axes, Conditioned, GridBlock
    from hard.decision import Explained
    from hard.windowing import WindowBatch

__all__ = ["MIN_COVERAGE", "Choice", "Pipeline"]

Choice: TypeAlias = "tuple[TFLiteClassifier, DecisionSettings]"
"""What a stream is recognised with."""
MIN_COVERAGE = 0.8
"""A window with fewer grid points near a raw sample is not classified."""
_CHECKPOINT_VERSION = 1
MAX_KEPT_SAMPLES = 100_000
"""So many of a stream's first samples are kept for another model, until they were checked."""


class Pipeline:
    """All streams of one process; called from one thread.

    `choose(stream)` gives the model and the decision settings of a new stream; `watch`, if given,
    sees every prediction, `explain` how each window was judged; `evicting` hears of each stream
    that is about to make room for another.  `references` holds which way was up on the streams of
    an earlier run, `mount(stream)` gives the axes of the device of a new stream,
    `without_gyro(stream)` what to use instead where no gyroscope comes (None: nothing).  `counts`
    says what was left out, by reason, `work` what was done, which it also measures.
    """

    def __init__(
        self,
        choose: Callable[[str], Choice],
        *,
        max_streams: int = 1000,
        watch: Callable[[PredictionBatch], None] | None = None,
        references: Mapping[str, Reference] | None = None,
        mount: Callable[[str], Axes] = lambda _: DEVICE_AXES,
        explain: Callable[[Explained], None] | None = None,
        evicting: Callable[[str], None] = lambda _: None,
        without_gyro: Callable[[str], Choice | None] = lambda _: None,
        work: Work | None = None,
    ) -> None:
        self.work = work or Work()
        self._choose, self._mount, self._without_gyro = choose, mount, without_gyro
        self._evicting = evicting
        self._max_streams = max_streams
        self._watch = watch
        self._explain = explain
        self._references = dict(references or {})  # of streams that are not known now
        self._calibrations: dict[str, int] = {}  # likewise: since when one waits, ns
        self._paused: dict[str, int | None] = {}  # stream -> until when that is meant, ns
        self._streams: dict[str, _Stream] = {}  # the least recently fed first
        self._evicted: deque[str] = deque(maxlen=max_streams)  # a replay never asks
        self.counts: Counter[str] = Counter()

    def feed(self, message: Message) -> list[Event]:
        """Take what arrived together; return what it decides."""
        by_stream: dict[str, list[SampleBatch]] = {}
        for item in message:
            if isinstance(item, SampleBatch):
                by_stream.setdefault(item.stream, []).append(item)
        events: list[Event] = []
        for name, batches in by_stream.items():
            stream = self._streams.pop(name, None)
            if stream is None:
                events += self._make_room()
                stream = self._begin(name, self._choose(name))
            self._streams[name] = stream
            events += self._turned(name, stream.feed(batches))
        return events

    def tick(self, stream: str) -> list[Event]:
        """Nothing has arrived on `stream` for too long: decide without further samples."""
        if stream not in self._streams:
            return []
        return self._turned(stream, self._streams[stream].tick())

    def calibrate(self, stream: str) -> list[Event]:
        """Learn which way is up from the next 3 s of standing still on `stream`.

        Raises ValueError, a sentence, where that can't be or would change nothing.
        """
        self._known(stream).calibrate()
        return []

    def pause(self, stream: str, until_ns: int | None = None) -> list[Event]:
        """Recognise nothing of `stream` from here on: its samples are counted and left out.

        `until_ns` is remembered; nothing ends a pause but `resume`.  Raises ValueError, a sentence,
        for a stream that is not known.
        """
        if stream not in self._paused:
            self._known(stream)
        self._paused[stream] = until_ns
        return self._streams[stream].pause() if stream in self._streams else []

    def resume(self, stream: str) -> list[Event]:
        """Recognise `stream` again; raises ValueError, a sentence, where it is not paused."""
        if stream not in self._paused:
            raise ValueError(f"{stream} is not paused")
        del self._paused[stream]
        return self._streams[stream].resume() if stream in self._streams else []

    def paused(self) -> dict[str, int | None]:
        """Return the streams that are paused, and until when that is meant, ns."""
        return dict(self._paused)

    def reconfigure(
        self,
        choose: Callable[[str], Choice],
        mount: Callable[[str], Axes],
        without_gyro: Callable[[str], Choice | None],
        max_streams: int,
    ) -> list[str]:
        """Use these from now on; return the streams to `renew`, for which they say otherwise."""
        self._choose, self._mount, self._without_gyro = choose, mount, without_gyro
        self._max_streams = max_streams
        return [
            name
            for name, stream in self._streams.items()
            if choose(name) != stream.wanted
            or mount(name) != stream.axes
            or (stream.choice != stream.wanted and without_gyro(name) != stream.choice)
        ]

    def renew(self, stream: str) -> list[Event]:
        """Close the bout of `stream` and begin anew, with the model and settings of now."""
        if stream not in self._streams:
            return []
        ended = self._streams[stream].finish("changed")
        choice = self._choose(stream)
        return self._begin_again(stream, choice, choice, ended)

    def memory(self, stream: str) -> dict[str, Any]:
        """Return what is known of a stream that its next samples don't tell, in JSON's own types.

        That is which way is up, since when a calibration waits, and whether it is paused; empty
        where there is nothing.
        """
        paused = {"paused_until_ns": self._paused[stream]} if stream in self._paused else {}
        if stream in self._streams:
            return self._streams[stream].memory() | paused
        reference = self._references.get(stream)
        return ({} if reference is None else {"upright": reference.to_json()}) | paused

    def remember(self, stream: str, state: Mapping[str, Any]) -> None:
        """Know of a stream what `memory` gave in another run; raises ValueError for anything else.

        A stream that is known already keeps its own calibration, and goes on if it does.
        """
        upright, since_ns = state.get("upright"), state.get("calibrating_since_ns")
        if since_ns is not None and (type(since_ns) is not int or abs(since_ns) > MAX_T_NS):
            raise ValueError(f"not a time in ns: {since_ns!r}")
        until_ns = state.get("paused_until_ns")
        if until_ns is not None and (type(until_ns) is not int or abs(until_ns) > MAX_T_NS):
            raise ValueError(f"not a time in ns: {until_ns!r}")
        reference = None if upright is None else Reference.from_json(upright)
        if stream in self._streams:
            self._streams[stream].remember(reference)
            return
        if reference is not None:
            self._references[stream] = reference
        if since_ns is not None:
            self._calibrations[stream] = since_ns
        if "paused_until_ns" in state:
            self._paused[stream] = until_ns

    def checkpoint(self, stream: str) -> dict[str, Any]:
        """Return all that is known of a stream, in JSON's own types, for `restore`.

        Raises ValueError for a stream that is not known.
        """
        known = self._known(stream)
        return {
            "version": _CHECKPOINT_VERSION,
            "model": known.wanted[0].card.identity,
            "state": saved(known, known.wiring(self._without_gyro(stream))),
        }

    def restore(self, stream: str, checkpoint: Mapping[str, Any]) -> None:
        """Go on with a stream where a pipeline of the same settings left it at its `checkpoint`.

        Whatever comes next, the events are those of one that never stopped.  Raises ValueError for
        what is no checkpoint, or one of another version or model.
        """
        fresh = self._begin(stream, self._choose(stream))
        made_by = checkpoint.get("version"), checkpoint.get("model")
        if made_by != (_CHECKPOINT_VERSION, fresh.wanted[0].card.identity):
            raise ValueError(f"a checkpoint of {stream} by another version or model: {made_by}")
        known = restored(checkpoint.get("state"), fresh.wiring(self._without_gyro(stream)))
        if not isinstance(known, _Stream):
            raise ValueError(f"no checkpoint of {stream}: {known!r:.100}")  # noqa: TRY004 - read
        self._streams[stream] = known
        if known.is_paused:
            self._paused.setdefault(stream, None)

    def memories(self) -> dict[str, dict[str, Any]]:
        """Return `memory` of every stream of which anything is known, also of an earlier run."""
        names = {**self._references, **dict.fromkeys(self._paused), **self._streams}
        found = {name: self.memory(name) for name in names}
        return {name: memory for name, memory in found.items() if memory}

    def evict(self, stream: str) -> list[Event]:
        """Close a stream's bout and forget it, but for which way was up."""
        evicted = self._streams.pop(stream, None)
        if evicted is None:
            return []
        events = evicted.finish("evicted")
        if evicted.reference is not None:
            self._references[stream] = evicted.reference
        self.counts["evicted"] += 1
        self._evicted.append(stream)
        return events

    def forget(self, stream: str) -> None:
        """Know nothing of a stream any more, and say nothing of it: its owner wants it gone."""
        self._streams.pop(stream, None)
        self._references.pop(stream, None)
        self._calibrations.pop(stream, None)
        self._paused.pop(stream, None)

    def cut(self, stream: str) -> list[Event]:
        """Another recording of the same stream follows: no window may straddle the two."""
        return self._flush(stream) if stream in self._streams else []

    def finish(self, reason: Reason) -> list[Event]:
        """Decide what can be decided without further samples and close every bout."""
        events: list[Event] = []
        for name in list(self._streams):
            events += self._flush(name) + self._streams[name].finish(reason)
        return events

    def state(self, stream: str) -> StreamState | None:
        """Return what a stream is now, None for one that is not known (any more)."""
        return self._streams[stream].decision.state() if stream in self._streams else None

    def evicted(self) -> list[str]:
        """Return the streams that made room for others since the last call."""
        evicted = list(self._evicted)
        self._evicted.clear()
        return evicted

    def evidence(self, streams: Iterable[str] | None = None) -> Mapping[str, int]:
        """Return where the evidence of each open bout ends, ns, by stream: of all, or of these."""
        known = self._streams if streams is None else self._streams.keys() & set(streams)
        ends = ((name, self._streams[name].decision.last_evidence_ns) for name in known)
        return {name: end for name, end in ends if end is not None}

    def _known(self, stream: str) -> _Stream:
        if stream not in self._streams:
            raise ValueError(f"nothing has come from {stream} yet: let it send, then ask again")
        return self._streams[stream]

    def _begin(self, name: str, choice: Choice) -> _Stream:
        """Return a new stream that knows what an earlier one of that name did."""
        stream = _Stream(
            name,
            choice,
            self._mount(name),
            self.counts,
            self._watch,
            self._explain,
            self._references.pop(name, None),
            lambda: self._without_gyro(name),
            self.work,
        )
        if (since_ns := self._calibrations.pop(name, None)) is not None:
            stream.calibrate_from(since_ns)
        stream.is_paused = name in self._paused
        return stream

    def _flush(self, name: str) -> list[Event]:
        before = self._streams[name]
        events = self._turned(name, before.flush())
        return events if self._streams[name] is before else events + self._streams[name].flush()

    def _turned(self, name: str, events: list[Event]) -> list[Event]:
        """Turn to another model where the samples that led to `events` ask for one."""
        stream = self._streams[name]
        if stream.instead is None:
            return events
        events += stream.decision.close("changed")
        return self._begin_again(name, stream.instead, stream.wanted, events)

    def _begin_again(
        self, name: str, choice: Choice, wanted: Choice, ended: list[Event]
    ) -> list[Event]:
        """Put another stream in the place of one whose bout has `ended`; return all events."""
        before = self._streams[name]
        if before.reference is not None:
            self._references[name] = before.reference
        if (since_ns := before.memory().get("calibrating_since_ns")) is not None:
            self._calibrations[name] = since_ns
        stream = self._streams[name] = self._begin(name, choice)
        stream.wanted = wanted
        ended += stream.decision.succeed(before.decision)
        for batches in before.kept or []:
            ended += stream.feed(batches)
        return ended

    def _make_room(self) -> list[Event]:
        """Evict while there are too many: those without a bout first, the silent longest first."""
        events = []
        while len(self._streams) >= self._max_streams:
            idle = (s for s, at in self._streams.items() if at.decision.last_evidence_ns is None)
            name = next(idle, None) or next(iter(self._streams))
            self._evicting(name)
            events += self.evict(name)
        return events


class _Stream:
    """One device on one wearer, through the four stages."""

    def __init__(
        self,
        name: str,
        choice: Choice,
        axes: Axes,
        counts: Counter[str],
        watch: Callable[[PredictionBatch], None] | None,
        explain: Callable[[Explained], None] | None,
        reference: Reference | None,
        without_gyro: Callable[[], Choice | None],
        work: Work,
    ) -> None:
        self._work = work
        self.choice = self.wanted = choice  # what is used, and what was to be
        self.axes = axes
        self.is_paused = False
        self.instead: Choice | None = None  # to be used from here on
        self.kept: list[list[SampleBatch]] | None = []  # what came until the first verdict
        self._keeps = self._arrived_ns = 0
        self._gyro_since_ns: int | None = None
        self._without_gyro = without_gyro
        self._name = name
        classifier, settings = choice
        self._classifier = classifier
        self._counts = counts
        self._watch, self._explain = watch, explain
        wanted = classifier.card.input
        self._conditioner = Conditioner(wanted, counts, axes)
        self._windower = Windower(wanted)
        self._upright: UprightEstimator | None = None
        self._calibrated_ns = 0
        self.remember(reference)
        self.decision = Decision(name, classifier.card, settings, explain)

    def wiring(self, instead: Choice | None) -> dict[str, object]:
        """Return by name what a stream is connected to, but is no part of its state."""
        wired: dict[str, object] = {
            "counts": self._counts,
            "work": self._work,
            "watch": self._watch,
            "explain": self._explain,
            "without_gyro": self._without_gyro,
        }
        for which, choice in (("wanted", self.wanted), ("instead", instead)):
            if choice is not None:
                classifier, settings = choice
                card = classifier.card
                parts = {"model": classifier, "card": card, "input": card.input}
                parts["settings"] = settings
                wired |= {f"{which} {name}": part for name, part in parts.items()}
        return wired

    @property
    def reference(self) -> Reference | None:
        """Which way is up, None where that is not known."""
        return self._remembered if self._upright is None else self._upright.latest

    def remember(self, reference: Reference | None) -> None:
        """Learn which way is up afresh, from what an earlier run knew."""
        self._remembered = reference  # kept for another model, should this one not ask
        wanted = self._classifier.card.input
        if wanted.frame == "upright":
            self._upright = UprightEstimator(wanted.sampling_rate_hz, reference)

    def memory(self) -> dict[str, Any]:
        state: dict[str, Any] = {}
        if self.reference is not None:
            state["upright"] = self.reference.to_json()
        if self._upright is not None and self._upright.calibrating:
            state["calibrating_since_ns"] = self._calibrated_ns
        return state

    def calibrate(self) -> None:
        if self.is_paused:
            raise ValueError(f"{self._name} is paused: resume it first")
        if self._upright is None:
            model = self._classifier.card.name
            raise ValueError(
                f"the model {model} does not ask which way is up: nothing to calibrate"
            )
        reached = self._conditioner.reached_ns
        if reached is None:
            if self.decision.state().status == "checking":
                raise ValueError(f"{self._name} is still being checked: ask again in 3 s")
            raise ValueError(f"{self._name} sends nothing usable now: see its status")
        self.calibrate_from(reached)

    def calibrate_from(self, t_ns: int) -> None:
        """Make the first 3 s of standing still from data time `t_ns` on the reference."""
        if self._upright is not None:
            self._calibrated_ns = t_ns
            self._upright.calibrate(t_ns // self._classifier.card.input.period_ns)

    def feed(self, batches: list[SampleBatch]) -> list[Event]:
        self._arrived_ns = _arrived_ns(batches[-1]) or self._arrived_ns
        if self.is_paused:
            self._counts["paused"] += sum(map(len, batches))
            return self.decision.pause(self._arrived_ns)
        self._look_at_gyro(batches)
        events = self._run(self._conditioner.feed(batches))
        reached = self._conditioner.reached_ns
        return events if reached is None else events + self.decision.lapse(reached)

    def _look_at_gyro(self, batches: list[SampleBatch]) -> None:
        """Keep what comes until it was checked; ask for the wanted model once it can be used."""
        if self.kept is not None:
            self.kept.append(batches)
            self._keeps += sum(map(len, batches))
            if self._keeps > MAX_KEPT_SAMPLES:
                self.kept = None
        if self.choice != self.wanted and any(batch.sensor == "gyro" for batch in batches):
            self._gyro_since_ns = self._gyro_since_ns or self._arrived_ns
            if self._arrived_ns >= self._gyro_since_ns + CHECK_NS:
                self.instead = self.wanted

    def tick(self) -> list[Event]:
        if self.is_paused:
            return self.decision.silence()
        return self._run(self._conditioner.drain()) + self.decision.silence()

    def pause(self) -> list[Event]:
        if self.is_paused:
            return []
        self.is_paused = True
        return self._run(self._conditioner.drain()) + self.decision.pause(self._arrived_ns)

    def resume(self) -> list[Event]:
        self.is_paused = False
        return self.decision.resume(self._arrived_ns)

    def flush(self) -> list[Event]:
        return [] if self.is_paused else self._run(self._conditioner.flush())

    def finish(self, reason: Reason) -> list[Event]:
        return self.flush() + self.decision.close(reason)

    def _run(self, conditioned: Iterable[Conditioned]) -> list[Event]:
        events: list[Event] = []
        for item in conditioned:
            if isinstance(item, Verdict):
                if item.reason == NO_GYROSCOPE:
                    self.instead = self._without_gyro()
                    if self.instead is not None:
                        return events
                self.kept = None
                events += self.decision.verdict(item)
                continue
            if isinstance(item, SegmentEnd):
                events += self.decision.lapse(item.t)
                continue
            events += self._classify(item)
        return events

    def _classify(self, block: GridBlock) -> list[Event]:
        events: list[Event] = []
        work, gaps = self._work, self._windower.gaps
        if self._upright is not None:
            self._upright.feed(block.k0, block.values[:, :3], block.valid)
        for windows in self._windower.feed(block):
            covered = windows.coverage >= MIN_COVERAGE
            if not covered.all():
                self._counts["low_coverage"] += int((~covered).sum())
                windows = windows.part(covered)  # noqa: PLW2901 - the rest of them
            signal = novelty(windows.values, self._classifier.card.usual)
            began_s = work.clock()
            if self._upright is None:
                probs = self._classifier.classify(windows.values)
            else:
                windows, probs = self._classify_upright(windows, self._upright)  # noqa: PLW2901
            work.inference_s += work.clock() - began_s
            work.windows += len(windows)
            batch = PredictionBatch(self._name, windows, probs, signal)
            if self._watch is not None:
                self._watch(batch)
            events += self.decision.update(batch)
        work.gaps += self._windower.gaps - gaps
        return events

    def _classify_upright(
        self, windows: WindowBatch, upright: UprightEstimator
    ) -> tuple[WindowBatch, NDArray[np.float64]]:
        """Return the windows turned upright, and the probabilities of the card's states."""
        card = self._classifier.card
        references = upright.references(windows.t_end // card.input.period_ns)
        turned = replace(windows, values=to_upright(windows.values, references))
        probs = self._classifier.classify(turned.values)
        return turned, _with_still(probs, np.isnan(references[:, 0]), card)


def _arrived_ns(batch: SampleBatch) -> int:
    """Return when a batch came: its own time where that is the epoch's, else ours; ns."""
    own = int(batch.t[-1]) if len(batch) else 0
    return own if batch.declared.clock == "epoch" else batch.t_received_ns or own


def _with_still(
    probs: NDArray[np.float64], unknown: NDArray[np.bool_], card: ModelCard
) -> NDArray[np.float64]:
    """Return probabilities float64[w, states]: `still` takes what postures have where `unknown`."""
    if not card.postures:
        return probs
    postures = np.array([card.labels.index(posture) for posture in card.postures], np.intp)
    states = np.append(probs, np.zeros((len(probs), 1)), axis=1)
    rows = np.flatnonzero(unknown)
    states[rows, -1] = probs[np.ix_(rows, postures)].sum(axis=1).round(4)
    states[np.ix_(rows, postures)] = 0.0
    return states
