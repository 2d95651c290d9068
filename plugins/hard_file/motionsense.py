"""MotionSense's DeviceMotion CSV: an iPhone 6s in a trouser pocket at 50 Hz, without stamps.

Gravity and user acceleration (both in g, iOS signs) are added to the total that the accelerometer
felt, as the contract of `accel` wants it.  Malekzadeh et al., "Mobile Sensor Data Anonymization",
IoTDI 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hard.api import Declared, SampleBatch
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import Columns, CsvFile, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hard.api import Message, Sensor
    from hard_file.recording import Options
    from hard_file.table import Skip

__all__ = ["COLUMNS", "open_motionsense"]

PERIOD_NS = 20_000_000
COLUMNS = Columns(
    tuple(
        f"{name}.{axis}"
        for name in ("gravity", "userAcceleration", "rotationRate")
        for axis in "xyz"
    )
)


def open_motionsense(path: Path, options: Options) -> Recording:
    """Return the recording in a MotionSense CSV, whose header is known to be one."""
    clock: Literal["epoch", "relative"] = "epoch" if options.start else "relative"
    declared: dict[Sensor, Declared] = {
        "accel": Declared("g", sign=-1, clock=clock),
        "gyro": Declared("rad/s", clock=clock),
    }
    info = RecordingInfo(
        format="motionsense",
        reason="the header names gravity, userAcceleration and rotationRate: 50 Hz, in g, iOS sign",
        declared=declared,
    )
    file = _MotionSenseCsv(path, options.stream_for(path), declared, options.start_ns)
    return Recording(path, file.stream, info, file.messages, file.start_ns)


@dataclass(frozen=True, slots=True)
class _MotionSenseCsv:
    path: Path
    stream: str
    declared: Mapping[Sensor, Declared]
    start_ns: int

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield one message per block of rows; a bad row leaves its 20 ms empty."""
        with opened(self.path) as file:
            for rows in CsvFile(file, str(self.path)).rows(COLUMNS, skip):
                t = self.start_ns + rows.row * PERIOD_NS
                gravity_g, user_g, rotation = np.split(rows.values, 3, axis=1)
                measured: dict[Sensor, NDArray[np.float64]] = {
                    "accel": gravity_g + user_g,
                    "gyro": rotation,
                }
                yield [
                    SampleBatch(self.stream, sensor, t, xyz.astype(np.float32), declared)
                    for sensor, declared in self.declared.items()
                    if len(xyz := measured[sensor])
                ]
