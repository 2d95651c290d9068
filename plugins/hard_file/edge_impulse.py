"""Edge Impulse's JSON (data acquisition format): rows of numbers at a fixed interval.

`payload.sensors` names the columns and their units, `payload.interval_ms` the rate.  It has no
stamps: `protected.iat` is when the file was made, not when the recording began.  Read as a whole,
up to 256 MiB.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hard.api import Declared, SampleBatch, UnusableInput
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import LARGEST, guarded, opened, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hard.api import Message, Sensor, Unit
    from hard_file.recording import Options
    from hard_file.table import Skip

__all__ = ["open_edge_impulse"]

MAX_BYTES = 256 * 1024 * 1024
ROWS_PER_MESSAGE = 4096
_COLUMN = re.compile(r"(acc|gyr)[a-z]*[ _.-]*([xyz])", re.IGNORECASE)
_UNITS: Mapping[str, Unit] = {
    "m/s2": "m/s2",
    "m/s^2": "m/s2",
    "m/s²": "m/s2",
    "g": "g",
    "rad/s": "rad/s",
    "deg/s": "deg/s",
    "dps": "deg/s",
    "°/s": "deg/s",
}
_UNITS_OF: Mapping[Sensor, set[Unit]] = {"accel": {"m/s2", "g"}, "gyro": {"rad/s", "deg/s"}}


def open_edge_impulse(path: Path, options: Options) -> Recording:
    """Return the recording in a file of Edge Impulse's.

    A unit that the file does not tell ("N/A") is the option's.  Raises `UnusableInput` for what is
    no such file, has no interval, or no three axes of an accelerometer.
    """
    payload = _payload(path)
    interval_ms: Any = payload.get("interval_ms")
    if not (_is_number(interval_ms) and 0.01 <= interval_ms <= 10_000):
        raise UnusableInput(
            f"{path}: payload.interval_ms is {interval_ms!r}; it must be the ms between two rows"
        )
    columns = _columns(payload.get("sensors"))
    if "accel" not in columns:
        names = [str(name) for name, _ in _sensors(payload.get("sensors"))]
        raise UnusableInput(
            f"{path}: payload.sensors has no accX, accY, accZ (found {quoted(names)}); record "
            "with an accelerometer, or name its axes so"
        )
    clock: Literal["epoch", "relative"] = "epoch" if options.start else "relative"
    configured: Mapping[Sensor, Unit] = {"accel": options.accel_unit, "gyro": options.gyro_unit}
    sign: Literal[1, -1] = -1 if options.platform == "ios" else 1
    declared: dict[Sensor, Declared] = {}
    for sensor, (_, unit) in columns.items():
        its_sign: Literal[1, -1] = sign if sensor == "accel" else 1
        declared[sensor] = Declared(
            unit or configured[sensor],
            its_sign,
            clock=clock,
            rate_hz=1000 / interval_ms,
            counted=True,
        )
    info = RecordingInfo(
        format="edge_impulse",
        reason=f"a JSON of Edge Impulse: {interval_ms:g} ms between rows, "
        + ", ".join(
            f"{sensor} in {declared[sensor].unit} ({'payload.sensors' if unit else 'configured'})"
            for sensor, (_, unit) in columns.items()
        )
        + f", {'Android sign unless configured' if sign == 1 else 'iOS sign (configured)'}",
        declared=declared,
    )
    at = {sensor: columns_at for sensor, (columns_at, _) in columns.items()}
    file = _File(path, options.stream_for(path), at, declared, interval_ms, options.start_ns)
    return Recording(path, file.stream, info, file.messages, options.start_ns)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _payload(path: Path) -> dict[str, Any]:
    with opened(path) as file, guarded(str(path)):
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise UnusableInput(f"{path}: over {MAX_BYTES} bytes of one JSON; split the recording")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableInput(f"{path}: is no whole JSON ({error}); export it again") from error
    payload = body.get("payload") if isinstance(body, dict) else None
    if not isinstance(payload, dict) or not isinstance(payload.get("values"), list):
        raise UnusableInput(
            f"{path}: has no payload.values, as a JSON of Edge Impulse has; export it again"
        )
    return payload


def _sensors(listed: object) -> list[tuple[object, object]]:
    """Return name and unit of each column."""
    entries = listed if isinstance(listed, list) else []
    return [(e.get("name"), e.get("units")) if isinstance(e, dict) else (e, None) for e in entries]


def _columns(listed: object) -> dict[Sensor, tuple[list[int], Unit | None]]:
    """Return for each whole sensor where its x, y and z stand, and the unit if it is told."""
    axes: dict[Sensor, dict[str, int]] = {"accel": {}, "gyro": {}}
    units: dict[Sensor, Unit] = {}
    for at, (name, unit) in enumerate(_sensors(listed)):
        if match := _COLUMN.fullmatch(str(name).strip()):
            sensor: Sensor = "accel" if match[1].lower() == "acc" else "gyro"
            axes[sensor].setdefault(match[2].lower(), at)
            told = _UNITS.get(str(unit).strip().lower())
            if told in _UNITS_OF[sensor]:
                units[sensor] = told
    return {
        sensor: ([found[axis] for axis in "xyz"], units.get(sensor))
        for sensor, found in axes.items()
        if len(found) == 3
    }


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    stream: str
    columns: Mapping[Sensor, list[int]]
    declared: Mapping[Sensor, Declared]
    interval_ms: float
    start_ns: int

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield the rows; a bad one leaves its time empty."""
        values = _payload(self.path)["values"]
        for first in range(0, len(values), ROWS_PER_MESSAGE):
            rows, good = self._rows(values[first : first + ROWS_PER_MESSAGE], first, skip)
            t = self.start_ns + np.rint((first + good) * self.interval_ms * 1e6).astype(np.int64)
            yield [
                SampleBatch(self.stream, sensor, t, rows[:, at : at + 3], declared)
                for at, (sensor, declared) in zip((0, 3), self.declared.items(), strict=False)
                if len(t)
            ]

    def _rows(
        self, block: list[Any], first: int, skip: Skip
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return float32[n, 3 or 6] and int64[n], which of the block's rows they are."""
        at = [column for columns in self.columns.values() for column in columns]
        found, good = [], []
        for number, row in enumerate(block):
            picked = [row[i] for i in at] if isinstance(row, list) and len(row) > max(at) else []
            if picked and all(_is_number(x) and abs(x) <= LARGEST for x in picked):
                found.append([float(x) for x in picked])
                good.append(number)
            else:
                skip("bad_row", f"{self.path}: row {first + number + 1} is not {len(at)} readings")
        return np.array(found, np.float32).reshape(-1, len(at)), np.array(good, np.int64)
