"""What phyphox answers: which buffers hold which sensor (`/config`), and what is new (`/get`).

Pure: JSON that was parsed already in, samples out.  `PhyphoxSource` asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hard.api import NS_PER_S, Sensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_T_END_S = 2.0**31
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_SENSORS: Final[dict[str, Sensor]] = {
    "accelerometer": "accel",
    "linear_acceleration": "linear_accel",
    "gravity": "gravity",
    "gyroscope": "gyro",
}


@dataclass(frozen=True, slots=True)
class Buffers:
    """The names of the app's buffers that hold one sensor."""

    sensor: Sensor
    t: str
    x: str
    y: str
    z: str

    def query(self, newest_s: float | None) -> dict[str, str]:
        """Ask for what is newer than `newest_s`, or for the last sample."""
        if newest_s is None:
            return dict.fromkeys((self.t, self.x, self.y, self.z), "")
        newer = f"{newest_s:.8g}"
        return {self.t: newer} | dict.fromkeys((self.x, self.y, self.z), f"{newer}|{self.t}")


# What many experiments call their buffers; asked only of versions of the app without /config,
# since the name alone does not tell whether gravity is in it.
USUAL = (
    Buffers("accel", "acc_time", "accX", "accY", "accZ"),
    Buffers("gyro", "gyr_time", "gyrX", "gyrY", "gyrZ"),
    Buffers("linear_accel", "lin_acc_time", "lin_accX", "lin_accY", "lin_accZ"),
)


class NoGravityError(Exception):
    """The experiment can't serve a model; the text says what it has instead."""


def sensors_of(config: object) -> list[Buffers]:
    """Return what to read of an experiment, from the JSON of `/config`.

    Raises ValueError when it is no such JSON, NoGravityError when there is no acceleration with
    gravity in it.
    """
    if type(config) is not dict or type(config.get("inputs")) is not list:
        raise ValueError("no inputs in /config")
    inputs = [entry for entry in config["inputs"] if type(entry) is dict]
    found = [buffers for buffers in map(_input, inputs) if buffers is not None]
    return _with_gravity(str(config.get("title")), found)


def _input(entry: dict[str, Any]) -> Buffers | None:
    source, outputs, names = entry.get("source"), entry.get("outputs"), dict[str, Any]()
    for output in outputs if type(outputs) is list else []:
        names |= output if type(output) is dict else {}
    axes = [name for axis in "txyz" if type(name := names.get(axis)) is str]
    if type(source) is not str or source not in _SENSORS or len(axes) < 4:
        return None
    return Buffers(_SENSORS[source], *axes)


def usual_sensors(buffers: object) -> list[Buffers]:
    """Return what to read by the usual names alone; raise as `sensors_of` does."""
    if type(buffers) is not dict:
        raise ValueError("no buffers in /get")
    there = [usual for usual in USUAL if {usual.t, usual.x, usual.y, usual.z} <= buffers.keys()]
    return _with_gravity("?", there)


def _with_gravity(title: str, found: list[Buffers]) -> list[Buffers]:
    """Choose what to read of the sensors found; raise NoGravityError when nothing serves."""
    by_sensor = {buffers.sensor: buffers for buffers in found}
    if "accel" in by_sensor:
        by_sensor = {s: b for s, b in by_sensor.items() if s in {"accel", "gyro"}}
    elif "linear_accel" not in by_sensor:
        raise NoGravityError(f"the experiment {title!r} has no accelerometer")
    elif "gravity" not in by_sensor:
        raise NoGravityError(f"the experiment {title!r} has linear acceleration only, no gravity")
    return list(by_sensor.values())


@dataclass(frozen=True, slots=True)
class New:
    """New samples: t int64[n] in ns since the session began, values float32[n, 3]."""

    t: NDArray[np.int64]
    values: NDArray[np.float32]
    unusable: int


@dataclass(slots=True)
class Series:
    """Where reading one sensor stands; `newest_s` is None before the first sample.

    It starts at what is newest; `asks_last` makes it do so again.
    """

    buffers: Buffers
    newest_s: float | None = None
    asks_last: bool = True
    heard_s: float = 0.0

    def query(self) -> dict[str, str]:
        """Return the part of `/get` that is this sensor's."""
        return self.buffers.query(None if self.asks_last else self.newest_s)

    def take(self, buffers: object) -> New:
        """Return what is new in an answer; times behind the newest mean that data were cleared.

        Raises ValueError when the buffers are not in it.
        """
        names = (self.buffers.t, self.buffers.x, self.buffers.y, self.buffers.z)
        columns = [_column(buffers, name) for name in names]
        n = min(map(len, columns))
        rows = np.stack([column[:n] for column in columns], axis=1)
        usable = (np.abs(rows) <= _FLOAT32_MAX).all(axis=1)  # NaN compares false
        usable &= (rows[:, 0] >= 0) & (rows[:, 0] < _T_END_S)
        unusable = 0 if self.asks_last else n - int(usable.sum())  # the last of none is null
        rows = rows[usable]
        if len(rows):
            self.asks_last = False
            if self.newest_s is not None and rows[-1, 0] >= self.newest_s:
                rows = rows[rows[:, 0] > self.newest_s]
        if len(rows):
            self.newest_s = float(rows[:, 0].max())
        t = np.round(rows[:, 0] * NS_PER_S).astype(np.int64)
        return New(t, rows[:, 1:].astype(np.float32), unusable)


def _column(buffers: object, name: str) -> NDArray[np.float64]:
    buffer = buffers.get(name) if type(buffers) is dict else None
    values = buffer.get("buffer") if type(buffer) is dict else None
    if type(values) is not list or not set(map(type, values)) <= {float, type(None)}:
        raise ValueError(f"/get lacks the buffer {name!r}")
    return np.array(values, np.float64)  # null becomes NaN
