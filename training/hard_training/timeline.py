"""How much of the time the timeline that `hard replay` shows is right.

Each test person's recordings are joined into one, as `hard replay --join 0` does, and go through
the daemon's own pipeline; what is shown at a time is compared with the label of that time.
Unlabelled time does not count, and time shown as unknown counts as wrong.  Called by evaluation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hard.api import PluginConfig, SampleBatch, Source
from hard.replay import bouts, replay
from hard_training.datasets import PERIOD_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hard.api import Emit, Stop
    from hard.classifier import TFLiteClassifier
    from hard.decision import DecisionSettings
    from hard.replay import Bout
    from hard_training.datasets import Recording, Segment

__all__ = ["share_right"]


class _Recorded(Source[PluginConfig]):
    """Emits one recording's messages."""

    Config = PluginConfig

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording.name, PluginConfig())
        self._recording = recording

    def run(self, emit: Emit, stop: Stop) -> None:
        """Emit everything once."""
        for message in self._recording.messages:
            if not stop.is_set():
                emit(message)


def share_right(
    recordings: Sequence[Recording], classifier: TFLiteClassifier, settings: DecisionSettings
) -> float:
    """Return the share of labelled time at which one person's joined timeline is right."""
    outcome = replay(
        [_Recorded(recording) for recording in recordings],
        lambda _: (classifier, settings),
        join_s=0,
    )
    labels = set(classifier.card.labels)
    truth = [segment for segment in _joined(recordings) if segment[2] in labels]
    total = sum(end - start for start, end, _ in truth)
    return _overlap_ns(truth, bouts(outcome.events)) / max(total, 1)


def _joined(recordings: Iterable[Recording]) -> Iterable[tuple[int, int, str]]:
    """Yield the segments of recordings laid end to end."""
    offset_ns = 0
    for recording in recordings:
        for segment in recording.segments:
            yield _moved(segment, offset_ns)
        stamps = [item.t for item in recording.messages[-1] if isinstance(item, SampleBatch)]
        offset_ns += max(int(t[-1]) for t in stamps) + PERIOD_NS


def _moved(segment: Segment, offset_ns: int) -> tuple[int, int, str]:
    return segment.t_start_ns + offset_ns, segment.t_end_ns + offset_ns, segment.label


def _overlap_ns(truth: Sequence[tuple[int, int, str]], shown: Sequence[Bout]) -> int:
    """Return for how long what is shown has the label of the truth."""
    return sum(
        max(0, min(end, bout.t_end) - max(start, bout.t_start))
        for start, end, label in truth
        for bout in shown
        if bout.activity == label
    )
