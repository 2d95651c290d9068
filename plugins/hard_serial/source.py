"""`SerialSource`: one IMU on a serial port.

The port gives bytes, `hard_formats.framing` makes them readings, `hard_serial.clock` says when each
was taken.  The runtime runs it in a thread of its own and calls `run` again after
`SourceUnavailable`: unplugged and plugged in again, it goes on.
"""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hard.api import NS_PER_S, Declared, PluginConfig, Source, SourceUnavailable, Stage
from hard_formats.framing import FRAMINGS, Framing, FramingName, TextOptions
from hard_formats.names import safe_id
from hard_formats.text_lines import COLUMNS, Text
from hard_serial.device import UNINTELLIGIBLE_S, Device
from hard_serial.port import Port, port_with_usb_ids, usb_ids
from hard_serial.recognition import BAUDS, listen, scan_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hard.api import Emit, Found, Sensor, Stop

__all__ = ["SerialConfig", "SerialSource"]

SLOW_HZ = 20.0
"""Below, no bundled model can use the readings."""

Columns = Annotated[list[Literal["ax", "ay", "az", "gx", "gy", "gz", "-"]], Field(min_length=3)]
Scale = Annotated[float, Field(gt=0)]
_SKIPPED = {
    "bad_sum": "a frame's checksum is wrong",
    "noise_bytes": "bytes that belong to no frame",
    "bad_line": "a line that is no reading",
    "other_layout": "a line of another layout than the others",
    "device_error": "a line that begins with ERR",
    "lost_frames": "numbers are missing in the device's frames",
    "restarted": "the device stalled or changed its rate; its clock is found anew",
    "unstamped": "readings during a stall, before their time could be known",
}
_CHECK_WIRES = (
    "is the device on, its TX wired to this port's RX and ground to ground, is the baud right, and "
    "does it send without being asked?"
)
_TEXT_ONLY = ("columns", "separator", "accel_unit", "gyro_unit", "accel_scale", "gyro_scale")


class SerialConfig(PluginConfig):
    """Where the device is, and what its bytes do not say about themselves."""

    port: Annotated[str, Field(min_length=1)] | None = None
    usb: Annotated[str, AfterValidator(usb_ids)] | None = None
    format: FramingName
    baud: Annotated[int, Field(ge=1200, le=4_000_000)] | None = None
    stream: Annotated[str, Field(min_length=1)] | None = None
    rate_hz: Annotated[float, Field(gt=0, le=10_000)] | None = None
    sign: Literal[1, -1] | None = None
    columns: Columns | None = None
    separator: Annotated[str, Field(min_length=1)] | None = None
    accel_unit: Literal["m/s2", "g"] = "m/s2"
    gyro_unit: Literal["rad/s", "deg/s"] = "rad/s"
    accel_scale: Scale | None = None
    gyro_scale: Scale | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.port is None) == (self.usb is None):
            raise ValueError('give either port, a path, or usb, "VID:PID"')
        given = [key for key in _TEXT_ONLY if key in self.model_fields_set]
        if given and self.format != "text":
            raise ValueError(f'{", ".join(given)}: only for format = "text"')
        if self.columns is not None:
            counts = [sum(column == name for column in self.columns) for name in COLUMNS]
            if counts not in ([1] * 6, [1, 1, 1, 0, 0, 0]):
                raise ValueError(
                    "columns: name ax, ay, az once each, and gx, gy, gz or none of them"
                )
        return self

    def framing(self) -> Framing:
        """Return a new framing as configured."""
        if self.format != "text":
            return FRAMINGS[self.format]()
        options = TextOptions(
            columns=None if self.columns is None else tuple(self.columns),
            separator=self.separator,
            accel_unit=self.accel_unit,
            gyro_unit=self.gyro_unit,
            accel_scale=self.accel_scale,
            gyro_scale=self.gyro_scale,
        )
        return Text(options)

    def declared(self, framing: Framing) -> dict[Sensor, Declared]:
        """Return what `framing` says of its values, and what only the configuration knows."""
        return {
            sensor: replace(told, rate_hz=self.rate_hz, sign=self.sign or told.sign)
            for sensor, told in framing.declared.items()
        }

    def path(self) -> str:
        """Return the port's path; raise `SourceUnavailable` when no port has the USB id."""
        return self.port or port_with_usb_ids(str(self.usb))

    @property
    def speed(self) -> int:
        """The speed in baud: as configured, else the format's usual one."""
        return self.baud or BAUDS[self.format]


