"""Cheap features of windows: what a classifier without a network is given.

Pure numpy; called by the baselines of `hard_training.learners`.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["feature_names", "features"]

_PER_SIGNAL = (
    "mean",
    "std",
    "min",
    "q25",
    "median",
    "q75",
    "max",
    "energy",
    "dominant_hz",
    "dominant_share",
)
_WINDOWS_AT_ONCE = 4096  # bounds the memory of the spectra


def feature_names(channels: int) -> list[str]:
    """Return what each column of `features` is, for windows of 3 or 6 channels."""
    sensors = ("accel", "gyro")[: channels // 3]
    axes = [f"{sensor}_{axis}" for sensor in sensors for axis in "xyz"]
    signals = [*axes, *(f"{sensor}_norm" for sensor in sensors)]
    names = [f"{signal}_{what}" for signal in signals for what in _PER_SIGNAL]
    return names + [f"{a}_{b}_correlation" for a, b in _pairs(axes)]


def features(windows: NDArray[np.float32], sampling_rate_hz: float) -> NDArray[np.float64]:
    """Return float64[w, features] of float32[w, T, C] windows: statistics, spectrum, correlations.

    Of each channel and of each sensor's norm: mean, deviation, quantiles, energy (the mean of
    squares about the mean), the frequency of the most power and its share of all power but the
    mean's; of the channels of one sensor: how they correlate.  A constant signal has dominant
    frequency, share and correlations 0.
    """
    parts = [
        _features(windows[i : i + _WINDOWS_AT_ONCE].astype(np.float64), sampling_rate_hz)
        for i in range(0, len(windows), _WINDOWS_AT_ONCE)
    ]
    return np.concatenate([np.empty((0, len(feature_names(windows.shape[2])))), *parts])


def _pairs(axes: list[str]) -> list[tuple[str, str]]:
    return [pair for i in range(0, len(axes), 3) for pair in combinations(axes[i : i + 3], 2)]


def _features(windows: NDArray[np.float64], rate_hz: float) -> NDArray[np.float64]:
    norms = [
        np.linalg.norm(windows[:, :, i : i + 3], axis=2) for i in range(0, windows.shape[2], 3)
    ]
    signals = np.concatenate([windows, np.stack(norms, axis=2)], axis=2)
    mean = signals.mean(axis=1)
    centred = signals - mean[:, None]
    quantiles = np.quantile(signals, (0, 0.25, 0.5, 0.75, 1), axis=1)
    energy = (centred**2).mean(axis=1)
    of_each = [mean, np.sqrt(energy), *quantiles, energy, *_dominant(centred, rate_hz)]
    per_signal = np.stack(of_each, axis=2).reshape(len(windows), -1)
    return np.concatenate([per_signal, _correlations(centred, windows.shape[2])], axis=1)


def _dominant(
    centred: NDArray[np.float64], rate_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the frequency [w, signals] of the most power and its share of the power."""
    power = np.abs(np.fft.rfft(centred, axis=1)) ** 2
    power[:, 0] = 0
    total = power.sum(axis=1)
    # A signal that never moves has rounding errors for a spectrum.
    moves = total > 1e-9 * centred.shape[1] ** 2
    where = np.fft.rfftfreq(centred.shape[1], 1 / rate_hz)[power.argmax(axis=1)]
    share = power.max(axis=1) / np.where(moves, total, 1)
    return np.where(moves, where, 0.0), np.where(moves, share, 0.0)


def _correlations(centred: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """Return the correlations [w, 3 a sensor] of x with y, x with z, y with z."""
    columns = []
    for first in range(0, channels, 3):
        for a, b in combinations(range(first, first + 3), 2):
            together = (centred[:, :, a] * centred[:, :, b]).mean(axis=1)
            spread = np.sqrt(
                (centred[:, :, a] ** 2).mean(axis=1) * (centred[:, :, b] ** 2).mean(axis=1)
            )
            columns.append(np.where(spread > 1e-9, together / np.maximum(spread, 1e-9), 0.0))
    return np.stack(columns, axis=1)
