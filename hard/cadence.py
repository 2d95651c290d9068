"""Whether a stated sampling rate can be true, by how fast people stride.

Pure, in data time, called by conditioning for streams whose stamps are counted from a stated rate:
only the motion can contradict that.  Strides say nothing before somebody walks or runs, and nothing
of gait that is too irregular (stairs, often); `hard.tilt` asks the gyroscope too.  Not the gait
estimator of `hard.upright`, which takes the rate for granted and asks for steps at a human pace:
this one asks for gait of any pace, by what no scale of time changes, and then how long its strides
take:

    8 s of acceleration, every 2 s -> does it repeat? -> every stride, left and right -> is it
    gait? -> how long is a stride, for one so strong? -> 4 more against the rate than 3 times those
    that agree: contradicted; the same the other way round: confirmed, and nothing more is asked

A stride that is felt as s m/s² and takes T seconds has the pace T * s ** 0.3: strong strides are
quick.  On MotionSense and HAPT people's lie from 1.25 to 2.1; slowed to half from 2.45 on, sped up
to double up to 1.0.  The bounds below were chosen on the people of odd number; the figures of the
others are in tests/test_contract.py.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hard.api import NS_PER_S, Sensor
from hard.tilt import Tilt

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SENSORS", "Stamped", "StatedRate", "Stride", "stride_in"]

Stamped: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
SENSORS: tuple[Sensor, Sensor] = ("accel", "gyro")

RATE_HZ = 50
WINDOW_S, HOP_S = 8, 2
"""Slowed to half, a window holds three strides and more."""

_MIN_TILT_HZ = 16.0
_MIN_STRENGTH_M_S2 = 0.8
_SHORTEST_S, _LONGEST_S = 0.3, 2.8
_MIN_REPEAT = 0.5  # correlation from one stride to the next
_MIN_LAMENESS = 0.15  # half a stride on it is less: left is not right
_MIN_IMPACT = 0.2  # share of |acceleration|'s power above 3 a stride: heels strike, squats do not
_AS_GOOD = 0.1  # a longer period repeats no better than by this: two strides are none

_STRENGTH_EXPONENT = 0.3
_USUAL_PACE, _SLOWEST_PACE, _FASTEST_PACE = 1.6, 2.3, 1.1
_LEAD, _WEIGHT = 4, 3
_LIKELY = 0.25  # the logarithm of how far people's paces lie from the usual one, and a rate's own
_COMMON_HZ = (20.0, 25.0, 50.0, 100.0, 200.0, 400.0)

_SIZE = 1024  # of the transform: a window and every lag looked at, without wrapping around
_N = WINDOW_S * RATE_HZ
_LAGS = np.arange(round(_LONGEST_S * RATE_HZ) + 2)
_TAPER = np.hanning(_N)
_HZ = np.fft.rfftfreq(_SIZE, 1 / RATE_HZ)
_NOTHING: Stamped = np.empty(0, np.int64), np.empty((0, 3))
_Pace: TypeAlias = Literal["slow", "human", "fast"]


class Stride(NamedTuple):
    """A stride (two steps) of steady gait: how long it takes, s, and how strong it is, m/s²."""

    period_s: float
    strength_m_s2: float

    @property
    def pace(self) -> float:
        """The period, as long as it would be for a stride of 1 m/s²."""
        return float(self.period_s * self.strength_m_s2**_STRENGTH_EXPONENT)


def stride_in(accel: NDArray[np.float64]) -> Stride | None:
    """Return the stride of total acceleration float64[400, 3] (8 s at 50 Hz, m/s²), if gait it is.

    Nothing looked at depends on how the device is turned or, within bounds, on the scale of time.
    Every direction weighs the same, so that the small sway from left to right tells two steps from
    one.
    """
    norm = np.sqrt((accel * accel).sum(axis=1))
    norm -= norm.mean()
    strength = float(norm.std())
    if strength < _MIN_STRENGTH_M_S2:
        return None
    moved = accel - accel.mean(axis=0)
    variances, directions = np.linalg.eigh(moved.T @ moved / _N)
    repeat = _repeat(moved @ directions / np.sqrt(np.maximum(variances, 1e-4)))
    inner = repeat[1:-1]
    peaks = 1 + np.flatnonzero((inner >= repeat[:-2]) & (inner > repeat[2:]))
    peaks = peaks[peaks >= _SHORTEST_S * RATE_HZ / 3]
    if not len(peaks):
        return None
    period = int(peaks[repeat[peaks] >= repeat[peaks].max() - _AS_GOOD][0])
    half = float(repeat[max(period // 2 - 2, 0) : period // 2 + 3].max())
    period_s = period / RATE_HZ
    steady = repeat[period] >= _MIN_REPEAT and repeat[period] - half >= _MIN_LAMENESS
    if not steady or period_s < _SHORTEST_S:
        return None
    spectrum = np.fft.rfft(norm * _TAPER, _SIZE)
    power = spectrum.real**2 + spectrum.imag**2
    if power[3 / period_s < _HZ].sum() < _MIN_IMPACT * power.sum():
        return None
    return Stride(period_s, strength)


def _repeat(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the autocorrelation of float64[400, 3] at `_LAGS`, of the parts that overlap."""
    spectrum = np.fft.rfft(x, _SIZE, axis=0)
    product = np.fft.irfft((spectrum.real**2 + spectrum.imag**2).sum(axis=1))[_LAGS]
    energy = np.append(0.0, np.cumsum((x * x).sum(axis=1)))
    overlap = energy[_N - _LAGS] * (energy[-1] - energy[_LAGS])
    correlation: NDArray[np.float64] = product / np.sqrt(np.maximum(overlap, 1e-12))
    return correlation


