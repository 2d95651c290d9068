"""How good a result is, measured against labels: by events, by segments, by time.

Pure; knows neither files nor the pipeline.  `hard evaluate` calls it, and training's evaluation of
whole recordings.

The truth of a stream is a row of labelled *segments*, its result a row of shown *bouts*; neither
overlaps itself.  A label that the model does not have (a transition, say) is `unknown` here.

**Right.**  A bout agrees with a segment of the same name.  Coarser words agree too: `still` with
any posture, and with `off_body` (it is what a stream says until it may say so); any posture with
the label `still`.

**Events** (Ward, Lukowicz, Gellersen 2011, "Performance metrics for activity recognition").  Each
segment is one of

    deleted             nothing that agrees with it is shown at any time of it
    fragmented          it is shown in several pieces, with something else between them
    merged              a bout that agrees with it goes on over something else that is labelled,
                        into another segment that it agrees with
    fragmented_merged   both
    correct             none of these, however early or late it begins and ends

and each bout one of

    inserted            agrees with no segment
    fragmenting         is a piece of a fragmented segment
    merging             is what merges segments
    fragmenting_merging both
    correct             none of these

Only bouts in labelled time count.  Unlabelled time and `MARGIN_S` beside it are don't-care: a bout
that agrees with nothing and is shown only there is counted apart (`events_apart`).  A bout of
`unknown` is no event: saying so is no false alarm (its time is counted as wrong all the same).
A *false event* is an inserted bout.

**Time.**  Each moment of labelled time is right, or of one kind of wrong, seen from the label

    deleted       in a deleted segment
    underfilled   before the first or after the last right moment of a segment
    fragmented    between two right moments of a segment

and, where something is shown, once more seen from the bout: `inserted`, `overfilled` (before its
first or after its last right moment), `merging` (between two).

**Segments.**  A segment is *found* if at least half of it is shown right.  Segment F1 (Lea et al.
2017, "Temporal convolutional networks for action segmentation") takes a bout for right if it is
the best of a segment that it agrees with, by an overlap (intersection over union, in labelled
time) of at least so much; other bouts in labelled time are false, other segments missed.

**Onsets.**  A bout and a segment that agree begin together, one to one, if they begin at most the
tolerance apart, or the bout in unlabelled time that the segment ends; a coarser word shown across a
segment's begin will do for that segment too, as it can't say more.  Recall is the share of segments
that begin with a bout, precision the share of bouts that begin with a segment, of those that begin
in labelled time or with a segment.  *Onset delay* is the data time from a segment's begin to
when the first bout that agrees with it was decided; 0 if that was before.

Segments of `unknown` have a row of their own; in the sums over labels (found, F1, events, onsets)
they are left out, in those over time they are not.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from hard.api import NS_PER_S
from hard.card import STILL
from hard.decision import OFF_BODY, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hard.api import Event

__all__ = [
    "MARGIN_S",
    "OVERLAPS",
    "TOLERANCE_S",
    "Score",
    "Segment",
    "Shown",
    "Tally",
    "Words",
    "pooled",
    "score",
    "shown_in",
]

MARGIN_S = 2.0
TOLERANCE_S = 2.0
OVERLAPS = (0.1, 0.25, 0.5)
_MARGIN_NS = round(MARGIN_S * NS_PER_S)


class Segment(NamedTuple):
    """A label over [t_start, t_end), ns."""

    t_start: int
    t_end: int
    label: str


class Shown(NamedTuple):
    """A bout over [t_start, t_end), ns, and the data time at which its begin was decided."""

    t_start: int
    t_end: int
    activity: str
    t_decided: int


@dataclass(frozen=True, slots=True)
class Words:
    """What a model can say: its labels, and which of them are postures."""

    labels: frozenset[str]
    postures: frozenset[str]

    def known(self, label: str) -> str:
        """Return what a label is to this model: itself, or `unknown`.

        >>> Words(frozenset({"walking"}), frozenset()).known("sit_to_stand")
        'unknown'
        """
        own = label in self.labels or label == OFF_BODY
        return label if own or (label == STILL and self.postures) else UNKNOWN

    def agree(self, activity: str, label: str) -> bool:
        """Tell whether what is shown is right where `label` (as `known`) is true."""
        if activity == label:
            return True
        if activity == STILL:
            return label in self.postures or label == OFF_BODY
        return label == STILL and activity in self.postures


@dataclass(slots=True)
class Tally:
    """What was counted of one label; `+` adds another's.

    `segments_by` and `events_by` count segments and bouts by category, `time_ns` has labelled time
    by kind (the docstring of the module defines all three).  `begun` segments begin with a bout, of
    `begins` of bouts those `begins_right` are with a segment; `right_at` has, per overlap, how many
    segments are right by it.
    """

    segments: int = 0
    events: int = 0
    found: int = 0
    begun: int = 0
    begins: int = 0
    begins_right: int = 0
    events_apart: int = 0
    segments_by: Counter[str] = field(default_factory=Counter)
    events_by: Counter[str] = field(default_factory=Counter)
    time_ns: Counter[str] = field(default_factory=Counter)
    right_at: Counter[float] = field(default_factory=Counter)
    delays_s: list[float] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        """Return both together."""
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def labelled_ns(self) -> int:
        """For how long the label was true."""
        return sum(self.time_ns[kind] for kind in ("right", "deleted", "underfilled", "fragmented"))

    def figures(self) -> dict[str, Any]:
        """Return counts, shares (None where there is nothing to divide by) and seconds."""
        delays = sorted(self.delays_s)
        return {
            "labelled_s": _seconds(self.labelled_ns),
            "right": _share(self.time_ns["right"], self.labelled_ns),
            "segments": self.segments,
            "found": _share(self.found, self.segments),
            "events": self.events,
            "false_events": self.events_by["inserted"],
            "events_apart": self.events_apart,
            "precision": _share(self.begins_right, self.begins),
            "recall": _share(self.begun, self.segments),
            "f1": {
                f"{overlap:g}": _share(2 * self.right_at[overlap], self.events + self.segments)
                for overlap in OVERLAPS
            },
            "onset_delay_s": {"median": _quantile(delays, 0.5), "p90": _quantile(delays, 0.9)},
            "segments_by": {kind: self.segments_by[kind] for kind in _SEGMENT_KINDS},
            "events_by": {kind: self.events_by[kind] for kind in _EVENT_KINDS},
            "seconds": {kind: _seconds(self.time_ns[kind]) for kind in _TIME_KINDS},
        }


_SEGMENT_KINDS = ("correct", "deleted", "fragmented", "merged", "fragmented_merged")
_EVENT_KINDS = ("correct", "inserted", "fragmenting", "merging", "fragmenting_merging")
_TIME_KINDS = (
    *("right", "deleted", "fragmented", "underfilled"),
    *("inserted", "merging", "overfilled"),
)


@dataclass(slots=True)
class Score:
    """A stream's result, or several streams' (`+`, `pooled`).

    `tallies` are by label: a bout counts for that of the segment that it overlaps best, one that
    is right at no time for what it shows.  `time_ns` has labelled time by
    (label, shown), `None` where nothing was shown; `unlabelled_ns` is shown time without a label.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    time_ns: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    unlabelled_ns: int = 0

    def __add__(self, other: Score) -> Score:
        """Return both together."""
        labels = [*self.tallies, *(name for name in other.tallies if name not in self.tallies)]
        tallies = {
            label: self.tallies.get(label, Tally()) + other.tallies.get(label, Tally())
            for label in labels
        }
        time_ns = self.time_ns.copy()
        time_ns.update(other.time_ns)
        return Score(tallies, time_ns, self.unlabelled_ns + other.unlabelled_ns)

    @property
    def labelled_ns(self) -> int:
        """How much time has a label."""
        return sum(self.time_ns.values())

    def known(self) -> Tally:
        """Return the sum over all labels but `unknown`."""
        return sum((t for label, t in self.tallies.items() if label != UNKNOWN), Tally())

    def figures(self) -> dict[str, Any]:
        """Return the figures over all labels; `false_events_per_hour` is by labelled hour.

        `right` is the share of labelled time, transitions and all; `right_known` that of the time
        with a label of the model; `unknown`, `still` and `nothing` are the shares of labelled time
        in which that was shown, right or not.
        """
        known, labelled_ns = self.known(), self.labelled_ns
        shown: Counter[str | None] = Counter()
        for (_, activity), ns in self.time_ns.items():
            shown[activity] += ns
        right_ns = sum(tally.time_ns["right"] for tally in self.tallies.values())
        figures = known.figures()
        return {
            "labelled_h": round(labelled_ns / NS_PER_S / 3600, 4),
            "unlabelled_h": round(self.unlabelled_ns / NS_PER_S / 3600, 4),
            "right": _share(right_ns, labelled_ns),
            "right_known": figures.pop("right"),
            "unknown": _share(shown[UNKNOWN], labelled_ns),
            "still": _share(shown[STILL], labelled_ns),
            "nothing": _share(shown[None], labelled_ns),
            "false_events_per_hour": _rate(known.events_by["inserted"], labelled_ns),
            **figures,
        }

    def to_json(self) -> dict[str, Any]:
        """Return `figures`, those of each label, and seconds by label and by what was shown."""
        confusion: dict[str, dict[str, float]] = {}
        for (label, activity), ns in sorted(
            self.time_ns.items(), key=lambda entry: (entry[0][0], entry[0][1] or "")
        ):
            confusion.setdefault(label, {})[activity or "nothing"] = _seconds(ns)
        labels = {label: tally.figures() for label, tally in sorted(self.tallies.items())}
        return {**self.figures(), "labels": labels, "shown_s": confusion}


