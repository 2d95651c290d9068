"""phyphox exports: `Raw Data.csv` or one CSV a sensor, zipped, unpacked or alone.

All five number formats of the app: columns separated by comma, tab or semicolon, decimals with a
point or a comma, header quoted or not.  Times are seconds since the experiment's start, which
`meta/time.csv` maps to the epoch, pause by pause.  phyphox turns an iPhone's signs round
(`kG = -9.81` in its ExperimentSensorInput.swift): every export is in the Android frame.
"""

from __future__ import annotations

import csv
import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Literal

import numpy as np

from hard.api import NS_PER_S, Declared, SampleBatch, UnusableInput
from hard_file.container import opened_folder
from hard_file.merging import Lane, merged
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import Columns, CsvFile, Rewritten, guarded, opened, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

    from hard.api import Message, Sensor, Unit
    from hard_file.container import Folder
    from hard_file.recording import Options
    from hard_file.table import Readable, Rows, Skip

__all__ = ["is_phyphox_folder", "is_phyphox_header", "open_phyphox"]

TIME = "Time (s)"
META_BYTES = 64 * 1024
_COLUMN = re.compile(r"(?P<what>[A-Za-z ]*?) ?(?P<axis>[xyz]) \((?P<unit>[^)]+)\)", re.IGNORECASE)
_SENSORS: Mapping[str, Sensor] = {
    "acceleration": "accel",
    "accelerometer": "accel",
    "acceleration with g": "accel",
    "linear acceleration": "linear_accel",
    "linear accelerometer": "linear_accel",
    "gravity": "gravity",
    "gyroscope": "gyro",
}
_UNITS: Mapping[str, Unit] = {"m/s^2": "m/s2", "m/s²": "m/s2", "rad/s": "rad/s", "°/s": "deg/s"}
_LONGEST_S, _LAST_S = 1e9, 4e9  # so that their sum fits 64-bit ns


def is_phyphox_header(line: bytes) -> bool:
    """Tell whether a CSV's first line is one of phyphox's."""
    names = re.split(rb"[,;\t]", line.removeprefix(b"\xef\xbb\xbf").replace(b'"', b""))
    return names[0].strip() == TIME.encode() and len(names) >= 4


def is_phyphox_folder(folder: Folder) -> bool:
    """Tell whether a folder or zip is an export of phyphox."""
    return any((folder / "meta" / name).is_file() for name in ("time.csv", "device.csv")) or any(
        is_phyphox_header(_first_line(member)) for member in _tables(folder)
    )


def open_phyphox(path: Path, options: Options) -> Recording:
    """Return the recording in an export of phyphox: a folder, a zip, or one of its CSVs.

    Raises `UnusableInput` for one without acceleration including gravity.
    """
    if _is_single(path):
        tables, clock = _sensor_columns([path]), _Clock([])
    else:
        with opened_folder(path) as folder:
            tables = _sensor_columns(_tables(folder))
            clock = _Clock.read(folder / "meta" / "time.csv")
    if not clock.starts:
        clock = _Clock([(0, options.start_ns)])
        kind: Literal["epoch", "relative"] = "epoch" if options.start else "relative"
        of_time = "times count from the experiment's start"
    else:
        kind, of_time = "epoch", "meta/time.csv gives the time of day"
    chosen = _chosen(path, tables)
    declared: dict[Sensor, Declared] = {
        sensor: Declared(table.unit, 1, clock=kind) for sensor, table in chosen.items()
    }
    export = _Export(path, options.stream_for(path), chosen, declared, clock)
    info = RecordingInfo(
        format="phyphox",
        reason=f"an export of phyphox ({_listed(chosen)}), Android sign on every phone; {of_time}",
        declared=declared,
        ignored=tuple(
            f"{t.member}: {sensor}" for sensor, t in tables if chosen.get(sensor) is not t
        ),
    )
    return Recording(path, export.stream, info, export.messages, options.start_ns)


@dataclass(frozen=True, slots=True)
class _Table:
    """Where a sensor stands: in which member, in which columns (x, y, z), in which unit."""

    member: str
    columns: tuple[str, ...]
    unit: Unit


def _is_single(path: Path) -> bool:
    if path.is_dir():
        return False
    with opened(path) as file, guarded(str(path)):
        return file.read(2) != b"PK"


def _tables(folder: Folder) -> list[Folder]:
    members = [m for m in folder.iterdir() if m.name.lower().endswith(".csv") and m.is_file()]
    return sorted(members, key=lambda member: member.name)


def _first_line(member: Readable) -> bytes:
    with opened(member) as file, guarded(str(member)):
        return file.readline(META_BYTES)


def _csv(stream: IO[bytes], member: Readable) -> CsvFile:
    """Open a table in whichever of the five number formats it is written."""
    with opened(member) as peeked, guarded(str(member)):
        header, first = peeked.readline(META_BYTES), peeked.readline(META_BYTES)
    for separator in (b"\t", b";"):
        if separator in header:
            # Where the decimal mark is a comma, no point stands in the first row.
            decimal_comma = b"," in first and b"." not in first
            old, new = (b"," + separator, b".,") if decimal_comma else (separator, b",")
            return CsvFile(Rewritten(stream, old, new), str(member))
    return CsvFile(stream, str(member))


