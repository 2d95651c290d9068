"""HHAR's CSVs: eight phones at the waist (or four watches) of nine people, 50 to 200 Hz.

Rows `Index,Arrival_Time,Creation_Time,x,y,z,User,Model,Device,gt` in m/s2 or rad/s (Android sign).
Creation_Time is read: each device's own clock in ns, with its jumps.  A person's device is a
stream; `Phones_gyroscope.csv` is looked for beside `Phones_accelerometer.csv` and matched stretch
by stretch, so that memory grows with the longest only, as long as both files have one order.
Stisen et al., "Smart Devices are Different", SenSys 2015 (UCI no. 344).
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from hard.api import Annotation, Declared, SampleBatch
from hard_file.labels import changes
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import LARGEST, MAX_LINE_BYTES, CsvFile, guarded, opened

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path
    from typing import IO, Any

    from numpy.typing import NDArray

    from hard.api import Message, Sensor
    from hard_file.recording import Options
    from hard_file.table import Skip

__all__ = ["HEADER", "open_hhar"]

HEADER = (
    "Index",
    "Arrival_Time",
    "Creation_Time",
    "x",
    "y",
    "z",
    "User",
    "Model",
    "Device",
    "gt",
)
_BLOCK_BYTES = 1024 * 1024
_TYPE = np.dtype(
    [("t", np.int64), ("xyz", np.float64, 3), ("user", "S8"), ("device", "S24"), ("gt", "S16")]
)
_LAST_NS = 2**62
_Key: TypeAlias = tuple[str, str, int]  # user, device, and the how manieth time they come


def open_hhar(path: Path, options: Options) -> Recording:
    """Return what HHAR's accelerometer file holds, whose header is known."""
    clock: Literal["epoch", "relative"] = "epoch" if options.start else "relative"
    declared: dict[Sensor, Declared] = {"accel": Declared("m/s2", clock=clock)}
    twin = path.with_name(path.name.replace("accelerometer", "gyroscope"))
    if twin != path and twin.is_file():
        declared["gyro"] = Declared("rad/s", clock=clock)
    info = RecordingInfo(
        format="hhar",
        reason="the header names Creation_Time, User, Device and gt: HHAR, in m/s2, Android sign, "
        "times of each device's own clock",
        declared=declared,
    )
    start_ns = options.start_ns if options.start else None
    files = _Files(path, twin, options.stream, declared, start_ns)
    return Recording(path, options.stream_for(path), info, files.messages, options.start_ns)


@dataclass(slots=True, eq=False)
class _Stretch:
    """Rows of one person's device that follow each other."""

    key: _Key
    blocks: list[NDArray[Any]] = field(default_factory=list)

    def rows(self) -> NDArray[Any]:
        return np.concatenate(self.blocks)


@dataclass(frozen=True, slots=True)
class _Files:
    accel: Path
    gyro: Path
    stream: str | None
    declared: Mapping[Sensor, Declared]
    start_ns: int | None

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield a message a stretch: its accelerometer, the gyroscope's stretch of that number."""
        with ExitStack() as stack:
            turning: Iterator[_Stretch | None] = iter(())
            if "gyro" in self.declared:
                turning = _stretches(stack.enter_context(opened(self.gyro)), self.gyro, skip)
            waiting: dict[_Key, _Stretch] = {}
            with opened(self.accel) as file:
                for stretch in _stretches(file, self.accel, skip):
                    if stretch is None:
                        yield []
                        continue
                    found = yield from _twin_of(stretch.key, waiting, turning)
                    yield self._message(stretch, found)
        for user, device, _ in waiting:
            skip("no_accel", f"{self.gyro}: {user!r} with {device!r} has no accelerometer beside")

    def _message(self, accel: _Stretch, gyro: _Stretch | None) -> Message:
        rows = accel.rows()
        stream = "-".join(part for part in (self.stream, *accel.key[:2]) if part)[:64]
        offset = 0 if self.start_ns is None else self.start_ns - int(rows["t"][0])
        t = rows["t"] + offset
        message: list[SampleBatch | Annotation] = [
            SampleBatch(stream, "accel", t, _xyz(rows), self.declared["accel"])
        ]
        if gyro is not None:
            turned = gyro.rows()
            declared = self.declared["gyro"]
            message.append(
                SampleBatch(stream, "gyro", turned["t"] + offset, _xyz(turned), declared)
            )
        labels = [text.decode(errors="replace") for text in rows["gt"].tolist()]
        named = ["" if label == "null" else label for label in labels]
        return [*message, *changes(stream, t, named, "")]


