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

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hard.api import SampleBatch
from hard.conditioning import DEVICE_AXES, MAX_T_NS, Conditioner, SegmentEnd, Verdict
from hard.decision import Decision, DecisionSettings, PredictionBatch
from hard.novelty import novelty
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

__all__ = ["MIN_COVERAGE", "Pipeline"]

MIN_COVERAGE = 0.8
"""A window with fewer grid points near a raw sample is not classified."""


class Pipeline:
    """All streams of one process; called from one thread.

    `choose(stream)` gives the model and the decision settings of a new stream; `watch`, if given,
    sees every prediction, `explain` how each window was judged.  `references` holds which way was
    up on the streams of an earlier run, `mount(stream)` gives the axes of the device of a new
    stream.  `counts` says what was left out, by reason.
    """

    def __init__(
        self,
        choose: Callable[[str], tuple[TFLiteClassifier, DecisionSettings]],
        *,
        max_streams: int = 1000,
        watch: Callable[[PredictionBatch], None] | None = None,
        references: Mapping[str, Reference] | None = None,
        mount: Callable[[str], Axes] = lambda _: DEVICE_AXES,
        explain: Callable[[Explained], None] | None = None,
    ) -> None:
        self._choose = choose
        self._mount = mount
        self._max_streams = max_streams
        self._watch = watch
        self._explain = explain
        self._references = dict(references or {})  # of streams that are not known now
        self._calibrations: dict[str, int] = {}  # likewise: since when one waits, ns
        self._streams: dict[str, _Stream] = {}  # the least recently fed first
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
                known = self._references.pop(name, None)
                axes = self._mount(name)
                stream = _Stream(
                    name,
                    *self._choose(name),
                    axes,
                    self.counts,
                    self._watch,
                    self._explain,
                    known,
                )
                if (since_ns := self._calibrations.pop(name, None)) is not None:
                    stream.calibrate_from(since_ns)
            self._streams[name] = stream
            events += stream.feed(batches)
        return events

    def tick(self, stream: str) -> list[Event]:
        """Nothing has arrived on `stream` for too long: decide without further samples."""
        return self._streams[stream].tick() if stream in self._streams else []

    def calibrate(self, stream: str) -> list[Event]:
        """Learn which way is up from the next 3 s of standing still on `stream`.

        Raises ValueError, a sentence, where that can't be or would change nothing.
        """
        if stream not in self._streams:
            raise ValueError(f"nothing has come from {stream} yet: let it send, then ask again")
        self._streams[stream].calibrate()
        return []

    def memory(self, stream: str) -> dict[str, Any]:
        """Return what is known of a stream that its next samples don't tell, in JSON's own types.

        That is which way is up, and since when a calibration waits; empty where there is neither.
        """
        if stream in self._streams:
            return self._streams[stream].memory()
        reference = self._references.get(stream)
        return {} if reference is None else {"upright": reference.to_json()}

    def remember(self, stream: str, state: Mapping[str, Any]) -> None:
        """Know of a stream what `memory` gave in another run; raises ValueError for anything else.

        A stream that is known already keeps its own calibration.
        """
        upright, since_ns = state.get("upright"), state.get("calibrating_since_ns")
        if since_ns is not None and (type(since_ns) is not int or abs(since_ns) > MAX_T_NS):
            raise ValueError(f"not a time in ns: {since_ns!r}")
        reference = None if upright is None else Reference.from_json(upright)
        if stream in self._streams:
            self._streams[stream].remember(reference)
            return
        if reference is not None:
            self._references[stream] = reference
        if since_ns is not None:
            self._calibrations[stream] = since_ns

    def references(self) -> dict[str, Reference]:
        """Return which way is up, for every stream on which that is known."""
        now = {name: stream.reference for name, stream in self._streams.items()}
        return self._references | {name: found for name, found in now.items() if found is not None}

    def cut(self, stream: str) -> list[Event]:
        """Another recording of the same stream follows: no window may straddle the two."""
        return self._streams[stream].flush() if stream in self._streams else []

    def finish(self, reason: Reason) -> list[Event]:
        """Decide what can be decided without further samples and close every bout."""
        return [event for stream in self._streams.values() for event in stream.finish(reason)]

    def state(self, stream: str) -> StreamState | None:
        """Return what a stream is now, None for one that is not known (any more)."""
        return self._streams[stream].decision.state() if stream in self._streams else None

    def evidence(self) -> Mapping[str, int]:
        """Return for every open bout's stream where its evidence ends, ns."""
        ends = ((n, s.decision.last_evidence_ns) for n, s in self._streams.items())
        return {name: end for name, end in ends if end is not None}

    def _make_room(self) -> list[Event]:
        """Evict the streams that have been silent longest while there are too many."""
        events = []
        while len(self._streams) >= self._max_streams:
            name = next(iter(self._streams))
            evicted = self._streams.pop(name)
            events += evicted.finish("evicted")
            if evicted.reference is not None:
                self._references[name] = evicted.reference
            self.counts["evicted"] += 1
        return events


