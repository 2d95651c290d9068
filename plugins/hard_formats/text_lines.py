r"""IMUs that print: one reading a line, in whatever shape the sketch's author liked.

    0.02,-0.11,9.79,0.1,0.0,-0.2            Edge Impulse's data forwarder, Arduino; , ; tab or space
    AccelX:0.02,AccelY:-0.11,AccelZ:9.79    Arduino's plotter
    a/g:\t164\t-512\t16384\t12\t0\t-3       jrowberg's MPU6050 examples: raw counts
    {"accel": [0.02, -0.11, 9.79]}          JSON lines, also {"ax": …} and {"accel": {"x": …}}
    #A-C=3.1,-5.0,250.3                     Razor AHRS, with a #G-C= behind it

Pure; `framing` names the two framings.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, ClassVar, Literal

from hard.api import STANDARD_GRAVITY_M_S2, Declared, Sensor
from hard_formats.readings import MAX_NUMBER, Lines, Readings, Triple, readings_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["COLUMNS", "Razor", "Text", "TextOptions", "numbers"]

COLUMNS = ("ax", "ay", "az", "gx", "gy", "gz")
"""What a column may hold; "-" is one to leave out."""
AGREEING_LINES = 3
"""So many lines of one layout in a row are no boot chatter and no half of a line."""
MPU6050_COUNTS_PER_G = 16384.0  # at its default range, ±2 g
MPU6050_COUNTS_PER_DEG_S = 131.0  # at its default range, ±250 °/s
RAZOR_COUNTS_PER_G = 256.0
RAZOR_DEG_S_PER_COUNT = 0.06957  # the firmware's gain of the ITG-3200

_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_SEPARATORS = re.compile(rb"[,;\s]+")
_LABELLED = re.compile(rb"([A-Za-z][\w /.()^*-]{0,31}?)\s{0,8}[:=]\s*([^\s,;:=]+)")
_SENSOR_OF = (
    re.compile(r"(?:a|acc|accel|acceleration|accelerometer)([xyz])"),
    re.compile(r"(?:g|gyr|gyro|gyroscope|rotation|rotationrate)([xyz])"),
)
_NOT_ALNUM = re.compile(r"[^a-z0-9]")

_Layout = tuple[str, int]
_Line = tuple[_Layout, Triple, Triple | None]


@dataclass(frozen=True, slots=True)
class TextOptions:
    """What lines of text do not say about themselves.

    `columns` names them in order (`COLUMNS` and "-"); None takes three numbers for accel and six
    for accel and gyro.  `separator` None is any run of comma, semicolon, tab and space.  Values are
    multiplied by the scales, which give the declared units; None is 1, and for `a/g:` lines the
    MPU6050's default ranges.
    """

    columns: tuple[str, ...] | None = None
    separator: str | None = None
    accel_unit: Literal["m/s2", "g"] = "m/s2"
    gyro_unit: Literal["rad/s", "deg/s"] = "rad/s"
    accel_scale: float | None = None
    gyro_scale: float | None = None


def numbers(tokens: Sequence[bytes]) -> list[float] | None:
    """Return plain decimal numbers, None if one of `tokens` is none or is beyond any sensor."""
    if not all(_NUMBER.fullmatch(token) for token in tokens):
        return None
    values = [float(token) for token in tokens]
    return values if all(abs(value) <= MAX_NUMBER for value in values) else None


class Text:
    """Lines of numbers, labelled numbers, raw counts or JSON; each line's shape speaks for itself.

    Three lines in a row that agree settle the layout; others are bad lines from then on, so that
    half a line is never taken for a reading.  What begins with ERR is the device's own complaint.
    """

    def __init__(self, options: TextOptions | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._options = options = options or TextOptions()
        self.declared: Mapping[Sensor, Declared] = {
            "accel": Declared(options.accel_unit),
            "gyro": Declared(options.gyro_unit),
        }
        self._separator = None if options.separator is None else options.separator.encode()
        self._lines = Lines(self.counts)
        self._layout: _Layout | None = None
        self._agreeing: list[_Line] = []
        self._next = 0

    def feed(self, data: bytes) -> Readings:
        """Return the readings that `data` completes."""
        found = []
        for line in self._lines.feed(data):
            if line.startswith(b"ERR"):
                self.counts["device_error"] += 1
                continue
            parsed = self._parsed(line)
            if parsed is None:
                self.counts["bad_line"] += 1
            else:
                found += [agreed[1:] for agreed in self._settled(parsed)]
        self._next += len(found)
        return readings_of(self._next - len(found), found)

    def _settled(self, line: _Line) -> list[_Line]:
        """Return the lines that are readings now that `line` came: itself, with the first ones."""
        if self._layout is None:
            others = [other for other in self._agreeing if other[0] != line[0]]
            self._agreeing = [line] if others else [*self._agreeing, line]
            if len(self._agreeing) == AGREEING_LINES:
                self._layout = line[0]
                return self._agreeing
        elif self._layout == line[0]:
            return [line]
        else:
            others = [line]
        if others:
            self.counts["other_layout"] += len(others)
        return []

    def _parsed(self, line: bytes) -> _Line | None:
        if line.startswith(b"{"):
            return self._labelled("json", _flat_json(line))
        if line.startswith(b"a/g:"):
            return self._counted(line[4:])
        if b":" in line or b"=" in line:
            values = [(label.decode("ascii"), text) for label, text in _LABELLED.findall(line)]
            x = numbers([text for _, text in values])
            labels = [label for label, _ in values]
            return (
                None if x is None else self._labelled("labels", dict(zip(labels, x, strict=True)))
            )
        return self._columns(line)

    def _columns(self, line: bytes) -> _Line | None:
        x = numbers(self._tokens(line))
        if x is None:
            return None
        columns = self._options.columns
        if columns is None:
            columns = COLUMNS[: len(x)] if len(x) in {3, 6} else ()
        if not columns or len(columns) != len(x):
            return None
        return self._labelled("columns", dict(zip(columns, x, strict=True)), len(x))

    def _tokens(self, line: bytes) -> list[bytes]:
        if self._separator is None:
            return [token for token in _SEPARATORS.split(line) if token]
        return [token.strip() for token in line.split(self._separator)]

    def _counted(self, line: bytes) -> _Line | None:
        """Read six raw counts of an MPU6050 into the declared units."""
        x = numbers(self._tokens(line))
        if x is None or len(x) != 6:
            return None
        to_accel = STANDARD_GRAVITY_M_S2 if self._options.accel_unit == "m/s2" else 1.0
        to_gyro = pi / 180 if self._options.gyro_unit == "rad/s" else 1.0
        a = self._options.accel_scale or to_accel / MPU6050_COUNTS_PER_G
        g = self._options.gyro_scale or to_gyro / MPU6050_COUNTS_PER_DEG_S
        return ("counts", 6), (x[0] * a, x[1] * a, x[2] * a), (x[3] * g, x[4] * g, x[5] * g)

    def _labelled(self, shape: str, values: Mapping[str, float] | None, n: int = 0) -> _Line | None:
        """Pick acceleration and, if all of it is there, angular rate by their names."""
        if values is None:
            return None
        axes: tuple[dict[str, float], dict[str, float]] = ({}, {})
        for label, value in values.items():
            name = _NOT_ALNUM.sub("", label.lower())
            for pattern, found in zip(_SENSOR_OF, axes, strict=True):
                if match := pattern.fullmatch(name):
                    found[match[1]] = value
        accel = _triple(axes[0], self._options.accel_scale)
        gyro = _triple(axes[1], self._options.gyro_scale)
        return accel and ((shape, 2 * n + (gyro is not None)), accel, gyro)


def _triple(axes: Mapping[str, float], scale: float | None) -> Triple | None:
    if len(axes) != 3:
        return None
    factor = 1.0 if scale is None else scale
    return axes["x"] * factor, axes["y"] * factor, axes["z"] * factor


def _flat_json(line: bytes) -> dict[str, float] | None:
    """Return the numbers of a JSON object by name; {"accel": [1, 2, 3]} has an accelx."""
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return None
    flat: dict[str, object] = {}
    for name, value in body.items():
        if isinstance(value, list):
            flat |= {name + axis: part for axis, part in zip("xyz", value, strict=False)}
        elif isinstance(value, dict):
            flat |= {name + axis: part for axis, part in value.items()}
        else:
            flat[name] = value
    return {
        name: float(value)
        for name, value in flat.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= MAX_NUMBER
    }


class Razor:
    """Razor AHRS: `#A-C=x,y,z` and, after the magnetometer's line, `#G-C=x,y,z`; both in counts.

    The firmware prints the *negated* acceleration, which the declared sign says.
    """

    declared: ClassVar[Mapping[Sensor, Declared]] = {
        "accel": Declared("g", sign=-1),
        "gyro": Declared("deg/s"),
    }

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lines = Lines(self.counts)
        self._accel: Triple | None = None
        self._next = 0

    def feed(self, data: bytes) -> Readings:
        """Return the readings that `data` completes."""
        found = []
        for line in self._lines.feed(data):
            name, _, values = line.partition(b"=")
            x = numbers(values.split(b","))
            if not name.startswith(b"#") or x is None or len(x) != 3:
                self.counts["bad_line"] += 1
                self._accel = None  # its gyro may have been this line
            elif name == b"#A-C":
                a = 1 / RAZOR_COUNTS_PER_G
                self._accel = x[0] * a, x[1] * a, x[2] * a
            elif name == b"#G-C" and self._accel is not None:
                g = RAZOR_DEG_S_PER_COUNT
                found.append((self._accel, (x[0] * g, x[1] * g, x[2] * g)))
                self._accel = None
        self._next += len(found)
        return readings_of(self._next - len(found), found)