class SerialSource(Source[SerialConfig]):
    """A motion sensor on a wire: WitMotion, BNO08x, Arduino and other text, Razor AHRS, VectorNav.

    Its readings are emitted four times a second, stamped by its own recovered clock.  A stamp is
    the host's monotonic time at which a reading was taken, less a constant delay of the link, plus
    what the wall clock was ahead at the start; it is read anew when the device stalled.
    """

    Config: ClassVar[type[SerialConfig]] = SerialConfig
    silent_after_s: ClassVar[float] = 5.0
    """A device that sends no byte for so long is mentioned; an Arduino needs half of it to boot."""

    def __init__(self, name: str, config: SerialConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._clock_was_set = Event()

    def run(self, emit: Emit, stop: Stop) -> None:
        """Read until `stop`; raise `SourceUnavailable` when the device is not there."""
        config = self.config
        stream = safe_id(config.stream or self.name)
        framing = config.framing()
        with Port(config.path(), config.speed) as port:
            self.log.info("%s: reading %s at %d baud", self.name, port.path, config.speed)
            device = Device(framing, config.declared(framing), stream, _wall_ahead_ns)
            heard_ns = time.monotonic_ns()
            self._clock_was_set.clear()
            while not stop.is_set():
                data, arrived_ns = port.read()
                if self._clock_was_set.is_set():
                    self._clock_was_set.clear()
                    device.ask_wall()
                if data:
                    heard_ns = arrived_ns
                    message = device.feed(data, arrived_ns)
                    self._tell(device, port.path)
                    if message:
                        emit(message)
                elif arrived_ns - heard_ns >= self.silent_after_s * NS_PER_S:
                    heard_ns = arrived_ns
                    self.skip("silent", self._silence(port.path))

    def clock_set(self) -> None:
        """Stamp what comes from now on by the clock as it is now."""
        self._clock_was_set.set()

    def _silence(self, path: str) -> str:
        opened = f"{path}: opened at {self.config.speed} baud"
        return f"{opened}, but no byte came for {self.silent_after_s:g} s: {_CHECK_WIRES}"

    def _tell(self, device: Device, path: str) -> None:
        """Count what was left out, and give up on a device that makes no sense."""
        for reason in [reason for reason, n in device.counts.items() if n]:
            n = device.counts.pop(reason)
            self.skip(reason, f"{path}: {_SKIPPED[reason]}", n)
            if reason == "device_error":
                raise SourceUnavailable(f"{path}: the device printed ERR: reset it, or see its log")
        if not device.is_intelligible:
            raise SourceUnavailable(
                f"{path} sends bytes but no {self.config.format} reading in {UNINTELLIGIBLE_S:g} s "
                f"at {self.config.speed} baud: check format and baud (`hard sources scan` tells "
                "them), and the wires, which must share their ground"
            )

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Find the port, open it, look for bytes, frames and their rate."""
        try:
            path = self.config.path()
            yield Stage("port", True, path)
            with Port(path, self.config.speed) as port:
                yield Stage("open", True, f"{path} at {self.config.speed} baud")
                yield from self._probe_bytes(port, timeout_s)
        except SourceUnavailable as error:
            cause, _, remedy = str(error).rpartition(": ")
            yield Stage("port", False, cause, remedy)

    def _probe_bytes(self, port: Port, timeout_s: float) -> Iterator[Stage]:
        heard = listen(port, {self.config.format: self.config.framing()}, timeout_s)
        speed = f"{self.config.speed} baud"
        if not heard.n_bytes:
            yield Stage("bytes", False, f"nothing in {timeout_s:g} s", _CHECK_WIRES)
            return
        yield Stage("bytes", True, f"{heard.n_bytes} bytes")
        if heard.format is None:
            remedy = "check format and baud; `hard sources scan` tells them"
            yield Stage("frames", False, f"no {self.config.format} reading at {speed}", remedy)
            return
        yield Stage("frames", True, f"{heard.n_readings} readings")
        rate = f"{heard.rate_hz:.1f} readings a second"
        yield Stage("rate", heard.rate_hz >= SLOW_HZ, rate, f"raise it to {SLOW_HZ:g} or more")

    @classmethod
    def scan(cls, timeout_s: float) -> Iterator[Found]:
        """Yield each serial port with what speaks on it; open ports are read, never written."""
        return scan_ports(timeout_s)


def _wall_ahead_ns() -> int:
    return time.time_ns() - time.monotonic_ns()
