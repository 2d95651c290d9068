"""`hard evaluate`: what the pipeline makes of labelled recordings, decided once or many times.

Labels are heard while a replay goes by (`Hearing`), or read from a file (`labels_in`); what the
model says is kept (`Predictions`), so that other settings of the decision cost no inference.  The
figures are `hard.scoring`'s.  Called by the command line.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from hard.api import NS_PER_S, Annotation, SampleBatch, UnusableInput
from hard.decision import Decision, DecisionSettings
from hard.replay import aligned, duration
from hard.scoring import Score, Segment, Shown, Words, pooled, score, shown_in
from hard.vocabulary import label_meant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from hard.api import Message
    from hard.card import ModelCard
    from hard.decision import PredictionBatch

__all__ = [
    "COSTS",
    "Hearing",
    "Predictions",
    "Trial",
    "UnknownSetting",
    "combinations",
    "grid_table",
    "judged",
    "labels_in",
    "on_front",
    "report",
    "truth_of",
    "with_settings",
]

_GAP_NS = 10 * NS_PER_S
"""Where no sample came for so long, no label counts: nothing could be said of it."""
_FAR_NS = 2**62
_MAX_LABELS_BYTES = 16 * 1024 * 1024
_COLUMNS = ("t_start_ns", "t_end_ns", "label")


# -- labels --------------------------------------------------------------------------------------


class Hearing:
    """Takes note of labels, and of when there were samples, as a replay goes by."""

    def __init__(self) -> None:
        self._notes: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._spans: dict[str, list[list[int]]] = {}

    def hear(self, message: Message) -> None:
        """Take note of a message as it is fed to the pipeline."""
        for item in message:
            if isinstance(item, Annotation):
                self._notes[item.stream].append((item.t, item.text))
            elif isinstance(item, SampleBatch) and len(item):
                self._extend(item)

    def _extend(self, batch: SampleBatch) -> None:
        """Lengthen the last span of samples; begin another behind each gap."""
        t = np.sort(batch.t)
        spans = self._spans.setdefault(batch.stream, [[int(t[0]), int(t[0])]])
        breaks = np.flatnonzero(np.diff(t, prepend=spans[-1][1]) > _GAP_NS)
        for begin, end in zip([0, *breaks], [*breaks, len(t)], strict=True):
            if begin < end:
                first, last = int(t[begin]), int(t[end - 1])
                if first > spans[-1][1] + _GAP_NS:
                    spans.append([first, last])
                spans[-1][1] = max(spans[-1][1], last)

    def segments(self) -> dict[str, list[Segment]]:
        """Return the labels of each stream, each up to the next one or the end of the samples."""
        found: dict[str, list[Segment]] = {}
        for stream, notes in self._notes.items():
            ordered = sorted(notes, key=lambda note: note[0])
            ends = [*(t for t, _ in ordered[1:]), _FAR_NS]
            labelled = (
                Segment(t, end, text) for (t, text), end in zip(ordered, ends, strict=True) if text
            )
            if segments := self.sampled(stream, labelled):
                found[stream] = segments
        return found

    def streams(self) -> list[str]:
        """Return the streams of which samples came."""
        return list(self._spans)

    def sampled(self, stream: str, segments: Iterable[Segment]) -> list[Segment]:
        """Return the parts of segments in which the stream had samples."""
        found = []
        for segment in segments:
            for first, last in self._spans.get(stream, ()):
                begin, end = max(segment.t_start, first), min(segment.t_end, last)
                if begin < end:
                    found.append(Segment(begin, end, segment.label))
        return found


def labels_in(path: Path) -> list[Segment]:
    """Return what a file with the columns t_start_ns, t_end_ns and label says.

    Raises `UnusableInput` for a file that can't be read, and for a row that says nothing: of labels
    somebody wrote by hand none may be left out silently.
    """
    try:
        if path.stat().st_size > _MAX_LABELS_BYTES:
            raise UnusableInput(f"{path}: over {_MAX_LABELS_BYTES} bytes of labels")
        rows = csv.DictReader(path.read_text("utf-8-sig").splitlines())
    except OSError as error:
        raise UnusableInput(f"{path}: can't be read: {error.strerror}") from error
    except ValueError as error:
        raise UnusableInput(f"{path}: is no text: {error}") from error
    if not set(_COLUMNS) <= set(rows.fieldnames or ()):
        raise UnusableInput(
            f"{path}: a file of labels has the columns {','.join(_COLUMNS)}, this has "
            f"{','.join(rows.fieldnames or ())[:200]!r}"
        )
    found = []
    for number, row in enumerate(rows, 2):
        start, end, label = (str(row[name] or "").strip() for name in _COLUMNS)
        if not (_is_time(start) and _is_time(end) and int(start) < int(end)):
            raise UnusableInput(
                f"{path}: line {number}: {start[:40]!r} to {end[:40]!r} is no stretch of time: "
                "give integer ns, the begin before the end"
            )
        found.append(Segment(int(start), int(end), label))
    return found


def _is_time(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 20


def truth_of(segments: Iterable[Segment], card: ModelCard) -> list[Segment]:
    """Return segments with the labels that their words mean to a model; no label, no segment."""
    meant = ((s, label_meant(s.label, card.labels)) for s in segments)
    return [s._replace(label=label) for s, label in meant if label is not None]


# -- deciding again ------------------------------------------------------------------------------


class Predictions:
    """What the model said of each stream, for deciding as often as one likes.

    The decisions are the pipeline's, but for a stream that was rejected in between: here it is
    judged as if it had only paused.
    """

    def __init__(self) -> None:
        self._batches: dict[str, list[PredictionBatch]] = {}

    def see(self, batch: PredictionBatch) -> None:
        """Keep predictions, without the signal that they are of."""
        windows = batch.windows
        bare = replace(windows, values=np.empty((len(windows), 0, 0), np.float32))
        kept = self._batches.setdefault(batch.stream, [])
        kept.append(replace(batch, windows=bare))

    def streams(self) -> list[str]:
        """Return the streams of which the model said anything."""
        return list(self._batches)

    def decided(self, stream: str, card: ModelCard, settings: DecisionSettings) -> list[Shown]:
        """Return the bouts that these settings make of one stream."""
        decision = Decision(stream, card, settings)
        events = [event for batch in self._batches[stream] for event in decision.update(batch)]
        events += decision.close("end_of_data")
        return shown_in(events).get(stream, [])


class UnknownSetting(ValueError):  # noqa: N818 - what was given, not a fault of ours
    """A setting of the decision that does not exist, or can't have this value."""


