"""Sensor Logger exports, zipped, unpacked or as JSON: one CSV per sensor, merged by time.

Which files together hold the total acceleration, in which unit and with which sign, differs
between iOS and Android and with the app's setting "Standardise Units & Frames"; `_choose` is the
place where that is decided.  Units and signs: UNITS.md and CROSSPLATFORM.md of
github.com/tszheichoi/awesome-sensor-logger.
"""

from __future__ import annotations

import csv
import io
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from hard.api import Annotation, Declared, SampleBatch, UnusableInput
from hard_file.container import opened_folder
from hard_file.merging import Lane, merged
from hard_file.recording import Recording, RecordingInfo
from hard_file.sensor_logger_json import JsonExport
from hard_file.table import Columns, CsvFile, guarded, opened, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hard.api import Message, Sensor, Unit
    from hard_file.container import Folder
    from hard_file.recording import Options, Platform
    from hard_file.sensor_logger_json import JsonMember
    from hard_file.table import Rows, Skip

__all__ = ["MEMBERS", "TIME_AND_AXES", "open_sensor_logger"]

TIME_AND_AXES = Columns(values=("x", "y", "z"), time="time")
TIME_AND_TEXT = Columns(values=(), time="time", label="text")
METADATA_BYTES = 64 * 1024

_Members: TypeAlias = "Folder | JsonExport"
_Chosen: TypeAlias = "dict[str, tuple[Sensor, Declared]]"
"""Member name -> what its x, y and z are."""


@dataclass(frozen=True, slots=True)
class _Metadata:
    """What `Metadata.csv` and the options say of the phone."""

    platform: Platform | None
    source: str
    standardised: bool

    @property
    def sign(self) -> Literal[1, -1] | None:
        if self.platform is None:
            return 1 if self.standardised else None
        return 1 if self.platform == "android" or self.standardised else -1

    def __str__(self) -> str:
        standardised = ", standardised" if self.standardised else ""
        return f"platform {self.platform or 'unknown'} ({self.source}{standardised})"


MEMBERS = (
    "TotalAcceleration.csv",
    "Accelerometer.csv",
    "Gravity.csv",
    "AccelerometerUncalibrated.csv",
    "Gyroscope.csv",
    "GyroscopeUncalibrated.csv",
)


def open_sensor_logger(
    path: Path, options: Options, look: Callable[[], None] = lambda: None
) -> Recording:
    """Return the recording in a Sensor Logger export: a zip, a folder, or its JSON.

    Raises `UnusableInput` for a damaged zip, for a zip or folder that is no such export, and for
    one without any file from which acceleration including gravity follows.
    """
    members = _members(path, look)
    with members() as folder:
        metadata = _metadata(folder, options)
        unusable: list[str] = []
        found = {name for name in MEMBERS if _usable(folder / name, TIME_AND_AXES, unusable)}
        if not found:
            raise UnusableInput(_not_an_export(path, folder, unusable))
        annotated = _annotated(folder / "Annotation.csv", unusable)
    chosen = _accelerometer(path, found, metadata) | _gyroscope(found)
    info = RecordingInfo(
        format="sensor_logger",
        reason=f"an export of Sensor Logger, {metadata}: reads {', '.join(chosen)}",
        declared=dict(chosen.values()),
        ignored=tuple(unusable),
    )
    export = _Export(path, options.stream_for(path), members, chosen, annotated)
    return Recording(path, export.stream, info, export.messages)


def _members(
    path: Path, look: Callable[[], None]
) -> Callable[[], AbstractContextManager[_Members]]:
    """Return what opens the folder, the zip or the JSON."""
    if path.is_file():
        with opened(path) as file, guarded(str(path)):
            is_json = file.read(2) != b"PK"
        if is_json:
            export = JsonExport(path, look)  # found out once what is in it
            return lambda: nullcontext(export)
    return lambda: opened_folder(path)


def _metadata(folder: _Members, options: Options) -> _Metadata:
    """Read the phone's system from `Metadata.csv`, as far as it is there; options win."""
    row: dict[str, str] = {}
    file = folder / "Metadata.csv"
    if file.is_file():
        with opened(file) as stream, guarded(str(file)):
            text = stream.read(METADATA_BYTES).decode("utf-8-sig", errors="replace")
        with suppress(csv.Error):
            row = next(csv.DictReader(io.StringIO(text, newline="")), {})
    standardised = str(row.get("standardisation")).strip().lower() == "true"
    if options.platform is not None:
        return _Metadata(options.platform, "configured", standardised)
    named = str(row.get("platform")).strip().lower()
    platform: Platform | None = named if named in ("ios", "android") else None  # type: ignore[assignment]
    return _Metadata(platform, "Metadata.csv", standardised)


def _usable(member: Folder | JsonMember, columns: Columns, unusable: list[str]) -> bool:
    """Tell whether a member is there with its columns and a row; note why it is no use."""
    if not member.is_file():
        return False
    try:
        with opened(member) as stream:
            file = CsvFile(stream, member.name)
    except UnusableInput as error:
        unusable.append(str(error))
        return False
    lacking = {columns.time, columns.label, *columns.values} - {None, *file.header}
    if lacking or not file.has_rows:
        why = f"lacks the columns {quoted(sorted(map(str, lacking)))}" if lacking else "has no rows"
        unusable.append(f"{member.name}: {why}")
        return False
    return True


