"""Which way is up for this placement: gravity as the device sees it while its wearer walks.

Pure, in data time, called by the pipeline and by training.  Needs neither labels nor to know how
the device is turned: gait is told from |acceleration| alone (strong, with a period of two steps,
most of it at 1.2 to 3 steps a second, for seconds on end), the mean acceleration meanwhile is
gravity.  It is not a posture detector: how the wearer sits is for the model to tell.

    tiles of half a second at absolute grid indices -> is it gait? -> mean acceleration
    -> the reference (learned, refined, or replaced when it is off for seconds of gait)

What is known depends on the grid points alone, never on how they were cut into stretches, and at
a window's end it is known from points before that end.  `hard-train measure-upright` gives the
figures in training/README.md.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "CALIBRATE_WITHIN_S",
    "MIN_RATE_HZ",
    "Reference",
    "UprightEstimator",
    "is_gait",
    "rotation",
    "to_upright",
]

MIN_RATE_HZ = 20.0
"""Below this rate steps can't be told from other motion."""
CALIBRATE_WITHIN_S = 60
"""A calibration that saw no standing still for so long is given up."""

_TILE_S = 0.5
_GAIT_TILES = 5  # a stretch that is judged: 2.5 s, more than a stride of the slowest gait
_STEADY = 3  # stretches in a row, each a tile on, that must be gait before one counts
_LEARN = 4  # stretches that must agree before they make the first reference
_REPLACE = 8  # the same, to replace one that says otherwise
_REMEMBER = 60  # stretches: the reference is their mean, later ones weigh as the 60th
_STILL_TILES = 6

_STEP_HZ = (1.2, 3.0)
_STEP_BAND_HZ = (1.1, 3.2)
_MIN_STRENGTH_M_S2 = 1.0
_MIN_PERIODICITY = 0.45
_MIN_STEP_SHARE = 0.25
_OTHER_PLACEMENT_DEG = 25.0
_STILL_M_S2 = 0.5
_STILL_DEG = 5.0

_Vector: TypeAlias = tuple[float, float, float]
_UNKNOWN = (math.nan, math.nan, math.nan)


class _Comparison(NamedTuple):
    """What `is_gait` looks at in a stretch of n samples."""

    size: int  # of the transform: room for every lag without wrapping around
    steps: NDArray[np.bool_]  # which frequencies are those of steps
    lags: NDArray[np.intp]  # of two steps


