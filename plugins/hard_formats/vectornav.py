"""VectorNav's text: `$VNIMU,magX,magY,magZ,accX,accY,accZ,gyrX,gyrY,gyrZ,temp,pres*XX`.

Pure; `framing` names it.
"""

from __future__ import annotations

from collections import Counter
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING, ClassVar

from hard.api import Declared, Sensor
from hard_formats.readings import Lines, Readings, Triple, readings_of
from hard_formats.text_lines import numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VectorNav"]

_FIELDS = 11


class VectorNav:
    """`$VNIMU` messages whose checksum XX, the XOR of all between `$` and `*`, is right.

    Its z axis points down: level, z reads about -9.7 at rest, and the axis that points up +9.7.
    Other messages of the device are passed over.
    """

    declared: ClassVar[Mapping[Sensor, Declared]] = {
        "accel": Declared("m/s2"),
        "gyro": Declared("rad/s"),
    }

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lines = Lines(self.counts)
        self._next = 0

    def feed(self, data: bytes) -> Readings:
        """Return the readings that `data` completes."""
        found = [r for line in self._lines.feed(data) if (r := self._reading(line)) is not None]
        self._next += len(found)
        return readings_of(self._next - len(found), found)

    def _reading(self, line: bytes) -> tuple[Triple, Triple] | None:
        # Where an end of line was lost, the last message of the line is the whole one.
        message = line[line.rfind(b"$") + 1 :]
        body, _, checksum = message.rpartition(b"*")
        if not line.startswith(b"$") or not body:
            self.counts["bad_line"] += 1
        if not body:
            return None
        if checksum.upper() != b"%02X" % reduce(xor, body):
            self.counts["bad_sum"] += 1
            return None
        name, *fields = body.split(b",")
        if name != b"VNIMU":
            return None
        x = numbers(fields)
        if x is None or len(x) != _FIELDS:
            self.counts["bad_line"] += 1
            return None
        return (x[3], x[4], x[5]), (x[6], x[7], x[8])
