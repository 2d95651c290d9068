"""Events on whole recordings of held-out people: false ones an hour, what is found, how late.

    python tests/figures/events.py --data ../shared/data
    python tests/figures/events.py hapt --people validation --grid bout_s=20,45,90 --plot curve.png

* hapt: the experiments of HAPT as they are, transitions and pauses included, with `waist`;
* motionsense: each person's recordings in one, 30 s of SYNTHETIC motion that is none of the labels
  before each (--pause, in turn, seeded), with `pocket` and `pocket-upright`.

Cold begins without knowing which way is up; warm knows what the estimator first finds in the same
recording, which is not causal.  For a model of the device's own frame both are the same.  `hard
evaluate` prints the same figures (`hard/scoring.py` defines them) of recordings as files.  Choose
on the validation people; the figures in the README are of the test people.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path

import numpy as np

from hard.api import NS_PER_S
from hard.card import ModelCard
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.evaluation import (
    Predictions,
    Trial,
    combinations,
    grid_table,
    judged,
    report,
    truth_of,
    with_settings,
)
from hard.pipeline import Pipeline
from hard.plots import draw_grid
from hard.scoring import TOLERANCE_S, pooled
from hard_training.datasets import DATA_SETS, Recording, Segment
from hard_training.evaluation.streaming import first_reference
from hard_training.timeline import labels_of

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.figures.motion import PERIOD_NS, handling, message, shaking, tumbling

MODELS = {"hapt": ["waist"], "motionsense": ["pocket", "pocket-upright"]}
GATES = ("unfamiliar", "turned", "unsure")
PAUSE_S = 30
PAUSES = {"shaking": shaking, "tumbling": tumbling, "handling": handling}
SEED = 5


def people_of(data_set, data, part):
    """Return the recordings of each person of a part ("validation", "test"), in their order."""
    found = {}
    for recording in DATA_SETS[data_set].recordings(data):
        if DATA_SETS[data_set].split.part(recording.person) == part:
            found.setdefault(recording.person, []).append(recording)
    return {
        person: sorted(recordings, key=lambda recording: recording.order)
        for person, recordings in sorted(found.items())
    }


def lines_of(data_set, data, part, pauses):
    """Return what goes through the pipeline, stream by stream: (name, recordings of it)."""
    people = people_of(data_set, data, part)
    if data_set == "hapt":
        return [(r.name, [r]) for recordings in people.values() for r in recordings]
    return [(f"person {p}", with_pauses(r, p, pauses)) for p, r in people.items()]


def with_pauses(recordings, person, pauses):
    """Return recordings laid end to end from time 0 on, 30 s of unknown motion before each."""
    rng = np.random.default_rng([SEED, person])
    line, at = [], 0
    for recording, make in zip(recordings, cycle(pauses)):
        begin, at = at, at + PAUSE_S * NS_PER_S
        pause = message("", begin, *make(PAUSE_S, rng))
        line.append(Recording("pause", person, (pause,), (Segment(begin, at, "pause"),)))
        batches = [b for m in recording.messages for b in m]
        shift = at - min(int(b.t[0]) for b in batches)
        line.append(moved(recording, shift))
        at = max(int(b.t[-1]) for b in batches) + shift + PERIOD_NS
    return line


def moved(recording, shift):
    """Return a recording `shift` ns later."""
    return replace(
        recording,
        messages=tuple([replace(b, t=b.t + shift) for b in m] for m in recording.messages),
        segments=tuple(
            Segment(s.t_start_ns + shift, s.t_end_ns + shift, s.label) for s in recording.segments
        ),
    )


@dataclass
class Measured:
    """One model on some streams: what it said, what is true, which windows its gates reject."""

    classifier: TFLiteClassifier
    predictions: Predictions = field(default_factory=Predictions)
    truth: dict = field(default_factory=dict)
    windows: Counter = field(default_factory=Counter)

    def see(self, batch, settings):
        """Keep predictions; count windows wholly of one known label, and the rejected of them."""
        self.predictions.see(batch)
        known = np.zeros(len(batch.windows), bool)
        for segment in self.truth[batch.stream]:
            if segment.label in self.classifier.card.labels:
                known |= (segment.t_start <= batch.windows.t_start) & (
                    batch.windows.t_end <= segment.t_end
                )
        limit = settings.novelty or np.inf
        gates = {
            "unfamiliar": batch.novelty.distance > limit,
            "turned": batch.novelty.turn > limit,
            "unsure": batch.probs.max(axis=1) < settings.unknown_below,
        }
        gates["rejected"] = np.any(list(gates.values()), axis=0)
        self.windows["known"] += int(known.sum())
        self.windows.update({gate: int((known & spoke).sum()) for gate, spoke in gates.items()})

    def scores(self, settings):
        """Return the score of each stream with these settings."""
        card = self.classifier.card
        shown = {s: self.predictions.decided(s, card, settings) for s in self.truth}
        return judged(self.truth, shown, lambda _: card, TOLERANCE_S)


def measured(model, lines, settings, *, warm):
    """Let every line go through the pipeline with a model."""
    classifier = TFLiteClassifier.load(model)
    found = Measured(classifier)
    own = settings.over(classifier.card)
    for name, recordings in lines:
        found.truth[name] = truth_of(labels_of(recordings), classifier.card)
        known = first_reference(recordings, classifier.card.input) if warm else None
        pipe = Pipeline(
            lambda _: (classifier, settings),
            watch=lambda batch: found.see(batch, own),
            references={} if known is None else {name: known},
        )
        for recording in recordings:
            for each in recording.messages:
                for event in pipe.feed([replace(b, stream=name) for b in each]):
                    if event.status == "rejected":
                        print(f"{name}: rejected: {event.reason}", file=sys.stderr)
        pipe.finish("end_of_data")
    return found


def row(data_set, reference, found, settings):
    """Return the figures that the targets are about."""
    figures = pooled(found.scores(settings).values()).figures()
    known = max(found.windows["known"], 1)
    delay = figures["onset_delay_s"]
    return {
        "data": data_set,
        "model": found.classifier.card.identity,
        "reference": reference,
        "labelled_h": round(figures["labelled_h"], 2),
        "false_per_h": figures["false_events_per_hour"],
        "found": figures["found"],
        "delay_s": delay["median"],
        "delay_90_s": delay["p90"],
        "right": figures["right"],
        "unknown": figures["unknown"],
        "known_rejected": round(found.windows["rejected"] / known, 4),
        **{gate: round(found.windows[gate] / known, 4) for gate in GATES},
    }


def pairs(given):
    """Return key=value texts as a mapping."""
    return dict(text.split("=", 1) for text in given)


def main():
    """Print a row a model and reference as Markdown, or a grid."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", help="hapt, motionsense (both)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--people", choices=["test", "validation"], default="test")
    parser.add_argument("--model", action="append", help="name or card, instead of the usual ones")
    parser.add_argument(
        "--pause", nargs="+", choices=PAUSES, default=["shaking", "tumbling"], help="of motionsense"
    )
    parser.add_argument("--set", dest="changes", action="append", default=[], help="key=value")
    parser.add_argument("--grid", action="append", default=[], help="key=a,b,c of [decision]")
    parser.add_argument("--plot", type=Path, help="of a grid: delay against false events, PNG")
    parser.add_argument("--full", action="store_true", help="the tables of `hard evaluate` as well")
    given = parser.parse_args()
    settings = with_settings(DecisionSettings(), pairs(given.changes))
    grid = {key: values.split(",") for key, values in pairs(given.grid).items()}
    rows = []
    for data_set in given.sets or MODELS:
        lines = lines_of(data_set, given.data, given.people, [PAUSES[name] for name in given.pause])
        for model in given.model or MODELS[data_set]:
            upright = ModelCard.load(model)[0].input.frame == "upright"
            for warm in (False, True) if upright else (False,):
                found = measured(model, lines, settings, warm=warm)
                if grid:
                    show_grid(found, grid, settings, given.plot)
                    continue
                if given.full:
                    print(report(found.scores(settings)))
                reference = ("warm" if warm else "cold") if upright else "not asked for"
                rows.append(row(data_set, reference, found, settings))
    if rows:
        print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
        for each in rows:
            print("| " + " | ".join(str(value) for value in each.values()) + " |")


def show_grid(found, grid, settings, plot):
    """Decide once more for each combination; print, and draw, what comes of it."""
    trials = [
        Trial(changes, pooled(found.scores(with_settings(settings, changes)).values()))
        for changes in combinations(grid)
    ]
    trials.sort(key=lambda trial: trial.cost)
    print(f"\n{found.classifier.card.identity}\n{grid_table(trials)}")
    if plot is not None:
        draw_grid(plot, trials)


if __name__ == "__main__":
    main()