def with_settings(settings: DecisionSettings, changes: Mapping[str, str]) -> DecisionSettings:
    """Return settings with others, given as text; `enter_at.walking` means one activity's.

    Raises `UnknownSetting`.
    """
    table: dict[str, Any] = settings.model_dump(exclude_unset=True)
    for key, value in changes.items():
        name, _, member = key.partition(".")
        if member:
            table[name] = {**(table.get(name) or {}), member: value}
        else:
            table[name] = value
    try:
        return DecisionSettings.model_validate(table)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = ".".join(map(str, fault["loc"]))
            known = ", ".join(DecisionSettings.model_fields)
            is_new = fault["type"] == "extra_forbidden"
            faults.append(
                f"{key}: no such setting; there are {known}" if is_new else f"{key}: {fault['msg']}"
            )
        raise UnknownSetting("; ".join(faults)) from error


def combinations(grid: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return every combination of one value a key.

    >>> combinations({"lag_s": ["0", "2"], "enter": ["0.5"]})
    [{'lag_s': '0', 'enter': '0.5'}, {'lag_s': '2', 'enter': '0.5'}]
    """
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


COSTS = ("false/h", "found", "delay")
"""The columns that `Trial.cost` is made of."""


class Trial(NamedTuple):
    """One combination of settings, and what came of it on all streams together."""

    changes: dict[str, str]
    score: Score

    @property
    def cost(self) -> tuple[float, float, float]:
        """What is to be low: false events an hour, share of segments missed, median delay (s)."""
        figures = self.score.figures()
        delay_s = figures["onset_delay_s"]["median"]
        return (
            figures["false_events_per_hour"] or 0.0,
            1.0 - (figures["found"] or 0.0),
            float("inf") if delay_s is None else delay_s,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the settings and the figures."""
        return {"settings": self.changes, **self.score.figures()}


def on_front(trials: Sequence[Trial]) -> list[bool]:
    """Tell of each trial whether none is better in one of its costs and as good in the others."""
    costs = [trial.cost for trial in trials]
    return [
        not any(
            other != cost and all(a <= b for a, b in zip(other, cost, strict=True))
            for other in costs
        )
        for cost in costs
    ]


def judged(
    truth: Mapping[str, Sequence[Segment]],
    shown: Mapping[str, Sequence[Shown]],
    card_of: Callable[[str], ModelCard],
    tolerance_s: float,
) -> dict[str, Score]:
    """Return the score of every stream that has labels."""
    scores = {}
    for stream, segments in truth.items():
        card = card_of(stream)
        words = Words(frozenset(card.labels), frozenset(card.postures))
        named = truth_of(segments, card)
        scores[stream] = score(named, shown.get(stream, ()), words, tolerance_s)
    return scores


# -- told to a person ----------------------------------------------------------------------------


def report(scores: Mapping[str, Score]) -> str:
    """Return a table by stream and over all, and one by label over all streams."""
    total = pooled(scores.values())
    rows = dict(scores) if len(scores) > 1 else {}
    table = [["stream", *_STREAM_COLUMNS]]
    table += [[stream, *_stream_cells(one)] for stream, one in rows.items()]
    table.append(["all" if rows else next(iter(scores), "all"), *_stream_cells(total)])
    return f"{aligned(table, set(_STREAM_COLUMNS))}\n\n{_label_table(total)}"


_STREAM_COLUMNS = (
    *("labelled", "right", "unknown", "still", "false/h", "found", "precision", "recall"),
    *("F1@.1", "F1@.25", "F1@.5", "delay", "90 %", "unlabelled", "events there"),
)
_LABEL_COLUMNS = (
    *("labelled", "right", "segments", "found", "deleted", "fragmented", "merged"),
    *("events", "inserted", "fragmenting", "merging", "delay", "90 %"),
)


def _stream_cells(one: Score) -> list[str]:
    f = one.figures()
    delay = f["onset_delay_s"]
    return [
        duration(f["labelled_h"] * 3600),
        *(_percent(f[name]) for name in ("right", "unknown", "still")),
        _number(f["false_events_per_hour"]),
        *(_percent(f[name]) for name in ("found", "precision", "recall")),
        *(_percent(value) for value in f["f1"].values()),
        *(_number(delay[name], " s") for name in ("median", "p90")),
        duration(f["unlabelled_h"] * 3600),
        str(f["events_apart"]),
    ]


def _label_table(total: Score) -> str:
    table = [["label", *_LABEL_COLUMNS]]
    for label, tally in sorted(total.tallies.items(), key=lambda t: -t[1].labelled_ns):
        f = tally.figures()
        both_segments = f["segments_by"]["fragmented_merged"]
        both_events = f["events_by"]["fragmenting_merging"]
        table.append(
            [
                label,
                duration(f["labelled_s"]),
                _percent(f["right"]),
                str(f["segments"]),
                _percent(f["found"]),
                str(f["segments_by"]["deleted"]),
                str(f["segments_by"]["fragmented"] + both_segments),
                str(f["segments_by"]["merged"] + both_segments),
                str(f["events"]),
                str(f["events_by"]["inserted"]),
                str(f["events_by"]["fragmenting"] + both_events),
                str(f["events_by"]["merging"] + both_events),
                *(_number(f["onset_delay_s"][name], " s") for name in ("median", "p90")),
            ]
        )
    return aligned(table, set(_LABEL_COLUMNS))


def grid_table(trials: Sequence[Trial]) -> str:
    """Return the trials as a table, those that nothing beats marked."""
    columns = ["false/h", "found", "delay", "90 %", "right", "unknown", "fragmented", "merged"]
    keys = list(trials[0].changes) if trials else []
    table = [["", *keys, *columns]]
    for trial, best in zip(trials, on_front(trials), strict=True):
        f = trial.score.figures()
        by = f["segments_by"]
        table.append(
            [
                "*" if best else "",
                *trial.changes.values(),
                _number(f["false_events_per_hour"]),
                _percent(f["found"]),
                *(_number(f["onset_delay_s"][name], " s") for name in ("median", "p90")),
                _percent(f["right"]),
                _percent(f["unknown"]),
                str(by["fragmented"] + by["fragmented_merged"]),
                str(by["merged"] + by["fragmented_merged"]),
            ]
        )
    return aligned(table, {*keys, *columns})


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.1f}{unit}"