def _xyz(rows: NDArray[Any]) -> NDArray[np.float32]:
    values: NDArray[np.float32] = rows["xyz"].astype(np.float32)
    return values


def _twin_of(
    key: _Key, waiting: dict[_Key, _Stretch], following: Iterator[_Stretch | None]
) -> Generator[Message, None, _Stretch | None]:
    """Return the stretch of that key, read on for it; those before it wait.

    Yields an empty message for each block that ends no stretch, so that the caller can stop.
    """
    while key not in waiting:
        try:
            stretch = next(following)
        except StopIteration:
            return None
        if stretch is None:
            yield []
        else:
            waiting[stretch.key] = stretch
    return waiting.pop(key)


def _stretches(file: IO[bytes], path: Path, skip: Skip) -> Iterator[_Stretch | None]:
    """Yield a file's rows by person and device, in file order; None after each block."""
    CsvFile(file, str(path))  # checks the header
    file.seek(0)
    file.readline(MAX_LINE_BYTES)
    times: Counter[tuple[str, str]] = Counter()
    stretch: _Stretch | None = None
    for rows in _blocks(file, path, skip):
        for part in _runs(rows):
            whose = (part["user"][0].decode("latin-1"), part["device"][0].decode("latin-1"))
            if stretch is None or stretch.key[:2] != whose:
                if stretch is not None:
                    yield stretch
                times[whose] += 1
                stretch = _Stretch((*whose, times[whose]))
            stretch.blocks.append(part)
        yield None
    if stretch is not None:
        yield stretch


def _runs(rows: NDArray[Any]) -> list[NDArray[Any]]:
    """Cut rows where the person or the device changes."""
    if not len(rows):
        return []
    other = (rows["user"][1:] != rows["user"][:-1]) | (rows["device"][1:] != rows["device"][:-1])
    edges = [0, *(np.flatnonzero(other) + 1).tolist(), len(rows)]
    return [rows[a:b] for a, b in pairwise(edges)]


def _blocks(file: IO[bytes], path: Path, skip: Skip) -> Iterator[NDArray[Any]]:
    """Yield the good rows, a MiB of lines at a time."""
    first = 1
    while True:
        with guarded(str(path)):
            lines = file.readlines(_BLOCK_BYTES)
        if not lines:
            return
        if not any(map(bytes.strip, lines)):
            continue
        try:
            rows = np.loadtxt(
                lines, _TYPE, delimiter=",", usecols=(2, 3, 4, 5, 6, 8, 9), encoding="latin-1"
            ).reshape(-1)
        except (ValueError, TypeError, OverflowError):
            rows = _carefully(lines, first, path, skip)
        first += len(lines)
        with np.errstate(invalid="ignore"):
            good = (np.abs(rows["xyz"]) <= LARGEST).all(axis=1)
            good &= (rows["t"] > -_LAST_NS) & (rows["t"] < _LAST_NS)
        for row in (np.flatnonzero(~good) + first).tolist():
            skip("not_finite", f"{path}: a row near {row} has no reading or no time; left out")
        yield rows[good]


def _carefully(lines: list[bytes], first: int, path: Path, skip: Skip) -> NDArray[Any]:
    found = []
    for number, line in enumerate(lines, first):
        fields = line.strip().split(b",")
        try:
            _, _, t, x, y, z, user, _, device, gt = fields
            found.append((int(t), (float(x), float(y), float(z)), user, device, gt))
        except ValueError:
            if line.strip():
                skip("bad_row", f"{path}: row {number} is not {len(HEADER)} columns of HHAR")
    return np.array(found, _TYPE)