def _sensor_columns(members: Sequence[Folder]) -> list[tuple[Sensor, _Table]]:
    """Return every sensor that all three axes of stand in one of the members."""
    found: list[tuple[Sensor, _Table]] = []
    for member in members:
        with opened(member) as stream:
            header = _csv(stream, member).header
        if TIME not in header:
            continue
        axes: dict[tuple[str, str], dict[str, str]] = {}
        for name in header:
            if match := _COLUMN.fullmatch(name):
                what = match["what"].lower() or member.name[: -len(".csv")].lower()
                axes.setdefault((what, match["unit"]), {})[match["axis"].lower()] = name
        for (what, unit), names in axes.items():
            if what in _SENSORS and unit in _UNITS and len(names) == 3:
                columns = tuple(names[axis] for axis in "xyz")
                found.append((_SENSORS[what], _Table(member.name, columns, _UNITS[unit])))
    return found


def _chosen(path: Path, tables: Sequence[tuple[Sensor, _Table]]) -> dict[Sensor, _Table]:
    """Choose what gives acceleration including gravity, and the gyroscope."""
    by_sensor: dict[Sensor, _Table] = {}
    for sensor, table in tables:
        by_sensor.setdefault(sensor, table)
    wanted: tuple[Sensor, ...] = ("accel", "gyro")
    if "accel" not in by_sensor and {"linear_accel", "gravity"} <= by_sensor.keys():
        wanted = ("linear_accel", "gravity", "gyro")
    elif "accel" not in by_sensor:
        raise UnusableInput(_without_gravity(path, by_sensor))
    return {sensor: by_sensor[sensor] for sensor in wanted if sensor in by_sensor}


def _without_gravity(path: Path, found: Mapping[Sensor, _Table]) -> str:
    held = quoted([name for table in found.values() for name in table.columns])
    has = f"holds only {held}" if found else "holds no accelerometer"
    return (
        f"{path}: an export of phyphox that {has}: gravity is missing, and without it no model "
        "can tell sitting from standing from lying; record with 'Acceleration (with g)', or an "
        "experiment of your own that has it and the gyroscope"
    )


def _listed(chosen: Mapping[Sensor, _Table]) -> str:
    return ", ".join(f"{sensor} from {table.columns[0]!r}" for sensor, table in chosen.items())


class _Clock:
    """Experiment time to ns since the epoch: (start in experiment time, epoch), both in ns."""

    def __init__(self, starts: list[tuple[int, int]]) -> None:
        self.starts = sorted(starts)

    @classmethod
    def read(cls, member: Folder) -> _Clock:
        """Read the START events of `meta/time.csv`, none where it is missing or unreadable."""
        if not member.is_file():
            return cls([])
        with opened(member) as file, guarded(str(member)):
            text = file.read(META_BYTES).decode("utf-8-sig", errors="replace")
        first = text.partition("\n")[0]
        separator = next((s for s in "\t;" if s in first), ",")
        starts = []
        for row in csv.reader(text.splitlines(), delimiter=separator):
            if len(row) >= 3 and row[0].strip().upper() == "START":
                try:
                    experiment, system = (
                        int(Decimal(cell.replace(",", ".")) * NS_PER_S) for cell in row[1:3]
                    )
                except (InvalidOperation, ValueError, OverflowError):
                    continue
                if 0 < system < _LAST_S * NS_PER_S and abs(experiment) < _LONGEST_S * NS_PER_S:
                    starts.append((experiment, system))
        return cls(starts)

    def epoch(self, t: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the epoch of int64[n] experiment times."""
        began, epochs = np.array(self.starts, np.int64).T
        at = np.maximum(np.searchsorted(began, t, side="right") - 1, 0)
        mapped: NDArray[np.int64] = t - began[at] + epochs[at]
        return mapped


@dataclass(frozen=True, slots=True)
class _Export:
    path: Path
    stream: str
    chosen: Mapping[Sensor, _Table]
    declared: Mapping[Sensor, Declared]
    clock: _Clock

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield messages that each carry all sensors up to one common time."""
        with ExitStack() as stack:
            members: dict[str, Folder] = {}
            if _is_single(self.path):
                members = {table.member: self.path for table in self.chosen.values()}
            else:
                folder = stack.enter_context(opened_folder(self.path))
                members = {t.member: folder / t.member for t in self.chosen.values()}
            lanes = []
            for sensor, table in self.chosen.items():
                stream = stack.enter_context(opened(members[table.member]))
                columns = Columns((TIME, *table.columns))
                rows = _csv(stream, members[table.member]).rows(columns, skip)
                lanes.append(Lane(sensor, (self._stamped(block, skip) for block in rows)))
            needed = [sensor for sensor in self.chosen if sensor != "gyro"]
            for parts in merged(lanes, needed):
                yield [
                    SampleBatch(
                        self.stream,
                        sensor,
                        rows.t,
                        rows.values[:, 1:].astype(np.float32),
                        declared,
                    )
                    for sensor, declared in self.declared.items()
                    for name, rows in parts
                    if name == sensor
                ]

    def _stamped(self, rows: Rows, skip: Skip) -> Rows:
        """Give rows their stamps; skip those whose time no clock shows."""
        in_range = np.abs(rows.values[:, 0]) < _LONGEST_S
        for row in rows.row[~in_range].tolist():
            skip("time_out_of_range", f"{self.path}: row {row + 1} has a time beyond 64-bit ns")
        rows = rows.part(in_range)
        t = np.rint(rows.values[:, 0] * NS_PER_S).astype(np.int64)
        return replace(rows, t=self.clock.epoch(t))
