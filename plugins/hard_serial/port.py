"""A serial port: found by path or by USB ids, opened, read until it goes away.

It knows nothing of what the bytes mean.  Everything that pyserial may raise leaves here as
`SourceUnavailable` with a remedy; `hard_serial.source` and `hard_serial.recognition` call it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import serial
from serial.tools import list_ports

from hard.api import SourceUnavailable

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Port", "port_with_usb_ids", "usb_ids"]

READ_TIMEOUT_S = 0.1
"""How late a stop may be noticed."""
LOOK_AGAIN_S = 2.0
"""A port that is not there is looked for so soon again: it may be plugged in."""
USB_IDS = re.compile(r"([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4})")

_FAILURES = (OSError, ValueError, termios.error)
"""What pyserial raises: its own exception is an `OSError`, a speed it can't set a `ValueError`."""
_REMEDIES: dict[int | None, str] = {
    errno.ENOENT: "plug it in; `hard sources scan` lists what is there",
    errno.EACCES: "let this user read it: `sudo usermod -aG dialout USER`, then log in again",
    errno.EPERM: "let this user read it: `sudo usermod -aG dialout USER`, then log in again",
    errno.EBUSY: "another program has it (a serial monitor, ModemManager): end that",
    errno.EAGAIN: "another program has it (a serial monitor, another source): end that",
}
_NAME_A_PORT = "name the port's path; `hard sources scan` lists them"
_OTHER_THINGS = (
    (stat.S_ISDIR, "a folder", _NAME_A_PORT),
    (stat.S_ISREG, "a file", f"`hard replay --format` reads a dump, or {_NAME_A_PORT}"),
    (stat.S_ISFIFO, "a pipe", _NAME_A_PORT),
    (stat.S_ISSOCK, "a socket", _NAME_A_PORT),
    (stat.S_ISBLK, "a disk", _NAME_A_PORT),
)


class Port:
    """An open port; the thread that opens it also reads and closes it."""

    def __init__(self, path: str, baud: int) -> None:
        """Open the port; raise `SourceUnavailable` where it can't be."""
        self.path = path
        try:
            self._serial = serial.Serial(path, baud, timeout=READ_TIMEOUT_S, exclusive=True)
        except _FAILURES as error:
            cause, remedy = _why_not(path, error)
            is_missing = getattr(error, "errno", None) == errno.ENOENT
            raise SourceUnavailable(
                f"cannot open {path}: {cause}: {remedy}",
                again_within_s=LOOK_AGAIN_S if is_missing else None,
            ) from error

    def read(self) -> tuple[bytes, int]:
        """Wait up to 0.1 s; return what came, maybe nothing, and when (ns, monotonic clock).

        Raise `SourceUnavailable` once the device is unplugged.
        """
        try:
            data: bytes = self._serial.read(1)
            data += self._serial.read(self._serial.in_waiting)
        except _FAILURES as error:
            raise SourceUnavailable(f"{self.path} went away: {error}: plug it in again") from error
        return data, time.monotonic_ns()

    def set_baud(self, baud: int) -> None:
        """Change the speed without closing, which would reset an Arduino once more."""
        try:
            self._serial.baudrate = baud
            self._serial.reset_input_buffer()
        except _FAILURES as error:
            raise SourceUnavailable(f"{self.path} takes no {baud} baud: {error}") from error

    def __enter__(self) -> Self:
        """Return the port."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self._serial.close()


def _why_not(path: str, error: Exception) -> tuple[str, str]:
    """Return what keeps a port from being opened, and the remedy."""
    for is_it, what, remedy in _OTHER_THINGS:
        if _mode(path) and is_it(_mode(path)):
            return f"it is {what}, no serial port", remedy
    code = getattr(error, "errno", None)
    if code is None and _is_no_terminal(error.__context__):
        return "it is another device, no serial port", _NAME_A_PORT
    cause = str(error) if code is None else os.strerror(code)
    return cause, _REMEDIES.get(code, "unplug it and plug it in again")


def _mode(path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0


def _is_no_terminal(error: BaseException | None) -> bool:
    return isinstance(error, termios.error) and error.args[:1] == (errno.ENOTTY,)


def usb_ids(text: str) -> str:
    """Return "VID:PID" in capitals; raise `ValueError` for anything else."""
    if not USB_IDS.fullmatch(text):
        raise ValueError(
            f'{text!r} is no USB id: write "VID:PID" in hexadecimal such as "1A86:7523"; '
            "`hard sources scan` and `lsusb` show it"
        )
    return text.upper()


def port_with_usb_ids(ids: str) -> str:
    """Return the path of the one port whose USB adapter has these ids ("VID:PID").

    Raise `SourceUnavailable` when there is none, or more than one.
    """
    found = [port.device for port in list_ports.comports() if _ids_of(port) == ids]
    if not found:
        raise SourceUnavailable(
            f"no serial port with the USB id {ids}: plug it in; `hard sources scan` lists them",
            again_within_s=LOOK_AGAIN_S,
        )
    if len(found) > 1:
        raise SourceUnavailable(
            f"{len(found)} ports have the USB id {ids} ({', '.join(sorted(found))}): "
            'name one by `port = "/dev/serial/by-id/…"`'
        )
    return str(found[0])


def _ids_of(port: list_ports.ListPortInfo) -> str | None:
    return None if port.vid is None else f"{port.vid:04X}:{port.pid:04X}"
