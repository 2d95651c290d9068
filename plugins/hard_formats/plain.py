"""The plain JSON for everyone else: rows or columns.

    {"stream"?, "messageId"?, "samples": [{"t", "accel"?: [x, y, z], "gyro"?: [x, y, z]}, …]}
    {"stream"?, "messageId"?, "t": […], "accel_x": […], "accel_y": […], "accel_z": […], "gyro_x"…}

With running numbers nothing has to wait for what might still come late, unless a number is missing.
Android frame, gravity included; units, unit of time and clock come from the configuration.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, Final

from hard.api import NS_PER_S, PLAUSIBLE_NS
from hard_formats.series import (
    NO_ROW,
    Contents,
    Options,
    Refused,
    Row,
    Series,
    TimeUnit,
    running_number,
    text,
    times_ns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NS_PER: Final[Mapping[TimeUnit, int]] = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NS_PER_S}
_SAME_TIME: Final = 2.0  # no two stamps since 1998 differ by a larger factor


def recognises(body: dict[str, Any]) -> bool:
    """Tell whether a message looks like the plain JSON."""
    return type(body.get("samples")) is list or type(body.get("t")) is list


def read(body: dict[str, Any], options: Options, t_received_ns: int | None) -> Contents:
    """Return what the message holds; raise `Refused` for another shape or unit of time."""
    if not recognises(body):
        raise Refused("unknown_shape", _misshapen(body))
    if type(body.get("samples")) is list:
        samples = body["samples"]
        _check_time_unit((s.get("t") for s in samples if type(s) is dict), options, t_received_ns)
        return _rows(body, options)
    _check_time_unit(body["t"], options, t_received_ns)
    return _columns(body, options)


def _misshapen(body: dict[str, Any]) -> str:
    """Say what is wrong with a message that has no list where its samples should be."""
    for key in ("payload", "samples", "t"):
        if type(body.get(key, [])) is not list:
            seen = reprlib.repr(body[key])  # short and shallow, however deep it is
            return f"a message's {key} is no list but {seen}: send a list, even of one"
    return f"a message has neither payload, samples nor t; its keys are {list(body)[:8]!r}"


def _check_time_unit(times: Iterable[Any], options: Options, t_received_ns: int | None) -> None:
    """Refuse stamps that are now only in another unit: they would be years away."""
    first = next((t for t in times if type(t) in {int, float} and t > 0), None)
    if first is None or options.clock != "epoch":
        return
    if t_received_ns is None or t_received_ns < PLAUSIBLE_NS / _SAME_TIME:
        return  # this machine's clock, by which they would be judged, is not set
    fits = [
        unit
        for unit, ns_per_unit in _NS_PER.items()
        if t_received_ns / _SAME_TIME <= first * ns_per_unit <= t_received_ns * _SAME_TIME
    ]
    if fits and fits != [options.time_unit]:
        raise Refused(
            "wrong_time_unit",
            f"the times, {first!r}, are no time of today in {options.time_unit!r} but look like "
            f'{fits[0]!r}: set time_unit = "{fits[0]}"',
        )


def _rows(body: dict[str, Any], options: Options) -> Contents:
    contents = Contents(
        text(body.get("stream")),
        [],
        message_id=running_number(body),
        is_empty=not body["samples"],
    )
    samples = [sample for sample in body["samples"] if type(sample) is dict]
    contents.skipped["wrong_type"] += len(body["samples"]) - len(samples)
    contents.skipped["wrong_type"] += sum("accel" not in s and "gyro" not in s for s in samples)
    scale = _NS_PER[options.time_unit]
    for series in _series(options):
        having = [sample for sample in samples if series.sensor in sample]
        series.times = times_ns([sample.get("t") for sample in having], scale)
        series.rows = [_row(sample[series.sensor]) for sample in having]
        contents.series.append(series)
    return contents


def _columns(body: dict[str, Any], options: Options) -> Contents:
    contents = Contents(text(body.get("stream")), [], message_id=running_number(body))
    times = times_ns(body["t"], _NS_PER[options.time_unit])
    for series in _series(options):
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


def _series(options: Options) -> tuple[Series, Series]:
    clock = options.clock
    return (
        Series("accel", options.accel_unit, 1, clock),
        Series("gyro", options.gyro_unit, 1, clock),
    )


def _row(values: Any) -> Row:
    return values if type(values) is list and len(values) == 3 else NO_ROW
