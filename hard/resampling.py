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
    a, end = np.searchsorted(t, (grid[0] - reach_ns, grid[-1] - reach_ns)).tolist()
    b = int(np.searchsorted(t, grid[0] + reach_ns, "right"))
    last = b + end - a  # where the samples end that the last grid point needs
    whole = end - a == len(grid) - 1 and last <= len(t)
    if whole and _on_lattice(t[a:last], grid, period_ns):
        weights = _normalised(_kernel_at(t[a:b] - grid[0], period_ns)[:, None])
        used = np.flatnonzero(weights)
        first = np.arange(a + used[0], end + used[0] + 1)
        return Taps(first, weights[used[0] : used[-1] + 1])
    first = np.searchsorted(t, grid - reach_ns)
    count = int((np.searchsorted(t, grid + reach_ns, "right") - first).max(initial=0))
    # The last entry stands for "no sample": so far away that the table's final 0 is its weight.
    times = np.append(t, np.iinfo(np.int64).max // 2)
    weights = np.empty((count, len(grid)))
    for tap in range(count):
        weights[tap] = _kernel_at(times.take(first + tap, mode="clip") - grid, period_ns)
    return Taps(first, _normalised(weights))


def _on_lattice(t: NDArray[np.int64], grid: NDArray[np.int64], period_ns: float) -> bool:
    """Tell whether the grid and the samples that its points need advance by `period_ns`."""
    return bool(
        len(grid) > 1
        and len(t) > len(grid)
        and grid[1] - grid[0] == period_ns
        and (t[1:] - t[:-1] == period_ns).all()
    )


def _kernel_at(distance_ns: NDArray[np.int64], period_ns: float) -> NDArray[np.float64]:
    """Return the filter's value at each distance."""
    steps = (np.abs(distance_ns) * (_STEPS / period_ns) + 0.5).astype(np.intp)
    return _kernel().take(steps, mode="clip")


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make each column of float64[taps, n] sum to 1."""
    if len(weights):
        # accumulate, unlike sum, always adds in the order of the taps
        total = np.add.accumulate(weights, axis=0)[-1]
        weights /= np.where(total == 0, 1.0, total)
    return weights
