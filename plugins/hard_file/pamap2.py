"""PAMAP2's subjectNNN.dat: three Colibri wireless IMUs (hand, chest, ankle) at 100 Hz.

Lines of 54 numbers: time (s), activity, heart rate, then 17 columns an IMU, of which the +-16 g
accelerometer (m/s2) and the gyroscope (rad/s) are read; the authors advise against the +-6 g one,
which saturates.  A position is a stream.  What a radio lost stands as NaN and is left out, for that
IMU alone.  Reiss and Stricker, "Introducing a New Benchmarked Dataset for Activity Monitoring",
ISWC 2012 (UCI no. 231).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from hard.api import Declared, SampleBatch
from hard_file.labels import changes
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import LARGEST, MAX_LINE_BYTES, guarded, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

    from hard.api import Annotation, Message, Sensor
    from hard_file.recording import Options
    from hard_file.table import Skip

__all__ = ["COLUMNS", "NAME", "POSITIONS", "open_pamap2"]

NAME = re.compile(r"subject([0-9]{1,6})\.dat")
COLUMNS = 54
POSITIONS = ("hand", "chest", "ankle")
ACTIVITIES = {
    1: "lying",
    2: "sitting",
    3: "standing",
    4: "walking",
    5: "running",
    6: "cycling",
    7: "Nordic walking",
    9: "watching TV",
    10: "computer work",
    11: "car driving",
    12: "ascending stairs",
    13: "descending stairs",
    16: "vacuum cleaning",
    17: "ironing",
    18: "folding laundry",
    19: "house cleaning",
    20: "playing soccer",
    24: "rope jumping",
}
"""0 is what happens between the others: no label."""
_OF_AN_IMU = 17
_ACCEL_AT, _GYRO_AT = 1, 7  # behind its temperature; behind both accelerometers
_USED = (
    0,
    1,
    *(
        3 + _OF_AN_IMU * imu + at + axis
        for imu in range(3)
        for at in (_ACCEL_AT, _GYRO_AT)
        for axis in range(3)
    ),
)
_ROWS_AT_ONCE = 4096
_LAST_S = 1e9


def open_pamap2(path: Path, options: Options) -> Recording:
    """Return the three streams of one file, whose name and columns are known to be PAMAP2's."""
    clock: Literal["epoch", "relative"] = "epoch" if options.start else "relative"
    declared: dict[Sensor, Declared] = {
        "accel": Declared("m/s2", clock=clock, rate_hz=100.0),
        "gyro": Declared("rad/s", clock=clock, rate_hz=100.0),
    }
    info = RecordingInfo(
        format="pamap2",
        reason=f"{COLUMNS} numbers a line and the name: PAMAP2, 100 Hz, hand, chest and ankle as "
        "streams of their own, in m/s2; an axis that points up reads +9.81",
        declared=declared,
    )
    file = _Dat(path, options.stream_for(path)[:58], declared, options.start_ns)
    return Recording(path, file.stem, info, file.messages, options.start_ns)


@dataclass(frozen=True, slots=True)
class _Dat:
    path: Path
    stem: str
    declared: Mapping[Sensor, Declared]
    start_ns: int

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield a message per block of lines, with the batches of all positions."""
        labels = dict.fromkeys(POSITIONS, "")
        with opened(self.path) as file:
            first = 0
            while lines := _lines(file, str(self.path)):
                rows = self._parsed(lines, first, skip)
                first += len(lines)
                message: list[SampleBatch | Annotation] = []
                for imu, position in enumerate(POSITIONS):
                    part = self._position(rows, imu, position, labels, skip)
                    message += part
                yield message

    def _parsed(self, lines: list[bytes], first: int, skip: Skip) -> NDArray[np.float64]:
        """Return float64[n, 20], the columns used of good lines: time and activity are numbers."""
        if not any(map(bytes.strip, lines)):
            return np.empty((0, len(_USED)))
        try:
            rows: NDArray[np.float64] = np.loadtxt(lines, usecols=_USED, ndmin=2)
        except ValueError:
            rows = np.array([self._row(*one, skip) for one in enumerate(lines, first + 1)])
        timed = (np.abs(rows[:, 0]) < _LAST_S) & (np.abs(rows[:, 1]) < 1000)
        kept: NDArray[np.float64] = rows[timed]
        return kept

    def _row(self, number: int, line: bytes, skip: Skip) -> list[float]:
        fields = line.split()
        try:
            if len(fields) != COLUMNS:
                raise ValueError  # noqa: TRY301 - one place counts
            return [float(fields[at]) for at in _USED]
        except ValueError:
            if fields:
                skip("bad_row", f"{self.path}: line {number} is not {COLUMNS} numbers; left out")
            return [np.nan] * len(_USED)

    def _position(
        self,
        rows: NDArray[np.float64],
        imu: int,
        position: str,
        labels: dict[str, str],
        skip: Skip,
    ) -> list[SampleBatch | Annotation]:
        """Return what one IMU measured in a block, and the labels that changed in it."""
        with np.errstate(invalid="ignore"):
            good = (np.abs(rows[:, 2 + 6 * imu : 8 + 6 * imu]) <= LARGEST).all(axis=1)
        for _ in range(int((~good).sum())):
            skip("not_finite", f"{self.path}: the {position} has no reading in a line; left out")
        kept = rows[good]
        if not len(kept):
            return []
        stream = f"{self.stem}-{position}"
        t = self.start_ns + np.rint(kept[:, 0] * 1e3).astype(np.int64) * 1_000_000
        xyz = kept[:, 2 + 6 * imu : 8 + 6 * imu].astype(np.float32)
        texts = [ACTIVITIES.get(code, "") for code in kept[:, 1].astype(int).tolist()]
        notes = changes(stream, t, texts, labels[position])
        labels[position] = texts[-1]
        return [
            SampleBatch(stream, "accel", t, xyz[:, :3], self.declared["accel"]),
            SampleBatch(stream, "gyro", t, xyz[:, 3:], self.declared["gyro"]),
            *notes,
        ]


def _lines(file: IO[bytes], name: str) -> list[bytes]:
    with guarded(name):
        return list(islice(iter(lambda: file.readline(MAX_LINE_BYTES), b""), _ROWS_AT_ONCE))
