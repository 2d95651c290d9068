"""Random SYNTHETIC recordings through the pipeline: what must hold of events, whatever comes in.

    python tests/figures/random_recordings.py --n 1000

A recording is up to seven stretches of activities, shaking, tumbling, a table, noise, units and
sensors that are wrong, samples that are none, silences and jumps of the clock, cut into messages
anywhere, some of them late, doubled or in another order.  Of each:

* every `enter` has its `exit`, bouts don't overlap, times never run backwards, ids are unique;
* a second run gives the same events, to the last byte;
* so does a run that is cut anywhere: checkpoint, another pipeline, restore, go on.

Ends with a list of the seeds that failed, and exit code 1 if there are any.  The suite runs a
hundred (tests/hard/test_random_recordings.py).
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from hard.api import NS_PER_S, STANDARD_GRAVITY_M_S2
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.pipeline import Pipeline
from hard_simulator.model import Wearer, activities, simulate

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.figures.motion import PERIOD_NS, RATE_HZ, message, noise, shaking, table, tumbling
from tests.hard.signals import check_events

T0_NS = 1_700_000_000 * NS_PER_S
STREAM = "s"
MODELS = ("pocket", "pocket-upright", "waist")
SETTINGS = DecisionSettings(off_body_after_s=60)


def recording(placement, rng):
    """Return what a pipeline is given: messages, and None where silence is noticed."""
    wearer = Wearer.draw(placement, rng)
    delay_s = float(rng.choice([0.0, 0.0, 3.0]))
    at, steps = T0_NS, []
    for _ in range(int(rng.integers(2, 8))):
        kind = rng.choice(["worn", "worn", "worn", "none", "table", "wrong", "silence", "jump"])
        if kind == "silence":
            at += int(rng.uniform(0.1, 40) * NS_PER_S)
            steps += [None] * int(rng.integers(0, 2))
            continue
        if kind == "jump":
            at += int(rng.choice([-3600, -20, 20, 3600])) * NS_PER_S
            continue
        seconds = float(rng.uniform(2, 80 if kind == "table" else 15))
        steps += messages(at, stretch(kind, wearer, seconds, rng), delay_s, rng)
        at += round(seconds * RATE_HZ) * PERIOD_NS
    return disordered(steps, rng) if delay_s else steps


def stretch(kind, wearer, seconds, rng):
    """Return accelerometer and gyroscope float32[n, 3] of one stretch; the latter may be None."""
    if kind == "table":
        return table(seconds, rng)
    if kind == "none":
        return (shaking, tumbling, noise)[int(rng.integers(3))](seconds, rng)
    activity = str(rng.choice(activities(wearer.placement)))
    accel, gyro = simulate(wearer, activity, seconds, float(RATE_HZ), rng)
    return (
        (accel, gyro) if kind == "worn" else WRONGED[int(rng.integers(len(WRONGED)))](accel, gyro)
    )


def broken(accel, gyro):
    """Return samples some of which are no numbers."""
    accel[:: len(accel) // 20] = [np.nan, np.inf, -np.inf]
    return accel, gyro


WRONGED = [
    lambda accel, gyro: (accel / np.float32(STANDARD_GRAVITY_M_S2), gyro),
    lambda accel, gyro: (accel - accel.mean(axis=0), gyro),
    lambda accel, gyro: (accel, np.degrees(gyro)),
    lambda accel, gyro: (accel, None),
    lambda accel, gyro: (np.repeat(accel[:1], len(accel), axis=0), gyro),
    broken,
]
"""In g, without gravity, in degrees, without a gyroscope, stuck, not finite."""


def messages(at, samples, delay_s, rng):
    """Cut samples into messages of up to three seconds."""
    accel, gyro = samples
    ends = np.cumsum(rng.integers(1, 150, len(accel)))
    cuts = [0, *ends[ends < len(accel)].tolist(), len(accel)]
    whole = message(STREAM, at, accel, accel if gyro is None else gyro)[: 1 + (gyro is not None)]
    declared = replace(whole[0].declared, max_delay_s=delay_s)
    return [
        [
            replace(
                batch,
                t=batch.t[a:b],
                values=batch.values[a:b],
                declared=replace(declared, unit=batch.declared.unit),
            )
            for batch in whole
        ]
        for a, b in pairwise(cuts)
    ]


def disordered(steps, rng):
    """Return steps of which some neighbours have changed places, and some come twice."""
    for i in np.flatnonzero(rng.random(max(len(steps) - 1, 0)) < 0.1).tolist():
        steps[i], steps[i + 1] = steps[i + 1], steps[i]
    return [step for step in steps for _ in range(1 + (step is not None and rng.random() < 0.05))]


def events_of(steps, classifier, cuts=()):
    """Return the events; before each step in `cuts` another pipeline goes on with a checkpoint."""
    pipe, events = Pipeline(lambda _: (classifier, SETTINGS)), []
    for i, step in enumerate(steps):
        if i in cuts and pipe.state(STREAM) is not None:
            text = json.dumps(pipe.checkpoint(STREAM), allow_nan=False)
            pipe = Pipeline(lambda _: (classifier, SETTINGS))
            pipe.restore(STREAM, json.loads(text))
        events += pipe.tick(STREAM) if step is None else pipe.feed(step)
    return events + pipe.finish("end_of_data")


def check(seed, classifier):
    """Assert all of it of one recording; return its events."""
    rng = np.random.default_rng([seed, 7])
    steps = recording(classifier.card.placement, rng)
    events = events_of(steps, classifier)
    check_events(events, classifier.card.states)
    told = [json.dumps(event.payload()) for event in events]
    assert told == [json.dumps(e.payload()) for e in events_of(steps, classifier)], "second run"
    cuts = set(rng.integers(0, max(len(steps), 1), int(rng.integers(1, 5))).tolist())
    resumed = [json.dumps(e.payload()) for e in events_of(steps, classifier, cuts)]
    assert told == resumed, f"cut before steps {sorted(cuts)}"
    return events


def main():
    """Check so many, and say how many events there were of each kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    classifiers = [TFLiteClassifier.load(name) for name in MODELS]
    failed, events = [], 0
    for seed in range(given.first, given.first + given.n):
        try:
            events += len(check(seed, classifiers[seed % len(classifiers)]))
        except AssertionError as error:
            failed.append(seed)
            print(f"seed {seed}: {error!r:.300}", flush=True)
        if (seed + 1) % 100 == 0:
            print(f"{seed + 1 - given.first} of {given.n}, failed: {len(failed)}", flush=True)
    print(f"{given.n} recordings, {events} events; failed: {failed or 'none'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