def pooled(scores: Iterable[Score]) -> Score:
    """Return the score of all streams together: counts and times are added, not shares."""
    return sum(scores, Score())


def shown_in(events: Sequence[Event]) -> dict[str, list[Shown]]:
    """Return the bouts of each stream by their begin, from its `enter` and `exit` events."""
    decided = {event.bout: event.t_decided for event in events if event.kind == "enter"}
    found: dict[str, list[Shown]] = {}
    for event in events:
        if event.kind == "exit" and event.activity is not None and event.t_end is not None:
            bout = Shown(event.t_start, event.t_end, event.activity, decided[event.bout])
            found.setdefault(event.stream, []).append(bout)
    return {stream: sorted(bouts) for stream, bouts in found.items()}


def score(
    truth: Iterable[Segment],
    result: Iterable[Shown],
    words: Words,
    tolerance_s: float = TOLERANCE_S,
) -> Score:
    """Return how good one stream's result is.

    Neither needs to be sorted; where one overlaps itself (a clock was set back) the later begin
    wins.  Touching segments of one label are one.
    """
    segments, bouts = _segments(truth, words), _disjoint(result)
    both = _Comparison(segments, bouts, words, _pieces(segments, bouts, words))
    found = both.timed()
    both.judge_bouts(found)
    both.judge_segments(found)
    both.match_segments(found)
    both.match_onsets(found, round(tolerance_s * NS_PER_S))
    return found


