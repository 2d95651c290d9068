"""What a data set's loader yields: recordings of people, with labels over time; and its errors.

Values only.  Loaders make them, `hard_training.windows` cuts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hard.api import Annotation, SampleBatch
from hard_training.datasets.labels import canonical, is_known

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from hard.api import Message

__all__ = [
    "PERIOD_NS",
    "DataMissing",
    "DataUnusable",
    "Recording",
    "Segment",
    "Split",
    "labels_at",
    "recorded",
    "whole",
]

PERIOD_NS = 20_000_000


class DataMissing(Exception):  # noqa: N818 - a state of the user's disk, told to the user
    """The data set isn't there; the message says where it was looked for and where to get it."""


class DataUnusable(DataMissing):
    """What is there is truncated, damaged, or another version; the message says which file."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of one label, from `t_start_ns` up to but not including `t_end_ns`."""

    t_start_ns: int
    t_end_ns: int
    label: str


def labels_at(segments: Sequence[Segment], t: NDArray[np.int64]) -> list[str | None]:
    """Return the label at each time of `t` (ns), None where there is none."""
    starts = np.array([s.t_start_ns for s in segments], np.int64)
    found = np.searchsorted(starts, t, side="right") - 1
    return [
        segments[i].label if i >= 0 and at < segments[i].t_end_ns else None
        for i, at in zip(found.tolist(), t.tolist(), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Recording:
    """What one person did in one go: messages as a source would emit them, labels over time.

    `messages` hold samples only.  Stamps are the source's own; `segments` ascend and don't overlap;
    time in none is unlabelled.  `order` ascends with the time at which a person's recordings were
    made; `device` tells apart what one person wore at the same time.
    """

    name: str
    person: int
    messages: tuple[Message, ...]
    segments: tuple[Segment, ...]
    order: int = 0
    device: str = ""

    def labels_at(self, t: NDArray[np.int64]) -> list[str | None]:
        """Return the label at each time of `t` (ns), None where there is none."""
        return labels_at(self.segments, t)


@dataclass(frozen=True, slots=True)
class Split:
    """Who is tested and who is validated on; everybody else is trained on."""

    validation: tuple[int, ...]
    test: tuple[int, ...]

    def part(self, person: int) -> str:
        """Return "train", "validation" or "test"."""
        if person in self.test:
            return "test"
        return "validation" if person in self.validation else "train"


def samples_of(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Return the messages' samples, without what else is in them."""
    only = (tuple(p for p in message if isinstance(p, SampleBatch)) for message in messages)
    return tuple(message for message in only if message)


def whole(
    name: str,
    person: int,
    messages: Iterable[Message],
    label: str,
    *,
    order: int = 0,
    device: str = "",
    period_ns: int = PERIOD_NS,
) -> Recording:
    """Return a recording of one label throughout, up to a period behind its newest sample."""
    kept = samples_of(messages)
    t = [b.t for message in kept for b in message if isinstance(b, SampleBatch) and len(b)]
    first, last = min(int(part.min()) for part in t), max(int(part.max()) for part in t)
    segments = (Segment(first, last + period_ns, label),)
    return Recording(name, person, kept, segments, order, device)


def recorded(
    name: str,
    person: int,
    messages: Iterable[Message],
    defects: Counter[str],
    *,
    order: int = 0,
    device: str = "",
) -> Recording:
    """Return a recording labelled by the annotations in its messages.

    Each holds until the next one; what is no label of ours ends the one before, and is counted as
    `unknown_label` where nobody knows the word.
    """
    given = list(messages)
    kept = samples_of(given)
    notes = [part for message in given for part in message if isinstance(part, Annotation)]
    newest = max((int(b.t.max()) for m in kept for b in m if isinstance(b, SampleBatch)), default=0)
    segments = _segments(sorted(notes, key=lambda note: note.t), newest + 1, defects)
    return Recording(name, person, kept, tuple(segments), order, device)


def _segments(notes: Sequence[Annotation], end_ns: int, defects: Counter[str]) -> list[Segment]:
    segments: list[Segment] = []
    for note, until in zip(notes, [*(n.t for n in notes[1:]), end_ns], strict=True):
        label = canonical(note.text)
        if label is None:
            defects["unknown_label"] += not is_known(note.text)
        elif until > note.t:
            before = segments[-1] if segments else None
            if before is not None and before.label == label and before.t_end_ns == note.t:
                segments[-1] = Segment(before.t_start_ns, until, label)
            else:
                segments.append(Segment(note.t, until, label))
    return segments
