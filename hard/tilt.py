"""Whether gravity stays where it is in a world that the gyroscope holds still.

Pure, called by `hard.cadence`: what a rate that is stated wrongly does to a gyroscope's angles.
They are its rates times the time that is said to have passed: if that is twice the true one, the
device seems to turn twice as far as gravity, seen from it, does.  Needs no gait, and does not mind
how the device is turned nor the acceleration's sign:

    8 s of both -> the device's attitude with every angle halved, as it is, and doubled -> the
    acceleration in the world of each -> means over 3 s: how far do they wander? -> less what one
    steady drift of the gyroscope explains -> summed up over windows: where is it least?

Steps and swings average out over 3 s.  At the right rate the mean square of what wanders, as a
share of how much the acceleration varies, is 0.001 to 0.006 on MotionSense (HAPT: up to 0.014);
with angles twice too large 0.01 to 0.25, and halving them brings it back.  A drift of 0.05 rad/s
changes little of it, one of 0.1 some.  Unlike those of `hard.cadence`, the bounds were set with all
of these people in view; `tests/figures/stated_rate.py` counts what they find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Tilt", "Wandering", "wandering"]

_RATE_HZ = 25
_MEAN_S, _EVERY_S = 3.0, 0.5
_FACTORS = np.array([0.5, 1.0, 2.0])

_MIN_TURN_RAD_S = 0.3  # root mean square: less of it may be all drift
_MAX_STRENGTH_M_S2 = 12.0  # standard deviation: running shakes the gyroscope too
_NOISE_M_S2 = 0.25

_LEAST, _MOST = 6, 60  # windows; more of them bring nothing new
_RIDGE = 0.002  # no drift is infinite
_ASTRAY, _STILL = 0.012, 0.016  # mean squares: more of it as it is, less of it where angles fit
_HALVED_IS_BETTER, _DOUBLED_IS_BETTER, _IS_BEST = 0.6, 0.2, -0.5  # logarithms to base 2


class Wandering(NamedTuple):
    """The mean square of what wanders when a drift d, rad/s, is taken out: c + 2 b·d + d·A·d.

    One for each of three factors: c is float64[3], b float64[3, 3], A float64[3, 3, 3].
    """

    c: NDArray[np.float64]
    b: NDArray[np.float64]
    a: NDArray[np.float64]

    def least(self, windows: int) -> NDArray[np.float64]:
        """Return what no one drift explains of a sum over `windows`, per window, float64[3]."""
        drift = np.linalg.solve(self.a + _RIDGE * np.eye(3), self.b[..., None])[..., 0]
        least: NDArray[np.float64] = self.c - (self.b * drift).sum(axis=1)
        return np.maximum(least, 1e-12) / windows


def wandering(
    accel: NDArray[np.float64], gyro: NDArray[np.float64], rate_hz: float
) -> Wandering | None:
    """Return how far gravity wanders with angles halved, as they are, and doubled.

    Both are float64[n, 3] in m/s² and rad/s, longer than 3 s, `rate_hz` 25 times a whole number.
    It is a share of how much the acceleration varies, so that a firm step weighs no more than a
    soft one; None where the device turns too little, or is hit too hard, to tell.
    """
    strength = float(accel.var(axis=0).sum())
    turns = float((gyro * gyro).sum(axis=1).mean()) ** 0.5
    if turns < _MIN_TURN_RAD_S or strength > _MAX_STRENGTH_M_S2**2:
        return None
    each = round(rate_hz / _RATE_HZ)
    rows = len(accel) // each
    accel, gyro = (x[: rows * each].reshape(rows, each, 3).mean(axis=1) for x in (accel, gyro))
    attitude = _attitudes(gyro)
    seen = (attitude @ accel[:, None, :, None])[..., 0]
    # A drift d turns the world by `drifted @ d`, and moves what is seen there by as much across it.
    drifted = np.cumsum(attitude, axis=0) / _RATE_HZ
    moved = -_across(seen) @ drifted
    seen, moved = _slow(seen), _slow(moved)
    share = len(seen) * (strength + _NOISE_M_S2**2)
    return Wandering(
        np.einsum("nfi,nfi->f", seen, seen) / share,
        np.einsum("nfij,nfi->fj", moved, seen) / share,
        np.einsum("nfij,nfil->fjl", moved, moved) / share,
    )


def _attitudes(gyro: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the device's attitudes [n, 3, 3, 3] since the first of float64[n, 3] at 25 Hz."""
    between = (gyro[1:] + gyro[:-1]) / (2 * _RATE_HZ)
    across = _across(between[:, None] * _FACTORS[:, None])
    angle = np.sqrt((across * across).sum(axis=(-2, -1), keepdims=True) / 2) / np.pi
    turned = np.eye(3) + np.sinc(angle) * across + np.sinc(angle / 2) ** 2 / 2 * (across @ across)
    attitudes = np.empty((len(gyro), len(_FACTORS), 3, 3))
    attitudes[0] = np.eye(3)
    for i, one in enumerate(turned):
        np.matmul(attitudes[i], one, out=attitudes[i + 1])
    return attitudes


def _across(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrices [..., 3, 3] that take the cross product with vectors [..., 3]."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    none = np.zeros_like(x)
    rows: NDArray[np.float64] = np.stack([none, -z, y, z, none, -x, -y, x, none], axis=-1)
    return rows.reshape(*vectors.shape, 3)


def _slow(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means over 3 s, every half a second, less the mean of them all; time comes first."""
    n = round(_MEAN_S * _RATE_HZ)
    sums = np.cumsum(x, axis=0)
    means = (sums[n:] - sums[:-n])[:: round(_EVERY_S * _RATE_HZ)] / n
    slow: NDArray[np.float64] = means - means.mean(axis=0)
    return slow


class Tilt:
    """What windows of 8 s said so far of one stated rate."""

    def __init__(self) -> None:
        n = len(_FACTORS)
        self._sum = Wandering(np.zeros(n), np.zeros((n, 3)), np.zeros((n, 3, 3)))
        self._windows = 0

    def weigh(
        self, accel: NDArray[np.float64], gyro: NDArray[np.float64], rate_hz: float
    ) -> Literal["slow", "right", "fast"] | None:
        """Take one more window; return what the motion is at the stated rate, None while unknown.

        It is "slow" where angles should be half of what they are: the true rate is twice as high.
        After 60 windows that could not tell it is held for right.
        """
        found = wandering(accel, gyro, rate_hz)
        if found is None:
            return None
        self._sum = Wandering(*(a + b for a, b in zip(self._sum, found, strict=True)))
        self._windows += 1
        if self._windows < _LEAST:
            return None
        halved, as_it_is, doubled = self._sum.least(self._windows).tolist()
        than_halved, than_doubled = np.log2([as_it_is / halved, as_it_is / doubled]).tolist()
        astray = as_it_is > _ASTRAY and min(halved, doubled) < _STILL
        if astray and than_doubled > max(_DOUBLED_IS_BETTER, than_halved):
            return "fast"
        if astray and than_halved - max(than_doubled, 0) > _HALVED_IS_BETTER:
            return "slow"
        sure = max(than_halved, than_doubled) < _IS_BEST
        return "right" if sure or self._windows == _MOST else None
