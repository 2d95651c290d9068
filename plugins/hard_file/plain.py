"""The plain CSV: columns found by name, in any order, with stamps or at a fixed rate.

See the README for the columns.  This is also the form in which other tools should hand data over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from hard.api import NS_PER_S, Declared, SampleBatch, UnusableInput
from hard_file.labels import changes
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import BLOCK_BYTES, BLOCKS_AT_ONCE, Columns, CsvFile, opened, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hard.api import Annotation, Message, Sensor
    from hard_file.recording import Options
    from hard_file.table import Rows, Skip

__all__ = ["ACCEL_COLUMNS", "GYRO_COLUMNS", "open_plain"]

ACCEL_COLUMNS = ("accel_x", "accel_y", "accel_z")
GYRO_COLUMNS = ("gyro_x", "gyro_y", "gyro_z")
RELATIVE_BELOW_S = 1e8
"""A first `t_s` below this (March 1973) counts from the recording's start."""
_SIGNS = {
    None: "Android sign, as nothing else is configured",
    "android": "Android sign (configured)",
    "ios": "iOS sign (configured)",
}
LAST_S = 9.2e9
"""Stamps in 64-bit ns end in the year 2262."""


def open_plain(path: Path, options: Options) -> Recording:
    """Return the recording in a plain CSV; raise `UnusableInput` naming the columns it lacks."""
    with opened(path) as stream:
        header = CsvFile(stream, str(path)).header
    _check_header(path, header, options)
    time = next((name for name in ("t_ns", "t_s") if name in header), None)
    columns = Columns(
        values=(
            *ACCEL_COLUMNS,
            *(GYRO_COLUMNS if GYRO_COLUMNS[0] in header else ()),
            *(("t_s",) if time == "t_s" else ()),
        ),
        time="t_ns" if time == "t_ns" else None,
        label="label" if "label" in header else None,
    )
    absolute = time == "t_ns" or (time == "t_s" and abs(_first_second(path)) >= RELATIVE_BELOW_S)
    declared = _declared(columns, options, "epoch" if absolute or options.start else "relative")
    plain = _PlainCsv(
        path=path,
        stream=options.stream_for(path),
        columns=columns,
        declared=declared,
        start_ns=0 if absolute else options.start_ns,
        rate_hz=options.rate_hz if time is None else None,
    )
    known = {*columns.values, "t_ns", "t_s", "label"}
    info = RecordingInfo(
        format="plain",
        reason=f"the header names {', '.join(ACCEL_COLUMNS)}; in {options.accel_unit}, "
        f"{_SIGNS[options.platform]}",
        declared=declared,
        ignored=tuple(name for name in header if name not in known),
    )
    return Recording(path, plain.stream, info, plain.messages, plain.start_ns)


def _check_header(path: Path, header: tuple[str, ...], options: Options) -> None:
    lacking = [name for name in ACCEL_COLUMNS if name not in header]
    gyro = [name for name in GYRO_COLUMNS if name in header]
    if gyro and len(gyro) < 3:
        lacking += [name for name in GYRO_COLUMNS if name not in header]
    if lacking:
        raise UnusableInput(
            f"{path}: lacks the columns {quoted(lacking)}; found {quoted(header)}. A plain CSV "
            "needs a header with accel_x,accel_y,accel_z, and all three of gyro_x,gyro_y,gyro_z "
            "or none"
        )
    if "t_ns" not in header and "t_s" not in header and options.rate_hz is None:
        raise UnusableInput(
            f"{path}: has no time column t_ns or t_s (found {quoted(header)}); add one, or give "
            "the sampling rate as rate_hz (--rate)"
        )


def _declared(
    columns: Columns, options: Options, clock: Literal["epoch", "relative"]
) -> Mapping[Sensor, Declared]:
    sign: Literal[1, -1] = -1 if options.platform == "ios" else 1
    declared: dict[Sensor, Declared] = {"accel": Declared(options.accel_unit, sign, clock=clock)}
    if GYRO_COLUMNS[0] in columns.values:
        declared["gyro"] = Declared(options.gyro_unit, clock=clock)
    if columns.time is None and "t_s" not in columns.values:
        return {
            sensor: replace(one, rate_hz=options.rate_hz, counted=True)
            for sensor, one in declared.items()
        }
    return declared