class _Stream:
    """One device on one wearer, through the four stages."""

    def __init__(
        self,
        name: str,
        classifier: TFLiteClassifier,
        settings: DecisionSettings,
        axes: Axes,
        counts: Counter[str],
        watch: Callable[[PredictionBatch], None] | None,
        explain: Callable[[Explained], None] | None,
        reference: Reference | None,
    ) -> None:
        self._name = name
        self._classifier = classifier
        self._counts = counts
        self._watch = watch
        wanted = classifier.card.input
        self._conditioner = Conditioner(wanted, counts, axes)
        self._windower = Windower(wanted)
        self._upright: UprightEstimator | None = None
        self._calibrated_ns = 0
        self.remember(reference)
        self.decision = Decision(name, classifier.card, settings, explain)

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
        if self._upright is None:
            model = self._classifier.card.name
            raise ValueError(
                f"the model {model} does not ask which way is up: nothing to calibrate"
            )
        reached = self._conditioner.reached_ns
        if reached is None:
            raise ValueError(f"{self._name} sends nothing usable now: see its status")
        self.calibrate_from(reached)

    def calibrate_from(self, t_ns: int) -> None:
        """Make the first 3 s of standing still from data time `t_ns` on the reference."""
        if self._upright is not None:
            self._calibrated_ns = t_ns
            self._upright.calibrate(t_ns // self._classifier.card.input.period_ns)

    def feed(self, batches: list[SampleBatch]) -> list[Event]:
        events = self._run(self._conditioner.feed(batches))
        reached = self._conditioner.reached_ns
        return events if reached is None else events + self.decision.lapse(reached)

    def tick(self) -> list[Event]:
        return self._run(self._conditioner.drain()) + self.decision.silence()

    def flush(self) -> list[Event]:
        return self._run(self._conditioner.flush())

    def finish(self, reason: Reason) -> list[Event]:
        return self.flush() + self.decision.close(reason)

    def _run(self, conditioned: Iterable[Conditioned]) -> list[Event]:
        events: list[Event] = []
        for item in conditioned:
            if isinstance(item, Verdict):
                events += self.decision.verdict(item)
                continue
            if isinstance(item, SegmentEnd):
                events += self.decision.lapse(item.t)
                continue
            events += self._classify(item)
        return events

    def _classify(self, block: GridBlock) -> list[Event]:
        events: list[Event] = []
        if self._upright is not None:
            self._upright.feed(block.k0, block.values[:, :3], block.valid)
        for windows in self._windower.feed(block):
            covered = windows.coverage >= MIN_COVERAGE
            if not covered.all():
                self._counts["low_coverage"] += int((~covered).sum())
                windows = windows.part(covered)  # noqa: PLW2901 - the rest of them
            signal = novelty(windows.values, self._classifier.card.usual)
            if self._upright is None:
                probs = self._classifier.classify(windows.values)
            else:
                windows, probs = self._classify_upright(windows, self._upright)  # noqa: PLW2901
            batch = PredictionBatch(self._name, windows, probs, signal)
            if self._watch is not None:
                self._watch(batch)
            events += self.decision.update(batch)
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