class StatedRate:
    """The rate stated for one sensor, weighed against the motion that is seen with it.

    Strides and the gyroscope are asked apart, each until it is sure; either may contradict.  What
    is found depends on the samples alone, not on how they were cut into messages.
    """

    def __init__(self, stated_hz: float, begin_ns: int) -> None:
        """Look at samples from `begin_ns` on, in windows that begin at whole multiples of 2 s."""
        self._stated_hz = stated_hz
        hop_ns = HOP_S * NS_PER_S
        self._begin_ns = -(-begin_ns // hop_ns) * hop_ns  # of the next window
        self._pending = dict.fromkeys(SENSORS, _NOTHING)
        self._seen: Counter[_Pace] = Counter()
        self._paces: list[float] = []  # of those that are not human
        self._strides_agree = False
        # None once it agrees, and where a gyroscope is read too seldom to add up its turns.
        self._tilt = Tilt() if stated_hz >= _MIN_TILT_HZ else None

    def find(self, samples: Mapping[Sensor, Stamped], until: int) -> tuple[int, str] | None:
        """Take final samples, t int64[n] (ns) and x float64[n, 3], of the sensors `SENSORS`.

        Total acceleration is in m/s², angular rate in rad/s; the gyroscope is left out unless its
        stamps were made from the same rate.  None before `until` is still to come.  Return when
        the rate is contradicted for certain, ns, and the reason; None while it isn't.
        """
        for sensor, (t, x) in samples.items():
            if not self._strides_agree or self._tilt:
                old_t, old_x = self._pending[sensor]
                self._pending[sensor] = np.concatenate([old_t, t]), np.concatenate([old_x, x])
        window_ns, hop_ns = WINDOW_S * NS_PER_S, HOP_S * NS_PER_S
        while (end := self._begin_ns + window_ns) <= until:
            reason = self._weigh(end)
            if reason is not None:
                return end, reason
            self._begin_ns += hop_ns
        for sensor, (t, x) in self._pending.items():
            keep = int(np.searchsorted(t, self._begin_ns))
            self._pending[sensor] = t[keep:], x[keep:]
        return None

    def _weigh(self, end: int) -> str | None:
        """Take the window up to `end` into account; return the reason once it contradicts."""
        if self._strides_agree and self._tilt is None:
            return None
        accel, gyro = (self._evenly(*self._pending[sensor], end) for sensor in SENSORS)
        if accel is None:
            return None
        reason = None if self._strides_agree else self._weigh_stride(stride_in(accel))
        if reason is None and self._tilt and gyro is not None:
            found = self._tilt.weigh(accel, gyro, RATE_HZ)
            if found == "right":
                self._tilt = None
            elif found is not None:
                return self._wrong(
                    f"the gyroscope turns about {'twice' if found == 'slow' else 'half'} as far as "
                    "gravity does",
                    2.0 if found == "slow" else 0.5,
                    ", or else its scale or axes are wrong",
                )
        return reason

    def _weigh_stride(self, stride: Stride | None) -> str | None:
        if stride is None:
            return None
        pace: _Pace = "human"
        if not _FASTEST_PACE <= stride.pace <= _SLOWEST_PACE:
            pace = "slow" if stride.pace > _SLOWEST_PACE else "fast"
            self._paces.append(stride.pace)
        self._seen[pace] += 1
        if self._seen[pace] - _WEIGHT * (self._seen.total() - self._seen[pace]) < _LEAD:
            return None
        if pace == "human":
            self._strides_agree = True
            return None
        return self._wrong(
            f"a stride takes {stride.period_s:.2g} s, about "
            f"{'twice' if pace == 'slow' else 'half'} what people's do",
            float(np.median(self._paces)) / _USUAL_PACE,
        )

    def _evenly(
        self, t: NDArray[np.int64], x: NDArray[np.float64], end: int
    ) -> NDArray[np.float64] | None:
        """Return the window up to `end` at 50 Hz, faster ones averaged before; None for a gap."""
        a, b = np.searchsorted(t, (self._begin_ns, end)).tolist()
        if b - a < max(0.9 * WINDOW_S * self._stated_hz, 1):
            return None
        n = max(int(self._stated_hz / RATE_HZ), 1)
        rows = (b - a) // n
        at = t[a : a + rows * n].reshape(rows, n).mean(axis=1) - self._begin_ns
        means = x[a : a + rows * n].reshape(rows, n, 3).mean(axis=1)
        grid = np.arange(_N) * (NS_PER_S / RATE_HZ)
        return np.stack([np.interp(grid, at, column) for column in means.T], axis=1)

    def _wrong(self, found: str, times: float, besides: str = "") -> str:
        """Return the reason: the true rate is likely the stated one so many `times`."""
        likely_hz = self._stated_hz * times
        off = {hz: abs(float(np.log(hz / likely_hz))) for hz in _COMMON_HZ}
        close = [hz for hz in _COMMON_HZ if off[hz] <= max(_LIKELY, min(off.values()))]
        return (
            f"wrong rate: at the stated {self._stated_hz:g} Hz {found}; the rate is likely "
            f"{' or '.join(f'{hz:g}' for hz in close)} Hz: correct it (rate_hz, --rate){besides}"
        )
