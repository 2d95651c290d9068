"""The synthetic wearer: a parametric model of six motion channels per activity and placement.

Everything here is SYNTHETIC.  It is pure: numpy and a seed in, samples out, no clock, no thread.
`hard_simulator.source` streams it; tests and training may use it directly.  It is no model of the
body: the shapes are statistics of real people (`parameters.json`, measured by
`hard_training.simulator_parameters`), and nothing outside its list of activities is in it.

One signal is the sum of

* gravity as the phone's posture turns it, which sways slowly and turns within a second when the
  activity changes; the gyroscope sees each of these rotations;
* in gait, a Fourier series of the gait cycle (the stride, two steps) whose coefficients and
  frequency wander from stride to stride;
* noise with the measured spectrum, correlation between channels and changing strength.

All is made on a grid of 50 Hz in stretches of one window (5.12 s); other rates are interpolated,
so that the samples never depend on how many are asked for at a time.
"""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from hard.api import STANDARD_GRAVITY_M_S2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Samples: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]

__all__ = ["GRID_HZ", "Bout", "Motion", "Placement", "Wearer", "activities", "simulate"]

Placement: TypeAlias = Literal["pocket", "waist"]

GRID_HZ = 50.0
STRETCH_SAMPLES = 256
"""Grid samples made at a time; slow changes have one knot per stretch."""
MAX_STRETCHES = 16
"""As many are made together, for speed; more would leave the processor's cache."""
TRANSITION_SAMPLES = 50
KERNEL_SAMPLES = 128
MAX_DRAW_SD = 2.0
"""Wearers further out than this in any direction were not among those measured."""
TURNED = np.array([-1.0, 1.0, -1.0, -1.0, 1.0, -1.0])
"""What half a turn about the phone's long axis, upright in a trouser pocket, does to channels."""


