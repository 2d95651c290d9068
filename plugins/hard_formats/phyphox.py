"""phyphox's network connections: `mqtt/json` in one message, `mqtt/csv` in one message a buffer.

    mqtt/json   {"accX": [v, null, …], "accY": …, "accZ": …, "acc_time": [s, …], "time"?:
                 {"now": s, "events": [{"event": "START", "experimentTime": s, "systemTime": s}]}}
    mqtt/csv    topic "…/accX", payload "0.1,null,0.3"; each buffer has a topic of its own

Who writes the experiment names the buffers; those of phyphox's own editor (accX, linX, lin_accX,
gyrX and their _time) and near relatives are known.  Values are m/s² and rad/s; phyphox turns iOS's
signs into Android's.  Times are seconds since the experiment began: with the `time` item, whose
events tell when that was, they become the epoch; else the clock is "device".  Not its exported
files, and not its remote access, which `hard_http` polls.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from hard.api import NS_PER_S
from hard_formats.series import (
    BAD_TIME,
    Clock,
    Contents,
    Refused,
    Series,
    times_ns,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hard.api import Sensor

Role: TypeAlias = Literal["x", "y", "z", "t"]

_BUFFER: Final = re.compile(
    r"(?P<sensor>lin(?:ear)?(?:_?acc)?|acc_?no_?g|acc(?:el|_?g)?|gyro?|grav(?:ity)?)"
    r"_?(?P<role>x|y|z|t|time)",
    re.IGNORECASE,
)
_SHARED_TIMES: Final = ("t", "time", "timestamp")
_AXES: Final[tuple[Role, ...]] = ("x", "y", "z")
_ROLES: Final[tuple[Role, ...]] = (*_AXES, "t")
_MAX_NAME_CHARACTERS: Final = 32
_MAX_PENDING_BYTES: Final = 8_388_608
"""Of buffers that wait for their fellows; beyond it the oldest are given up."""


def buffer_role(name: str) -> tuple[Sensor, Role] | None:
    """Return which part of which sensor a buffer of this name holds, None for another buffer.

    >>> buffer_role("lin_accX"), buffer_role("gyr_time"), buffer_role("pressure")
    (('linear_accel', 'x'), ('gyro', 't'), None)
    """
    found = _BUFFER.fullmatch(name) if len(name) <= _MAX_NAME_CHARACTERS else None
    if found is None:
        return None
    stem = found["sensor"].lower()
    sensor: Sensor
    if stem.startswith("gyr"):
        sensor = "gyro"
    elif stem.startswith("grav"):
        sensor = "gravity"
    else:
        sensor = "linear_accel" if stem.startswith("lin") or "no" in stem else "accel"
    return sensor, cast("Role", found["role"].lower()[0])


def is_buffer(topic: str) -> bool:
    """Tell whether a topic's last level names a buffer of a motion sensor (`mqtt/csv`)."""
    return buffer_role(topic.rpartition("/")[2]) is not None


def recognises(body: dict[str, Any]) -> bool:
    """Tell whether a message has a buffer that phyphox fills from a motion sensor."""
    return any(map(buffer_role, body))


def read(body: dict[str, Any]) -> Contents:
    """Return what an `mqtt/json` message holds; raise `Refused` by name for what lacks."""
    found: dict[Sensor, dict[Role, str]] = {}
    for name in body:
        if (known := buffer_role(name)) is not None:
            found.setdefault(known[0], {})[known[1]] = name
    if not found:
        raise Refused("unknown_shape", f"no phyphox buffer; the keys are {list(body)[:8]!r}")
    shared = next(
        (name for name in body if name.lower() in _SHARED_TIMES and _is_times(body[name])), None
    )
    starts = _starts(body)
    contents = Contents(None, [])
    for sensor, names in found.items():
        if shared is not None:
            names.setdefault("t", shared)
        if missing := [role for role in _ROLES if role not in names]:
            raise Refused("buffer_missing", _missing(sensor, names, missing))
        columns = {role: _listed(body[names[role]]) for role in _ROLES}
        contents.series.append(_series(sensor, names, columns, starts))
    return contents


def _is_times(value: Any) -> bool:
    return type(value) is list or type(value) is float or type(value) is int


def _missing(sensor: Sensor, names: Mapping[Role, str], missing: Sequence[Role]) -> str:
    parts = " and ".join("the time" if role == "t" else f"axis {role}" for role in missing)
    has = ", ".join(repr(name) for name in names.values())
    return f"phyphox sends {has} ({sensor}) without {parts}: add it to the experiment's <send>"


