"""What every decoder of messages shares: their options, what they found, and how it is checked.

No format is known here.  A decoder collects each sensor's times and rows as they came; `arrays`
then keeps the good samples and counts the others by reason.  Called by the decoders of this
package.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
from pydantic import Field

from hard.api import PluginConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from hard.api import Sensor, Unit

Format: TypeAlias = Literal[
    "auto", "sensor_logger", "phyphox_json", "phyphox_csv", "android", "plain"
]
Platform: TypeAlias = Literal["ios", "android"]
AccelUnit: TypeAlias = Literal["m/s2", "g"]
GyroUnit: TypeAlias = Literal["rad/s", "deg/s"]
TimeUnit: TypeAlias = Literal["ns", "us", "ms", "s"]
Clock: TypeAlias = Literal["epoch", "device"]
Sign: TypeAlias = Literal[1, -1] | None
Row: TypeAlias = tuple[Any, ...] | list[Any]

NO_ROW: Final = (None, None, None)
BAD_TIME: Final = -1
T_END_NS: Final = 2**62  # year 2116: differences of any two stamps still fit int64
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_NUMBERS: Final = {int, float}


class Refused(Exception):  # noqa: N818 - an answer to the sender, not a fault
    """The message as a whole can't be used: `reason` is a word to count by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Options(PluginConfig):
    """What the messages do not say about themselves: a part of their sources' configuration.

    `format` "auto" tells them apart one by one.  `platform` gives the sign of Sensor Logger's
    acceleration; the units and `clock` belong to the plain JSON alone.
    """

    format: Format = "auto"
    platform: Platform | None = None
    accel_unit: AccelUnit = "m/s2"
    gyro_unit: GyroUnit = "rad/s"
    time_unit: TimeUnit = "ns"
    clock: Clock = "epoch"
    max_delay_s: float = Field(3.0, ge=0.0, le=60.0)
    max_payload_bytes: int = Field(262_144, ge=1024, le=16_777_216)

    def advice(self) -> Iterator[tuple[str, str]]:
        """Yield (key, sentence) of what `Source.advice` should tell of these."""
        if self.platform is None and self.format in {"auto", "sensor_logger"}:
            told = (
                "not set: a phone with Sensor Logger that does not send its total acceleration is "
                'rejected, as nothing in the data shows its sign: set "android" or "ios"'
            )
            yield "platform", told


@dataclass(slots=True)
class Series:
    """The samples of one sensor before they are checked; a time below 0 is unusable."""

    sensor: Sensor
    unit: Unit
    sign: Sign
    clock: Clock = "epoch"
    times: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Contents:
    """What a message holds, whatever its format; `skipped` counts what was left out by reason.

    `claimed_stream` names the stream unless the transport does; `device` is the sender's own id,
    which two devices under one name do not share.  `is_empty`: it has a list of samples with none.
    """

    claimed_stream: str | None
    series: list[Series]
    annotations: list[tuple[int, str]] = field(default_factory=list)
    message_id: int | None = None
    device: str | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    is_empty: bool = False


def running_number(body: Mapping[str, Any]) -> int | None:
    """Return the sender's `messageId`, None without one that can be one."""
    number = body.get("messageId")
    return number if type(number) is int and 0 <= number < T_END_NS else None


def text(value: object) -> str | None:
    """Return `value` if it is a string that is not empty."""
    return value if type(value) is str and value else None


def times_ns(times: list[Any], ns_per_unit: int) -> list[int]:
    """Convert without losing a digit of an integer; what is no time becomes `BAD_TIME`."""
    return [t * ns_per_unit if type(t) is int else _float_ns(t, ns_per_unit) for t in times]


def _float_ns(t: Any, ns_per_unit: int) -> int:
    # A float can't hold today's nanoseconds; coarser units it can, whole and fraction apart.
    if type(t) is not float or ns_per_unit == 1 or not 0 <= t < T_END_NS:
        return BAD_TIME
    whole = int(t)
    return whole * ns_per_unit + round((t - whole) * ns_per_unit)


def arrays(series: Series, skipped: Counter[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return int64[n] ns and float32[n, 3] of the good samples; count the others."""
    times, rows = series.times, series.rows
    values = _floats(rows)
    if values is None or not (min(times) >= 0 and max(times) < T_END_NS):
        faults = [_fault(t, row) for t, row in zip(times, rows, strict=True)]
        skipped.update(fault for fault in faults if fault)
        good = [index for index, fault in enumerate(faults) if not fault]
        times = [times[index] for index in good]
        values = np.array([rows[index] for index in good], np.float64).reshape(-1, 3)
    return np.array(times, np.int64), values.astype(np.float32)


def _floats(rows: list[Row]) -> NDArray[np.float64] | None:
    """Return float64[n, 3], or None when there is nothing or any value is no finite number."""
    flat = list(chain.from_iterable(rows))  # numpy reads one list faster than many rows
    if not flat or not set(map(type, flat)) <= _NUMBERS:
        return None
    try:
        values = np.array(flat, np.float64).reshape(-1, 3)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return values if np.abs(values).max() <= _FLOAT32_MAX else None


def _fault(t: int, row: Row) -> str | None:
    if not 0 <= t < T_END_NS:
        return "bad_time"
    if not all(type(value) in _NUMBERS for value in row):
        return "wrong_type"
    if not all(abs(value) <= _FLOAT32_MAX for value in row):  # NaN compares false
        return "not_finite"
    return None