@cache
def _parameters() -> dict[str, Any]:
    """Read the measured parameters, once and only when a wearer is needed."""
    text = files("hard_simulator").joinpath("parameters.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def activities(placement: Placement) -> list[str]:
    """Return the activities that a wearer with the phone at `placement` can do."""
    return list(_parameters()["placements"][placement]["activities"])


@dataclass(frozen=True)
class Bout:
    """One stretch of one activity."""

    activity: str
    duration_s: float


@dataclass(frozen=True, eq=False)
class _Style:
    """How one wearer does one activity; channels are accelerometer x, y, z and gyroscope x, y, z.

    `series` and `series_sd` (complex and real, [harmonics, 6]) are zero without gait.  The sd's
    tell how the wearer varies: from stretch to stretch, and (`bout_sd`) from bout to bout.
    """

    posture_m_s2: Floats  # [3]
    posture_sd: Floats  # [3]
    bout_sd: Floats  # [3]
    turning_rad_s: Floats  # [3], steady, as on winding stairs
    log_stride_hz: float
    log_stride_sd: float
    series: NDArray[np.complex128]
    series_sd: Floats
    noise_kernels: Floats  # [KERNEL_SAMPLES, 6], white noise in, this wearer's noise out
    noise_mixing: Floats  # [6, 6]
    noise_log_sd: float

    @property
    def is_gait(self) -> bool:
        return bool(self.series.any())


@dataclass(frozen=True, eq=False)
class Wearer:
    """One synthetic person with a phone at `placement`: how they do each activity.

    >>> wearer = Wearer.draw("pocket", np.random.default_rng(0))
    >>> accel, gyro = simulate(wearer, "walking", 2.0, 50.0, np.random.default_rng(1))
    >>> accel.shape, str(gyro.dtype)
    ((100, 3), 'float32')
    """

    placement: Placement
    styles: dict[str, _Style]

    @classmethod
    def draw(cls, placement: Placement, rng: np.random.Generator) -> Wearer:
        """Draw a wearer from the measured variety of people; the same for the same `rng`."""
        measured = _parameters()["placements"][placement]
        activity = measured["activities"]
        n_directions = len(next(iter(activity.values()))["accel_mean_m_s2"]) - 1
        draw = np.clip(rng.standard_normal(n_directions), -MAX_DRAW_SD, MAX_DRAW_SD)
        turn = TURNED if rng.random() < measured["turned_share"] else np.ones(6)
        weights = np.concatenate([[1.0], draw])
        return cls(placement, {name: _style(p, weights, turn) for name, p in activity.items()})


def _style(p: dict[str, Any], weights: Floats, turn: Floats) -> _Style:
    """Combine one activity's mean and directions of variety; `turn` is the phone's facing."""

    def drawn(name: str, default: Floats) -> Floats:
        return weights @ np.asarray(p[name]) if name in p else default

    harmonics = int(_parameters()["harmonics"])
    zeros = np.zeros(6 * harmonics)
    series = np.empty(len(zeros), np.complex128)
    series.real, series.imag = drawn("harmonics_cos", zeros), -drawn("harmonics_sin", zeros)
    posture = drawn("accel_mean_m_s2", np.zeros(3))
    if "log_stride_hz" not in p:
        posture *= STANDARD_GRAVITY_M_S2 / np.linalg.norm(posture)
    correlation = np.asarray(p["noise_correlation"]) * np.outer(turn, turn)
    return _Style(
        posture_m_s2=posture * turn[:3],
        posture_sd=np.asarray(p["accel_mean_within_sd_m_s2"]),
        bout_sd=np.asarray(p["accel_mean_bout_sd_m_s2"]),
        turning_rad_s=drawn("gyro_mean_rad_s", np.zeros(3)) * turn[3:],
        log_stride_hz=float(drawn("log_stride_hz", np.zeros(1))[0]),
        log_stride_sd=p.get("log_stride_within_sd", 0.0),
        series=series.reshape(6, harmonics).T * turn,
        series_sd=np.asarray(p.get("harmonics_within_sd", zeros.reshape(6, harmonics))).T,
        noise_kernels=_noise_kernels(np.asarray(p["noise_band_rms"]))
        * np.exp(drawn("noise_log_rms", np.zeros(6))),
        noise_mixing=np.linalg.cholesky(correlation),
        noise_log_sd=p["noise_log_rms_within_sd"],
    )


def _noise_kernels(band_rms: Floats) -> Floats:
    """Return FIR kernels [KERNEL_SAMPLES, 6] that give white noise these bands, at unit power."""
    frequencies_hz = np.fft.rfftfreq(KERNEL_SAMPLES, 1 / GRID_HZ)
    edges_hz = np.asarray(_parameters()["band_edges_hz"])
    band = np.digitize(frequencies_hz, edges_hz[1:-1])
    density = band_rms.T / np.sqrt(np.diff(edges_hz))[:, None]
    taper = np.hanning(KERNEL_SAMPLES + 1)[:-1, None]
    kernels = np.fft.fftshift(np.fft.irfft(density[band], axis=0), axes=0) * taper
    return np.asarray(kernels / np.sqrt((kernels**2).sum(axis=0)))


@dataclass(frozen=True, eq=False)
class _Knot:
    """The state that slow changes pass through at a stretch's border; standard normal draws."""

    posture: Floats  # [3]
    series: NDArray[np.complex128]  # [harmonics, 6]
    log_stride: float
    noise: float

    @classmethod
    def draw(cls, rng: np.random.Generator, harmonics: int) -> _Knot:
        posture = rng.standard_normal(3)
        series = rng.standard_normal((2, harmonics, 6))
        log_stride, noise = rng.standard_normal(2)
        return cls(posture, series[0] + 1j * series[1], float(log_stride), float(noise))


@dataclass(frozen=True, eq=False)
class _Placed:
    """A bout on the grid, [start, end) in grid samples, with its own lasting change of posture."""

    start: int
    end: int
    style: _Style
    posture_m_s2: Floats


_Active: TypeAlias = "list[tuple[_Placed, slice, Floats]]"


class Motion:
    """The endless or finite motion of one wearer who follows `bouts`, read in blocks.

    `read(n)` gives the next n samples at `rate_hz` and fewer at the end; what it gives does not
    depend on the sizes of the reads.  Memory is constant.  Activities blend over about a second
    around the border of two bouts.
    """

    def __init__(
        self, wearer: Wearer, bouts: Iterable[Bout], rate_hz: float, rng: np.random.Generator
    ) -> None:
        self.rate_hz = rate_hz
        self._rng = rng
        self._bouts = self._place(wearer, bouts)
        self._current: deque[_Placed] = deque()
        self._n_harmonics = int(_parameters()["harmonics"])
        self._phase_rad = rng.uniform(0, 2 * np.pi)
        self._knot = _Knot.draw(rng, self._n_harmonics)
        self._white = rng.standard_normal((KERNEL_SAMPLES - 1, 6))
        self._last_up: Floats | None = None
        self._made = 0
        self._grid = np.empty((0, 6))
        self._grid_start = 0
        self._n_read = 0

    def read(self, n: int) -> Samples:
        """Return accelerometer (m/s², gravity included) and gyroscope (rad/s), float32[<=n, 3]."""
        position = (self._n_read + np.arange(n)) * (GRID_HZ / self.rate_hz)
        while n and (lacking := position[-1] + 3 - self._grid_start - len(self._grid)) > 0:
            made = self._stretches(min(math.ceil(lacking / STRETCH_SAMPLES), MAX_STRETCHES))
            if not len(made):
                break
            self._grid = np.concatenate([self._grid, made])
        position = position[position < self._grid_start + len(self._grid)]
        values = _interpolated(self._grid, position - self._grid_start).astype(np.float32)
        self._n_read += len(position)
        next_needed = int(self._n_read * (GRID_HZ / self.rate_hz)) - 1
        done = min(next_needed - self._grid_start, len(self._grid))
        if done > 0:
            self._grid = self._grid[done:]
            self._grid_start += done
        return values[:, :3], values[:, 3:]

    def _place(self, wearer: Wearer, bouts: Iterable[Bout]) -> Iterator[_Placed]:
        end_s = 0.0
        for bout in bouts:
            start_s, end_s = end_s, end_s + bout.duration_s
            style = wearer.styles[bout.activity]
            change = style.bout_sd * self._rng.standard_normal(3)
            yield _Placed(
                round(start_s * GRID_HZ),
                round(end_s * GRID_HZ),
                style,
                style.posture_m_s2 + change,
            )

    def _reach(self, until: int) -> int:
        """Take up the bouts that begin before `until` and a transition; return where they end."""
        while not self._current or self._current[-1].end < until + TRANSITION_SAMPLES:
            bout = next(self._bouts, None)
            if bout is None:
                break
            self._current.append(bout)
        return self._current[-1].end if self._current else 0

    def _stretches(self, most: int) -> Floats:
        """Make the next stretches of the grid [<= most * STRETCH_SAMPLES, 6]; empty at the end.

        What is drawn, and the result to the last bit, do not depend on how many at a time.
        """
        while self._current and self._current[0].end + TRANSITION_SAMPLES < self._made:
            self._current.popleft()
        knots, begin = [self._knot], self._made
        whites: list[Floats] = []
        while len(whites) < most and self._reach(self._made + STRETCH_SAMPLES) > self._made:
            knots.append(_Knot.draw(self._rng, self._n_harmonics))
            whites.append(self._rng.standard_normal((STRETCH_SAMPLES, 6)))
            self._made += STRETCH_SAMPLES
        if not whites:
            return np.empty((0, 6))
        slow = _Slow(knots)
        white = np.concatenate([self._white, *whites])
        at = STRETCH_SAMPLES * np.arange(len(whites))[:, None]
        noise_in = white[at + np.arange(KERNEL_SAMPLES - 1 + STRETCH_SAMPLES)]
        active = _presence(list(self._current), begin + at + np.arange(STRETCH_SAMPLES))
        phase_rad = self._phase(active, slow)
        values = self._gravity(active, slow)
        for bout, rows, weight in active:
            carried = _carried(bout.style, phase_rad[rows], slow, rows, noise_in[rows])
            values[rows] += weight[:, :, None] * carried
        self._knot, self._white = knots[-1], white[1 - KERNEL_SAMPLES :]
        return values.reshape(-1, 6)[: self._current[-1].end - begin]

    def _phase(self, active: _Active, slow: _Slow) -> Floats:
        """Return the phase of the gait cycle [k, n]; without gait it runs on unseen."""
        log_hz = np.zeros_like(slow.log_stride)
        share = np.full_like(log_hz, 1e-9)
        for bout, rows, weight in active:
            if bout.style.is_gait:
                wander = bout.style.log_stride_sd * slow.log_stride[rows]
                log_hz[rows] += weight * (bout.style.log_stride_hz + wander)
                share[rows] += weight
        phase_rad: Floats = np.cumsum(2 * np.pi / GRID_HZ * np.exp(log_hz / share), axis=1)
        for i in range(len(phase_rad)):
            phase_rad[i] += self._phase_rad
            self._phase_rad = float(phase_rad[i, -1] % (2 * np.pi))
        return phase_rad

    def _gravity(self, active: _Active, slow: _Slow) -> Floats:
        """Return the mean acceleration as posture turns it, and the rate of turning [k, n, 6]."""
        mean = np.zeros_like(slow.posture)
        norm = np.zeros_like(mean[:, :, :1])
        for bout, rows, weight in active:
            posture = bout.posture_m_s2 + bout.style.posture_sd * slow.posture[rows]
            length = float(np.linalg.norm(bout.style.posture_m_s2))
            share = weight[:, :, None]
            mean[rows] += share * length * posture / _norm(posture)
            norm[rows] += share * length
        up = (mean / _norm(mean)).reshape(-1, 3)
        change = np.diff(up, axis=0, prepend=up[:1] if self._last_up is None else self._last_up)
        self._last_up = up[-1:]
        # A direction fixed in the world moves in the phone's frame by up' = up x rate.
        turning = np.cross(change * GRID_HZ, up)
        return np.concatenate([up.reshape(mean.shape) * norm, turning.reshape(mean.shape)], axis=2)


def _norm(vectors: Floats) -> Floats:
    return np.asarray(np.linalg.norm(vectors, axis=-1, keepdims=True))


class _Slow:
    """What changes slowly within each of k stretches: a knot's state turns into the next one's.

    A cosine and a sine share out the two, so that the variance is the same everywhere.
    """

    def __init__(self, knots: Sequence[_Knot]) -> None:
        angle = np.pi / 2 * _smooth(np.arange(STRETCH_SAMPLES) / STRETCH_SAMPLES)
        self.leaving, self.coming = np.cos(angle)[:, None], np.sin(angle)[:, None]
        self.series = np.array([knot.series for knot in knots])  # [k + 1, harmonics, 6]
        self.posture = self._between([knot.posture for knot in knots])  # [k, n, 3]
        self.log_stride = self._between([[knot.log_stride] for knot in knots])[:, :, 0]  # [k, n]
        self.noise = self._between([[knot.noise] for knot in knots])  # [k, n, 1]

    def _between(self, of_knot: Sequence[Any]) -> Floats:
        state = np.array(of_knot)[:, None]
        return np.asarray(self.leaving * state[:-1] + self.coming * state[1:])


def _smooth(u: Floats) -> Floats:
    """Return a step from 0 to 1 as u goes from 0 to 1, level at both ends."""
    u = np.clip(u, 0.0, 1.0)
    return u * u * (3 - 2 * u)


def _presence(bouts: Sequence[_Placed], grid: NDArray[np.int64]) -> _Active:
    """Return the bouts present on `grid` [k, n], each with its stretches and its weights there.

    Weights sum to one.  The first of `bouts` has no bout left to come from and the last none to go
    to, or not yet.
    """
    begun = [
        np.ones(grid.shape),
        *(_smooth((grid - bout.start) / TRANSITION_SAMPLES + 0.5) for bout in bouts[1:]),
        np.zeros(grid.shape),
    ]
    active: _Active = []
    for bout, (since, until) in zip(bouts, pairwise(begun), strict=True):
        weight = since - until
        rows = np.flatnonzero(weight.any(axis=1))
        if len(rows):
            there = slice(int(rows[0]), int(rows[-1]) + 1)
            active.append((bout, there, weight[there]))
    return active


def _carried(style: _Style, phase_rad: Floats, slow: _Slow, rows: slice, white: Floats) -> Floats:
    """Return what comes on top of gravity in some stretches [rows, n, 6].

    That is steady turning, the gait cycle, and noise, made of white noise that begins a kernel
    earlier.
    """
    n = phase_rad.shape[1]
    mixed = np.fft.rfft(white @ style.noise_mixing.T, KERNEL_SAMPLES + n, axis=1)
    kernels = np.fft.rfft(style.noise_kernels, KERNEL_SAMPLES + n, axis=0)
    noise = np.fft.irfft(mixed * kernels, axis=1)[:, KERNEL_SAMPLES - 1 :][:, :n]
    values = noise * np.exp(style.noise_log_sd * slow.noise[rows])
    values[:, :, 3:] += style.turning_rad_s
    if style.is_gait:
        cycle = np.exp(1j * phase_rad[:, :, None] * np.arange(1, len(style.series) + 1))
        varied = style.series_sd * slow.series
        values += (cycle @ style.series).real
        values += slow.leaving * (cycle @ varied[:-1][rows]).real
        values += slow.coming * (cycle @ varied[1:][rows]).real
    return np.asarray(values)


def _interpolated(grid: Floats, position: Floats) -> Floats:
    """Return `grid` [m, 6] at fractional indices [n] by Catmull-Rom cubics, exact at integers."""
    at = np.floor(position).astype(int)
    u = (position - at)[:, None]
    if not u.any():
        return np.asarray(grid[at])
    a, b, c, d = (grid[np.clip(at + k, 0, max(0, len(grid) - 1))] for k in (-1, 0, 1, 2))
    return np.asarray(
        b
        + u * ((c - a) / 2 + u * (a - 2.5 * b + 2 * c - d / 2 + u * ((d - a) / 2 + 1.5 * (b - c))))
    )


def simulate(
    wearer: Wearer, activity: str, duration_s: float, rate_hz: float, rng: np.random.Generator
) -> Samples:
    """Return one bout: accelerometer (m/s²) and gyroscope (rad/s), float32[n, 3] each.

    The same `wearer` and state of `rng` give the same samples.  Raises `KeyError` for an activity
    that is not among `activities(wearer.placement)`.
    """
    motion = Motion(wearer, [Bout(activity, duration_s)], rate_hz, rng)
    return motion.read(round(duration_s * rate_hz))