@cache
def _comparison(n: int, rate_hz: float) -> _Comparison:
    size = 1 << (2 * n - 1).bit_length()
    hz = np.arange(size // 2 + 1) * (rate_hz / size)
    slow, fast = _STEP_HZ
    return _Comparison(
        size,
        (hz >= _STEP_BAND_HZ[0]) & (hz <= _STEP_BAND_HZ[1]),
        np.arange(round(2 * rate_hz / fast), round(2 * rate_hz / slow) + 1),
    )


def is_gait(norm: NDArray[np.float64], rate_hz: float) -> bool:
    """Tell whether |acceleration| float64[n] (m/s², 2.5 s of it) is that of steps.

    Steps are strong; two of them (left and right, which differ in a pocket) repeat in the
    autocorrelation, normalised by the energy of the parts that overlap; and the steps' own
    frequency holds a fair share of the power, so that neither rocking nor shivering passes.
    """
    n = len(norm)
    x = norm - np.add.reduce(norm) / n
    energy = np.add.accumulate(x * x)
    if energy[-1] < _MIN_STRENGTH_M_S2**2 * n:
        return False
    size, steps, lags = _comparison(n, rate_hz)
    spectrum = np.fft.rfft(x, size)
    power = spectrum.real**2 + spectrum.imag**2
    if np.add.reduce(power[steps]) < _MIN_STEP_SHARE * np.add.reduce(power[1:]):
        return False
    head, tail = energy[n - 1 - lags], energy[-1] - energy[lags - 1]
    overlap = np.sqrt(np.maximum(head * tail, 1e-12))
    return bool((np.fft.irfft(power, size)[lags] >= _MIN_PERIODICITY * overlap).any())


@dataclass(frozen=True, slots=True)
class Reference:
    """Which way is up, in the device's axes.

    `gravity` is the mean acceleration that says so (m/s²; the axis that points up reads +9.81),
    `evidence` the number of gait stretches in it (at most 60; a calibration weighs as much),
    `t_learned_ns` when this placement's reference was first known, data time, `source` from what.
    """

    gravity: _Vector
    evidence: int
    t_learned_ns: int
    source: Literal["gait", "calibration"]

    @property
    def up(self) -> NDArray[np.float64]:
        """The unit vector float64[3] that points up."""
        return np.array(self.gravity) / math.hypot(*self.gravity)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes, in JSON's own types."""
        return asdict(self) | {"gravity": list(self.gravity)}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Reference:
        """Return the reference that was saved; raise `ValueError` for anything else."""
        try:
            x, y, z = map(float, state["gravity"])
            evidence, t_learned_ns = int(state["evidence"]), int(state["t_learned_ns"])
            source = state["source"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not a saved reference: {state!r}") from error
        right = 0.1 < math.hypot(x, y, z) < 1e3 and 1 <= evidence <= _REMEMBER
        if not right or source not in ("gait", "calibration"):
            raise ValueError(f"not a saved reference: {state!r}")
        return cls((x, y, z), evidence, t_learned_ns, source)


class UprightEstimator:
    """The reference of one stream, learned from the grid points that it is fed.

    A gap, a restart or a new segment ends a stretch of gait, never the reference: that is kept
    until seconds of gait contradict it by more than 25 degrees (the phone was put back
    differently), or a calibration replaces it.  `latest` is the newest one, None before the first.
    """

    def __init__(self, rate_hz: float, reference: Reference | None = None) -> None:
        """`rate_hz` is the grid's, at least `MIN_RATE_HZ`; `reference` what was saved, if any."""
        if not rate_hz >= MIN_RATE_HZ:
            raise ValueError(f"gait can't be told at {rate_hz:g} Hz, only from {MIN_RATE_HZ:g} on")
        self._rate_hz = rate_hz
        self._tile = round(_TILE_S * rate_hz)
        self._held = np.empty((0, 3))  # points of the run whose tile is not complete
        self._next_k: int | None = None  # the grid index behind the points held
        self._norm = np.empty(0)  # of the last tiles of the run
        self._means: list[_Vector] = []
        self._steady = 0
        self._candidate: tuple[_Vector, int] | None = None  # mean, and of how many stretches
        self._calibrate_k: int | None = None
        self._still: list[_Vector] = []
        self.latest = reference
        self._known: list[tuple[int, _Vector]] = []  # since when, what; of the stretch fed last
        self._forget_history()

    def feed(
        self, k0: int, accel: NDArray[np.floating[Any]], valid: NDArray[np.bool_] | None = None
    ) -> None:
        """Take the grid points k0, k0 + 1, … of total acceleration [n, 3] (m/s²).

        Where `valid` bool[n] is False lies a gap; None: there is none.
        """
        self._forget_history()
        if valid is None:
            valid = np.ones(len(accel), bool)
        edges = np.flatnonzero(np.diff(valid, prepend=False, append=False)).tolist()
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            self._take(k0 + a, accel[a:b].astype(np.float64))

    def references(self, k_end: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the unit vectors [w, 3] known from points before each grid index; NaN: none yet.

        `k_end` must lie within the stretch fed last, its end included.
        """
        known = np.array([k for k, _ in self._known])
        gravity = np.array([g for _, g in self._known])
        found = gravity[np.searchsorted(known, k_end, "right") - 1]
        unit: NDArray[np.float64] = found / _length(found)[:, None]
        return unit

    def reference(self) -> NDArray[np.float64] | None:
        """Return the newest unit vector float64[3], None before the first."""
        return None if self.latest is None else self.latest.up

    @property
    def in_gait(self) -> bool:
        """Whether the newest seconds are steady gait."""
        return self._steady >= _STEADY

    def calibrate(self, k: int) -> None:
        """Make the first 3 s of standing still from grid index `k` on the reference."""
        self._calibrate_k, self._still = k, []

    @property
    def calibrating(self) -> bool:
        """Whether a calibration still waits for 3 s of standing still."""
        return self._calibrate_k is not None

    def _forget_history(self) -> None:
        since_ever = np.iinfo(np.int64).min
        self._known = [(since_ever, self.latest.gravity if self.latest else _UNKNOWN)]

    def _take(self, k: int, points: NDArray[np.float64]) -> None:
        """Cut the points of a run, from grid index `k` on, into whole tiles."""
        if k != self._next_k:
            self._held, self._norm, self._means = np.empty((0, 3)), np.empty(0), []
            self._steady, self._still = 0, []
        self._next_k = k + len(points)
        points = np.concatenate([self._held, points])
        k = self._next_k - len(points)
        begin = -k % self._tile
        while begin + self._tile <= len(points):
            self._add(k + begin, points[begin : begin + self._tile])
            begin += self._tile
        self._held = points[begin:].copy()

    def _add(self, k: int, tile: NDArray[np.float64]) -> None:
        """Take one tile, which begins at grid index `k`."""
        x, y, z = (np.add.reduce(tile) / self._tile).tolist()
        self._norm = np.append(self._norm, _length(tile))[-_GAIT_TILES * self._tile :]
        self._means = [*self._means, (x, y, z)][-_GAIT_TILES:]
        k_end = k + self._tile
        if len(self._means) == _GAIT_TILES and is_gait(self._norm, self._rate_hz):
            self._steady += 1
            if self.in_gait:
                self._learn(_mean(self._means), k_end)
        else:
            self._steady = 0
        if self._calibrate_k is not None:
            self._try_calibration(self._calibrate_k, k, tile)

    def _learn(self, gravity: _Vector, k_end: int) -> None:
        """Take the mean acceleration of one stretch of steady gait."""
        now = self.latest
        if now is not None and _apart_deg(gravity, now.gravity) <= _OTHER_PLACEMENT_DEG:
            self._candidate = None
            refined, evidence = _refined((now.gravity, now.evidence), gravity)
            self._set(Reference(refined, evidence, now.t_learned_ns, now.source), k_end)
            return
        candidate = self._candidate
        if candidate is None or _apart_deg(gravity, candidate[0]) > _OTHER_PLACEMENT_DEG:
            candidate = (gravity, 0)
        self._candidate = _refined(candidate, gravity)
        if self._candidate[1] >= (_LEARN if now is None else _REPLACE):
            self._set(Reference(*self._candidate, self._t_ns(k_end), "gait"), k_end)
            self._candidate = None

    def _try_calibration(self, since_k: int, k: int, tile: NDArray[np.float64]) -> None:
        """Take a tile that may be the last of 3 s of standing still."""
        k_end, mean = k + self._tile, self._means[-1]
        spread = math.sqrt(np.add.reduce((tile - mean) ** 2).sum() / self._tile)
        if k < since_k or spread > _STILL_M_S2 or not 5 < math.hypot(*mean) < 15:
            self._still = []
        elif self._still and _apart_deg(mean, self._still[0]) > _STILL_DEG:
            self._still = [mean]
        else:
            self._still.append(mean)
        if len(self._still) == _STILL_TILES:
            gravity, t_ns = _mean(self._still), self._t_ns(k_end)
            self._set(Reference(gravity, _REMEMBER, t_ns, "calibration"), k_end)
            self._calibrate_k, self._candidate = None, None
        elif abs(k_end - since_k) > CALIBRATE_WITHIN_S * self._rate_hz:
            self._calibrate_k = None

    def _set(self, reference: Reference, k_end: int) -> None:
        self.latest = reference
        self._known.append((k_end, reference.gravity))

    def _t_ns(self, k: int) -> int:
        return k * round(1e9 / self._rate_hz)


def rotation(reference: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the matrices [..., 3, 3] that turn each vector [..., 3] to +z by the least angle.

    Heading stays unknown: how the turned x and y lie about the vertical depends on how the device
    is turned (and, for a reference near -z, changes much with little), so models of the upright
    frame are trained on every heading.  For a vector of length 0 nothing is turned.
    """
    vectors = reference.astype(np.float64)
    length = _length(vectors)[..., None]
    unit = np.where(length > 0, vectors / np.where(length > 0, length, 1.0), (0.0, 0.0, 1.0))
    x, y, z = np.moveaxis(unit, -1, 0)
    down = z < -1 + 1e-9
    share = 1 / np.where(down, 1.0, 1 + z)
    rows = (
        (1 - share * x * x, -share * x * y, -x),
        (-share * x * y, 1 - share * y * y, -y),
        (x, y, z),
    )
    turn = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    return np.where(down[..., None, None], np.diag([1.0, -1.0, -1.0]), turn)


def to_upright(
    windows: NDArray[np.float32], references: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Turn windows float32[w, T, C] (accelerometer, then gyroscope) so that up is +z.

    `references` [w, 3] are what `UprightEstimator.references` gave at the windows' ends.  Where
    there is none (NaN) the window's own mean acceleration stands in: right for gait, and wrong
    for postures, which are not to be told then.
    """
    ups = references.copy()
    for i in np.flatnonzero(np.isnan(references[:, 0])).tolist():
        ups[i] = windows[i, :, :3].mean(axis=0, dtype=np.float64)
    turn = rotation(ups)[:, None]
    turned = np.empty(windows.shape, np.float32)
    # Element by element in float64: a matrix product's rounding changes with the number of windows.
    for first in range(0, windows.shape[2], 3):
        x, y, z = (windows[:, :, first + i].astype(np.float64) for i in range(3))
        for i in range(3):
            row = turn[:, :, i]
            turned[:, :, first + i] = row[..., 0] * x + row[..., 1] * y + row[..., 2] * z
    return turned


def _length(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lengths [...] of vectors [..., 3], element by element."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    length: NDArray[np.float64] = np.sqrt(x * x + y * y + z * z)
    return length


def _mean(vectors: Sequence[_Vector]) -> _Vector:
    x, y, z = (sum(axis) / len(vectors) for axis in zip(*vectors, strict=True))
    return (x, y, z)


def _refined(mean: tuple[_Vector, int], vector: _Vector) -> tuple[_Vector, int]:
    """Take a vector into the mean of so many, of which the last `_REMEMBER` or so count."""
    n = min(mean[1] + 1, _REMEMBER)
    x, y, z = (m + (v - m) / n for m, v in zip(mean[0], vector, strict=True))
    return (x, y, z), n


def _apart_deg(one: _Vector, other: _Vector) -> float:
    """Return the angle between two vectors; that to a vector of length 0 is 90."""
    product = math.hypot(*one) * math.hypot(*other)
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return math.degrees(math.acos(max(-1.0, min(1.0, dot / product)))) if product else 90.0
