"""Which format a file has, told by its content; by names only where files belong together."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import TYPE_CHECKING

from hard.api import UnusableInput
from hard_file import hapt, hhar, motionsense, pamap2, realworld, sp_sw_har, uci_har, wisdm
from hard_file.container import opened_folder, search
from hard_file.dumps import framing_of, is_framing, open_dump
from hard_file.edge_impulse import open_edge_impulse
from hard_file.hapt import open_hapt
from hard_file.hard_recording import is_hard_recording, open_hard_recording
from hard_file.hhar import open_hhar
from hard_file.motionsense import open_motionsense
from hard_file.pamap2 import open_pamap2
from hard_file.phyphox import is_phyphox_folder, is_phyphox_header, open_phyphox
from hard_file.plain import ACCEL_COLUMNS, open_plain
from hard_file.realworld import open_realworld
from hard_file.recording import Options
from hard_file.sensor_logger import MEMBERS, TIME_AND_AXES, open_sensor_logger
from hard_file.sp_sw_har import open_sp_sw_har
from hard_file.table import MAX_LINE_BYTES, CsvFile, guarded, opened, quoted
from hard_file.uci_har import open_uci_har
from hard_file.wisdm import is_wisdm_line, open_wisdm

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hard_file.recording import Format, Recording

__all__ = ["open_recording"]

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_OPENERS: Mapping[Format, Callable[[Path, Options], Recording]] = {
    "plain": open_plain,
    "motionsense": open_motionsense,
    "sensor_logger": open_sensor_logger,
    "phyphox": open_phyphox,
    "hapt": open_hapt,
    "uci_har": open_uci_har,
    "wisdm": open_wisdm,
    "sp_sw_har": open_sp_sw_har,
    "pamap2": open_pamap2,
    "hhar": open_hhar,
    "realworld": open_realworld,
    "edge_impulse": open_edge_impulse,
    "hard": open_hard_recording,
}
_BY_HEADER: Mapping[Format, tuple[str, ...]] = {
    "plain": ACCEL_COLUMNS,
    "motionsense": motionsense.COLUMNS.values,
    "sp_sw_har": sp_sw_har.HEADER,
    "hhar": hhar.HEADER,
    "realworld": realworld.HEADER,
}
_EXCEL = "an Excel workbook; export it as CSV (phyphox offers five kinds, each is read)"


def open_recording(
    path: Path, options: Options | None = None, look: Callable[[], None] = lambda: None
) -> Recording:
    """Recognise the file or folder at `path` and return its recording, nothing read but headers.

    Of Sensor Logger's JSON everything is looked through, here and by the recording again: then
    `look` is called for every MiB; what it raises ends that.

    Raises `UnusableInput` when it is missing, unreadable, of no known format or without what a
    model needs; the message names the file, what is wrong and the remedy.
    """
    options = options or Options()
    stated, container = options.format, _is_container(path)
    if is_framing(stated) and not container:
        return open_dump(path, stated, options)
    if stated == "plain" and container:
        raise UnusableInput(
            f'{path}: a zip or folder, but format = "plain" is one CSV file; '
            'name the CSV file, or set format = "auto"'
        )
    if stated == "plain":
        return open_plain(path, options)
    found = _format_of_container(path) if container else _format_of_file(path)
    if found is None or stated not in ("auto", found):
        raise UnusableInput(f"{path}: {_unknown(path, found, stated)}")
    if found == "sensor_logger":
        return open_sensor_logger(path, options, look)
    return open_dump(path, found, options) if is_framing(found) else _OPENERS[found](path, options)


def _is_container(path: Path) -> bool:
    """Tell a folder or zip from a single file; raise `UnusableInput` for anything else."""
    if path.is_dir():
        return True
    if not path.is_file():
        what = "not a regular file" if path.exists() else "no such file"
        raise UnusableInput(f"{path}: {what}; give the path of a recording")
    with opened(path) as stream, guarded(str(path)):
        return stream.read(4) in _ZIP_STARTS


def _format_of_container(path: Path) -> Format:
    """Tell by the members; what is nothing else is left to Sensor Logger's messages."""
    if path.is_dir() and is_hard_recording(path):
        return "hard"
    with opened_folder(path) as folder:
        if (folder / "[Content_Types].xml").is_file():
            raise UnusableInput(f"{path}: {_EXCEL}")
        if is_phyphox_folder(folder):
            return "phyphox"
        if not any((folder / name).is_file() for name in MEMBERS):
            data_sets: dict[Format, re.Pattern[str]] = {
                "hapt": hapt.ACC_NAME,
                "uci_har": uci_har.FIRST_NAME,
                "wisdm": wisdm.ACCEL_NAME,
            }
            for name, pattern in data_sets.items():
                if search(folder, pattern):
                    return name
    return "sensor_logger"


def _format_of_file(path: Path) -> Format | None:
    """Tell by the first bytes, the first line, the header."""
    with opened(path) as stream, guarded(str(path)):
        head = stream.read(MAX_LINE_BYTES)
    if head.startswith(_OLD_EXCEL):
        raise UnusableInput(f"{path}: {_EXCEL}")
    start = head.removeprefix(BOM_UTF8).lstrip()
    line = start.partition(b"\n")[0].rstrip(b"\r")
    n_numbers = len(line.split())
    is_text = b"\0" not in start
    known: dict[Format, bool] = {
        "hard": is_hard_recording(path),
        "sensor_logger": is_text and start[:1] == b"[",
        "edge_impulse": is_text and start[:1] == b"{",
        "hapt": n_numbers == 3 and bool(hapt.ACC_NAME.fullmatch(path.name)),
        "uci_har": n_numbers == uci_har.WINDOW and bool(uci_har.FIRST_NAME.fullmatch(path.name)),
        "pamap2": n_numbers == pamap2.COLUMNS and bool(pamap2.NAME.fullmatch(path.name)),
        "wisdm": is_wisdm_line(line),
        "phyphox": is_phyphox_header(line),
    }
    found = next((name for name, fits in known.items() if fits), None)
    return found or framing_of(head) or _format_of_header(path)


def _format_of_header(path: Path) -> Format | None:
    header = _header(path)
    for name, columns in _BY_HEADER.items():
        if set(columns) <= set(header):
            return name
    return None


def _header(path: Path) -> tuple[str, ...]:
    with opened(path) as stream:
        return CsvFile(stream, str(path)).header


def _unknown(path: Path, found: Format | None, stated: str) -> str:
    if found is not None and found not in _BY_HEADER:
        return f'not {stated}: it is {found}; set format = "auto"'
    header = _header(path)
    if {"time", *TIME_AND_AXES.values} <= set(header):
        return "one file of a Sensor Logger export; give the export's folder or zip instead"
    expected = "an unknown format" if stated == "auto" else f"not {stated}"
    return (
        f"{expected}: its header names {quoted(header)}. A plain CSV has the columns t_ns or t_s, "
        "accel_x, accel_y, accel_z and maybe gyro_x, gyro_y, gyro_z; also known are the exports "
        "of Sensor Logger, phyphox and Edge Impulse, and MotionSense, HAPT, UCI HAR, WISDM, "
        "SP-SW-HAR, PAMAP2, HHAR and RealWorld; what a serial IMU wrote needs its format named, "
        "such as wt901 or text"
    )