def _first_second(path: Path) -> float:
    """Return the first `t_s`, 0 when there is none; refuse a file that begins without for long."""
    columns = Columns(("t_s",))
    with opened(path) as stream:
        blocks = CsvFile(stream, str(path)).rows(columns, lambda _reason, _detail: None)
        for rows in islice(blocks, _READS_WITHOUT_TIME):
            if len(rows):
                return float(rows.values[0, 0])
        if next(blocks, None) is not None:
            searched = _READS_WITHOUT_TIME * BLOCKS_AT_ONCE * BLOCK_BYTES
            raise UnusableInput(
                f"{path}: its first {searched >> 20} MiB have not one number in the column t_s; "
                "cut them off, or record again"
            )
    return 0.0


_READS_WITHOUT_TIME = 4


@dataclass(frozen=True, slots=True)
class _PlainCsv:
    """Reads one plain CSV; `rate_hz` is set when it has no time column."""

    path: Path
    stream: str
    columns: Columns
    declared: Mapping[Sensor, Declared]
    start_ns: int
    rate_hz: float | None

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield one message per block of rows."""
        label, checked = "", self.columns.time is None
        with opened(self.path) as file:
            for read in CsvFile(file, str(self.path)).rows(self.columns, skip):
                rows = self._in_range(read, skip)
                t = self._stamps(rows)
                if not checked and len(t) >= _FEWEST_STEPS:
                    _check_unit(self.path, t)
                    checked = True
                values = rows.values.astype(np.float32)
                message: list[SampleBatch | Annotation] = []
                if len(t):
                    for at, (sensor, declared) in enumerate(self.declared.items()):
                        xyz = values[:, 3 * at : 3 * at + 3]
                        message.append(SampleBatch(self.stream, sensor, t, xyz, declared))
                if rows.labels is not None:
                    message += changes(self.stream, t, rows.labels, label)
                    label = [label, *rows.labels][-1]
                del read, rows, values  # what comes next needs the room
                yield message

    def _in_range(self, rows: Rows, skip: Skip) -> Rows:
        """Keep the rows whose `t_s` fits 64-bit ns; skip the others."""
        if "t_s" not in self.columns.values:
            return rows
        in_range = np.abs(rows.values[:, -1]) <= LAST_S - self.start_ns / NS_PER_S
        for row in rows.row[~in_range].tolist():
            skip("time_out_of_range", f"{self.path}: row {row + 1} has a t_s beyond 64-bit ns")
        return rows if in_range.all() else rows.part(in_range)

    def _stamps(self, rows: Rows) -> NDArray[np.int64]:
        if self.columns.time is not None:
            return rows.t
        if self.rate_hz is not None:
            return self.start_ns + _rounded(rows.row * NS_PER_S / self.rate_hz)
        seconds = rows.values[:, -1]
        whole = np.floor(seconds)  # apart from the rest, or the product would lose digits
        return self.start_ns + _rounded(whole) * NS_PER_S + _rounded((seconds - whole) * NS_PER_S)


def _check_unit(path: Path, t: NDArray[np.int64]) -> None:
    """Refuse stamps whose usual step is that of another unit: nothing is sampled at 100 kHz."""
    steps = np.diff(t)
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else _SHORTEST_STEP_NS
    if 2 <= step < _SHORTEST_STEP_NS:  # a row counter grows by 1: no time of any unit
        unit, ns = (
            ("milliseconds", 1_000_000) if step < _SHORTEST_STEP_US else ("microseconds", 1000)
        )
        raise UnusableInput(
            f"{path}: t_ns looks like {unit}: it grows by {step:g} a row; multiply it by {ns}, or "
            "give seconds in a column t_s"
        )


_FEWEST_STEPS = 50
_SHORTEST_STEP_NS = 10_000
_SHORTEST_STEP_US = 1000


def _rounded(ns: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(ns).astype(np.int64)
