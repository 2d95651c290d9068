"""What a recording in a file is: the options it is opened with, what is known of it, its messages.

No format is known here; each format's module fills in a `Recording`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from hard.api import Annotation, Declared, PluginConfig, SampleBatch, UnusableInput
from hard_file.labels import annotated, labels_beside, read_labels
from hard_formats.framing import FramingName

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from pathlib import Path

    from hard.api import Message, Sensor
    from hard_file.table import Skip

__all__ = ["Format", "Options", "Platform", "Recording", "RecordingInfo"]

Format: TypeAlias = Literal[
    "plain",
    "motionsense",
    "sensor_logger",
    "phyphox",
    "hapt",
    "uci_har",
    "wisdm",
    "sp_sw_har",
    "pamap2",
    "hhar",
    "realworld",
    "edge_impulse",
    "hard",
    FramingName,
]
Platform: TypeAlias = Literal["ios", "android"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _start_ns(start: str) -> int:
    try:
        moment = datetime.fromisoformat(start)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - it has no time zone, so the next line refuses it
    if moment.tzinfo is None or not 1970 <= moment.year < 2200:
        raise ValueError(
            f"{start!r} is not an RFC 3339 time of 1970 to 2199 with its zone, "
            "such as 2024-05-01T09:30:00Z"
        )
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _checked_start(start: str) -> str:
    _start_ns(start)
    return start


class Options(PluginConfig):
    """How to read a recording; what the file says about itself needs no option."""

    format: Literal["auto"] | Format = "auto"
    rate_hz: float | None = Field(default=None, ge=0.1, le=100_000)
    """Sampling rate of what has no stamps: a plain CSV without a time column, a serial dump."""
    accel_unit: Literal["m/s2", "g"] = "m/s2"
    """Unit of the accelerometer where the format leaves it open: plain CSV, lines of text."""
    gyro_unit: Literal["rad/s", "deg/s"] = "rad/s"
    """Unit of the gyroscope, likewise."""
    stream: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """The stream's name; the file's without its ending when None."""
    start: Annotated[str, AfterValidator(_checked_start)] | None = None
    """When a recording without absolute time began, RFC 3339; 1970 when None."""
    platform: Platform | None = None
    """The phone's system, where the file does not say it or is wrong: it decides the sign."""

    @property
    def start_ns(self) -> int:
        """The start in ns since the epoch."""
        return 0 if self.start is None else _start_ns(self.start)

    def stream_for(self, path: Path) -> str:
        """Return the stream's name for the recording at `path`."""
        name = path.name.removesuffix(".gz")
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", PurePath(name).stem).strip("-")[:64]
        return self.stream or stem or "file"


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What is known before the first row is read.

    `reason` is one sentence: why this format, and where sign and unit come from.  `declared` says
    per sensor what its batches will carry; `ignored` are columns or members left aside, each
    said once.
    """

    format: Format
    reason: str
    declared: Mapping[Sensor, Declared]
    ignored: tuple[str, ...] = ()

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """The sensors, accelerometer first."""
        return tuple(self.declared)

    @property
    def clock(self) -> Literal["epoch", "relative", "device"]:
        """Whether stamps are absolute or count from the recording's start."""
        return next(iter(self.declared.values())).clock

    @property
    def sign(self) -> Literal[1, -1] | None:
        """+1 for the Android frame, -1 for the iOS frame, None when the file can't tell."""
        return next(iter(self.declared.values())).sign


def _ignore(reason: str, detail: str) -> None:
    """Skip in silence."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A file recognised and found usable so far; it is opened anew by each `messages()`."""

    path: Path
    stream: str
    info: RecordingInfo
    read: Callable[[Skip], Iterator[Message]]
    origin_ns: int = 0
    """What stands for 0 in the file's own stamps; those of labels beside it count likewise."""

    def messages(self, skip: Skip = _ignore) -> Generator[Message, None, None]:
        """Yield the samples and annotations in file order, about 4,000 rows at a time.

        Memory does not grow with the file.  A message may be empty (nothing usable in that
        stretch), which lets a caller look up and stop.  `skip` hears of every row left out.
        Raises `UnusableInput` at the end when there was not one good row, or where the file
        turns out damaged.
        """
        skipped: Counter[str] = Counter()

        def count(reason: str, detail: str) -> None:
            skipped[reason] += 1
            skip(reason, detail)

        found = False
        for message in self._labelled(self.read(count), count):
            found = found or any(isinstance(part, SampleBatch) for part in message)
            yield message
        if not found:
            counts = ", ".join(f"{n} {reason}" for reason, n in skipped.items()) or "no rows"
            raise UnusableInput(
                f"{self.path}: not one usable row ({counts}); check the columns against the "
                "header, or record again"
            )

    def _labelled(self, messages: Iterator[Message], skip: Skip) -> Iterator[Message]:
        """Let labels beside the file take the place of those in it."""
        beside = labels_beside(self.path)
        if beside is None:
            return messages
        intervals = [
            replace(
                one,
                t_start_ns=one.t_start_ns + self.origin_ns,
                t_end_ns=one.t_end_ns + self.origin_ns,
            )
            for one in read_labels(beside, skip)
        ]
        others = ([p for p in message if not isinstance(p, Annotation)] for message in messages)
        return annotated(others, intervals, self.stream)
