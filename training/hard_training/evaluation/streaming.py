"""Whole recordings through the daemon's pipeline, judged as a wearer would: by events.

Four rows at most: the likeliest label of each window as it comes ("argmax") and the decision as
shipped; each "cold" (nothing is known at the begin) and, for a model of the upright frame, "warm"
(the reference that the estimator first finds in the same recordings is known from the begin: that
is not causal, and what a daemon has that knew the wearer yesterday).  Called by the command
`hard-train streaming` and by reports.

`hard.scoring` judges, and says what an event is and when it is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hard.api import NS_PER_S
from hard.classifier import runtime_name
from hard.decision import DecisionSettings
from hard.scoring import Score, score
from hard.upright import UprightEstimator
from hard_training.evaluate import over_people
from hard_training.timeline import joined, labels_of, shown, words_of
from hard_training.windows import grid_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hard.card import ModelInput
    from hard.classifier import TFLiteClassifier
    from hard.scoring import Segment, Shown
    from hard.upright import Reference
    from hard_training.datasets import Recording

__all__ = ["ARGMAX", "first_reference", "streaming"]

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
    scores = {(d, r): Score() for d in decisions for r in references}
    shares: dict[tuple[str, str], dict[str, float]] = {row: {} for row in scores}
    examples: list[dict[str, Any]] = []
    for number, (person, recordings) in enumerate(sorted(of_person.items())):
        on_step(f"person {person}", number / len(of_person))
        line = list(joined(recordings))
        truth = labels_of(line)
        known = first_reference(line, card.input) if "warm" in references else None
        for decision, reference in scores:
            warm = known if reference == "warm" else None
            seen = shown(line, classifier, decisions[decision], warm)
            found = score(truth, seen, words_of(card), tolerance_s)
            scores[decision, reference] += found
            right = found.figures()["right_known"]
            if right is not None:
                shares[decision, reference][str(person)] = right
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
                **total.figures(),
                **over_people(shares[decision, reference]),
            }
            for (decision, reference), total in scores.items()
        ],
        "examples": examples,
    }


def _example(person: int, truth: Sequence[Segment], seen: Sequence[Shown]) -> dict[str, Any]:
    def seconds(t_ns: int) -> float:
        return round(t_ns / NS_PER_S, 2)

    return {
        "person": person,
        "truth": [[seconds(s.t_start), seconds(s.t_end), s.label] for s in truth],
        "shown": [[seconds(b.t_start), seconds(b.t_end), b.activity] for b in seen],
    }
