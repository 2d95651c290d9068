"""The BNO08x's UART-RVC mode (made for robot vacuum cleaners): accelerometer and angles only.

Pure; `framing` names it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hard.api import Declared, Sensor
from hard_formats.readings import ByteFrames, Readings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["UartRvc"]

_HEADER = 0xAA
_FRAME_BYTES = 19
_G_PER_COUNT = np.float32(1e-3)


class UartRvc:
    """19 bytes `AA AA idx yaw pitch roll ax ay az r r r SUM`, SUM of the bytes 2 to 17.

    The acceleration is in mg; there is no gyroscope.  `idx` counts the frames modulo 256: lost ones
    are counted and leave their numbers out.
    """

    declared: ClassVar[Mapping[Sensor, Declared]] = {"accel": Declared("g")}

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._frames = ByteFrames(_FRAME_BYTES, _header_at, _sum_fits, self.counts)
        self._last: tuple[int, int] | None = None  # number and idx of the last frame

    def feed(self, data: bytes) -> Readings:
        """Return the readings that `data` completes."""
        frames, _ = self._frames.feed(data)
        accel = np.ascontiguousarray(frames[:, 9:15]).view("<i2") * _G_PER_COUNT
        return Readings(self._numbered(frames[:, 2].astype(np.int64)), accel, None)

    def _numbered(self, idx: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the running numbers of frames whose last byte is `idx`."""
        if not len(idx):
            return idx
        number, before = self._last or (-1, int(idx[0]) - 1)
        # A repeated idx is 256 frames later, so that numbers always rise.
        steps = (np.diff(idx, prepend=before) - 1) % 256 + 1
        index: NDArray[np.int64] = number + np.cumsum(steps)
        if lost := int(steps.sum()) - len(steps):
            self.counts["lost_frames"] += lost
        self._last = int(index[-1]), int(idx[-1])
        return index


def _header_at(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    at: NDArray[np.bool_] = (data[:-1] == _HEADER) & (data[1:] == _HEADER)
    return at


def _sum_fits(data: NDArray[np.uint8], starts: NDArray[np.int64]) -> NDArray[np.bool_]:
    frames = data[starts[:, None] + np.arange(_FRAME_BYTES)]
    fits: NDArray[np.bool_] = frames[:, 2:-1].sum(axis=1, dtype=np.uint8) == frames[:, -1]
    return fits
