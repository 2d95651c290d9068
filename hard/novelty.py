"""Does a window look like anything the model was trained on?  Told from the signal, not the model.

A network is sure of itself far from its training data, so its probabilities alone can't say
`unknown`.  A few traits of the signal can: none depends on how the device is turned, all are cheap.
Pure, exact for any number of windows at a time; called by the pipeline, and by training, which
writes what is usual into the card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hard.card import TRAITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hard.card import Usual

__all__ = ["TRAITS", "Novelty", "distances", "novelty", "traits"]

_ACCEL_FLOOR = 0.02  # m/s², below which nothing but the sensor's noise is told apart
_TURN_FLOOR = 0.05
_GYRO_FLOOR = 0.01  # rad/s


@dataclass(frozen=True, slots=True, eq=False)
class Novelty:
    """What the signal of consecutive windows says, float64[w] each.

    `distance`: from the nearest label's usual traits, 1 where it begins to be unusual; `turn`: by
    how much gravity turned within the window, likewise; `spread`: of acceleration, m/s².
    """

    distance: NDArray[np.float64]
    turn: NDArray[np.float64]
    spread: NDArray[np.float64]

    def part(self, keep: slice) -> Novelty:
        """Return that of some of the windows."""
        return Novelty(self.distance[keep], self.turn[keep], self.spread[keep])


def traits(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return traits float64[w, 6 or 9] and turns float64[w] of windows float32[w, T, C].

    Columns are in the order of `TRAITS`.  A turn is the angle, in degrees, between mean
    acceleration in a window's first third and last.
    """
    by_channel = np.ascontiguousarray(values.transpose(0, 2, 1))  # sums run over a row's samples
    accel = by_channel[:, :3]
    third = accel.shape[2] // 3
    begin, end, mean = _mean(accel[:, :, :third]), _mean(accel[:, :, -third:]), _mean(by_channel)
    spread = _mean_square(by_channel - mean[:, :, None])  # by axis
    step = _mean_square(by_channel[:, :, 1:] - by_channel[:, :, :-1])
    magnitude = np.sqrt(np.einsum("wct,wct->wt", accel, accel))
    mean_magnitude = _mean(magnitude)
    beside = magnitude - mean_magnitude[:, None]
    magnitude_spread = np.sqrt(_mean_square(beside))
    accel_spread, accel_roughness = _spread_and_roughness(spread[:, :3], step[:, :3], _ACCEL_FLOOR)
    columns = [
        np.log(accel_spread + _ACCEL_FLOOR),
        np.log(magnitude_spread + _ACCEL_FLOOR),
        np.log(_length(end - begin) + _TURN_FLOOR),
        accel_roughness,
        mean_magnitude,
        np.log((np.abs(beside).max(axis=1) + _ACCEL_FLOOR) / (magnitude_spread + _ACCEL_FLOOR)),
    ]
    if by_channel.shape[1] > 3:
        rate = _length(mean[:, 3:])
        turning, gyro_roughness = _spread_and_roughness(spread[:, 3:], step[:, 3:], _GYRO_FLOOR)
        columns += [
            np.log(np.hypot(turning, rate) + _GYRO_FLOOR),  # the root of the mean square
            np.log(rate + _GYRO_FLOOR),
            gyro_roughness,
        ]
    cosine = _added(begin * end) / np.maximum(_length(begin) * _length(end), 1e-9)
    return np.stack(columns, axis=1).astype(np.float64), np.degrees(
        np.arccos(np.clip(cosine, -1, 1))
    )


def distances(found: NDArray[np.float64], usual: Usual) -> NDArray[np.float64]:
    """Return the squared Mahalanobis distances of traits [w, k] from each label's, [w, labels]."""
    off = found[:, None, :] - np.array(usual.means)
    # A product of its own for each window: that of all at once would depend on how many.
    weighed = np.matmul(off[:, :, None, :], np.array(usual.precisions))[:, :, 0]
    apart: NDArray[np.float64] = np.einsum("wlk,wlk->wl", weighed, off)
    return apart


def novelty(values: NDArray[np.float32], usual: Usual | None) -> Novelty:
    """Return what the signal of windows float32[w, T, C] says; without `usual` all is familiar."""
    found, turn_deg = traits(values)
    spread = np.exp(found[:, 0]) - _ACCEL_FLOOR
    if usual is None:
        return Novelty(np.zeros(len(found)), np.zeros(len(found)), spread)
    nearest = distances(found, usual).min(axis=1)
    return Novelty(nearest / usual.max_distance, turn_deg / usual.max_turn_deg, spread)


def _spread_and_roughness(
    spread: NDArray[np.float32], step: NDArray[np.float32], floor: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the rms distance of vectors from their mean, and that of their steps to it.

    Given are the mean squares of both by axis, [w, 3]; the second stands for frequency.
    """
    whole: NDArray[np.float32] = np.sqrt(_added(spread))
    return whole, np.sqrt(_added(step)) / (whole + np.float32(floor))


def _mean(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of each row, [..., n]."""
    sums: NDArray[np.float32] = np.einsum("...i->...", rows)  # faster than add.reduce
    return sums / np.float32(rows.shape[-1])


def _mean_square(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    squares: NDArray[np.float32] = np.einsum("...i,...i->...", rows, rows)
    return squares / np.float32(rows.shape[-1])


def _length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.sqrt(_added(vectors * vectors))
    return lengths


def _added(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return x + y + z of vectors [w, 3]."""
    added: NDArray[np.float32] = vectors[:, 0] + vectors[:, 1] + vectors[:, 2]
    return added
