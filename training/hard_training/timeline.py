"""What the daemon shows while a wearer's recordings go by, and how much of that time is right.

A person's recordings are joined into one, as `hard replay --join 0` does, and go through the
daemon's own pipeline; what is shown at a time is compared with the label of that time.
Unlabelled time does not count, time shown as unknown counts as wrong, and `still` (resting, before
it is known which way is up) as right for any posture.  Called by evaluation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from hard.api import SampleBatch, UnusableInput
from hard.card import STILL
from hard.pipeline import Pipeline
from hard_training.datasets import PERIOD_NS, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hard.api import Event
    from hard.card import ModelCard
    from hard.classifier import TFLiteClassifier
    from hard.decision import DecisionSettings
    from hard.upright import Reference
    from hard_training.datasets import Recording

__all__ = ["Shown", "is_right", "joined", "labels_of", "right_ns", "share_right", "shown"]

_STREAM = "wearer"


class Shown(NamedTuple):
    """One bout as the daemon tells it, and the data time at which it began to; ns."""

    t_start_ns: int
    t_end_ns: int
    activity: str
    t_decided_ns: int


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
                Segment(s.t_start_ns + shift_ns, s.t_end_ns + shift_ns, s.label)
                for s in recording.segments
            ),
        )
        begin_ns = max(int(batch.t[-1]) for batch in batches) + shift_ns + PERIOD_NS


def labels_of(recordings: Iterable[Recording], labels: Iterable[str]) -> list[Segment]:
    """Return the bouts that carry one of `labels`: touching segments of one label are one."""
    known = set(labels)
    found: list[Segment] = []
    for segment in (s for recording in recordings for s in recording.segments):
        last = found[-1] if found else None
        if segment.label not in known:
            continue
        if last is not None and (last.label, last.t_end_ns) == (segment.label, segment.t_start_ns):
            found[-1] = replace(last, t_end_ns=segment.t_end_ns)
        else:
            found.append(segment)
    return found


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
    decided = {event.bout: event.t_decided for event in events if event.kind == "enter"}
    found = [
        Shown(event.t_start, event.t_end, event.activity, decided[event.bout])
        for event in events
        if event.kind == "exit" and event.activity is not None and event.t_end is not None
    ]
    return sorted(found)


def is_right(activity: str, label: str, card: ModelCard) -> bool:
    """Tell whether what is shown agrees with a label."""
    return activity == label or (activity == STILL and label in card.postures)


def share_right(
    recordings: Sequence[Recording], classifier: TFLiteClassifier, settings: DecisionSettings
) -> float:
    """Return the share of labelled time at which one person's joined timeline is right."""
    line = list(joined(recordings))
    truth = labels_of(line, classifier.card.labels)
    total_ns = sum(segment.t_end_ns - segment.t_start_ns for segment in truth)
    seen = shown(line, classifier, settings)
    return right_ns(truth, seen, classifier.card) / max(total_ns, 1)


def right_ns(truth: Sequence[Segment], seen: Sequence[Shown], card: ModelCard) -> int:
    """Return for how long what is shown agrees with the truth."""
    return sum(
        max(0, min(segment.t_end_ns, bout.t_end_ns) - max(segment.t_start_ns, bout.t_start_ns))
        for segment in truth
        for bout in seen
        if is_right(bout.activity, segment.label, card)
    )
