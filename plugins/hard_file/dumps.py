"""What a serial IMU wrote, byte by byte, in a file: decoded by the framings of `hard_formats`.

A dump has no stamps: reading k stands at start + k / rate.  The rate is an option, or the one that
the framing declares.  Binary frames with a checksum are recognised; lines of text are not, there
the format has to be named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeGuard

import numpy as np

from hard.api import NS_PER_S, SampleBatch, UnusableInput
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import guarded, opened
from hard_formats.framing import FRAMINGS, FramingName, TextOptions
from hard_formats.text_lines import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hard.api import Declared, Message, Sensor
    from hard_file.recording import Options
    from hard_file.table import Skip
    from hard_formats.framing import Framing

__all__ = ["framing_of", "is_framing", "open_dump"]

BLOCK_BYTES = 64 * 1024
_WITH_CHECKSUM: tuple[FramingName, ...] = ("wt901", "uart_rvc")
_BYTES_A_READING: Mapping[FramingName, int] = {"wt901": 22, "uart_rvc": 19}


def is_framing(name: str) -> TypeGuard[FramingName]:
    """Tell whether a format is a framing of a serial IMU."""
    return name in FRAMINGS


def framing_of(head: bytes) -> FramingName | None:
    """Return the framing that finds frames with good checksums in most of `head`, else None.

    Most is a quarter of what readings alone would fill: devices send other frames between.
    """
    for name in _WITH_CHECKSUM:
        n = len(FRAMINGS[name]().feed(head))
        if n >= 3 and n * _BYTES_A_READING[name] > len(head) / 4:
            return name
    return None


def open_dump(path: Path, name: FramingName, options: Options) -> Recording:
    """Return the recording in a dump of a framing; raise `UnusableInput` without a rate."""
    framing = _framing(name, options)
    rates = [one.rate_hz for one in framing.declared.values() if one.rate_hz is not None]
    rate_hz = options.rate_hz or next(iter(rates), None)
    if rate_hz is None:
        raise UnusableInput(
            f"{path}: a dump of {name} has no stamps; give the device's rate as rate_hz (--rate)"
        )
    clock: Literal["epoch", "relative"] = "epoch" if options.start else "relative"
    sign: Literal[1, -1] | None = {"ios": -1, "android": 1, None: None}[options.platform]
    declared: dict[Sensor, Declared] = {
        sensor: replace(
            one,
            clock=clock,
            rate_hz=rate_hz,
            counted=True,
            sign=one.sign if sign is None or sensor == "gyro" else sign,
        )
        for sensor, one in framing.declared.items()
    }
    said = "configured" if options.rate_hz else "the device's default"
    info = RecordingInfo(
        format=name,
        reason=f"frames of {name}: no stamps, {rate_hz:g} Hz ({said}), "
        + ", ".join(f"{sensor} in {one.unit}" for sensor, one in declared.items()),
        declared=declared,
    )
    dump = _Dump(path, options.stream_for(path), name, options, declared, rate_hz)
    return Recording(path, dump.stream, info, dump.messages, options.start_ns)


def _framing(name: FramingName, options: Options) -> Framing:
    if name == "text":
        return Text(TextOptions(accel_unit=options.accel_unit, gyro_unit=options.gyro_unit))
    return FRAMINGS[name]()


@dataclass(frozen=True, slots=True)
class _Dump:
    path: Path
    stream: str
    name: FramingName
    options: Options
    declared: Mapping[Sensor, Declared]
    rate_hz: float

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield one message per block of bytes; what is noise is counted by the framing's words."""
        framing = _framing(self.name, self.options)
        told: dict[str, int] = {}
        with opened(self.path) as file:
            while True:
                with guarded(str(self.path)):
                    block = file.read(BLOCK_BYTES)
                if not block:
                    return
                readings = framing.feed(block)
                for reason, n in framing.counts.items():
                    for _ in range(told.get(reason, 0), n):
                        skip(reason, f"{self.path}: {reason.replace('_', ' ')} between frames")
                    told[reason] = n
                t = self.options.start_ns + np.rint(
                    readings.index * (NS_PER_S / self.rate_hz)
                ).astype(np.int64)
                sensors = {"accel": readings.accel, "gyro": readings.gyro}
                yield [
                    SampleBatch(self.stream, sensor, t, values, declared)
                    for sensor, declared in self.declared.items()
                    if len(t) and (values := sensors[sensor]) is not None
                ]
