"""What a serial IMU's bytes become: readings, and what every framing of them must offer.

Pure: no port, no clock.  The framings (`witmotion`, `uart_rvc`, `text_lines`, `vectornav`) build on
this; who wants one by its name asks `framing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hard.api import Declared, Sensor

__all__ = ["ByteFrames", "Framing", "Lines", "Readings", "Triple", "readings_of"]

Triple = tuple[float, float, float]

MAX_LINE_BYTES = 4096
"""No device writes longer lines; what has no end by then is noise."""
MAX_NUMBER = 1e9
"""No sensor reads more, in whatever unit or count; damage that kept the digits may say so."""


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Readings in the order in which the device sent them, in the units that it declares.

    `index` is int64[n], the running number of each since the start, strictly increasing: lost
    readings are counted in it where the protocol shows them.  `accel` and `gyro` are float32[n, 3],
    None where the device has no such sensor.
    """

    index: NDArray[np.int64]
    accel: NDArray[np.float32] | None
    gyro: NDArray[np.float32] | None

    def __len__(self) -> int:
        """Return the number of readings."""
        return len(self.index)

    def rows(self, chosen: NDArray[np.int64] | slice) -> Readings:
        """Return some of the readings."""
        accel = None if self.accel is None else self.accel[chosen]
        gyro = None if self.gyro is None else self.gyro[chosen]
        return Readings(self.index[chosen], accel, gyro)

    @staticmethod
    def joined(parts: Sequence[Readings]) -> Readings:
        """Return the readings of one device, one after another; `parts` is not empty."""
        accel = [part.accel for part in parts if part.accel is not None]
        gyro = [part.gyro for part in parts if part.gyro is not None]
        return Readings(
            np.concatenate([part.index for part in parts]),
            np.concatenate(accel) if accel else None,
            np.concatenate(gyro) if gyro else None,
        )


class Framing(Protocol):
    """Finds the readings in the bytes of one device, however they are cut.

    `declared` says what the values of each sensor are; `counts` has what was left out, by reason.
    """

    counts: Counter[str]

    @property
    def declared(self) -> Mapping[Sensor, Declared]:
        """What the values are."""
        ...

    def feed(self, data: bytes) -> Readings:
        """Return the readings that `data` completes; never raise, whatever the bytes."""
        ...


def readings_of(first: int, values: Sequence[tuple[Triple, Triple | None]]) -> Readings:
    """Return single readings (accel, gyro), numbered from `first` on; all or none have a gyro."""
    accel = np.array([a for a, _ in values], np.float32).reshape(-1, 3)
    turning = [g for _, g in values if g is not None]
    gyro = np.array(turning, np.float32) if turning else None
    return Readings(np.arange(first, first + len(values), dtype=np.int64), accel, gyro)


class ByteFrames:
    """Cuts a stream of bytes into frames of one length and keeps what is not decided yet.

    Out of step, one byte is dropped until a frame begins; `noise_bytes` counts them, but those
    before the first frame, where the listening began.  Where frames have no checksum, the first
    one after a loss counts only if another follows it.
    """

    def __init__(
        self,
        length: int,
        header_at: Callable[[NDArray[np.uint8]], NDArray[np.bool_]],
        sum_fits: Callable[[NDArray[np.uint8], NDArray[np.int64]], NDArray[np.bool_]] | None,
        counts: Counter[str],
    ) -> None:
        """Take what tells a frame.

        `header_at(bytes)` gives for each byte but the last whether a frame may begin there,
        `sum_fits(bytes, starts)` which of the frames at `starts` have the right checksum; None
        where the protocol has none.
        """
        self._length = length
        self._header_at = header_at
        self._sum_fits = sum_fits
        self._counts = counts
        self._rest = b""
        self._in_step = self._began = False

    def feed(self, data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the frames uint8[n, length], and which directly follow the frame before."""
        buffer = np.frombuffer(self._rest + data, np.uint8)
        if len(buffer) < self._length:
            self._rest = buffer.tobytes()
            return np.empty((0, self._length), np.uint8), np.empty(0, np.bool_)
        valid, candidates, wrong = self._look(buffer)
        at = 0
        runs: list[NDArray[np.int64]] = []
        follows: list[bool] = []
        while True:
            if not self._in_step or not (at < len(valid) and valid[at]):
                found, at = self._hunt(at, len(buffer), candidates, wrong)
                if not found:
                    break
            run = valid[at :: self._length]
            n = len(run) if run.all() else int(run.argmin())
            runs.append(at + self._length * np.arange(n))
            follows += [self._in_step] + [True] * (n - 1)
            self._in_step = self._began = True
            at += n * self._length
        self._rest = buffer[at:].tobytes()
        starts = np.concatenate([*runs, np.empty(0, np.int64)]).astype(np.int64)
        return buffer[starts[:, None] + np.arange(self._length)], np.array(follows, np.bool_)

    def _look(
        self, buffer: NDArray[np.uint8]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """Return where frames begin, where they do when out of step, where the sum is wrong."""
        header = self._header_at(buffer)
        valid = header[: len(buffer) - self._length + 1].copy()
        if self._sum_fits is None:
            confirmed = valid[: max(len(header) - self._length, 0)]
            following = header[self._length :]
            return valid, np.flatnonzero(confirmed & following), np.empty(0, np.int64)
        starts = np.flatnonzero(valid)
        valid[starts] = self._sum_fits(buffer, starts)
        return valid, np.flatnonzero(valid), starts[~valid[starts]]

    def _hunt(
        self, at: int, n_bytes: int, candidates: NDArray[np.int64], wrong: NDArray[np.int64]
    ) -> tuple[bool, int]:
        """Drop bytes from `at` to the next frame; return whether there is one, and where.

        Bytes that can't be judged yet are kept, and so is the step.
        """
        whole = self._length if self._in_step or self._sum_fits else self._length + 2
        undecided = n_bytes - whole + 1
        if at >= undecided:
            return False, at
        if self._in_step:  # what should be a frame is none
            self._in_step = False
            return self._hunt(at, n_bytes, candidates, wrong)
        i = int(np.searchsorted(candidates, at))
        found = i < len(candidates)
        to = int(candidates[i]) if found else undecided
        if to > at and self._began:
            self._counts["noise_bytes"] += to - at
            first, last = np.searchsorted(wrong, (at, to))
            if last > first:
                self._counts["bad_sum"] += int(last - first)
        return found, to


class Lines:
    """Cuts a stream of bytes into lines; drops the first, likely half a line, and endless ones."""

    def __init__(self, counts: Counter[str]) -> None:
        """Count in `counts` the lines that are too long."""
        self._counts = counts
        self._rest = b""
        self._drops = True  # until the next end of line

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that `data` completes, without blanks around them; not the empty ones."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = b""
        for line in lines:
            if not self._drops:
                if len(line) > MAX_LINE_BYTES:
                    self._counts["bad_line"] += 1
                elif stripped := line.strip():
                    yield stripped
            self._drops = False
        if self._drops:
            return
        self._rest = rest
        if len(rest) > MAX_LINE_BYTES:
            self._counts["bad_line"] += 1
            self._rest, self._drops = b"", True