class _Piece(NamedTuple):
    """Time in which nothing changes: one segment or none, one bout or none."""

    begin: int
    end: int
    segment: int | None
    bout: int | None
    right: bool

    @property
    def ns(self) -> int:
        return self.end - self.begin


def _segments(truth: Iterable[Segment], words: Words) -> list[Segment]:
    """Return the segments as the model knows them, touching ones of one label as one."""
    named = [Segment(s.t_start, s.t_end, words.known(s.label)) for s in truth]
    found: list[Segment] = []
    for segment in _disjoint(named):
        last = found[-1] if found else None
        if last and (last.label, last.t_end) == (segment.label, segment.t_start):
            found[-1] = last._replace(t_end=segment.t_end)
        else:
            found.append(segment)
    return found


def _disjoint(spans: Iterable[Any]) -> list[Any]:
    """Return segments or bouts by their begin, each cut off where the next begins."""
    ordered = sorted(span for span in spans if span.t_start < span.t_end)
    cut = [
        span._replace(t_end=min(span.t_end, following.t_start))
        for span, following in pairwise(ordered)
    ]
    return [span for span in cut + ordered[-1:] if span.t_start < span.t_end]


def _pieces(segments: Sequence[Segment], bouts: Sequence[Shown], words: Words) -> list[_Piece]:
    """Cut time wherever the truth or the result changes; leave out what is in neither."""
    spans: list[Segment | Shown] = [*segments, *bouts]
    edges = sorted({t for span in spans for t in (span.t_start, span.t_end)})
    found = []
    i = j = 0
    for begin, end in pairwise(edges):
        while i < len(segments) and segments[i].t_end <= begin:
            i += 1
        while j < len(bouts) and bouts[j].t_end <= begin:
            j += 1
        segment = i if i < len(segments) and segments[i].t_start <= begin else None
        bout = j if j < len(bouts) and bouts[j].t_start <= begin else None
        if segment is not None or bout is not None:
            right = (
                segment is not None
                and bout is not None
                and words.agree(bouts[bout].activity, segments[segment].label)
            )
            found.append(_Piece(begin, end, segment, bout, right))
    return found


