"""Unevenly stamped samples onto the model's absolute grid: a windowed-sinc FIR over real stamps.

Pure functions over arrays, called by conditioning.  A value on the grid depends only on the raw
samples within a fixed support around it, never on how they were cut into blocks: weights come
from a table that is exactly 1 at zero and exactly 0 at whole periods, sums run tap by tap in the
order of time with element-wise float64 arithmetic (no BLAS, whose result changes with the size of
a block); conditioning rounds to float32 once.  Samples that lie on the grid at its own rate
therefore pass through unchanged.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HALF_WIDTH_PERIODS", "Taps", "taps_for"]

HALF_WIDTH_PERIODS = 7
"""Half the filter's support, in periods of the lower of the two rates."""

_STEPS = 8192  # table entries a period: rounding to the nearest costs less than -80 dB
_KAISER_BETA = 4.0  # 45 dB (Kaiser 1974): with 14 periods, flat to 0.4 of the lower rate


@cache
def _kernel() -> NDArray[np.float64]:
    """Return the filter at |distance| = i / _STEPS periods; 0 from HALF_WIDTH_PERIODS on."""
    distance = np.arange(HALF_WIDTH_PERIODS * _STEPS + 1) / _STEPS
    window = np.i0(_KAISER_BETA * np.sqrt(1 - (distance / HALF_WIDTH_PERIODS) ** 2))
    kernel: NDArray[np.float64] = np.sinc(distance) * window / np.i0(_KAISER_BETA)
    kernel[::_STEPS] = 0.0
    kernel[0] = 1.0
    return kernel


class Taps(NamedTuple):
    """Which samples make each grid value, and how much of each.

    Value i is the sum over taps j of `weights[j, i] * values[first[i] + j]`.  Where the samples
    lie on a lattice of the grid's own period, all grid points share one column of weights and
    `first` rises by one.
    """

    first: NDArray[np.intp]
    weights: NDArray[np.float64]

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64[n, 3] on the grid for float64[m, 3] samples."""
        n, shared = len(self.first), self.weights.shape[1] == 1
        result = np.zeros((n, values.shape[1]))
        for tap, weight in enumerate(self.weights):
            if shared:
                start = self.first[0] + tap
                result += values[start : start + n] * weight[0]
            else:
                # Past the last sample the weight is 0; the clipped index only has to exist.
                result += values.take(self.first + tap, axis=0, mode="clip") * weight[:, None]
        return result


def taps_for(t: NDArray[np.int64], grid: NDArray[np.int64], period_ns: float) -> Taps:
    """Return the taps that give the signal stamped `t` (ascending) at the times `grid`.

    `grid` is evenly spaced; `period_ns` is that of the lower of the two rates, and the filter's
    cut-off half that rate.
    """
    reach_ns = int(HALF_WIDTH_PERIODS * period_ns)
    first = np.searchsorted(t, grid - reach_ns, "left")
    beyond = np.searchsorted(t, grid + reach_ns, "right")
    count = int((beyond - first).max(initial=0))
    if _on_lattice(t[first[0] : beyond[-1]], grid, period_ns) and (beyond - first == count).all():
        weights = _weights(t, grid[:1], first[:1], count, period_ns)
        lead = int(np.flatnonzero(weights)[0])
        used = np.flatnonzero(weights)[-1] + 1
        return Taps(first + lead, weights[lead:used])
    return Taps(first, _weights(t, grid, first, count, period_ns))


def _on_lattice(t: NDArray[np.int64], grid: NDArray[np.int64], period_ns: float) -> bool:
    """Tell whether samples and grid both advance by exactly `period_ns`."""
    return bool(
        len(grid) > 1 and grid[1] - grid[0] == period_ns and (np.diff(t) == period_ns).all()
    )


def _weights(
    t: NDArray[np.int64],
    grid: NDArray[np.int64],
    first: NDArray[np.intp],
    count: int,
    period_ns: float,
) -> NDArray[np.float64]:
    """Return float64[count, n], each column summing to 1."""
    kernel, steps_per_ns = _kernel(), _STEPS / period_ns
    # The last entry stands for "no sample": so far away that the table's final 0 is its weight.
    times = np.append(t, np.iinfo(np.int64).max // 2)
    weights = np.empty((count, len(grid)))
    total = np.zeros(len(grid))
    for tap in range(count):
        distance = np.abs(times.take(first + tap, mode="clip") - grid)
        steps = (distance * steps_per_ns + 0.5).astype(np.intp)
        kernel.take(steps, mode="clip", out=weights[tap])
        total += weights[tap]
    weights /= np.where(total == 0, 1.0, total)
    return weights
