"""What the same recordings would be from another sensor: other rate, wrong gain, no gyroscope.

Pure: recordings in, recordings out, before the edge's conditioning sees any of it; phones that sit
differently are `hard_training.turning`'s.  Also motions that belong to no activity, made up here.
Called by the stress table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from hard.api import NS_PER_S, STANDARD_GRAVITY_M_S2, Declared, SampleBatch
from hard_training.datasets import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from hard.api import Message

__all__ = [
    "MADE_UP_S",
    "NO_CLASS",
    "Errors",
    "Motion",
    "at_rate",
    "made_up",
    "with_errors",
    "without_gyro",
]

_HALF_WIDTH = 32  # zero crossings on either side
_KAISER_BETA = 8.0  # 80 dB
_SAMPLES_PER_MESSAGE = 500


def at_rate(recording: Recording, rate_hz: float, *, filtered: bool = True) -> Recording:
    """Return the recording as a sensor at `rate_hz` would have given it.

    Band-limited to half the lower rate by a long windowed sinc without delay (80 dB).  Not
    `filtered`: as of a sensor that takes the nearest sample and lets all above half its rate fold
    down.  Samples are taken as evenly spaced, at the median of their spacings.
    """
    batches = [b for message in recording.messages for b in message if isinstance(b, SampleBatch)]
    resampled: list[SampleBatch] = []
    for sensor in dict.fromkeys(batch.sensor for batch in batches):
        own = [batch for batch in batches if batch.sensor == sensor and len(batch)]
        t = np.concatenate([batch.t for batch in own])
        values = np.concatenate([batch.values for batch in own]).astype(np.float64)
        period_ns = float(np.median(np.diff(t)))
        count = int((len(t) - 1) * period_ns * rate_hz / NS_PER_S) + 1
        at = np.arange(count) * (NS_PER_S / rate_hz / period_ns)  # in samples
        if filtered:
            seen = _interpolated(values, at, min(1.0, rate_hz * period_ns / NS_PER_S))
        else:
            seen = values[np.minimum(np.round(at).astype(np.intp), len(values) - 1)]
        stamps = t[0] + np.round(np.arange(count) * (NS_PER_S / rate_hz)).astype(np.int64)
        declared = replace(own[0].declared, rate_hz=None)
        resampled.append(replace(own[0], t=stamps, values=_float32(seen), declared=declared))
    return replace(recording, messages=tuple(_messages(resampled)))


def _interpolated(
    values: NDArray[np.float64], at: NDArray[np.float64], cutoff: float
) -> NDArray[np.float64]:
    """Return float64[n, 3] at the fractional indices `at`; `cutoff` 1 is half the own rate."""
    reach = _HALF_WIDTH / cutoff
    first = np.ceil(at - reach).astype(np.intp)
    # Between two even lattices few distances occur: each one's weights are made once.
    offsets, which = np.unique(np.round(first - at, 9), return_inverse=True)
    result, total = np.zeros((len(at), values.shape[1])), np.zeros(len(at))
    for tap in range(int(2 * reach) + 1):
        distance = (offsets + tap) * cutoff
        inside = np.maximum(1 - (distance / _HALF_WIDTH) ** 2, 0)
        kernel = np.sinc(distance) * np.i0(_KAISER_BETA * np.sqrt(inside)) * (inside > 0)
        weight = kernel[which]
        # Beyond its ends a recording is taken to go on as it began or ended.
        result += values.take(first + tap, axis=0, mode="clip") * weight[:, None]
        total += weight
    return result / total[:, None]


def _messages(sensors: Sequence[SampleBatch]) -> list[Message]:
    """Cut each sensor's samples into parts that arrive together."""
    longest = max(len(batch) for batch in sensors)
    return [
        [
            replace(batch, t=batch.t[part], values=batch.values[part])
            for batch in sensors
            if len(batch.t[part])
        ]
        for part in (
            slice(i, i + _SAMPLES_PER_MESSAGE) for i in range(0, longest, _SAMPLES_PER_MESSAGE)
        )
    ]


def without_gyro(recording: Recording) -> Recording:
    """Return the recording of a phone that has no gyroscope."""
    return _each(recording, lambda batch: None if batch.sensor == "gyro" else batch)


@dataclass(frozen=True, slots=True)
class Errors:
    """How wrong a cheap sensor is, on each axis up or down by so much."""

    gain: float = 0.0
    accel_bias_m_s2: float = 0.0
    gyro_bias_rad_s: float = 0.0