class _Comparison:
    """One stream's segments and bouts, and the pieces of time that they make."""

    def __init__(
        self,
        segments: Sequence[Segment],
        bouts: Sequence[Shown],
        words: Words,
        pieces: Sequence[_Piece],
    ) -> None:
        self._segments, self._bouts, self._words, self._pieces = segments, bouts, words, pieces
        self._of_segment: list[list[_Piece]] = [[] for _ in segments]
        self._of_bout: list[list[_Piece]] = [[] for _ in bouts]  # in labelled time
        for piece in pieces:
            if piece.segment is not None:
                self._of_segment[piece.segment].append(piece)
                if piece.bout is not None:
                    self._of_bout[piece.bout].append(piece)
        self._split = {
            index
            for index, own in enumerate(self._of_segment)
            if sum(right for right, _ in groupby(own, key=lambda piece: piece.right)) > 1
        }
        self._merged: set[int | None] = set()
        self._events: set[int] = set()  # the bouts that count
        self._best = [self._best_overlap(own) for own in self._of_bout]
        self._rows = [
            bout.activity if best is None else segments[best[1]].label
            for bout, best in zip(bouts, self._best, strict=True)
        ]

    def _best_overlap(self, own: Sequence[_Piece]) -> tuple[float, int] | None:
        """Return a bout's largest overlap with a segment that it agrees with, and that segment."""
        shown_ns = sum(piece.ns for piece in own)
        found = []
        for piece in own:
            if piece.right and piece.segment is not None:
                segment = self._segments[piece.segment]
                union_ns = shown_ns + segment.t_end - segment.t_start - piece.ns
                found.append((piece.ns / union_ns, piece.segment))
        return max(found, default=None)

    def _label(self, piece: _Piece) -> str:
        assert piece.segment is not None
        return self._segments[piece.segment].label

    def timed(self) -> Score:
        """Return a score with the time by what was true and what was shown."""
        found = Score()
        for label in [*(s.label for s in self._segments), *self._rows]:
            found.tallies.setdefault(label, Tally())
        for piece in self._pieces:
            if piece.segment is None:
                found.unlabelled_ns += piece.ns
            else:
                shown = None if piece.bout is None else self._bouts[piece.bout].activity
                found.time_ns[self._label(piece), shown] += piece.ns
        return found

    def judge_bouts(self, found: Score) -> None:
        """Count bouts by category and their wrong time by kind."""
        clear = _clear(self._segments)
        for index, own in enumerate(self._of_bout):
            tally = found.tallies[self._rows[index]]
            rights = [k for k, piece in enumerate(own) if piece.right]
            if rights or any(_within(piece, clear) for piece in own):
                self._events.add(index)
                tally.events += 1
            else:
                tally.events_apart += 1
            if not rights:
                tally.time_ns["inserted"] += _wrong_ns(own)
                tally.events_by["inserted"] += index in self._events
                continue
            within_ns = _wrong_ns(own[rights[0] : rights[-1]])
            tally.time_ns["merging"] += within_ns
            tally.time_ns["overfilled"] += _wrong_ns(own) - within_ns
            agreed = {own[k].segment for k in rights}
            if within_ns:
                self._merged |= agreed
            tally.events_by[
                _category("fragmenting", agreed & self._split, "merging", within_ns)
            ] += 1

    def judge_segments(self, found: Score) -> None:
        """Count segments by category, their time by kind, what is found, and onset delays."""
        for index, (segment, own) in enumerate(zip(self._segments, self._of_segment, strict=True)):
            tally = found.tallies[segment.label]
            tally.segments += 1
            rights = [k for k, piece in enumerate(own) if piece.right]
            if not rights:
                tally.time_ns["deleted"] += _wrong_ns(own)
                tally.segments_by["deleted"] += 1
                continue
            right_ns = sum(own[k].ns for k in rights)
            within_ns = _wrong_ns(own[rights[0] : rights[-1]])
            tally.time_ns["right"] += right_ns
            tally.time_ns["fragmented"] += within_ns
            tally.time_ns["underfilled"] += _wrong_ns(own) - within_ns
            is_split, is_merged = index in self._split, index in self._merged
            tally.segments_by[_category("fragmented", is_split, "merged", is_merged)] += 1
            tally.found += right_ns >= _wrong_ns(own)
            first = own[rights[0]].bout
            assert first is not None
            delay_ns = self._bouts[first].t_decided - segment.t_start
            tally.delays_s.append(max(0, delay_ns) / NS_PER_S)

    def match_segments(self, found: Score) -> None:
        """Count by overlap the segments that a bout of their own is right for."""
        for overlap in OVERLAPS:
            for segment in {best[1] for best in self._best if best and best[0] >= overlap}:
                found.tallies[self._segments[segment].label].right_at[overlap] += 1

    def match_onsets(self, found: Score, tolerance_ns: int) -> None:
        """Count the segments and the bouts that begin together."""
        matched: set[int] = set()
        before = None  # where the segment before ended
        for segment, own in zip(self._segments, self._of_segment, strict=True):
            earliest = -math.inf if before is None else before - tolerance_ns
            agree = {piece.bout for piece in own if piece.right and piece.bout is not None}
            begins = ((self._bouts[j].t_start, j) for j in agree - matched)
            near = [(t, j) for t, j in begins if earliest <= t <= segment.t_start + tolerance_ns]
            if near:
                _, best = min(near, key=lambda begin: (abs(begin[0] - segment.t_start), begin))
                matched.add(best)
                found.tallies[segment.label].begun += 1
            elif own[0].right and own[0].bout is not None:
                coarser = self._bouts[own[0].bout].activity != segment.label
                found.tallies[segment.label].begun += coarser
            before = segment.t_end
        for j, (bout, own) in enumerate(zip(self._bouts, self._of_bout, strict=True)):
            tally = found.tallies[self._rows[j]]
            in_label = j in self._events and own[0].begin == bout.t_start
            tally.begins += j in matched or in_label
            tally.begins_right += j in matched


