"""Mutated serial bytes through every framing: a command, not part of the suite.

    python tests/fuzz/serial_fuzz.py --mb 100

Feeds so many megabytes, shared among the framings: valid frames with bytes flipped, lost, repeated
and inserted, frames shuffled, long stretches of noise.  Exits with 1 if a framing raises, gives
what is not finite, keeps memory, or loses a valid reading more than two after the last damage.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from hard_formats.framing import FRAMINGS
from tests.imus import G, numbered

FRAMES = 1000  # a round; each reading of it is told from the others by its acceleration
TOLERANCE_G = 1e-3
MAX_GROWTH_KB = 20_000
PER_G = {"text": G, "vectornav": G}


def mutated(frames, rng):
    """Return the frames with damage here and there, and which of them are hurt."""
    frames, hurt = list(frames), {0}
    for i in np.flatnonzero(rng.random(len(frames)) < rng.choice([0.003, 0.03, 0.2])):
        if i < 5:  # text settles on its layout first
            continue
        data, at = frames[i], int(rng.integers(len(frames[i])))
        n = int(rng.integers(1, 12))
        damage = rng.integers(6)
        if damage == 0:
            data = data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        elif damage == 1:
            data = data[:at] + data[at + n :]
        elif damage == 2:
            data = data[:at] + rng.bytes(n) + data[at:]
        elif damage == 3:
            data = data[:at] + rng.bytes(n) + data[at + n :]
        elif damage == 4:
            data = data[:at] + frames[int(rng.integers(len(frames)))] + data[at:]
        else:
            data = data[:at] + rng.bytes(int(rng.integers(1, 3000)))
        frames[i] = data
        hurt.add(int(i))
    return frames, hurt


def missing(x, got, hurt):
    """Return the readings that had to be found and were not."""
    last_hurt = -1
    due = []
    for k in range(len(x)):
        if k in hurt:
            last_hurt = k
        elif k - last_hurt > 2:
            due.append(k)
    got = np.sort(got)
    near = np.searchsorted(got, x[due] - TOLERANCE_G)
    found = (near < len(got)) & (got[np.minimum(near, len(got) - 1)] <= x[due] + TOLERANCE_G)
    return np.array(due)[~found], len(due)


def fuzz(fmt, n_bytes, rng):
    """Return what happened to `n_bytes` mutated bytes of one format."""
    frames, x = numbered(fmt, FRAMES)
    told = {"bytes": 0, "readings": 0, "due": 0, "lost": 0, "seconds": 0.0, "bad": 0}
    framing = FRAMINGS[fmt]()
    while told["bytes"] < n_bytes:
        sent, hurt = mutated(frames, rng)
        stream = b"".join(sent)
        cuts = np.sort(rng.integers(0, len(stream), len(stream) // 2000))
        got = []
        began_s = time.perf_counter()
        for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            readings = framing.feed(stream[a:b])
            got.append(readings.accel)
            told["readings"] += len(readings)
        told["seconds"] += time.perf_counter() - began_s
        told["bytes"] += len(stream)
        accel = np.concatenate(got)
        told["bad"] += int((~np.isfinite(accel)).sum())
        lost, due = missing(x, accel[:, 0] / PER_G.get(fmt, 1.0), hurt)
        told["lost"] += len(lost)
        told["due"] += due
    return told, framing.counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=float, default=10.0, help="megabytes in all")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    failed = False
    for number, fmt in enumerate(FRAMINGS):
        rng = np.random.default_rng([arguments.seed, number])
        fuzz(fmt, 300_000, rng)  # what is allocated once
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        told, counts = fuzz(fmt, arguments.mb * 1e6 / len(FRAMINGS), rng)
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
        failed |= bool(told["lost"] or told["bad"] or grown_kb > MAX_GROWTH_KB)
        print(  # noqa: T201 - a command's result
            f"{fmt:9} {told['bytes'] / 1e6:6.1f} MB"
            f"  {told['bytes'] / told['seconds'] / 1e6:5.1f} MB/s"
            f"  {told['readings']} readings  {told['lost']} of {told['due']} valid ones lost"
            f"  {told['bad']} not finite  +{grown_kb} kB  {dict(sorted(counts.items()))}",
            flush=True,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