def with_errors(
    recordings: Sequence[Recording], errors: Errors, rng: np.random.Generator
) -> list[Recording]:
    """Return the recordings of sensors with such errors, one sensor a person."""
    signs: dict[int, NDArray[np.float64]] = {}
    for person in sorted({recording.person for recording in recordings}):
        signs[person] = rng.choice((-1.0, 1.0), (2, 2, 3))  # sensor; gain, bias; axis
    return [_each(recording, _wrong(errors, signs[recording.person])) for recording in recordings]


def _wrong(errors: Errors, signs: NDArray[np.float64]) -> Callable[[SampleBatch], SampleBatch]:
    def measured(batch: SampleBatch) -> SampleBatch:
        is_gyro = batch.sensor == "gyro"
        gain, bias = signs[int(is_gyro)]
        offset = errors.gyro_bias_rad_s if is_gyro else errors.accel_bias_m_s2
        unit = {"g": STANDARD_GRAVITY_M_S2, "deg/s": np.pi / 180}.get(batch.declared.unit, 1.0)
        values = batch.values * (1 + errors.gain * gain) + bias * offset / unit
        return replace(batch, values=_float32(values))

    return measured


def _each(recording: Recording, change: Callable[[SampleBatch], SampleBatch | None]) -> Recording:
    messages = []
    for message in recording.messages:
        changed = [change(item) for item in message if isinstance(item, SampleBatch)]
        kept = [batch for batch in changed if batch is not None]
        if kept:
            messages.append(kept)
    return replace(recording, messages=tuple(messages))


def _float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32)


Motion: TypeAlias = Literal["shaken in the hand", "tumbling", "on a table"]
MADE_UP_S = 60
NO_CLASS: tuple[Motion, ...] = ("shaken in the hand", "tumbling", "on a table")


def made_up(motion: Motion, rng: np.random.Generator) -> Recording:
    """Return a minute of no activity at 50 Hz; SYNTHETIC, no person ever made it.

    Shaken: 4 to 6 Hz, some 15 m/s² along a direction that wanders.  Tumbling: turning about all
    axes at about 1 rad/s, the gyroscope sees it.  On a table: nothing but noise.
    """
    n = MADE_UP_S * 50
    t_s = np.arange(n) / 50
    down = rng.normal(size=3)
    down /= np.linalg.norm(down)
    accel, gyro = np.tile(STANDARD_GRAVITY_M_S2 * down, (n, 1)), np.zeros((n, 3))
    if motion == "tumbling":
        gyro = np.stack([_wandering(n, rng) for _ in range(3)], axis=1)
        accel = STANDARD_GRAVITY_M_S2 * _turned_along(down, gyro, 1 / 50)
    elif motion == "shaken in the hand":
        phase = 2 * np.pi * np.cumsum(5 + _wandering(n, rng)) / 50
        along = down + 0.5 * np.stack([_wandering(n, rng) for _ in range(3)], axis=1)
        strength = 15 * (1 + 0.3 * _wandering(n, rng)) * np.sin(phase)
        accel = accel + strength[:, None] * along
        gyro = 3 * np.cos(phase)[:, None] * rng.normal(size=3)
    accel = accel + rng.normal(0, 0.03, (n, 3))
    gyro = gyro + rng.normal(0, 0.005, (n, 3))
    t = np.round(t_s * NS_PER_S).astype(np.int64)
    sensors = (
        SampleBatch(motion, "accel", t, _float32(accel), Declared("m/s2")),
        SampleBatch(motion, "gyro", t, _float32(gyro), Declared("rad/s")),
    )
    return Recording(motion, -1, tuple(_messages(sensors)), ())


def _wandering(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a slow curve of deviation about 1, a new direction every 2 s."""
    knots = rng.normal(size=n // 100 + 2)
    return np.interp(np.arange(n) / 100, np.arange(len(knots)), knots)


def _turned_along(
    vector: NDArray[np.float64], rates: NDArray[np.float64], period_s: float
) -> NDArray[np.float64]:
    """Return how a fixed direction looks from a body that turns at `rates` float64[n, 3], rad/s."""
    seen = np.empty((len(rates), 3))
    for i, rate in enumerate(rates):
        vector = vector - np.cross(rate, vector) * period_s
        vector = vector / np.linalg.norm(vector)
        seen[i] = vector
    return seen
