"""WISDM's raw text: v1.1 (phones, accelerometer) and 2019 (phones and watches, gyroscope too).

Lines `user,activity,time,x,y,z;` at 20 Hz in m/s² (Android sign) or rad/s.  The time is each
phone's own clock, ns since it was switched on: it has jumps, and says nothing of the time of day.
v1.1 is one file of 36 people with broken lines and lines without a time; 2019 is a file per
person, device and sensor.  Kwapisz et al. 2010; Weiss et al. 2019 (UCI no. 507).
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from hard.api import Annotation, Declared, SampleBatch, UnusableInput
from hard_file.container import folder_of, opened_folder, search
from hard_file.labels import changes
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import Columns, CsvFile, Rewritten, opened

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hard.api import Message, Sensor
    from hard_file.container import Folder
    from hard_file.recording import Options
    from hard_file.table import Readable, Rows, Skip

__all__ = ["ACCEL_NAME", "is_wisdm_line", "open_wisdm"]

ACCEL_NAME = re.compile(r"data_([0-9]{1,9})_accel_(phone|watch)\.txt")
MAX_ROWS = 4_000_000
"""Of one file of 2019, which is read as a whole; the longest has about 130,000."""
_LAST_NS = 2**60  # 36 years of being switched on
_LAST_PERSON = 10**9
_HEADER = b"user,activity,time,x,y,z\n"
_COLUMNS = Columns(("user", "x", "y", "z"), time="time", label="activity")
_LINE = re.compile(rb"\d{1,9},[A-Za-z ]+,-?\d+,[^,;]*,[^,;]*,[^,;]*;?,?;?\s*")


def is_wisdm_line(line: bytes) -> bool:
    """Tell whether a line is one of WISDM's."""
    return _LINE.fullmatch(line) is not None


def open_wisdm(path: Path, options: Options) -> Recording:
    """Return what WISDM recorded: v1.1's one file, a file of 2019, or a folder or zip of those.

    Every person (and device) is a stream.  Of 2019 the gyroscope is looked for beside.
    """
    clock: Literal["epoch", "relative"] = "epoch" if options.start else "relative"
    declared: dict[Sensor, Declared] = {
        "accel": Declared("m/s2", clock=clock),
        "gyro": Declared("rad/s", clock=clock),
    }
    stem, start_ns = options.stream_for(path), options.start_ns if options.start else None
    files = _Files(path, stem, declared, start_ns)
    with files.opened() as found:
        of_2019 = any(ACCEL_NAME.fullmatch(file.name) for file in found)
        if not found:
            raise UnusableInput(
                f"{path}: holds no data_NNNN_accel_phone.txt or _watch.txt of WISDM 2019; give "
                "the folder that does, or WISDM v1.1's one file"
            )
        gyro = any(_twin(file).is_file() for file in found if _twin(file) != file)
    if not gyro:
        del declared["gyro"]
    edition = f"WISDM 2019, {len(found)} of its files" if of_2019 else "WISDM v1.1"
    info = RecordingInfo(
        format="wisdm",
        reason=f"lines of user,activity,time,x,y,z; ({edition}): 20 Hz, in m/s2, Android sign, "
        "times of the device's own clock",
        declared=declared,
    )
    return Recording(path, stem, info, files.messages, options.start_ns)


def _twin(accel: Folder) -> Folder:
    """Return where the gyroscope's file of an accelerometer's stands: beside, or in ../gyro."""
    name = accel.name.replace("_accel_", "_gyro_")
    folder = folder_of(accel)
    beside = folder / name
    return beside if beside.is_file() else folder_of(folder) / "gyro" / name


def _rows(member: Readable, skip: Skip) -> Iterator[Rows]:
    """Yield the good rows of one file; those without a time are skipped."""
    with opened(member) as stream:
        # A line's end is the semicolon: some share a line, some lack the line's end.
        file = CsvFile(Rewritten(stream, b";", b"\n", _HEADER), str(member))
        for rows in file.rows(_COLUMNS, skip):
            timed = (rows.t > 0) & (rows.t < _LAST_NS)
            user = rows.values[:, 0]
            named = (user >= 0) & (user < _LAST_PERSON) & (user == np.floor(user))
            for reason, bad in (("no_time", ~timed), ("no_person", timed & ~named)):
                for row in rows.row[bad].tolist():
                    what = reason.removeprefix("no_")
                    skip(reason, f"{member}: row {row + 1} has no {what}; it is left out")
            yield rows.part(timed & named)


