"""What speaks on a serial port: each likely speed listened to, each framing tried.

It only reads.  `hard sources scan` and `hard doctor` come here through `SerialSource`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serial.tools import list_ports

from hard.api import Found, SourceUnavailable
from hard_formats.framing import FRAMINGS
from hard_serial.port import Port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hard_formats.framing import Framing

__all__ = ["BAUDS", "Heard", "listen", "recognise", "scan_ports"]

BAUDS = {
    "wt901": 115_200,
    "wt901ble": 115_200,
    "uart_rvc": 115_200,
    "text": 115_200,
    "razor": 57_600,
    "vectornav": 115_200,
}
"""The usual speed of each format, in baud."""
LIKELY_BAUDS = (115_200, 9600, 57_600, 230_400, 921_600)
ENOUGH_READINGS = 3
"""No noise looks like so many readings of one format."""
RESET_S = 2.5
"""An Arduino that opening has reset says nothing for so long."""
_SILENT = "silent: wake the device, check its wires, then scan again, or set its format and baud"
_UNKNOWN = "speaks nothing known: set its format and baud, if you know them"
_BY_ID = Path("/dev/serial/by-id")


@dataclass(frozen=True, slots=True)
class Heard:
    """What a port said: `format` is None when no framing understood it."""

    n_bytes: int
    format: str | None = None
    n_readings: int = 0
    rate_hz: float = 0.0


def listen(port: Port, framings: Mapping[str, Framing], timeout_s: float) -> Heard:
    """Read for `timeout_s`; return which of `framings` found the most readings, and their rate.

    Raise `SourceUnavailable` when the port goes away meanwhile.
    """
    n_bytes = 0
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in framings}  # arrival, readings
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        data, arrived_ns = port.read()
        n_bytes += len(data)
        for name, framing in framings.items():
            if n := len(framing.feed(data)):
                found[name].append((arrived_ns, n))
    counted = {name: sum(n for _, n in arrivals) for name, arrivals in found.items()}
    best = max(counted, key=lambda name: counted[name])
    if counted[best] < ENOUGH_READINGS:
        return Heard(n_bytes)
    (first_ns, n_first), (last_ns, _) = found[best][0], found[best][-1]
    took_s = (last_ns - first_ns) / 1e9
    rate_hz = (counted[best] - n_first) / took_s if took_s else 0.0
    return Heard(n_bytes, best, counted[best], rate_hz)


def recognise(path: str, timeout_s: float, detail: str = "") -> Found:
    """Return what speaks on the port at `path`, after at most about `timeout_s`.

    `settings` are empty where nothing was understood; `detail` then says why.
    """
    told = f" ({detail})" if detail else ""
    spoke = False
    try:
        with Port(path, LIKELY_BAUDS[0]) as port:
            first_s = min(timeout_s / 2, RESET_S)
            rest_s = (timeout_s - first_s) / (len(LIKELY_BAUDS) - 1)
            for baud in LIKELY_BAUDS:
                port.set_baud(baud)
                framings = {name: make() for name, make in FRAMINGS.items()}
                heard = listen(port, framings, first_s if baud == LIKELY_BAUDS[0] else rest_s)
                spoke = spoke or heard.n_bytes > 0
                if heard.format is not None:
                    rate = f"{heard.format} at {baud} baud, {heard.rate_hz:.0f} readings a second"
                    here = {"plugin": "serial", "port": path}
                    understood = here | {"format": heard.format, "baud": baud}
                    return Found(path, rate + told, understood)
    except SourceUnavailable as error:
        return Found(path, f"{error}{told}")
    return Found(path, (_UNKNOWN if spoke else _SILENT) + told)


def scan_ports(timeout_s: float) -> Iterator[Found]:
    """Yield every serial port of this machine with what speaks on it."""
    ports = sorted(list_ports.comports(), key=lambda port: str(port.device))
    for port in ports:
        usb = "" if port.vid is None else f"USB {port.vid:04X}:{port.pid:04X}, "
        serial_number = f", serial number {port.serial_number}" if port.serial_number else ""
        detail = f"{usb}{port.description}{serial_number}"
        yield recognise(_lasting(str(port.device)), timeout_s / len(ports), detail)


def _lasting(device: str) -> str:
    """Return the name of a port that stays when it is plugged in elsewhere, if it has one."""
    if _BY_ID.is_dir():
        for link in sorted(_BY_ID.iterdir()):
            if str(link.resolve()) == device:
                return str(link)
    return device
