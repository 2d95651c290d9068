"""How well the edge's gait estimator tells which way is up, on recordings of real people.

Every figure comes from `hard.upright` run causally over recordings on the model's grid, cold; the
labels only say how good it was.  Called by the command `hard-train measure-upright`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from hard.card import ModelInput
from hard.upright import UprightEstimator
from hard_training.datasets import DATA_SETS
from hard_training.windows import grid_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hard_training.datasets import Recording

__all__ = ["measure"]

_MEASURED_ON = ("motionsense", "hapt", "sp-sw-har")

_INPUT = ModelInput(
    channels=("accel_x", "accel_y", "accel_z"),
    sampling_rate_hz=50,
    window_samples=128,
    stride_samples=64,
)
_TILE = 25  # half a second: how often the estimator decides
_STRETCH = 125
_ON_FOOT = ("walking", "upstairs", "downstairs", "running")
_STANDING_S = 10


def measure(data: Path) -> dict[str, Any]:
    """Return the figures of every data set that is below `data`, by its name.

    `gait_share`: per label the share of its time (away from borders) found as steady gait.
    `walking`: each labelled bout of walking as a recording of its own: in how many a reference was
    learned, after how many seconds (median, 90th percentile), and by how many degrees it was off
    the bout's mean acceleration when learned and at the end (median, 90th percentile, most).
    `followed`: per label, at the ends of a person's bouts, all recordings in a row: the same angle
    to the bout's own mean.  `standing`: bouts of 10 s or more, calibrated from their begin.
    """
    found = {}
    for data_set in (DATA_SETS[name] for name in _MEASURED_ON):
        if data_set.is_in(data):
            tracks = [_Track.of(recording) for recording in data_set.recordings(data)]
            found[data_set.name] = _figures(tracks)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    """One recording on the grid: `accel` float64[n, 3], m/s², `labels` per point, "" for none."""

    recording: Recording
    k0: int
    accel: NDArray[np.float32]
    valid: NDArray[np.bool_]
    labels: NDArray[np.str_]

    @classmethod
    def of(cls, recording: Recording) -> _Track:
        blocks = list(grid_blocks(recording, _INPUT))
        accel = np.concatenate([block.values for block in blocks])
        valid = np.concatenate([block.valid for block in blocks])
        k = blocks[0].k0 + np.arange(len(accel), dtype=np.int64)
        labels = np.array([name or "" for name in recording.labels_at(k * _INPUT.period_ns)])
        return cls(recording, blocks[0].k0, accel, valid, labels)

    def bouts(self) -> Iterator[tuple[str, slice]]:
        """Yield each stretch of one label and where it lies."""
        at = 0
        for label, points in groupby(self.labels.tolist()):
            end = at + sum(1 for _ in points)
            if label:
                yield label, slice(at, end)
            at = end


def _figures(tracks: Sequence[_Track]) -> dict[str, Any]:
    return {
        "recordings": len(tracks),
        "people": len({track.recording.person for track in tracks}),
        "hours": round(sum(len(track.accel) for track in tracks) / 180_000, 2),
        "gait_share": _gait_share(tracks),
        "walking": _walking(tracks),
        "followed": _followed(tracks),
        "standing": _standing(tracks),
    }


def _gait_share(tracks: Sequence[_Track]) -> dict[str, dict[str, float]]:
    tiles: dict[str, list[bool]] = defaultdict(list)
    for track in tracks:
        estimator = UprightEstimator(_INPUT.sampling_rate_hz)
        for end in _ends(track, slice(0, len(track.labels)), estimator):
            stretch = track.labels[max(end - _STRETCH, 0) : end]
            if len(stretch) == _STRETCH and (stretch == stretch[0]).all() and stretch[0]:
                tiles[str(stretch[0])].append(estimator.in_gait)
    return {
        label: {"minutes": round(len(of) / 120, 1), "share": round(float(np.mean(of)), 4)}
        for label, of in sorted(tiles.items())
    }


@dataclass(slots=True)
class _Learned:
    bouts: int = 0
    after_s: list[float] = field(default_factory=list)
    first_deg: list[float] = field(default_factory=list)
    last_deg: list[float] = field(default_factory=list)


def _walking(tracks: Sequence[_Track]) -> dict[str, Any]:
    learned = _Learned()
    for track in tracks:
        for label, bout in track.bouts():
            if label == "walking":
                learned.bouts += 1
                _learn(track, bout, learned)
    return {
        "bouts": learned.bouts,
        "learned": len(learned.after_s),
        "after_s": _spread(learned.after_s),
        "first_deg": _spread(learned.first_deg),
        "last_deg": _spread(learned.last_deg),
    }


def _learn(track: _Track, bout: slice, learned: _Learned) -> None:
    truth = track.accel[bout].mean(axis=0, dtype=np.float64)
    estimator = UprightEstimator(_INPUT.sampling_rate_hz)
    first = True
    for end in _ends(track, bout, estimator):
        if first and estimator.latest is not None:
            first = False
            learned.after_s.append((end - bout.start) / _INPUT.sampling_rate_hz)
            learned.first_deg.append(_apart_deg(estimator.latest.up, truth))
    if estimator.latest is not None:
        learned.last_deg.append(_apart_deg(estimator.latest.up, truth))


def _followed(tracks: Sequence[_Track]) -> dict[str, list[float]]:
    apart: dict[str, list[float]] = defaultdict(list)
    estimators: dict[int, UprightEstimator] = {}
    for track in sorted(tracks, key=lambda track: track.recording.order):
        estimator = estimators.setdefault(
            track.recording.person, UprightEstimator(_INPUT.sampling_rate_hz)
        )
        at = 0
        for label, bout in track.bouts():
            for _ in _ends(track, slice(at, bout.stop), estimator):
                pass
            at = bout.stop
            if label in _ON_FOOT and estimator.latest is not None:
                truth = track.accel[bout].mean(axis=0, dtype=np.float64)
                apart[label].append(_apart_deg(estimator.latest.up, truth))
    return {label: _spread(values) for label, values in sorted(apart.items())}


def _standing(tracks: Sequence[_Track]) -> dict[str, Any]:
    bouts, after_s = 0, []
    for track in tracks:
        for label, bout in track.bouts():
            long = bout.stop - bout.start >= _STANDING_S * _INPUT.sampling_rate_hz
            if label != "standing" or not long:
                continue
            bouts += 1
            estimator = UprightEstimator(_INPUT.sampling_rate_hz)
            estimator.calibrate(track.k0 + bout.start)
            for end in _ends(track, bout, estimator):
                if estimator.latest is not None and not estimator.calibrating:
                    after_s.append((end - bout.start) / _INPUT.sampling_rate_hz)
                    break
    return {"bouts": bouts, "calibrated": len(after_s), "after_s": _spread(after_s)}


def _ends(track: _Track, part: slice, estimator: UprightEstimator) -> Iterator[int]:
    """Feed a part of a recording tile by tile; yield where each ends."""
    for begin in range(part.start, part.stop, _TILE):
        end = min(begin + _TILE, part.stop)
        estimator.feed(track.k0 + begin, track.accel[begin:end], track.valid[begin:end])
        yield end


def _spread(values: Sequence[float]) -> list[float]:
    """Return the median, the 90th percentile and the most; nothing for no values."""
    if not values:
        return []
    return [round(float(v), 1) for v in np.percentile(values, (50, 90, 100))]


def _apart_deg(up: NDArray[np.float64], gravity: NDArray[np.float64]) -> float:
    cosine = float(up @ gravity / np.linalg.norm(gravity))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