@dataclass(slots=True)
class _Person:
    """What is remembered of a stream from one block to the next."""

    offset_ns: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class _Files:
    path: Path
    stem: str
    declared: Mapping[Sensor, Declared]
    start_ns: int | None

    @contextmanager
    def opened(self) -> Iterator[list[Folder]]:
        """Give the files to read."""
        if self.path.is_file() and not _is_zip(self.path):
            yield [self.path]
        else:
            with opened_folder(self.path) as folder:
                yield [file for file, _ in search(folder, ACCEL_NAME)]

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield all streams, one after another (2019) or as they come (v1.1)."""
        with self.opened() as found:
            for file in found:
                if match := ACCEL_NAME.fullmatch(file.name):
                    yield from self._of_2019(file, f"{match[1]}-{match[2]}", skip)
                else:
                    yield from self._of_2012(file, skip)

    def _offset(self, first_ns: int) -> int:
        """Return what brings the first stamp to the given start, 0 without one."""
        return 0 if self.start_ns is None else self.start_ns - first_ns

    def _of_2012(self, file: Folder, skip: Skip) -> Iterator[Message]:
        """Yield a message a block, with a batch for every stretch of one person's lines."""
        people: dict[int, _Person] = {}
        for rows in _rows(file, skip):
            message: list[SampleBatch | Annotation] = []
            users = rows.values[:, 0].astype(np.int64)
            for part in _runs(users):
                user, t = int(users[part.start]), rows.t[part]
                person = people.setdefault(user, _Person(self._offset(int(t[0]))))
                t = t + person.offset_ns
                stream = f"{self.stem[:53]}-{user}"
                xyz = rows.values[part, 1:].astype(np.float32)
                message.append(SampleBatch(stream, "accel", t, xyz, self.declared["accel"]))
                assert rows.labels is not None
                labels = rows.labels[part]
                message += changes(stream, t, labels, person.label)
                person.label = labels[-1]
            yield message

    def _of_2019(self, accel: Folder, stream: str, skip: Skip) -> Iterator[Message]:
        """Yield a message for every stretch of one activity, in the accelerometer's order."""
        member, offset = _twin(accel), None
        turning = {} if not member.is_file() else (yield from _stretches(member, skip))
        for (label, number), (t, xyz) in (yield from _stretches(accel, skip)).items():
            offset = self._offset(int(t[0])) if offset is None else offset
            message: list[SampleBatch | Annotation] = [
                SampleBatch(stream, "accel", t + offset, xyz, self.declared["accel"])
            ]
            if (label, number) in turning:
                t_gyro, rates = turning.pop((label, number))
                declared = self.declared["gyro"]
                message.append(SampleBatch(stream, "gyro", t_gyro + offset, rates, declared))
            yield [*message, Annotation(stream, int(t[0]) + offset, label)]
        for label, _ in turning:
            skip("no_accel", f"{member}: {label!r} has no accelerometer beside; it is left out")


def _is_zip(path: Path) -> bool:
    with opened(path) as file:
        return file.read(2) == b"PK"


def _runs(values: NDArray[np.int64]) -> list[slice]:
    """Return the stretches of equal values of int64[n]."""
    if not len(values):
        return []
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [slice(a, b) for a, b in pairwise(edges)]


@dataclass(slots=True)
class _Stretch:
    t: list[NDArray[np.int64]] = field(default_factory=list)
    xyz: list[NDArray[np.float32]] = field(default_factory=list)


def _stretches(
    member: Folder, skip: Skip
) -> Generator[Message, None, dict[tuple[str, int], tuple[NDArray[np.int64], NDArray[np.float32]]]]:
    """Read a file of 2019 whole: (activity, its number of this activity) -> stamps and values.

    Yields an empty message a block, so that the caller can stop.
    """
    found: dict[tuple[str, int], _Stretch] = {}
    times: Counter[str] = Counter()
    label, n = "", 0
    for rows in _rows(member, skip):
        yield []
        n += len(rows)
        if n > MAX_ROWS:
            raise UnusableInput(
                f"{member}: more than {MAX_ROWS} rows are no file of WISDM's; cut it"
            )
        codes = np.unique(np.array(rows.labels or [], object), return_inverse=True)[1]
        for part in _runs(np.asarray(codes, np.int64).reshape(-1)):
            assert rows.labels is not None
            if rows.labels[part.start] != label or not found:
                label = rows.labels[part.start]
                times[label] += 1
            stretch = found.setdefault((label, times[label]), _Stretch())
            stretch.t.append(rows.t[part])
            stretch.xyz.append(rows.values[part, 1:].astype(np.float32))
    return {name: (np.concatenate(one.t), np.concatenate(one.xyz)) for name, one in found.items()}
