"""SP-SW-HAR's CSV: an Android phone and watch, about 100 Hz, stamps in whole ms, some repeated.

Matey-Sanz, Casteleyn and Granell, "Dataset of inertial measurements of smartphones and
smartwatches for human activity recognition", Data in Brief 2023.  The stamps are passed on as they
are: what shares one is told apart by conditioning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hard.api import Declared, SampleBatch
from hard_file.labels import changes
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import Columns, CsvFile, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hard.api import Message, Sensor
    from hard_file.recording import Options
    from hard_file.table import Skip

__all__ = ["HEADER", "open_sp_sw_har"]

NS_PER_MS = 1_000_000
COLUMNS = Columns(
    tuple(f"{axis}_{sensor}" for sensor in ("acc", "gyro") for axis in "xyz"),
    time="timestamp",
    label="label",
)
HEADER = (*COLUMNS.values, "timestamp", "label")
_LAST_MS = (2**63 - 1) // NS_PER_MS


def open_sp_sw_har(path: Path, options: Options) -> Recording:
    """Return the recording in an SP-SW-HAR CSV, whose header is known to be one."""
    declared: dict[Sensor, Declared] = {"accel": Declared("m/s2"), "gyro": Declared("rad/s")}
    info = RecordingInfo(
        format="sp_sw_har",
        reason="the header names x_acc to z_gyro and timestamp: SP-SW-HAR, in m/s2, Android sign, "
        "stamps in ms since the epoch",
        declared=declared,
    )
    file = _SpSwHarCsv(path, options.stream_for(path), declared)
    return Recording(path, file.stream, info, file.messages)


@dataclass(frozen=True, slots=True)
class _SpSwHarCsv:
    path: Path
    stream: str
    declared: Mapping[Sensor, Declared]

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield one message per block of rows."""
        label = ""
        with opened(self.path) as file:
            for read in CsvFile(file, str(self.path)).rows(COLUMNS, skip):
                in_range = np.abs(read.t) <= _LAST_MS
                for row in read.row[~in_range].tolist():
                    skip("time_out_of_range", f"{self.path}: row {row + 1}: beyond 64-bit ns")
                rows = read.part(in_range)
                if not len(rows):
                    yield []
                    continue
                t = rows.t * NS_PER_MS
                values = rows.values.astype(np.float32)
                message = [
                    SampleBatch(self.stream, sensor, t, values[:, at : at + 3], declared)
                    for at, (sensor, declared) in zip((0, 3), self.declared.items(), strict=True)
                ]
                assert rows.labels is not None
                yield [*message, *changes(self.stream, t, rows.labels, label)]
                label = rows.labels[-1]
