"""RealWorld's CSV: acc_ACTIVITY_POSITION.csv and its Gyroscope_ twin, about 50 Hz, Android phones.

Stamps in ms since the epoch, m/s2 and rad/s; the activity stands in the name alone, with a number
where it was recorded in several parts (acc_walking_2_waist.csv).  Sztyler and Stuckenschmidt,
"On-body Localization of Wearable Devices", PerCom 2016.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hard.api import Declared, SampleBatch, UnusableInput
from hard_file.labels import Interval, annotated
from hard_file.merging import Lane, merged
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import Columns, CsvFile, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import IO

    from hard.api import Message, Sensor
    from hard_file.recording import Options
    from hard_file.table import Rows, Skip

__all__ = ["ACC_NAME", "HEADER", "open_realworld"]

ACC_NAME = re.compile(r"acc_([a-z]{1,32})(?:_([0-9]))?_([a-z]{1,32})\.csv")
NS_PER_MS = 1_000_000
HEADER = ("attr_time", "attr_x", "attr_y", "attr_z")
_COLUMNS = Columns(HEADER[1:], time="attr_time")
_LAST_MS = (2**63 - 1) // NS_PER_MS


def open_realworld(path: Path, options: Options) -> Recording:
    """Return the recording of one position during one activity, whose header is known.

    The gyroscope's file is looked for beside.  Raises `UnusableInput` for any other name.
    """
    match = ACC_NAME.fullmatch(path.name)
    if match is None:
        raise UnusableInput(
            f"{path}: RealWorld's rows, but it is not named acc_ACTIVITY_POSITION.csv, which says "
            "what was done; give the accelerometer's file under its own name"
        )
    twin = path.with_name("Gyroscope" + path.name.removeprefix("acc"))
    declared: dict[Sensor, Declared] = {"accel": Declared("m/s2")}
    if twin.is_file():
        declared["gyro"] = Declared("rad/s")
    info = RecordingInfo(
        format="realworld",
        reason="the header names attr_time to attr_z and the name an activity: RealWorld, in "
        "m/s2, Android sign, stamps in ms since the epoch",
        declared=declared,
    )
    files = _Files({"accel": path, "gyro": twin}, match[1], options.stream_for(path), declared)
    return Recording(path, files.stream, info, files.messages)


@dataclass(frozen=True, slots=True)
class _Files:
    paths: Mapping[Sensor, Path]
    activity: str
    stream: str
    declared: Mapping[Sensor, Declared]

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield both sensors up to one common time after another."""
        whole = [Interval(-(2**62), 2**62, self.activity)]
        with ExitStack() as stack:
            lanes = [
                Lane(sensor, self._rows(stack.enter_context(opened(path)), path.name, skip))
                for sensor, path in self.paths.items()
                if sensor in self.declared
            ]
            messages = (self._message(dict(parts)) for parts in merged(lanes, ["accel"]))
            yield from annotated(messages, whole, self.stream)

    def _rows(self, file: IO[bytes], name: str, skip: Skip) -> Iterator[Rows]:
        for rows in CsvFile(file, name).rows(_COLUMNS, skip):
            in_range = np.abs(rows.t) <= _LAST_MS
            for row in rows.row[~in_range].tolist():
                skip("time_out_of_range", f"{name}: row {row + 1}: beyond 64-bit ns")
            kept = rows.part(in_range)
            yield replace(kept, t=kept.t * NS_PER_MS)

    def _message(self, parts: Mapping[str, Rows]) -> Message:
        return [
            SampleBatch(self.stream, sensor, rows.t, rows.values.astype(np.float32), declared)
            for sensor, declared in self.declared.items()
            if (rows := parts.get(sensor)) is not None
        ]
