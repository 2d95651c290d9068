"""How well gravity tells a gyroscope in rad/s that is declared in °/s: counted on recordings.

    python tests/figures/gyro_unit.py --data ../shared/data

Every recording of MotionSense, HAPT and SP-SW-HAR goes through the whole conditioning, once as it
is and once declared in °/s: in how many was that refused, after how many seconds (median)?  Last,
how far a right gyroscope turned at least, as a share of gravity's own turns of 30° and more from
the first to the last second of any 3 s.  The bounds were not fitted to them.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from hard.api import NS_PER_S, STANDARD_GRAVITY_M_S2, Declared, SampleBatch
from hard.conditioning import Conditioner, Verdict
from hard_training.datasets import DATA_SETS

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.figures.stated_rate import INPUT, TRUE_HZ, even_samples


def refused_after_s(x, gyro_unit):
    """Return when the gyroscope's unit is refused, None where it never is."""
    t = np.arange(len(x), dtype=np.int64) * (NS_PER_S // TRUE_HZ)
    message = [
        SampleBatch("s", sensor, t, values, Declared(unit))
        for sensor, unit, values in (("accel", "m/s2", x[:, :3]), ("gyro", gyro_unit, x[:, 3:]))
    ]
    conditioner = Conditioner(INPUT, Counter())
    found = [*conditioner.feed(message), *conditioner.flush()]
    wrong = [v for v in found if isinstance(v, Verdict) and "radians" in (v.reason or "")]
    return wrong[0].t / NS_PER_S if wrong else None


def least_share(x):
    """Return how far the gyroscope turned at least, in turns of gravity, infinity without any."""
    sums = np.cumsum(np.vstack([np.zeros(3), x[:, :3]]), axis=0)
    means = (sums[TRUE_HZ:] - sums[:-TRUE_HZ]) / TRUE_HZ
    norms = np.linalg.norm(means, axis=1)
    way = np.append(0, np.cumsum(np.linalg.norm(x[:, 3:], axis=1))) / TRUE_HZ
    i = np.arange(0, max(len(means) - 2 * TRUE_HZ, 0), TRUE_HZ // 2)
    first, last = means[i], means[i + 2 * TRUE_HZ]
    both = np.stack([norms[i], norms[i + 2 * TRUE_HZ]])
    angle = np.arccos(np.clip((first * last).sum(axis=1) / both.prod(axis=0), -1, 1))
    turns = (abs(both / STANDARD_GRAVITY_M_S2 - 1) < 0.04).all(axis=0) & (angle > np.radians(30))
    middle = i[turns] + TRUE_HZ // 2
    shares = (way[middle + 2 * TRUE_HZ] - way[middle]) / angle[turns]
    return shares.min(initial=np.inf)


def main():
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data, rows, least = parser.parse_args().data, defaultdict(list), np.inf
    for name in ("motionsense", "hapt", "sp-sw-har"):
        for recording in DATA_SETS[name].recordings(data):
            x = even_samples(recording)
            least = min(least, least_share(x.astype(np.float64)))
            for unit in ("rad/s", "deg/s"):
                rows[name, unit].append(refused_after_s(x, unit))
    print("| data | declared | refused | after, s |\n|---|---|---|---|")
    for key, found in rows.items():
        after = [at for at in found if at is not None]
        when = f"{np.median(after):.0f}" if after else "-"
        print(f"| {' | '.join(key)} | {len(after)} of {len(found)} | {when} |")
    print(f"\nA right gyroscope turned at least {least:.2f} times as far as gravity.")


if __name__ == "__main__":
    main()