def _clear(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """Return, for each segment, the labelled time around it that is not beside unlabelled time."""
    blocks: list[list[int]] = []
    members: list[int] = []
    for segment in segments:
        if blocks and blocks[-1][1] == segment.t_start:
            blocks[-1][1] = segment.t_end
        else:
            blocks.append([segment.t_start, segment.t_end])
        members.append(len(blocks) - 1)
    return [(blocks[i][0] + _MARGIN_NS, blocks[i][1] - _MARGIN_NS) for i in members]


def _within(piece: _Piece, clear: Sequence[tuple[int, int]]) -> bool:
    """Tell whether a labelled piece reaches further than the margin into labelled time."""
    assert piece.segment is not None
    begin, end = clear[piece.segment]
    return max(piece.begin, begin) < min(piece.end, end)


def _wrong_ns(pieces: Iterable[_Piece]) -> int:
    return sum(piece.ns for piece in pieces if not piece.right)


def _category(first: str, is_first: object, second: str, is_second: object) -> str:
    names = [name for name, is_it in ((first, is_first), (second, is_second)) if is_it]
    return "_".join(names) or "correct"


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def _rate(count: int, ns: int) -> float | None:
    return round(count / (ns / NS_PER_S / 3600), 2) if ns else None


def _seconds(ns: int) -> float:
    return round(ns / NS_PER_S, 3)


def _quantile(ascending: Sequence[float], share: float) -> float | None:
    """Return a quantile, linear between the two nearest values."""
    if not ascending:
        return None
    at = share * (len(ascending) - 1)
    low = int(at)
    high = min(low + 1, len(ascending) - 1)
    return round(ascending[low] + (at - low) * (ascending[high] - ascending[low]), 3)
