"""Sensor Logger (iOS, Android), as it pushes over MQTT and HTTP alike.

    {"messageId": 7, "sessionId": "…", "deviceId": "…",
     "payload": [{"name": "gravity", "time": 1700000000000000000, "values": {"x", "y", "z"}}, …]}

Not its exported files: those are `hard_file`'s.  Each sensor is handed on for what it is, whatever
else the message holds: "totalacceleration" as acceleration, "accelerometer" (gravity removed, on
both systems) and "gravity" as its two parts.  So no choice is made here that the next message,
with a sensor more or less in it, would make otherwise; conditioning takes total acceleration where
there is any and adds the parts where there is none.
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hard.api import NS_PER_S, Sensor, Unit
from hard_formats.series import (
    NO_ROW,
    T_END_NS,
    Contents,
    Options,
    Platform,
    Refused,
    Row,
    Series,
    Sign,
    arrays,
    running_number,
    text,
    times_ns,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGNS: Final[Mapping[Platform, Sign]] = {"ios": -1, "android": 1}
_PARTS: Final[Mapping[str, Sensor]] = {"accelerometer": "linear_accel", "gravity": "gravity"}
_TOTAL, _RAW, _GYRO = "totalacceleration", "accelerometeruncalibrated", "gyroscope"
_READ: Final = {_TOTAL, _RAW, _GYRO, *_PARTS}
_XYZ: Final = itemgetter("x", "y", "z")
_RAW_SPAN_NS: Final = NS_PER_S // 2  # of a shorter stretch the mean could be a jump's flight


def recognises(body: dict[str, Any]) -> bool:
    """Tell whether a message looks like one of Sensor Logger's."""
    return type(body.get("payload")) is list


def read(body: dict[str, Any], options: Options) -> Contents:
    """Return what the message holds; raise `Refused` if its payload names no sensor at all."""
    payload = body.get("payload")
    if type(payload) is not list:
        raise Refused("unknown_shape", f"no payload list; the keys are {list(body)[:8]!r}")
    device = text(body.get("deviceId"))
    contents = Contents(
        device, [], message_id=running_number(body), device=device, is_empty=not payload
    )
    by_name: dict[str, list[dict[str, Any]]] = {}
    for entry in payload:
        if type(entry) is dict and type(name := entry.get("name")) is str:
            by_name.setdefault(name, []).append(entry)
        else:
            contents.skipped["wrong_type"] += 1
    if payload and not by_name:
        raise Refused("unknown_shape", "a message's payload names no sensor")
    for entry in by_name.get("annotation", ()):
        _annotation(entry, contents)
    read_ones = {name: entries for name, entries in by_name.items() if name in _READ}
    contents.series = _series(read_ones, options.platform, contents.skipped)
    return contents


def _series(
    by_name: dict[str, list[dict[str, Any]]], platform: Platform | None, skipped: Counter[str]
) -> list[Series]:
    sign = _SIGNS[platform] if platform else None
    found: list[Series] = []
    if _TOTAL in by_name:  # Android only, whatever the configuration says of the other phones
        sign = 1
        found.append(_filled(Series("accel", "m/s2", sign), by_name[_TOTAL]))
    elif _RAW in by_name:
        raw = _filled(Series("accel", "g" if platform == "ios" else "m/s2", sign), by_name[_RAW])
        if platform is None:
            sign = _recognise(raw)
        if sign is None:
            skipped["unit_unknown"] += len(raw.times)
        else:
            found.append(raw)
    for name, sensor in _PARTS.items():
        if name in by_name:
            found.append(_filled(Series(sensor, "m/s2", sign), by_name[name]))
    if _GYRO in by_name:
        found.append(_filled(Series("gyro", "rad/s", 1), by_name[_GYRO]))
    return found


def _recognise(raw: Series) -> Sign:
    """Set unit and sign of the uncalibrated accelerometer by its size; return the sign, if clear.

    It is in g on iOS alone, and there with iOS's sign; the app's "Standardise Units & Frames"
    turns both to Android's.  Something worn has a mean norm near one g over half a second.
    """
    t, values = arrays(raw, Counter())
    if len(t) < 2 or t.max() - t.min() < _RAW_SPAN_NS:
        return None
    norm = float(np.linalg.norm(values.astype(np.float64), axis=1).mean())
    of_unit: tuple[tuple[Unit, Sign, float, float], ...] = (
        ("g", -1, 0.5, 2.0),
        ("m/s2", 1, 5.0, 20.0),
    )
    for raw.unit, raw.sign, low, high in of_unit:
        if low <= norm <= high:
            return raw.sign
    return None


def _filled(series: Series, entries: list[dict[str, Any]]) -> Series:
    series.times = times_ns([entry.get("time") for entry in entries], 1)
    values: list[Any] = [entry.get("values") for entry in entries]
    try:
        series.rows = list(map(_XYZ, values))
    except (KeyError, TypeError):
        series.rows = [_row(value) for value in values]
    return series


def _row(values: Any) -> Row:
    if type(values) is not dict:
        return NO_ROW
    return (values.get("x"), values.get("y"), values.get("z"))


def _annotation(entry: dict[str, Any], contents: Contents) -> None:
    values = entry.get("values")
    label = values.get("text") if type(values) is dict else None
    (t,) = times_ns([entry.get("time")], 1)
    if type(label) is not str:
        contents.skipped["wrong_type"] += 1
    elif not 0 <= t < T_END_NS:
        contents.skipped["bad_time"] += 1
    else:  # JSON can spell half a character; no file or topic could hold it
        contents.annotations.append((t, label.encode("utf-8", "replace").decode()))
