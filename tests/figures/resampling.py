"""What resampling costs, in dB: a table over rates and frequencies, and one over stamp jitter.

    python tests/figures/resampling.py

Sines of 3 m/s² about gravity go through the whole conditioning, as a source would send them, and
what comes out on the grid of 50 Hz is compared with the same sines at the grid's times; a figure is
20 lg of the error's root mean square over the signal's.  The suite holds the first table to its
bound (tests/hard/test_resampling.py).
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np

from hard.api import NS_PER_S, Declared, SampleBatch
from hard.conditioning import Conditioner, GridBlock
from hard.resampling import taps_for

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.hard.signals import ACCEL_ONLY, T0_NS, uniform

RATES_HZ = (20, 25, 32, 50, 60, 100, 200, 400)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.35, 0.4)
"""Of the lower of the input's and the grid's rate."""
JITTERS = (0.1, 0.3, 0.6, 1.0)
"""Width of the even distribution of a stamp's error, in periods."""
SIGNALS_HZ = (1, 2, 4, 8)
GRAVITY_M_S2 = np.array([0, 0, 9.81])
LENGTH_S, EDGE_S = 40, 2
OFF_GRID_NS = 3_141_592


def sines(t, frequency_hz):
    """Return three sines of 3 m/s² float64[n, 3] at the times `t`, ns."""
    angle = 2 * np.pi * frequency_hz * ((t - T0_NS) / NS_PER_S)
    return 3 * np.stack([np.sin(angle), np.cos(angle), np.sin(angle + 1)], axis=1)


def taken(rate_hz):
    """Return `LENGTH_S` of times at an even rate, off the grid; ns."""
    return uniform(int(LENGTH_S * rate_hz), rate_hz, T0_NS + OFF_GRID_NS)


def error_db(stamps, taken_at, frequency_hz):
    """Return the error of sines sampled at `taken_at` and stamped `stamps`; dB."""
    x = (sines(taken_at, frequency_hz) + GRAVITY_M_S2).astype(np.float32)
    conditioner = Conditioner(ACCEL_ONLY, Counter())
    message = [SampleBatch("s", "accel", stamps, x, Declared("m/s2"))]
    found = [*conditioner.feed(message), *conditioner.flush()]
    blocks = [item for item in found if isinstance(item, GridBlock)]
    grid = np.concatenate([b.k0 + np.arange(len(b.values)) for b in blocks]) * ACCEL_ONLY.period_ns
    inner = (grid > stamps[0] + EDGE_S * NS_PER_S) & (grid < stamps[-1] - EDGE_S * NS_PER_S)
    wanted = sines(grid[inner], frequency_hz)
    error = np.concatenate([b.values for b in blocks])[inner] - GRAVITY_M_S2 - wanted
    return decibels(error, wanted)


def decibels(error, wanted):
    """Return 20 lg of the one's root mean square over the other's."""
    return 10 * float(np.log10(np.mean(error**2) / np.mean(wanted**2)))


def band_error_db(rate_hz, share):
    """Return the error with exact stamps at a share of the lower of the two rates."""
    return error_db(taken(rate_hz), taken(rate_hz), share * min(rate_hz, 50))


def jitter_errors_db(jitter, frequency_hz, rate_hz=50):
    """Return the error at stamps off by up to half of `jitter` periods: taken as they are, and
    by the whole conditioning, which regresses those that jitter by more than it minds.
    """
    rng = np.random.default_rng(0)
    at = taken(rate_hz)
    off = np.rint(rng.uniform(-jitter / 2, jitter / 2, len(at)) * NS_PER_S / rate_hz)
    stamps = at + off.astype(np.int64)
    grid = at[EDGE_S * rate_hz : -EDGE_S * rate_hz] - OFF_GRID_NS
    wanted = sines(grid, frequency_hz)
    as_they_are = taps_for(stamps, grid, NS_PER_S / rate_hz).apply(sines(at, frequency_hz))
    return decibels(as_they_are - wanted, wanted), error_db(stamps, at, frequency_hz)


def main():
    """Print both tables as Markdown."""
    print("Error, dB, of a sine at a share of the lower of the two rates, exact stamps:\n")
    print("| input, Hz | " + " | ".join(f"{share:g}" for share in SHARES) + " |")
    print("|---|" + "---|" * len(SHARES))
    for rate_hz in RATES_HZ:
        row = [f"{band_error_db(rate_hz, share):.0f}" for share in SHARES]
        print(f"| {rate_hz} | " + " | ".join(row) + " |")
    print("\nError, dB, of a sine whose stamps jitter, 50 Hz; taken as they are → conditioned:\n")
    print("| jitter, % of the period | " + " | ".join(f"{hz} Hz" for hz in SIGNALS_HZ) + " |")
    print("|---|" + "---|" * len(SIGNALS_HZ))
    for jitter in JITTERS:
        row = ["{:.0f} → {:.0f}".format(*jitter_errors_db(jitter, hz)) for hz in SIGNALS_HZ]
        print(f"| {100 * jitter:.0f} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
