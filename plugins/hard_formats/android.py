"""Android's own sensor events as JSON: SensorSpot (MQTT 5), SensorServer (WebSocket), SensaGram.

    {"type": "android.sensor.accelerometer", "timestamp": 3925657519043709, "values": [x, y, z]}

One sample a message.  `timestamp` counts ns since the phone was switched on, hence the clock
"device"; no message names its phone, so each needs a topic or a connection of its own.  Other
sensors than the four read here are none of ours and no fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hard_formats.series import NO_ROW, Contents, Refused, Series, times_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hard.api import Sensor, Unit

_SENSORS: Final[Mapping[str, tuple[Sensor, Unit]]] = {
    "android.sensor.accelerometer": ("accel", "m/s2"),
    "android.sensor.linear_acceleration": ("linear_accel", "m/s2"),
    "android.sensor.gravity": ("gravity", "m/s2"),
    "android.sensor.gyroscope": ("gyro", "rad/s"),
}


def recognises(body: dict[str, Any]) -> bool:
    """Tell whether a message looks like an Android sensor event."""
    return type(body.get("values")) is list and type(body.get("type")) is str


def read(body: dict[str, Any]) -> Contents:
    """Return the one sample of an event; raise `Refused` if it is no such event."""
    if not recognises(body):
        raise Refused(
            "unknown_shape", f"no type and values of a sensor; the keys are {list(body)[:8]!r}"
        )
    contents = Contents(None, [])
    if body["type"] in _SENSORS:
        sensor, unit = _SENSORS[body["type"]]
        row = body["values"][:3]  # a few phones append figures of their own
        series = Series(sensor, unit, 1, "device", times_ns([body.get("timestamp")], 1))
        series.rows = [row if len(row) == 3 else NO_ROW]
        contents.series.append(series)
    return contents
