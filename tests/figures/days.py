"""Twenty SYNTHETIC days of a wearer, and 24 h of what is no activity: how many events are false.

    python tests/figures/days.py                    twenty days with `pocket`
    python tests/figures/days.py --model waist --days 3
    python tests/figures/days.py --nothing          24 h of noise, of a table, of silence

A day has 16 h and 40 bouts, mostly still: sitting and standing of minutes to hours, walks, stairs
and a run between; another seed is another wearer and another day.  A false event is a bout that
agrees with nothing that was true while it was shown (`hard/scoring.py`).  Of nothing only
`off_body`, `unknown`, `no_data`, and `still` until it may be called `off_body`, may be said.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from hard.api import NS_PER_S
from hard.card import ModelCard
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.evaluation import judged
from hard.pipeline import Pipeline
from hard.scoring import TOLERANCE_S, Segment, shown_in
from hard_simulator.model import Bout, Motion, Wearer, activities

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.figures.motion import PERIOD_NS, RATE_HZ, lying, message, noise, table

EVERY_MODEL = ["pocket", "pocket-upright", "waist"]
BOUTS = 40
T0_NS = 1_700_000_000 * NS_PER_S
MESSAGE_S = 60
STREAM = "wearer"
RESTS = {"sitting": 1.0, "standing": 0.3, "laying": 1.0}
"""How long each lasts beside the others, on average; together they are the rest of the day."""
MOVES = {"walking": (60, 900), "upstairs": (10, 40), "downstairs": (10, 40), "running": (300, 1500)}
"""How long each lasts, s."""
CHANCES = {"walking": 0.6, "upstairs": 0.18, "downstairs": 0.18, "running": 0.04}


def script(placement, hours, rng):
    """Return the bouts of a day: a rest, then one to three motions that lead to the next one."""
    moves = [name for name in MOVES if name in activities(placement)]
    rests = [name for name in RESTS if name in activities(placement)]
    plan = [str(rng.choice(rests))]
    while len(plan) < BOUTS:
        for _ in range(int(rng.integers(1, 4))):
            chances = np.array([CHANCES[name] * (name != plan[-1]) for name in moves])
            plan.append(str(rng.choice(moves, p=chances / chances.sum())))
        plan.append(str(rng.choice(rests)))
    del plan[BOUTS:]
    lasts = [rng.uniform(*MOVES[name]) if name in MOVES else 0.0 for name in plan]
    weights = [rng.lognormal(0, 1) * RESTS.get(name, 0.0) for name in plan]
    left = hours * 3600 - sum(lasts)
    lasts = [at + left * weight / sum(weights) for at, weight in zip(lasts, weights, strict=True)]
    return [Bout(name, seconds) for name, seconds in zip(plan, lasts, strict=True)]


def day(model, hours, seed):
    """Return what one day's events are worth: a score, and how often each state was said."""
    rng = np.random.default_rng([seed, 2025])
    classifier = TFLiteClassifier.load(model)
    placement = classifier.card.placement
    bouts = script(placement, hours, rng)
    motion = Motion(Wearer.draw(placement, rng), bouts, float(RATE_HZ), rng)
    pipe = Pipeline(lambda _: (classifier, DecisionSettings()))
    events, at = [], T0_NS
    while len((samples := motion.read(MESSAGE_S * RATE_HZ))[0]):
        events += pipe.feed(message(STREAM, at, *samples))
        at += len(samples[0]) * PERIOD_NS
    events += pipe.finish("end_of_data")
    truth, begin = [], T0_NS
    for bout in bouts:
        end = begin + round(bout.duration_s * NS_PER_S)
        truth.append(Segment(begin, end, bout.activity))
        begin = end
    shown = {STREAM: shown_in(events).get(STREAM, [])}
    score = judged({STREAM: truth}, shown, lambda _: classifier.card, TOLERANCE_S)[STREAM]
    return seed, score.figures()


def nothing(model, kind, hours, seed):
    """Return seconds by what was said of hours of nothing."""
    rng = np.random.default_rng([seed, 24])
    classifier = TFLiteClassifier.load(model)
    pipe = Pipeline(lambda _: (classifier, DecisionSettings()))
    events, at = [], T0_NS
    lies = lying(rng)
    make = noise if kind == "noise" else lambda seconds, rng: table(seconds, rng, lies)
    silent_ns = round(hours * 3600 * NS_PER_S) if kind == "silence" else 0
    parts = [30 / 3600, 30 / 3600] if silent_ns else [1.0] * round(hours)
    for part in parts:
        samples = make(part * 3600, rng)
        for a in range(0, len(samples[0]), MESSAGE_S * RATE_HZ):
            block = [x[a : a + MESSAGE_S * RATE_HZ] for x in samples]
            events += pipe.feed(message(STREAM, at, *block))
            at += len(block[0]) * PERIOD_NS
        if silent_ns:
            events += pipe.tick(STREAM)
            at += silent_ns
    events += pipe.finish("end_of_data")
    said = Counter()
    for event in events:
        if event.kind == "exit":
            said[event.activity] += round((event.t_end - event.t_start) / NS_PER_S)
        elif event.status not in (None, "ok"):
            said[f"status {event.status}"] += 1
    return kind, dict(said)


def show_days(pool, model, hours, seeds):
    """Print a row a day, the mean and the worst, as Markdown."""
    false, fragmented, right = [], [], []
    print(f"| {model}, seed | false events | fragmented | found | right | delay, s |")
    print("|---" * 6 + "|")
    n = len(seeds)
    for seed, figures in pool.map(day, [model] * n, [hours] * n, seeds):
        by = figures["segments_by"]
        false.append(figures["false_events"])
        fragmented.append(by["fragmented"] + by["fragmented_merged"])
        right.append(figures["right"])
        cells = (seed, false[-1], fragmented[-1], figures["found"], right[-1])
        print(
            f"| {' | '.join(map(str, cells))} | {figures['onset_delay_s']['median']} |", flush=True
        )
    print(
        f"{model}, {n} days of {hours:g} h: {statistics.mean(false):.2f} false events a day "
        f"(worst {max(false)}), {statistics.mean(fragmented):.2f} bouts fragmented (worst "
        f"{max(fragmented)}), {statistics.mean(right):.1%} of the time right"
    )


def show_nothing(pool, model, hours, seed):
    """Print what was said of each kind of nothing, s by state, and whether any is an activity."""
    kinds = ("noise", "table", "silence")
    n = len(kinds)
    for kind, said in pool.map(nothing, [model] * n, kinds, [hours] * n, [seed] * n):
        activity = sum(s for state, s in said.items() if state in ModelCard.load(model)[0].labels)
        print(f"{model}, {hours:g} h of {kind}: {activity} s of an activity; {said}", flush=True)


def main():
    """Measure days or nothing with each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", help="name or card; repeat the option")
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--hours", type=float, help="of a day (16), of nothing (24)")
    parser.add_argument("--seed", type=int, default=1, help="of the first day; each has its own")
    parser.add_argument("--nothing", action="store_true", help="noise, a table, silence")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    models = given.model or (EVERY_MODEL if given.nothing else EVERY_MODEL[:1])
    with ProcessPoolExecutor(given.workers) as pool:
        for model in models:
            if given.nothing:
                show_nothing(pool, model, given.hours or 24, given.seed)
            else:
                seeds = range(given.seed, given.seed + given.days)
                show_days(pool, model, given.hours or 16, seeds)


if __name__ == "__main__":
    main()
