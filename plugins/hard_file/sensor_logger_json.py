"""Sensor Logger's JSON export as if it were the zip: a flat list, read through as CSVs.

Every object is `{"sensor": …, "time": …, "x": …}` with strings for values, a whole recording may be
hundreds of MB, and the sensors may stand one after another or mixed.  So each sensor is read in a
pass of its own, at constant memory, and turned into the very CSV that the zip would hold.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from hard.api import UnusableInput
from hard_file.table import guarded, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["JsonExport", "JsonMember"]

BLOCK_BYTES = 1024 * 1024
MAX_OBJECT_BYTES = 64 * 1024
_END = re.compile(rb"\}\s*(?:,|\]|\Z)\s*")
_SENSOR = re.compile(rb'"sensor"\s*:\s*"([A-Za-z ]{1,40})"')
_COLUMNS = {
    "Annotation": ("time", "text"),
    "Metadata": ("platform", "standardisation", "appVersion"),
}
_AXES = ("time", "x", "y", "z")


class JsonExport:
    """What takes the folder's place: members by the names that they have in the zip.

    The whole file is looked through once to learn which sensors it has.  `look` is called for every
    MiB, now and later.
    """

    def __init__(self, path: Path, look: Callable[[], None]) -> None:
        self.path = path
        self.look = look
        self.sensors: set[str] = set()
        for piece in _objects(self):
            if match := _SENSOR.search(piece):
                self.sensors.add(match[1].decode())
        if not self.sensors:
            raise UnusableInput(
                f'{path}: has no object with "sensor", as a JSON export of Sensor Logger has; '
                "export it again"
            )

    def __truediv__(self, name: str) -> JsonMember:
        """Return the member of this name, there or not."""
        return JsonMember(self, name)

    def iterdir(self) -> Iterator[JsonMember]:
        """Yield the members."""
        return (self / f"{sensor}.csv" for sensor in sorted(self.sensors))


@dataclass(frozen=True, slots=True)
class JsonMember:
    """One sensor of an export, as a CSV."""

    export: JsonExport
    name: str

    def __str__(self) -> str:
        """Name the export and the sensor."""
        return f"{self.export.path}: {self.sensor}"

    @property
    def sensor(self) -> str:
        """The value of `sensor`."""
        return self.name.removesuffix(".csv")

    def is_file(self) -> bool:
        """Tell whether the export has it."""
        return self.sensor in self.export.sensors

    def is_dir(self) -> bool:
        """Tell that it is none."""
        return False

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Return the bytes of the CSV, made while it is read."""
        del mode
        return cast("IO[bytes]", io.BufferedReader(_Csv(self), 64 * 1024))


def _objects(export: JsonExport) -> Iterator[bytes]:
    """Yield the text of each object of a flat list, without its closing brace.

    Of an object beyond 64 KiB only a part comes, which is no JSON any more.
    """
    with opened(export.path) as file:
        rest = b""
        while True:
            export.look()
            with guarded(str(export.path)):
                block = file.read(BLOCK_BYTES)
            if not block:
                yield rest
                return
            *pieces, rest = _END.split(rest + block)
            yield from pieces
            rest = rest[:MAX_OBJECT_BYTES]


class _Csv(io.RawIOBase):
    """One sensor's objects as lines of CSV."""

    def __init__(self, member: JsonMember) -> None:
        super().__init__()
        sensor = member.sensor
        self._columns = _COLUMNS.get(sensor, _AXES)
        self._wanted = re.compile(rb'"sensor"\s*:\s*"%s"' % re.escape(sensor.encode()))
        self._pieces = _objects(member.export)
        self._text = _line(self._columns)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._text:
            some = self._some()
            if some is None:
                return 0
            self._text = some
        n = min(len(buffer), len(self._text))
        buffer[:n], self._text = self._text[:n], self._text[n:]
        return n

    def close(self) -> None:
        self._pieces.close()  # type: ignore[attr-defined]  # it is a generator
        super().close()

    def _some(self) -> bytes | None:
        """Return the lines of the next few objects, None at the end."""
        found = []
        for piece in self._pieces:
            if self._wanted.search(piece):
                found.append(piece)
                if len(found) == _OBJECTS_AT_ONCE:
                    break
        return b"".join(map(self._row, _parsed(found))) if found else None

    def _row(self, body: dict[str, Any]) -> bytes:
        return _line([str(body.get(name, "")) for name in self._columns])


_OBJECTS_AT_ONCE = 2000


def _parsed(pieces: list[bytes]) -> list[dict[str, Any]]:
    """Return the objects; in the place of one that is none, an empty one."""
    try:
        bodies = json.loads(b"[%s}]" % b"},".join(_from_brace(piece) for piece in pieces))
    except (ValueError, RecursionError):
        if len(pieces) == 1:
            return [{}]
        return [body for piece in pieces for body in _parsed([piece])]
    return [body if isinstance(body, dict) else {} for body in bodies]


def _from_brace(piece: bytes) -> bytes:
    return piece[piece.find(b"{") :]


def _line(cells: list[str] | tuple[str, ...]) -> bytes:
    plain = ",".join(cells)
    if '"' in plain or "\n" in plain or "\r" in plain or plain.count(",") >= len(cells):
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow([" ".join(cell.split()) for cell in cells])
        plain = text.getvalue()
    return f"{plain}\n".encode(errors="replace")
