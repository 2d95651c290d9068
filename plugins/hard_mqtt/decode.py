"""One MQTT message -> samples and annotations, or a named refusal.

Pure: no connection, no clock, no state.  `MqttSource` calls it for every message.  Which of the
shapes a message has is seen from the message itself:

- Sensor Logger: `{"messageId", "sessionId", "deviceId", "payload": [{"name", "time", "values"}]}`
- plain rows: `{"stream"?, "samples": [{"t", "accel"?: [x, y, z], "gyro"?: [x, y, z]}]}`
- plain columns: `{"stream"?, "t": [], "accel_x": [], "accel_y": [], "accel_z": [], "gyro_x"…}`

It changes no unit and no sign, it only declares them.  A bad sample is left out and counted, a
message that is none of the above is `Refused` as a whole.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from hard.api import NS_PER_S, Annotation, Declared, SampleBatch, Sensor, Unit
from hard_mqtt.topics import safe_id, stream_in_topic

if TYPE_CHECKING:
    from numpy.typing import NDArray

AccelUnit: TypeAlias = Literal["m/s2", "g"]
GyroUnit: TypeAlias = Literal["rad/s", "deg/s"]
TimeUnit: TypeAlias = Literal["ns", "us", "ms", "s"]
Platform: TypeAlias = Literal["ios", "android"]
_Row: TypeAlias = tuple[Any, ...] | list[Any]

_NS_PER: Final[dict[TimeUnit, int]] = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NS_PER_S}
_SIGNS: Final[dict[Platform, Literal[1, -1]]] = {"ios": -1, "android": 1}
_T_END_NS: Final = 2**62  # year 2116: differences of any two stamps still fit int64
_BAD_TIME: Final = -1
_NO_ROW: Final = (None, None, None)
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_NUMBERS: Final = {int, float}


class Refused(Exception):  # noqa: N818 - an answer to the sender, not a fault
    """The message as a whole can't be used: `reason` is a word to count by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Options:
    """What the messages do not say about themselves."""

    topics: tuple[str, ...] = ()
    platform: Platform | None = None
    accel_unit: AccelUnit = "m/s2"
    gyro_unit: GyroUnit = "rad/s"
    time_unit: TimeUnit = "ns"
    max_delay_s: float = 3.0
    max_payload_bytes: int = 262_144


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one message held; `skipped` counts the samples left out by reason."""

    stream: str
    message: list[SampleBatch | Annotation]
    skipped: Counter[str]


@dataclass(slots=True)
class _Series:
    """The samples of one sensor before they are checked; a time below 0 is unusable."""

    sensor: Sensor
    unit: Unit
    sign: Literal[1, -1] | None
    times: list[int] = field(default_factory=list)
    rows: list[_Row] = field(default_factory=list)


@dataclass(slots=True)
class _Contents:
    """What a message holds, whatever its shape."""

    claimed_stream: str | None
    series: list[_Series]
    annotations: list[tuple[int, str]] = field(default_factory=list)
    message_id: int | None = None
    skipped: Counter[str] = field(default_factory=Counter)


def decode(
    payload: bytes, topic: str, options: Options, t_received_ns: int | None = None
) -> Decoded:
    """Return what `payload`, received on `topic`, holds; raise `Refused` and nothing else."""
    contents = _contents(_parse(payload, options.max_payload_bytes), topic, options)
    stream = safe_id(stream_in_topic(options.topics, topic) or contents.claimed_stream or topic)
    message: list[SampleBatch | Annotation] = []
    for series in contents.series:
        t, values = _arrays(series, contents.skipped)
        if len(t):
            declared = Declared(series.unit, series.sign, options.max_delay_s)
            message.append(
                SampleBatch(
                    stream,
                    series.sensor,
                    t,
                    values,
                    declared,
                    t_received_ns,
                    contents.message_id,
                )
            )
    message += [Annotation(stream, t, text) for t, text in contents.annotations]
    return Decoded(stream, message, contents.skipped)


def _parse(payload: bytes, max_payload_bytes: int) -> dict[str, Any]:
    if len(payload) > max_payload_bytes:
        raise Refused(
            "too_large",
            f"a message of {len(payload)} bytes is over max_payload_bytes = {max_payload_bytes}",
        )
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise Refused("not_json", f"a message is not JSON ({error}): {payload[:80]!r}") from error
    if type(body) is not dict:
        raise Refused("unknown_shape", f"a message is no JSON object: {payload[:80]!r}")
    return body


def _contents(body: dict[str, Any], topic: str, options: Options) -> _Contents:
    if type(body.get("payload")) is list:
        return _sensor_logger(body, options.platform)
    if type(body.get("samples")) is list:
        contents = _plain_rows(body, options)
    elif type(body.get("t")) is list:
        contents = _plain_columns(body, options)
    else:
        raise Refused(
            "unknown_shape",
            f"a message has neither payload, samples nor t; its keys are {list(body)[:8]!r}",
        )
    # Only `stream` claims an identity of ours; Sensor Logger's deviceId is a random hardware id.
    named, claimed = stream_in_topic(options.topics, topic), contents.claimed_stream
    if named is not None and claimed is not None and claimed != named:
        raise Refused("other_stream", f"a message on topic {topic!r} claims stream {claimed!r}")
    return contents


def _sensor_logger(body: dict[str, Any], platform: Platform | None) -> _Contents:
    contents = _Contents(_text(body.get("deviceId")), [])
    message_id = body.get("messageId")
    if type(message_id) is int and 0 <= message_id < _T_END_NS:
        contents.message_id = message_id
    by_name: dict[str, list[dict[str, Any]]] = {}
    for entry in body["payload"]:
        if type(entry) is dict and type(name := entry.get("name")) is str:
            by_name.setdefault(name, []).append(entry)
        else:
            contents.skipped["wrong_type"] += 1
    if body["payload"] and not by_name:
        raise Refused("unknown_shape", "a message's payload names no sensor")
    for entry in by_name.pop("annotation", []):
        _annotation(entry, contents)
    for name, series in _sensor_logger_series(set(by_name), platform).items():
        entries = by_name[name]
        series.times = _times_ns([entry.get("time") for entry in entries], 1)
        series.rows = [_xyz(entry.get("values")) for entry in entries]
        contents.series.append(series)
    return contents


def _sensor_logger_series(names: set[str], platform: Platform | None) -> dict[str, _Series]:
    """Choose what to read.

    "accelerometer" has gravity removed; total acceleration is the next best thing to have, then
    its two parts, then the uncalibrated sensor, whose unit depends on the platform.
    """
    sign = _SIGNS[platform] if platform else None
    chosen: dict[str, _Series] = {}
    if "totalacceleration" in names:  # Android only
        chosen["totalacceleration"] = _Series("accel", "m/s2", 1)
    elif "accelerometeruncalibrated" in names and "gravity" not in names and platform:
        unit: Unit = "g" if platform == "ios" else "m/s2"
        chosen["accelerometeruncalibrated"] = _Series("accel", unit, sign)
    else:
        chosen["accelerometer"] = _Series("linear_accel", "m/s2", sign)
        chosen["gravity"] = _Series("gravity", "m/s2", sign)
    chosen["gyroscope"] = _Series("gyro", "rad/s", 1)
    return {name: series for name, series in chosen.items() if name in names}


def _annotation(entry: dict[str, Any], contents: _Contents) -> None:
    values = entry.get("values")
    text = values.get("text") if type(values) is dict else None
    (t,) = _times_ns([entry.get("time")], 1)
    if type(text) is not str:
        contents.skipped["wrong_type"] += 1
    elif not 0 <= t < _T_END_NS:
        contents.skipped["bad_time"] += 1
    else:  # JSON can spell half a character; no file or topic could hold it
        contents.annotations.append((t, text.encode("utf-8", "replace").decode()))


def _plain_rows(body: dict[str, Any], options: Options) -> _Contents:
    contents = _Contents(_text(body.get("stream")), [])
    samples = [sample for sample in body["samples"] if type(sample) is dict]
    contents.skipped["wrong_type"] += len(body["samples"]) - len(samples)
    contents.skipped["wrong_type"] += sum("accel" not in s and "gyro" not in s for s in samples)
    scale = _NS_PER[options.time_unit]
    for series in _plain_series(options):
        having = [sample for sample in samples if series.sensor in sample]
        series.times = _times_ns([sample.get("t") for sample in having], scale)
        series.rows = [_triple(sample[series.sensor]) for sample in having]
        contents.series.append(series)
    return contents


def _plain_columns(body: dict[str, Any], options: Options) -> _Contents:
    contents = _Contents(_text(body.get("stream")), [])
    times = _times_ns(body["t"], _NS_PER[options.time_unit])
    for series in _plain_series(options):
        columns = [body.get(f"{series.sensor}_{axis}") for axis in "xyz"]
        if columns == [None, None, None]:
            continue
        if any(type(column) is not list or len(column) != len(times) for column in columns):
            raise Refused(
                "unequal_columns",
                f"{series.sensor}_x, _y and _z must be lists as long as t ({len(times)})",
            )
        series.times, series.rows = times, list(zip(*columns, strict=True))
        contents.series.append(series)
    if not contents.series:
        raise Refused("unknown_shape", f"t without accel_x or gyro_x; keys {list(body)[:8]!r}")
    return contents


def _plain_series(options: Options) -> tuple[_Series, _Series]:
    return _Series("accel", options.accel_unit, 1), _Series("gyro", options.gyro_unit, 1)


def _text(value: object) -> str | None:
    return value if type(value) is str and value else None


def _xyz(values: Any) -> _Row:
    if type(values) is not dict:
        return _NO_ROW
    return (values.get("x"), values.get("y"), values.get("z"))


def _triple(values: Any) -> _Row:
    return values if type(values) is list and len(values) == 3 else _NO_ROW


def _times_ns(times: list[Any], ns_per_unit: int) -> list[int]:
    """Convert without losing a digit of an integer; what is no time becomes `_BAD_TIME`."""
    return [t * ns_per_unit if type(t) is int else _float_ns(t, ns_per_unit) for t in times]


def _float_ns(t: Any, ns_per_unit: int) -> int:
    # A float can't hold today's nanoseconds; coarser units it can, whole and fraction apart.
    if type(t) is not float or ns_per_unit == 1 or not 0 <= t < _T_END_NS:
        return _BAD_TIME
    whole = int(t)
    return whole * ns_per_unit + round((t - whole) * ns_per_unit)


def _arrays(
    series: _Series, skipped: Counter[str]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return int64[n] ns and float32[n, 3] of the good samples; count the others."""
    times, rows = series.times, series.rows
    values = _floats(rows)
    if values is None or not all(0 <= t < _T_END_NS for t in (min(times), max(times))):
        faults = [_fault(t, row) for t, row in zip(times, rows, strict=True)]
        skipped.update(fault for fault in faults if fault)
        good = [index for index, fault in enumerate(faults) if not fault]
        times = [times[index] for index in good]
        values = np.array([rows[index] for index in good], np.float64).reshape(-1, 3)
    return np.array(times, np.int64), values.astype(np.float32)


def _floats(rows: list[_Row]) -> NDArray[np.float64] | None:
    """Return float64[n, 3], or None when there is nothing or any value is no finite number."""
    flat = list(chain.from_iterable(rows))  # numpy reads one list faster than many rows
    if not flat or not set(map(type, flat)) <= _NUMBERS:
        return None
    try:
        values = np.array(flat, np.float64).reshape(-1, 3)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return values if np.abs(values).max() <= _FLOAT32_MAX else None


def _fault(t: int, row: _Row) -> str | None:
    if not 0 <= t < _T_END_NS:
        return "bad_time"
    if not all(type(value) in _NUMBERS for value in row):
        return "wrong_type"
    if not all(abs(value) <= _FLOAT32_MAX for value in row):  # NaN compares false
        return "not_finite"
    return None