def _listed(value: Any) -> list[Any]:
    """Return a buffer's values; the experiment may send its last one alone, as a number."""
    return value if type(value) is list else [value]


def _series(
    sensor: Sensor,
    names: Mapping[Role, str],
    columns: Mapping[Role, list[Any]],
    starts: list[tuple[int, int]],
) -> Series:
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{names[role]!r} {len(columns[role])}" for role in _ROLES)
        raise Refused("unequal_columns", f"phyphox buffers of different lengths: {lengths}")
    clock: Clock = "epoch" if starts else "device"
    series = Series(sensor, "rad/s" if sensor == "gyro" else "m/s2", 1, clock)
    series.times = _times(columns["t"], starts)
    # null is what phyphox writes for NaN
    axes = ([math.nan if v is None else v for v in columns[axis]] for axis in _AXES)
    series.rows = list(zip(*axes, strict=True))
    return series


def _starts(body: dict[str, Any]) -> list[tuple[int, int]]:
    """Return, ascending, the experiment times of each start and what to add to those after it."""
    found = []
    for item in body.values():
        events = item.get("events") if type(item) is dict and "now" in item else None
        for event in events if type(events) is list else ():
            if type(event) is dict and event.get("event") == "START":
                times = [event.get("experimentTime"), event.get("systemTime")]
                from_ns, system_ns = times_ns(times, NS_PER_S)
                if BAD_TIME not in {from_ns, system_ns}:
                    found.append((from_ns, system_ns - from_ns))
    return sorted(found)


def _times(t_s: list[Any], starts: list[tuple[int, int]]) -> list[int]:
    times = times_ns(t_s, NS_PER_S)
    if not starts:
        return times
    begins = [begin for begin, _ in starts]
    return [
        t if t == BAD_TIME else t + starts[max(bisect_right(begins, t) - 1, 0)][1] for t in times
    ]


class BufferJoiner:
    """Joins the messages of `mqtt/csv`: a sensor's three axes and its time, each from its topic.

    phyphox sends all buffers of an experiment one after another, again and again.  What belongs
    together is therefore what came since the last complete set; a buffer that comes again while
    another is missing gives the incomplete set up.  Bounded in bytes; not thread-safe.
    """

    def __init__(self) -> None:
        self._pending: OrderedDict[tuple[str, Sensor], dict[Role, tuple[str, bytes]]] = (
            OrderedDict()
        )
        self._pending_bytes = 0

    def take(self, topic: str, payload: bytes) -> Contents | None:
        """Return a sensor's samples once all four buffers are there, None until then.

        Raise `Refused` for another buffer's topic, a set that stays incomplete, lists that do not
        fit each other.
        """
        prefix, _, name = topic.rpartition("/")
        known = buffer_role(name)
        if known is None:
            raise Refused("unknown_buffer", f"{name!r} is no buffer of a motion sensor")
        sensor, role = known
        waiting = self._pending.setdefault((prefix, sensor), {})
        if role in waiting:
            self._give_up((prefix, sensor))
            self._add((prefix, sensor), role, name, payload)
            missing = [r for r in _ROLES if r not in waiting]
            raise Refused(
                "unjoined", _missing(sensor, {r: n for r, (n, _) in waiting.items()}, missing)
            )
        self._add((prefix, sensor), role, name, payload)
        if len(waiting) < len(_ROLES):
            return None
        self._give_up((prefix, sensor))
        columns = {r: _numbers(body) for r, (_, body) in waiting.items()}
        names = {r: n for r, (n, _) in waiting.items()}
        return Contents(None, [_series(sensor, names, columns, [])])

    def _add(self, key: tuple[str, Sensor], role: Role, name: str, payload: bytes) -> None:
        self._pending.setdefault(key, {})[role] = (name, payload)
        self._pending.move_to_end(key)
        self._pending_bytes += len(payload) + len(key[0]) + len(name)
        while self._pending_bytes > _MAX_PENDING_BYTES and len(self._pending) > 1:
            self._give_up(next(iter(self._pending)))

    def _give_up(self, key: tuple[str, Sensor]) -> None:
        for name, payload in self._pending.pop(key).values():
            self._pending_bytes -= len(payload) + len(key[0]) + len(name)


def _numbers(payload: bytes) -> list[Any]:
    """Return the values of a comma list; what is no number stays text, to be counted."""
    if not payload:  # an empty buffer
        return []
    return [_number(word) for word in payload.decode("ascii", "replace").split(",")]


def _number(word: str) -> Any:
    try:
        return float("nan" if word == "null" else word)
    except ValueError:
        return word
