"""Whole recordings through the daemon's pipeline, judged as a wearer would: by events.

Four rows at most: the likeliest label of each window as it comes ("argmax") and the decision as
shipped; each "cold" (nothing is known at the begin) and, for a model of the upright frame, "warm"
(the reference that the estimator first finds in the same recordings is known from the begin: that
is not causal, and what a daemon has that knew the wearer yesterday).  Called by the command
`hard-train streaming` and by reports.

An event is a bout that is shown, but for `unknown`.  Only events that begin in labelled time count:
elsewhere nobody knows what is right.

    right event     begins within the tolerance of the begin of a labelled bout of its label
    false event     at no time agrees with the label: an activity that did not happen
    onset delay     from a labelled bout's begin to when the first right bout was said, 0 if before
    fragments       right bouts shown in one labelled bout that was found at all
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hard.api import NS_PER_S
from hard.card import STILL
from hard.classifier import runtime_name
from hard.decision import UNKNOWN, DecisionSettings
from hard.upright import UprightEstimator
from hard_training.evaluate import over_people
from hard_training.timeline import is_right, joined, labels_of, right_ns, shown
from hard_training.windows import grid_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hard.card import ModelCard, ModelInput
    from hard.classifier import TFLiteClassifier
    from hard.upright import Reference
    from hard_training.datasets import Recording, Segment
    from hard_training.timeline import Shown

__all__ = ["ARGMAX", "Tally", "first_reference", "judge", "streaming"]

ARGMAX = DecisionSettings(
    smoothing="none",
    enter=0,
    exit=1,
    min_dwell_s=0,
    merge_s=0,
    unknown_below=0,
    novelty=0,
    off_body_after_s=86400,
)
"""No smoothing, no threshold, no dwell: each window's likeliest label is shown at once."""
_EXAMPLES = 3


@dataclass(slots=True)
class Tally:
    """What was counted over labelled bouts and shown events."""

    bouts: int = 0
    bouts_begun_right: int = 0
    bouts_found: int = 0
    events: int = 0
    events_right: int = 0
    events_false: int = 0
    labelled_s: float = 0.0
    right_s: float = 0.0
    unknown_s: float = 0.0
    delays_s: list[float] = field(default_factory=list)
    fragments: list[int] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add another person's."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def figures(self) -> dict[str, Any]:
        """Return the shares and rates; None where there is nothing to divide by."""
        delays = np.percentile(self.delays_s, (50, 90)) if self.delays_s else None
        hours = self.labelled_s / 3600
        return {
            "labelled_h": round(hours, 3),
            "bouts": self.bouts,
            "events": self.events,
            "event_precision": _share(self.events_right, self.events),
            "event_recall": _share(self.bouts_begun_right, self.bouts),
            "bouts_found": _share(self.bouts_found, self.bouts),
            "false_events_per_hour": _share(self.events_false, hours, 1),
            "events_per_hour": _share(self.events, hours, 1),
            "onset_delay_s": None if delays is None else [round(float(d), 2) for d in delays],
            "fragments": _share(sum(self.fragments), len(self.fragments), 3),
            "share_of_time_right": _share(self.right_s, self.labelled_s),
            "share_of_time_unknown": _share(self.unknown_s, self.labelled_s),
        }


def _share(part: float, whole: float, digits: int = 4) -> float | None:
    return round(part / whole, digits) if whole else None


def judge(
    truth: Sequence[Segment], seen: Sequence[Shown], card: ModelCard, tolerance_s: float
) -> Tally:
    """Compare what was shown with the labelled bouts of one person, both ascending in time."""
    tolerance_ns = round(tolerance_s * NS_PER_S)
    events = [bout for bout in seen if bout.activity != UNKNOWN]
    tally = Tally(bouts=len(truth))
    begun_right: set[int] = set()
    for segment in truth:
        agree = [i for i, bout in enumerate(events) if _agrees(bout, segment, card)]
        begins = [
            i
            for i, bout in enumerate(events)
            if (i not in begun_right or bout.activity == STILL)
            and _begins(bout, segment, card, tolerance_ns)
        ]
        tally.bouts_begun_right += bool(begins)
        begun_right.update(begins[:1])
        if agree:
            tally.bouts_found += 1
            tally.fragments.append(len(agree))
            delay_ns = events[agree[0]].t_decided_ns - segment.t_start_ns
            tally.delays_s.append(max(delay_ns, 0) / NS_PER_S)
    for i, bout in enumerate(events):
        within = any(s.t_start_ns <= bout.t_start_ns < s.t_end_ns for s in truth)
        if within or i in begun_right:
            tally.events += 1
            tally.events_right += i in begun_right
            tally.events_false += not any(_agrees(bout, segment, card) for segment in truth)
    unknown = [bout for bout in seen if bout.activity == UNKNOWN]
    tally.labelled_s = sum(s.t_end_ns - s.t_start_ns for s in truth) / NS_PER_S
    tally.right_s = right_ns(truth, seen, card) / NS_PER_S
    tally.unknown_s = sum(_overlap_ns(s, bout) for s in truth for bout in unknown) / NS_PER_S
    return tally


