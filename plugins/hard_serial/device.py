"""One device from plugging in to unplugging: bytes and when they came, samples with stamps.

Pure but for the wall clock, which is handed in.  `hard_serial.source` feeds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hard.api import NS_PER_S, SampleBatch
from hard_formats.readings import Readings
from hard_serial.clock import DeviceClock, Stamped

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from hard.api import Declared, Message, Sensor
    from hard_formats.readings import Framing

__all__ = ["UNINTELLIGIBLE_S", "Device"]

UNINTELLIGIBLE_S = 10.0
"""Bytes without a reading for so long: the wrong speed, the wrong format, or a device gone mad."""


class Device:
    """Turns what a port delivers into messages; readings wait until the clock knows their time."""

    def __init__(
        self,
        framing: Framing,
        declared: Mapping[Sensor, Declared],
        stream: str,
        wall_ahead_ns: Callable[[], int],
    ) -> None:
        """Take what the values are, and how far the wall clock is ahead of the monotonic one.

        That is asked at the start, and again only when the device stalled or by `ask_wall`: a step
        of the wall clock in between does not tear the stream.
        """
        self._framing = framing
        self._declared = declared
        self._stream = stream
        self._ask_wall_ahead_ns = wall_ahead_ns
        self._wall_ahead_ns = wall_ahead_ns()
        self._clock = DeviceClock()
        self._waiting: list[Readings] = []
        self._unread_since_ns: int | None = None
        self.is_intelligible = True

    @property
    def counts(self) -> Counter[str]:
        """What was left out, by reason."""
        return self._framing.counts

    @property
    def rate_hz(self) -> float | None:
        """The sampling rate as measured, None before it is known."""
        return self._clock.rate_hz

    def ask_wall(self) -> None:
        """Go by the wall clock as it is now: what it showed before could not be believed."""
        self._wall_ahead_ns = self._ask_wall_ahead_ns()

    def feed(self, data: bytes, arrived_ns: int) -> Message:
        """Return what can be stamped now that `data` came at `arrived_ns` (monotonic)."""
        readings = self._framing.feed(data)
        if not len(readings):
            self._unread(arrived_ns)
            return []
        self._unread_since_ns = None
        self._waiting.append(readings)
        restarts = self._clock.restarts
        stamped = self._clock.feed(readings.index, arrived_ns)
        message = self._message(stamped, arrived_ns) if len(stamped.t) else []
        if self._clock.restarts > restarts:
            self.counts["restarted"] += 1
            self.ask_wall()
        return message

    def _unread(self, arrived_ns: int) -> None:
        if self._unread_since_ns is None:
            self._unread_since_ns = arrived_ns
        self.is_intelligible = arrived_ns - self._unread_since_ns < UNINTELLIGIBLE_S * NS_PER_S

    def _message(self, stamped: Stamped, arrived_ns: int) -> Message:
        """Take the stamped readings, and those before them, out of what waits."""
        waiting = Readings.joined(self._waiting)
        rows = np.searchsorted(waiting.index, stamped.index)
        n_passed = int(rows[-1]) + 1
        if n_passed > len(rows):
            self.counts["unstamped"] += n_passed - len(rows)
        rest = waiting.rows(slice(n_passed, None))
        self._waiting = [rest] if len(rest) else []
        chosen = waiting.rows(rows)
        t, received_ns = stamped.t + self._wall_ahead_ns, arrived_ns + self._wall_ahead_ns
        sensors: tuple[tuple[Sensor, NDArray[np.float32] | None], ...] = (
            ("accel", chosen.accel),
            ("gyro", chosen.gyro),
        )
        return [
            SampleBatch(self._stream, sensor, t, values, self._declared[sensor], received_ns)
            for sensor, values in sensors
            if values is not None
        ]