def _annotated(member: Folder | JsonMember, unusable: list[str]) -> bool:
    """Tell whether somebody typed labels; a file without any lacks nothing, so it goes unsaid."""
    if not member.is_file():
        return False
    with opened(member) as stream, guarded(str(member)):
        lines = stream.read(METADATA_BYTES).splitlines()
    if sum(bool(line.strip()) for line in lines) < 2:  # a header at most
        return False
    return _usable(member, TIME_AND_TEXT, unusable)


def _accelerometer(path: Path, found: set[str], metadata: _Metadata) -> _Chosen:
    """Choose the files that together give acceleration including gravity, with unit and sign."""
    sign = metadata.sign
    if "TotalAcceleration.csv" in found:  # streamed by Android alone, so far
        return {"TotalAcceleration.csv": ("accel", Declared("m/s2", sign or 1))}
    if {"Accelerometer.csv", "Gravity.csv"} <= found:
        return {
            "Accelerometer.csv": ("linear_accel", Declared("m/s2", sign)),
            "Gravity.csv": ("gravity", Declared("m/s2", sign)),
        }
    if "AccelerometerUncalibrated.csv" in found:
        if sign is None:
            raise UnusableInput(
                f"{path}: AccelerometerUncalibrated.csv is in g on iOS and in m/s2 on Android, and "
                'no Metadata.csv says which this is; set platform = "ios" or "android"'
            )
        unit: Unit = "g" if sign == -1 else "m/s2"
        return {"AccelerometerUncalibrated.csv": ("accel", Declared(unit, sign))}
    raise UnusableInput(
        f"{path}: holds no acceleration that includes gravity (found {quoted(sorted(found))}); "
        "without gravity no model can tell sitting from standing from lying: switch on Gravity, "
        "Total Acceleration or the uncalibrated accelerometer in the app and record again"
    )


def _gyroscope(found: set[str]) -> _Chosen:
    for name in ("Gyroscope.csv", "GyroscopeUncalibrated.csv"):
        if name in found:
            return {name: ("gyro", Declared("rad/s"))}
    return {}


def _not_an_export(path: Path, folder: _Members, unusable: list[str]) -> str:
    """Say what was found instead of an export of Sensor Logger."""
    names = sorted(entry.name for entry in folder.iterdir())
    seen = f"it holds {quoted(names)}" if names else "it is empty"
    csv_name = next((name for name in names if name.endswith(".csv")), None)
    alone = "give one of its CSVs" if path.is_dir() else "unpack it and give one of its CSVs"
    if unusable:
        seen = "; ".join(unusable)
    elif csv_name is not None:
        try:
            with opened(folder / csv_name) as stream:
                columns = quoted(CsvFile(stream, csv_name).header)
            seen += f", and {csv_name!r} has the columns {columns}"
        except UnusableInput as error:
            seen += f"; {error}"
    return (
        f"{path}: an unknown format: {seen}. Of folders and zips are read the exports of Sensor "
        "Logger (with Accelerometer.csv and Gravity.csv, TotalAcceleration.csv or "
        "AccelerometerUncalibrated.csv) and phyphox, HAPT, UCI HAR, WISDM, and the sessions of "
        f"`hard record`; of anything else {alone}"
    )


@dataclass(frozen=True, slots=True)
class _Export:
    """Reads the chosen members side by side."""

    path: Path
    stream: str
    members: Callable[[], AbstractContextManager[_Members]]
    chosen: _Chosen
    annotated: bool

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield messages that each carry all members' rows up to one common time.

        So no sensor's samples come behind another's, and of each member no more than about a
        block waits in memory.
        """
        with self.members() as folder, ExitStack() as files:
            lanes = []
            for name in (*self.chosen, *(["Annotation.csv"] if self.annotated else [])):
                file = CsvFile(files.enter_context(opened(folder / name)), f"{self.path}/{name}")
                columns = TIME_AND_AXES if name in self.chosen else TIME_AND_TEXT
                lanes.append(Lane(name, file.rows(columns, skip)))
            for parts in merged(lanes, needed=self._needed()):
                message: list[SampleBatch | Annotation] = []
                for name, rows in parts:
                    message += self._converted(name, rows)
                yield message

    def _needed(self) -> list[str]:
        return [name for name, (sensor, _) in self.chosen.items() if sensor != "gyro"]

    def _converted(self, name: str, rows: Rows) -> list[SampleBatch | Annotation]:
        if rows.labels is not None:
            labelled = zip(rows.t.tolist(), rows.labels, strict=True)
            return [Annotation(self.stream, t, text) for t, text in labelled]
        sensor, declared = self.chosen[name]
        values = rows.values.astype(np.float32)
        return [SampleBatch(self.stream, sensor, rows.t, values, declared)]
