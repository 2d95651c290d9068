"""The pipe: samples in, events out.  No thread, no wall clock, no I/O, no global.

   source plugins         the pipeline: pure, per stream, in data time            sink plugins
  +-------------+ Sample +-----------+  +---------+  +------------+  +---------+ Event +--------+
  | mqtt phone  | Batch  | condition |->| window  |->| classify   |->| decide  |------>| mqtt   |
  | serial IMU  |------->| units,    |  | ring    |  | TFLite     |  | smooth, |       | jsonl  |
  | file replay | inbox  | order,    |  | buffer, |  | LSTM,      |  | unknown,|  log  | stdout |
  | simulator   |        | resample  |  | stride  |  | calibrated |  | dwell   |       | ...    |
  +-------------+        +-----------+  +---------+  +------------+  +---------+       +--------+

Live and replay run this very code and differ only in who calls `feed`: the runtime's pipeline
thread, or `hard replay`'s loop over a file.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hard.api import SampleBatch
from hard.conditioning import Conditioner, SegmentEnd, Verdict
from hard.decision import Decision, DecisionSettings, PredictionBatch
from hard.windowing import Windower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hard.api import Event, Message, Reason, StreamState
    from hard.classifier import TFLiteClassifier
    from hard.conditioning import Conditioned

__all__ = ["MIN_COVERAGE", "Pipeline"]

MIN_COVERAGE = 0.8
"""A window with fewer grid points near a raw sample is not classified."""


class Pipeline:
    """All streams of one process; called from one thread.

    `choose(stream)` gives the model and the decision settings of a new stream; `watch`, if given,
    sees every prediction.  `counts` says what was left out, by reason.
    """

    def __init__(
        self,
        choose: Callable[[str], tuple[TFLiteClassifier, DecisionSettings]],
        *,
        max_streams: int = 1000,
        watch: Callable[[PredictionBatch], None] | None = None,
    ) -> None:
        self._choose = choose
        self._max_streams = max_streams
        self._watch = watch
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
                stream = _Stream(name, *self._choose(name), self.counts, self._watch)
            self._streams[name] = stream
            events += stream.feed(batches)
        return events

    def tick(self, stream: str) -> list[Event]:
        """Nothing has arrived on `stream` for too long: decide without further samples."""
        return self._streams[stream].tick() if stream in self._streams else []

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
            events += self._streams.pop(name).finish("evicted")
            self.counts["evicted"] += 1
        return events


class _Stream:
    """One device on one wearer, through the four stages."""

    def __init__(
        self,
        name: str,
        classifier: TFLiteClassifier,
        settings: DecisionSettings,
        counts: Counter[str],
        watch: Callable[[PredictionBatch], None] | None,
    ) -> None:
        self._name = name
        self._classifier = classifier
        self._counts = counts
        self._watch = watch
        self._conditioner = Conditioner(classifier.card.input, counts)
        self._windower = Windower(classifier.card.input)
        self.decision = Decision(name, classifier.card, settings)

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
            for windows in self._windower.feed(item):
                covered = windows.coverage >= MIN_COVERAGE
                if not covered.all():
                    self._counts["low_coverage"] += int((~covered).sum())
                    windows = windows.part(covered)  # noqa: PLW2901 - the rest of them
                probs = self._classifier.classify(windows.values)
                batch = PredictionBatch(self._name, windows, probs)
                if self._watch is not None:
                    self._watch(batch)
                events += self.decision.update(batch)
        return events
