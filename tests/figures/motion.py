"""SYNTHETIC motion that no model learnt, and none at all; shared by the figures beside it.

Each returns accelerometer (m/s², gravity included) and gyroscope (rad/s), float32[n, 3] at 50 Hz.
"""

from __future__ import annotations

import numpy as np

from hard.api import NS_PER_S, STANDARD_GRAVITY_M_S2, Declared, SampleBatch

RATE_HZ = 50
PERIOD_NS = NS_PER_S // RATE_HZ
SENSOR_NOISE = (0.03, 0.003)
"""Standard deviations: m/s², rad/s."""


def shaking(seconds, rng):
    """Somebody shakes it: 2 to 7 Hz, 8 to 25 m/s², about a direction that wanders."""
    n = round(seconds * RATE_HZ)
    strength = rng.uniform(8, 25) * (1 + 0.3 * _wandering(n, 1, 1.0, rng))
    phase = np.cumsum(
        2 * np.pi * rng.uniform(2, 7) / RATE_HZ * (1 + 0.1 * _wandering(n, 1, 2, rng))
    )
    along = _directions(_wandering(n, 3, 3.0, rng) + rng.normal(size=3))
    about = _directions(_wandering(n, 3, 3.0, rng) + rng.normal(size=3))
    turning = about * (rng.uniform(1, 5) * np.sin(phase + rng.uniform(0, 6)))[:, None]
    beat = strength[:, 0] * (np.sin(phase) + 0.3 * np.sin(2 * phase + 1))
    return _sensed(_turned(turning, rng) + along * beat[:, None], turning, rng)


def tumbling(seconds, rng):
    """It turns over and over, as in a bag that is carried or in a hand that plays with it."""
    n = round(seconds * RATE_HZ)
    turning = _directions(_wandering(n, 3, 2.0, rng)) * rng.uniform(2, 7)
    jolts = _wandering(n, 3, 0.2, rng) * rng.uniform(0.5, 3)
    return _sensed(_turned(turning, rng) + jolts, turning, rng)


def handling(seconds, rng):
    """Somebody holds it, looks at it and turns it: 0.2 to 1.5 rad/s, now and then."""
    n = round(seconds * RATE_HZ)
    busy = np.clip(_wandering(n, 1, 2.0, rng) + 0.7, 0.15, None)
    turning = _wandering(n, 3, 0.7, rng) * rng.uniform(0.2, 1.5) * busy
    moves = _wandering(n, 3, 0.25, rng) * rng.uniform(0.5, 2) * busy
    return _sensed(_turned(turning, rng) + moves, turning, rng)


def table(seconds, rng, lies=None):
    """It lies on a table, any way up (or as it `lies`), at its sensor's noise."""
    up, noise = lies or lying(rng)
    n = round(seconds * RATE_HZ)
    return _sensed(np.repeat(up, n, axis=0), np.zeros((n, 3)), rng, noise)


def lying(rng):
    """Return gravity of a device that lies, and its noise (0.01 to 0.06 m/s²)."""
    noise = rng.uniform(0.01, 0.06), rng.uniform(0.0005, 0.006)
    return _directions(rng.normal(size=(1, 3))) * STANDARD_GRAVITY_M_S2, noise


def noise(seconds, rng):
    """White noise about gravity, 0.02 to 20 m/s², 0.002 to 5 rad/s, another every ten minutes."""
    parts = []
    for begin in range(0, round(seconds), 600):
        n = round(min(600, seconds - begin) * RATE_HZ)
        sd = np.exp(rng.uniform(np.log([0.02, 0.002]), np.log([20, 5])))
        up = _directions(rng.normal(size=(1, 3))) * STANDARD_GRAVITY_M_S2
        parts.append(_sensed(np.repeat(up, n, axis=0), np.zeros((n, 3)), rng, sd))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


UNKNOWN = {"shaking": shaking, "tumbling": tumbling, "table": table}


def message(stream, t_ns, accel, gyro):
    """Return samples at 50 Hz from `t_ns` on, ns, as one message."""
    t = t_ns + np.arange(len(accel), dtype=np.int64) * PERIOD_NS
    return [
        SampleBatch(stream, "accel", t, accel, Declared("m/s2")),
        SampleBatch(stream, "gyro", t, gyro, Declared("rad/s")),
    ]


def _sensed(accel, gyro, rng, noise=SENSOR_NOISE):
    pairs = zip((accel, gyro), noise, strict=True)
    return tuple((x + sd * rng.standard_normal(x.shape)).astype(np.float32) for x, sd in pairs)


def _wandering(n, channels, seconds, rng):
    """Return smooth random curves [n, channels] of about unit size that change within `seconds`."""
    knots = int(n / (seconds * RATE_HZ)) + 3
    at = np.arange(n) / (seconds * RATE_HZ)
    values = rng.normal(size=(knots, channels))
    return np.stack([np.interp(at, np.arange(knots), column) for column in values.T], axis=1)


def _directions(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _turned(turning, rng):
    """Return gravity [n, 3] as a device sees it that turns by `turning` rad/s from any attitude."""
    up = _directions(rng.normal(size=(1, 3)))[0]
    seen = np.empty_like(turning)
    for i, rate in enumerate(turning.tolist()):
        x, y, z = up
        p, q, r = (w / RATE_HZ for w in rate)  # up' = up x rate
        up = (x + y * r - z * q, y + z * p - x * r, z + x * q - y * p)
        length = (up[0] ** 2 + up[1] ** 2 + up[2] ** 2) ** 0.5
        up = tuple(u / length for u in up)
        seen[i] = up
    return seen * STANDARD_GRAVITY_M_S2
