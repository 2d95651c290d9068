"""Which format a file has, told by its content, never by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hard.api import UnusableInput
from hard_file import motionsense
from hard_file.motionsense import open_motionsense
from hard_file.plain import ACCEL_COLUMNS, open_plain
from hard_file.recording import Options
from hard_file.sensor_logger import TIME_AND_AXES, open_sensor_logger
from hard_file.table import CsvFile, guarded, opened, quoted

if TYPE_CHECKING:
    from pathlib import Path

    from hard_file.recording import Recording

__all__ = ["open_recording"]

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")


def open_recording(path: Path, options: Options | None = None) -> Recording:
    """Recognise the file or folder at `path` and return its recording, nothing read but headers.

    Raises `UnusableInput` when it is missing, unreadable, of no known format or without what a
    model needs; the message names the file, what is wrong and the remedy.
    """
    options = options or Options()
    if _is_container(path):
        if options.format in ("auto", "sensor_logger"):
            return open_sensor_logger(path, options)
        raise UnusableInput(
            f'{path}: a zip or folder, but format = "{options.format}" is one CSV file; '
            'name the CSV file, or set format = "auto"'
        )
    with opened(path) as stream:
        header = CsvFile(stream, str(path)).header
    is_motionsense = set(motionsense.COLUMNS.values) <= set(header)
    if options.format == "plain" or (
        options.format == "auto" and set(ACCEL_COLUMNS) <= set(header)
    ):
        return open_plain(path, header, options)
    if is_motionsense and options.format in ("auto", "motionsense"):
        return open_motionsense(path, options)
    raise UnusableInput(f"{path}: {_unknown(header, options)}")


def _is_container(path: Path) -> bool:
    """Tell a folder or zip from a single file; raise `UnusableInput` for anything else."""
    if path.is_dir():
        return True
    if not path.is_file():
        what = "not a regular file" if path.exists() else "no such file"
        raise UnusableInput(f"{path}: {what}; give the path of a recording")
    with opened(path) as stream, guarded(str(path)):
        return stream.read(4) in _ZIP_STARTS


def _unknown(header: tuple[str, ...], options: Options) -> str:
    if {"time", *TIME_AND_AXES.values} <= set(header):
        return "one file of a Sensor Logger export; give the export's folder or zip instead"
    expected = "an unknown format" if options.format == "auto" else f"not {options.format}"
    return (
        f"{expected}: its header names {quoted(header)}. A plain CSV has the columns t_ns or t_s, "
        "accel_x, accel_y, accel_z and maybe gyro_x, gyro_y, gyro_z; a MotionSense CSV has "
        "gravity.x to userAcceleration.z"
    )
