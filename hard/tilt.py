"""Whether gravity stays where it is in a world that the gyroscope holds still.

Pure, called by `hard.cadence`: what a rate that is stated wrongly does to a gyroscope's angles.
They are its rates times the time that is said to have passed: if that is twice the true one, the
device seems to turn twice as far as gravity, seen from it, does.  Needs no gait, and does not mind
how the device is turned nor the acceleration's sign:

    8 s of both -> the device's attitude with every angle halved, as it is, and doubled -> the
    acceleration in the world of each -> means over 3 s: how far do they wander? -> less what one
    steady drift of the gyroscope explains -> summed up over windows: where is it least? -> is it
    still, once that drift was taken out of every window?

Steps and swings average out over 3 s.  At the right rate the mean square of what wanders, as a
share of how much the acceleration varies, is 0.001 to 0.006 on MotionSense (HAPT: up to 0.014);
with angles twice too large 0.01 to 0.25, and halving them brings it back.  Unlike those of
`hard.cadence`, the bounds were set with all of these people in view, so that strangers' may be
told worse; `tests/figures/stated_rate.py` counts what they find, with a drift and without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Tilt", "Wandering", "Window", "turning_in", "wandering"]

_RATE_HZ = 25
_MEAN_S, _EVERY_S = 3.0, 0.5
_FACTORS = np.array([0.5, 1.0, 2.0])

_MIN_TURN_RAD_S = 0.3  # root mean square: less of it may be all drift
_MAX_STRENGTH_M_S2 = 12.0  # standard deviation: running shakes the gyroscope too
_NOISE_M_S2 = 0.25

_LEAST, _MOST = 6, 60  # windows; more of them bring nothing new
_RIDGE = 0.002  # no drift is infinite
_MAX_DRIFT_RAD_S, _NO_DRIFT_RAD_S = 0.25, 0.005
# Set with all people of MotionSense, HAPT and SP-SW-HAR in view: no figure of them is held out.
_ASTRAY, _STILL = 0.012, 0.016  # mean squares: more of it as it is, less of it where angles fit
_HALVED_IS_BETTER, _DOUBLED_IS_BETTER, _IS_BEST = 0.6, 0.2, -0.5  # logarithms to base 2


class Window(NamedTuple):
    """A stretch in which a device turned enough to tell: float64[n, 3] at 25 Hz, m/s² and rad/s."""

    accel: NDArray[np.float64]
    gyro: NDArray[np.float64]
    varies: float  # the acceleration's variance, (m/s²)²


def turning_in(
    accel: NDArray[np.float64], gyro: NDArray[np.float64], rate_hz: float
) -> Window | None:
    """Return a window of both, float64[n, 3] in m/s² and rad/s, longer than 3 s.

    `rate_hz` is 25 times a whole number.  None where the device turns too little, or is hit too
    hard, to tell.
    """
    varies = float(accel.var(axis=0).sum())
    turns = float((gyro * gyro).sum(axis=1).mean()) ** 0.5
    if turns < _MIN_TURN_RAD_S or varies > _MAX_STRENGTH_M_S2**2:
        return None
    each = round(rate_hz / _RATE_HZ)
    rows = len(accel) // each
    accel, gyro = (x[: rows * each].reshape(rows, each, 3).mean(axis=1) for x in (accel, gyro))
    return Window(accel, gyro, varies)


class Wandering(NamedTuple):
    """The mean square of what wanders when a drift d, rad/s, is taken out: c + 2 b·d + d·A·d.

    One for each of three factors: c is float64[3], b float64[3, 3], A float64[3, 3, 3].
    """

    c: NDArray[np.float64]
    b: NDArray[np.float64]
    a: NDArray[np.float64]

    def plus(self, other: Wandering) -> Wandering:
        """Return the sum over both."""
        return Wandering(self.c + other.c, self.b + other.b, self.a + other.a)

    def drift(self) -> NDArray[np.float64]:
        """Return -d that leaves least, float64[3, 3]."""
        drift: NDArray[np.float64] = np.linalg.solve(
            self.a + _RIDGE * np.eye(3), self.b[..., None]
        )[..., 0]
        return drift

    def least(self, windows: int) -> NDArray[np.float64]:
        """Return what no one drift explains of a sum over `windows`, per window, float64[3]."""
        least: NDArray[np.float64] = self.c - (self.b * self.drift()).sum(axis=1)
        return np.maximum(least, 1e-12) / windows


_NO_DRIFT = np.zeros((len(_FACTORS), 3))
_NOTHING = Wandering(np.zeros(len(_FACTORS)), _NO_DRIFT, np.zeros((len(_FACTORS), 3, 3)))


def wandering(window: Window, drift: NDArray[np.float64] = _NO_DRIFT) -> Wandering:
    """Return how far gravity wanders with angles halved, as they are, and doubled.

    `drift`, float64[3, 3] in rad/s, is taken out of each.  What is found is a share of how much the
    acceleration varies, so that a firm step weighs no more than a soft one.
    """
    attitude = _attitudes(window.gyro, drift)
    seen = (attitude @ window.accel[:, None, :, None])[..., 0]
    # A drift d turns the world by `drifted @ d`, and moves what is seen there by as much across it.
    drifted = np.cumsum(attitude, axis=0) / _RATE_HZ
    moved = -_across(seen) @ drifted
    seen, moved = _slow(seen), _slow(moved)
    share = len(seen) * (window.varies + _NOISE_M_S2**2)
    return Wandering(
        np.einsum("nfi,nfi->f", seen, seen) / share,
        np.einsum("nfij,nfi->fj", moved, seen) / share,
        np.einsum("nfij,nfil->fjl", moved, moved) / share,
    )


def _attitudes(gyro: NDArray[np.float64], drift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the device's attitudes [n, 3, 3, 3] since the first of float64[n, 3] at 25 Hz."""
    between = (gyro[1:] + gyro[:-1]) / 2
    across = _across((between[:, None] * _FACTORS[:, None] - drift) / _RATE_HZ)
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
        self._windows: list[Window] = []
        self._drift = _NO_DRIFT  # taken out of the windows
        self._sum = _NOTHING  # of what wanders in them then

    def weigh(
        self, accel: NDArray[np.float64], gyro: NDArray[np.float64], rate_hz: float
    ) -> Literal["slow", "right", "fast"] | None:
        """Take one more window; return what the motion is at the stated rate, None while unknown.

        It is "slow" where angles should be half of what they are: the true rate is twice as high.
        After 60 windows that could not tell it is held for right.
        """
        window = turning_in(accel, gyro, rate_hz)
        if window is None:
            return None
        self._windows.append(window)
        self._sum = self._sum.plus(wandering(window, self._drift))
        if len(self._windows) < _LEAST:
            return None
        found = self._found()
        if found is not None and self._take_out_drift() and self._found() != found:
            found = None
        return found or ("right" if len(self._windows) == _MOST else None)

    def _take_out_drift(self) -> bool:
        """Look at all windows again without the drift that explains most; False where it is none.

        A drift of 0.05 rad/s and more turns the world too far in 8 s for what is linear in it.
        """
        drift = self._sum.drift()
        if np.abs(drift).max() < _NO_DRIFT_RAD_S:
            return False
        drift += self._drift
        size = np.linalg.norm(drift, axis=1, keepdims=True)
        self._drift = drift * np.minimum(1, _MAX_DRIFT_RAD_S / np.maximum(size, 1e-9))
        self._sum = _NOTHING
        for window in self._windows:
            self._sum = self._sum.plus(wandering(window, self._drift))
        return True

    def _found(self) -> Literal["slow", "right", "fast"] | None:
        halved, as_it_is, doubled = self._sum.least(len(self._windows)).tolist()
        than_halved, than_doubled = np.log2([as_it_is / halved, as_it_is / doubled]).tolist()
        astray = as_it_is > _ASTRAY and min(halved, doubled) < _STILL
        if astray and than_doubled > max(_DOUBLED_IS_BETTER, than_halved):
            return "fast"
        if astray and than_halved - max(than_doubled, 0) > _HALVED_IS_BETTER:
            return "slow"
        return "right" if max(than_halved, than_doubled) < _IS_BEST else None
