"""WitMotion's binary frames: the WT901/WT61 family, and its Bluetooth series.

Both are little-endian int16 of 16 g and 2000 °/s full scale.  Pure; `framing` names them.
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

__all__ = ["Wt901", "Wt901Ble"]

_HEADER = 0x55
_ACCEL, _GYRO = 0x51, 0x52
_FAMILY = 0x50  # of the types of frames, 0x50 to 0x5F
_BLE = 0x61
_FRAME_BYTES = 11
_BLE_FRAME_BYTES = 20
_G_PER_COUNT = np.float32(16 / 32768)
_DEG_S_PER_COUNT = np.float32(2000 / 32768)
_DECLARED: Mapping[Sensor, Declared] = {"accel": Declared("g"), "gyro": Declared("deg/s")}


class Wt901:
    """11 bytes `55 TT d0..d7 SUM`; a reading is a frame 51 (accel) with the 52 (gyro) behind it.

    The device sends its frames in ascending order, so that an accel and a gyro which do not touch
    belong to two readings: neither is used.  Other types (angle, magnetometer) are passed over.
    """

    declared: ClassVar[Mapping[Sensor, Declared]] = _DECLARED

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._frames = ByteFrames(_FRAME_BYTES, _header_at, _sum_fits, self.counts)
        self._last = np.zeros((1, _FRAME_BYTES), np.uint8)  # its gyro may come with the next bytes
        self._next = 0

    def feed(self, data: bytes) -> Readings:
        """Return the readings that `data` completes."""
        frames, follows = self._frames.feed(data)
        frames = np.concatenate([self._last, frames])
        self._last = frames[-1:]
        kind = frames[:, 1]
        whole = (kind[:-1] == _ACCEL) & (kind[1:] == _GYRO) & follows
        i = np.flatnonzero(whole)
        index = self._next + np.arange(len(i), dtype=np.int64)
        self._next += len(i)
        return Readings(
            index,
            _int16(frames[i], 2) * _G_PER_COUNT,
            _int16(frames[i + 1], 2) * _DEG_S_PER_COUNT,
        )


class Wt901Ble:
    """20 bytes `55 61` and nine int16: accel, gyro, angle; there is no checksum.

    After a loss a frame counts once another header follows it; a value that reads 55 61 in two
    readings running can be taken for one until it changes.
    """

    declared: ClassVar[Mapping[Sensor, Declared]] = _DECLARED

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._frames = ByteFrames(_BLE_FRAME_BYTES, _ble_header_at, None, self.counts)
        self._next = 0

    def feed(self, data: bytes) -> Readings:
        """Return the readings that `data` completes."""
        frames, _ = self._frames.feed(data)
        index = self._next + np.arange(len(frames), dtype=np.int64)
        self._next += len(frames)
        return Readings(
            index, _int16(frames, 2) * _G_PER_COUNT, _int16(frames, 8) * _DEG_S_PER_COUNT
        )


def _header_at(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    at: NDArray[np.bool_] = (data[:-1] == _HEADER) & (data[1:] & 0xF0 == _FAMILY)
    return at


def _ble_header_at(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    at: NDArray[np.bool_] = (data[:-1] == _HEADER) & (data[1:] == _BLE)
    return at


def _sum_fits(data: NDArray[np.uint8], starts: NDArray[np.int64]) -> NDArray[np.bool_]:
    frames = data[starts[:, None] + np.arange(_FRAME_BYTES)]
    fits: NDArray[np.bool_] = frames[:, :-1].sum(axis=1, dtype=np.uint8) == frames[:, -1]
    return fits


def _int16(frames: NDArray[np.uint8], first: int) -> NDArray[np.int16]:
    """Return the three values from byte `first` on: int16[n, 3]."""
    return np.ascontiguousarray(frames[:, first : first + 6]).view("<i2")
