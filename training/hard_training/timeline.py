"""What the daemon shows while a wearer's recordings go by, and how good that is.

A person's recordings are joined into one, as `hard replay --join 0` does, and go through the
daemon's own pipeline; `hard.scoring` judges what is shown, as in `hard evaluate`.  Called by
evaluation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hard.api import SampleBatch, UnusableInput
from hard.pipeline import Pipeline
from hard.scoring import Segment, Words, score, shown_in
from hard_training import datasets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hard.api import Event
    from hard.card import ModelCard
    from hard.classifier import TFLiteClassifier
    from hard.decision import DecisionSettings
    from hard.scoring import Shown
    from hard.upright import Reference
    from hard_training.datasets import Recording

__all__ = ["joined", "labels_of", "share_right", "shown", "words_of"]

_STREAM = "wearer"


def joined(recordings: Iterable[Recording]) -> Iterator[Recording]:
    """Yield the recordings of one person laid end to end on one stream, from time 0 on."""
    begin_ns = 0
    for recording in recordings:
        batches = [b for m in recording.messages for b in m if isinstance(b, SampleBatch)]
        shift_ns = begin_ns - min(int(batch.t[0]) for batch in batches)
        yield replace(
            recording,
            messages=tuple(
                [
                    replace(item, stream=_STREAM, t=item.t + shift_ns)
                    for item in message
                    if isinstance(item, SampleBatch)
                ]
                for message in recording.messages
            ),
            segments=tuple(
                datasets.Segment(s.t_start_ns + shift_ns, s.t_end_ns + shift_ns, s.label)
                for s in recording.segments
            ),
        )
        begin_ns = max(int(batch.t[-1]) for batch in batches) + shift_ns + datasets.PERIOD_NS


def labels_of(recordings: Iterable[Recording]) -> list[Segment]:
    """Return the labelled segments of recordings that are `joined`."""
    return [
        Segment(segment.t_start_ns, segment.t_end_ns, segment.label)
        for recording in recordings
        for segment in recording.segments
    ]


def words_of(card: ModelCard) -> Words:
    """Return what a model can say."""
    return Words(frozenset(card.labels), frozenset(card.postures))


def shown(
    recordings: Iterable[Recording],
    classifier: TFLiteClassifier,
    settings: DecisionSettings,
    reference: Reference | None = None,
) -> list[Shown]:
    """Return what the pipeline shows of recordings that are `joined`.

    `reference` is which way is up, where that is known from the start.  Raises `UnusableInput`
    for a signal that is refused.
    """
    known = {} if reference is None else {_STREAM: reference}
    pipeline = Pipeline(lambda _: (classifier, settings), references=known)
    events: list[Event] = []
    for recording in recordings:
        events += pipeline.cut(_STREAM)
        for message in recording.messages:
            events += pipeline.feed(message)
            if events and events[0].status == "rejected":
                raise UnusableInput(f"{recording.name}: {events[0].reason}")
    events += pipeline.finish("end_of_data")
    return shown_in(events).get(_STREAM, [])


def share_right(
    recordings: Sequence[Recording], classifier: TFLiteClassifier, settings: DecisionSettings
) -> float:
    """Return how much of the time with a label of the model one person's joined timeline is right.

    0 where there is no such time.
    """
    line = list(joined(recordings))
    seen = shown(line, classifier, settings)
    known = score(labels_of(line), seen, words_of(classifier.card)).known()
    return known.time_ns["right"] / max(known.labelled_ns, 1)
