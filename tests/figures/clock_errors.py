"""What a clock that is off costs: the gyroscope's alone, and the whole stream's.

    python tests/figures/clock_errors.py --data ../shared/data

All of the five people of MotionSense that `pocket` never saw, once as they are and once with later
stamps.  Same is the share of windows of the grid with the same most likely activity as without the
error, right the mean over people of those that agree with the label; the interval is a bootstrap
over people.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from hard.api import NS_PER_S, SampleBatch
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.pipeline import Pipeline
from hard_training.datasets import DATA_SETS

PEOPLE = (3, 9, 15, 20, 23)
OFFSETS_S = (0.02, 0.05, 0.1, 0.2, 0.5)
MAX_DELAY_S = 1.0


def shifted(message, offset_s, sensors):
    """Return a message whose `sensors` are stamped later."""
    offset_ns = round(offset_s * NS_PER_S)
    return [
        replace(
            part,
            t=part.t + offset_ns if part.sensor in sensors else part.t,
            declared=replace(part.declared, max_delay_s=MAX_DELAY_S),
        )
        for part in message
        if isinstance(part, SampleBatch)
    ]


def most_likely(classifier, recording, offset_s, sensors):
    """Return {end of window, ns: most likely label}."""
    seen = {}

    def watch(batch):
        winners = batch.probs.argmax(axis=1).tolist()
        seen.update(zip(batch.windows.t_end.tolist(), winners, strict=True))

    pipeline = Pipeline(lambda _: (classifier, DecisionSettings()), watch=watch)
    for message in recording.messages:
        pipeline.feed(shifted(message, offset_s, sensors))
    pipeline.finish("end_of_data")
    return seen


def mean_and_interval(shares, rng):
    """Return the mean over people, %, and its 95 % interval, as text."""
    means = rng.choice(shares, (2000, len(shares))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{np.mean(shares):.1%} ({low:.1%} to {high:.1%})"


def main():
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    classifier = TFLiteClassifier.load("pocket")
    labels = classifier.card.labels
    cases = {"none": (0.0, ())}
    for offset_s in OFFSETS_S:
        cases[f"gyroscope {offset_s:g} s late"] = offset_s, ("gyro",)
    for offset_s in OFFSETS_S:
        cases[f"all {offset_s:g} s late"] = offset_s, ("accel", "gyro")
    same = defaultdict(lambda: defaultdict(list))
    right = defaultdict(lambda: defaultdict(list))
    for recording in DATA_SETS["motionsense"].recordings(data):
        if recording.person not in PEOPLE:
            continue
        label = labels.index(next(iter({segment.label for segment in recording.segments})))
        plain = most_likely(classifier, recording, *cases["none"])
        for case, error in cases.items():
            got = most_likely(classifier, recording, *error)
            same[case][recording.person] += [got[t] == plain[t] for t in plain if t in got]
            right[case][recording.person] += [winner == label for winner in got.values()]
    rng = np.random.default_rng(0)
    print("| clock error | windows | same | right |\n|---|---|---|---|")
    for case in cases:
        windows = sum(map(len, right[case].values()))
        shares = [[np.mean(x) for x in table[case].values()] for table in (same, right)]
        told = " | ".join(mean_and_interval(each, rng) for each in shares)
        print(f"| {case} | {windows} | {told} |")


if __name__ == "__main__":
    main()
