r"""Events as lines of InfluxDB's line protocol.

    hard,activity=walking,event_type=enter,node=home,stream=phone-1 confidence=0.96,… 1777622400…

A name or a tag may hold anything but control characters, which become blanks, and backslashes right
before a comma, an equals sign, a blank or the end, which would be taken for the escape of what
follows: they are left out.  Times are in ns.

https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, TypeAlias

from hard.api import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hard.api import Event

Value: TypeAlias = str | float | int | None

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def event_line(event: Event, measurement: str, tags: Mapping[str, str]) -> str:
    """Return the point of an event.

    It lies at the moment that the event tells of: the onset of an `enter`, the end of an `exit`.
    The same event makes the same point, which InfluxDB writes over itself.
    """
    duration_s = None if event.t_end is None else (event.t_end - event.t_start) / NS_PER_S
    return point(
        measurement,
        {
            **tags,
            "stream": event.stream,
            "event_type": event.kind,
            "activity": event.activity or "",
        },
        {
            "confidence": _real(event.confidence),
            "coverage": _real(event.coverage),
            "duration_s": _real(duration_s),
            "segment": event.segment,
            "status": event.status,
            "previous": event.previous,
            "reason": event.reason,
            "model": event.model,
            "bout": event.bout,
            "id": event.id,
            "clock_unsynced": event.clock_unsynced,
        },
        event.t_start if event.t_end is None else event.t_end,
    )


def point(measurement: str, tags: Mapping[str, str], fields: Mapping[str, Value], t_ns: int) -> str:
    """Return one line without its end.

    Empty tags and fields that are None, NaN or infinite are left out; raises ValueError where no
    field is left.
    """
    key = ",".join(
        [
            _escaped(measurement, ", "),
            *(
                f"{_escaped(name, ',= ')}={text}"
                for name, value in sorted(tags.items())
                if (text := _escaped(value, ",= "))
            ),
        ]
    )
    body = ",".join(
        f"{_escaped(name, ',= ')}={written}"
        for name, value in fields.items()
        if (written := _field(value)) is not None
    )
    if not body:
        raise ValueError(f"a point of {measurement!r} without a field")
    return f"{key} {body} {t_ns}"


def _real(value: float | None) -> float | None:
    """Return it as a float even where it is a whole number: a field keeps its first type."""
    return None if value is None else float(value)


def _escaped(text: str, special: str) -> str:
    plain = re.sub(r"\\+(?=[,= ]|$)", "", _CONTROLS.sub(" ", text))
    return re.sub(f"([{special}])", r"\\\1", plain)


def _field(value: Value) -> str | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, str):
        escaped = _CONTROLS.sub(" ", value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value}i" if isinstance(value, int) else repr(value)