def _overlap_ns(segment: Segment, bout: Shown) -> int:
    begin = max(segment.t_start_ns, bout.t_start_ns)
    return max(0, min(segment.t_end_ns, bout.t_end_ns) - begin)


def _agrees(bout: Shown, segment: Segment, card: ModelCard) -> bool:
    return _overlap_ns(segment, bout) > 0 and is_right(bout.activity, segment.label, card)


def _begins(bout: Shown, segment: Segment, card: ModelCard, tolerance_ns: int) -> bool:
    """Tell whether the shown bout begins as the labelled one does.

    One of `still` may have begun before: it can't tell that a posture became another.
    """
    if not is_right(bout.activity, segment.label, card):
        return False
    early = bout.t_start_ns < segment.t_start_ns - tolerance_ns
    if early and bout.activity == STILL:
        return bout.t_end_ns > segment.t_start_ns
    return abs(bout.t_start_ns - segment.t_start_ns) <= tolerance_ns


def first_reference(recordings: Iterable[Recording], wanted: ModelInput) -> Reference | None:
    """Return the first reference that the estimator finds in joined recordings, None for none."""
    estimator = UprightEstimator(wanted.sampling_rate_hz)
    for recording in recordings:
        for block in grid_blocks(recording, wanted):
            # In tiles: the first reference, not that at the block's end.
            for at in range(0, len(block.values), 25):
                part = slice(at, at + 25)
                estimator.feed(block.k0 + at, block.values[part, :3], block.valid[part])
                if estimator.latest is not None:
                    return estimator.latest
    return None


def streaming(
    classifier: TFLiteClassifier,
    of_person: Mapping[int, Sequence[Recording]],
    tolerance_s: float,
    on_step: Callable[[str, float], None] = lambda *_: None,
) -> dict[str, Any]:
    """Return a row of figures per decision and reference, and examples of timelines (seconds).

    `of_person` has each person's recordings in the order they were made.
    """
    card = classifier.card
    decisions = {"argmax": ARGMAX, "as shipped": DecisionSettings()}
    references = ("cold", "warm") if card.input.frame == "upright" else ("cold",)
    tallies = {(d, r): Tally() for d in decisions for r in references}
    shares: dict[tuple[str, str], dict[str, float]] = {row: {} for row in tallies}
    examples: list[dict[str, Any]] = []
    for number, (person, recordings) in enumerate(sorted(of_person.items())):
        on_step(f"person {person}", number / len(of_person))
        line = list(joined(recordings))
        truth = labels_of(line, card.labels)
        known = first_reference(line, card.input) if "warm" in references else None
        for (decision, reference), total in tallies.items():
            warm = known if reference == "warm" else None
            seen = shown(line, classifier, decisions[decision], warm)
            tally = judge(truth, seen, card, tolerance_s)
            total.add(tally)
            if tally.labelled_s:
                shares[decision, reference][str(person)] = tally.right_s / tally.labelled_s
            if (decision, reference) == ("as shipped", references[-1]) and number < _EXAMPLES:
                examples.append(_example(person, truth, seen))
    on_step("done", 1.0)
    return {
        "kind": "streaming",
        "model": card.identity,
        "runtime": runtime_name(),
        "tolerance_s": tolerance_s,
        "rows": [
            {
                "decision": decision,
                "reference": reference,
                "causal": reference == "cold",
                **tally.figures(),
                **over_people(shares[decision, reference]),
            }
            for (decision, reference), tally in tallies.items()
        ],
        "examples": examples,
    }


def _example(person: int, truth: Sequence[Segment], seen: Sequence[Shown]) -> dict[str, Any]:
    def seconds(t_ns: int) -> float:
        return round(t_ns / NS_PER_S, 2)

    return {
        "person": person,
        "truth": [[seconds(s.t_start_ns), seconds(s.t_end_ns), s.label] for s in truth],
        "shown": [[seconds(b.t_start_ns), seconds(b.t_end_ns), b.activity] for b in seen],
    }
