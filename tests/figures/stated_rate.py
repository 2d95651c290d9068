"""How well motion tells a wrong rate where there are no stamps: counted on recordings of people.

    python tests/figures/stated_rate.py --data ../shared/data
    python tests/figures/stated_rate.py --data ../shared/data --drift 0.1 --seed 0

Every recording of MotionSense, HAPT and SP-SW-HAR, at 50 Hz, is stamped as if it came at the right
rate and at wrong ones, through the whole conditioning.  A row says in how many the stated rate was
refused, and after how many seconds of the stated time (median, 90th percentile).  The bounds on
strides were chosen on the people of odd number, so the others stand apart; those on the gyroscope
were set with all in view.  `--drift` lets each recording's gyroscope drift by so many rad/s, as one
does that was never calibrated, each about an axis of its own.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from hard.api import NS_PER_S, Declared, SampleBatch
from hard.card import ModelInput
from hard.conditioning import Conditioner, GridBlock, Verdict
from hard_training.datasets import DATA_SETS

TRUE_HZ = 50
INPUT = ModelInput(
    channels=("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"),
    sampling_rate_hz=TRUE_HZ,
    window_samples=128,
    stride_samples=64,
    min_rate_hz=8,
)
CALLED_HZ = {"right": 50, "100 called 50": 25, "50 called 100": 100, "50 called 20": 20}
"""What is stated for 50 Hz; half of it slows the motion as 100 called 50 does."""


def even_samples(recording):
    """Return float32[n, 6] at 50 Hz, m/s² and rad/s, what is not known left out."""
    conditioner = Conditioner(INPUT, Counter())
    messages = [[b for b in m if isinstance(b, SampleBatch)] for m in recording.messages]
    items = [item for message in messages if message for item in conditioner.feed(message)]
    blocks = [b for b in (*items, *conditioner.flush()) if isinstance(b, GridBlock)]
    return np.concatenate([block.values[block.valid] for block in blocks])


def refused_after_s(x, stated_hz):
    """Return when the stated rate is refused, None where it never is."""
    t = np.rint(np.arange(len(x)) * (NS_PER_S / stated_hz)).astype(np.int64)
    message = [
        SampleBatch("s", sensor, t, values, Declared(unit, rate_hz=stated_hz, counted=True))
        for sensor, unit, values in (("accel", "m/s2", x[:, :3]), ("gyro", "rad/s", x[:, 3:]))
    ]
    conditioner = Conditioner(INPUT, Counter())
    found = [*conditioner.feed(message), *conditioner.flush()]
    wrong = [v for v in found if isinstance(v, Verdict) and "wrong rate" in (v.reason or "")]
    return wrong[0].t / NS_PER_S if wrong else None


def main():
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--drift", type=float, default=0.0, metavar="RAD_S")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data, rng = options.data, np.random.default_rng(options.seed)
    rows = defaultdict(list)
    for name in ("motionsense", "hapt", "sp-sw-har"):
        for recording in DATA_SETS[name].recordings(data):
            labels = {segment.label for segment in recording.segments}
            what = next(iter(labels)) if name == "motionsense" else "all there is"
            x = even_samples(recording)
            axis = rng.normal(size=3)
            x[:, 3:] += options.drift * axis / np.linalg.norm(axis)
            for case, stated_hz in CALLED_HZ.items():
                whose = "odd" if recording.person % 2 else "even"
                rows[name, what, case, whose].append(refused_after_s(x, stated_hz))
    print("| data | activity | rate | people | refused | after, s |\n|---|---|---|---|---|---|")
    for key, found in rows.items():
        after = [at for at in found if at is not None]
        spread = "-" if not after else "{:.0f}, {:.0f}".format(*np.percentile(after, [50, 90]))
        print(f"| {' | '.join(key)} | {len(after)} of {len(found)} | {spread} |")


if __name__ == "__main__":
    main()
