"""HAPT's raw recordings: acc_expNN_userMM.txt and its gyro_ twin, 50 Hz, without stamps.

A Galaxy S II at the waist (Android sign), acceleration in g, rotation in rad/s.  `labels.txt` in
the same folder gives the labels: experiment, user, activity, first and last sample, from 1.
Reyes-Ortiz et al., "Transition-Aware Human Activity Recognition Using Smartphones", 2016.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from hard.api import Declared, SampleBatch, UnusableInput
from hard_file.container import folder_of, matching
from hard_file.labels import Interval, annotated
from hard_file.merging import Lane, merged
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import Columns, CsvFile, Rewritten, guarded, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import IO

    from hard.api import Message, Sensor
    from hard_file.container import Folder
    from hard_file.recording import Options
    from hard_file.table import Rows, Skip

__all__ = ["ACC_NAME", "LABELS", "PERIOD_NS", "declared_of", "open_hapt"]

ACC_NAME = re.compile(r"acc_(exp([0-9]{1,6})_user([0-9]{1,6}))\.txt")
PERIOD_NS = 20_000_000
LABELS = (
    "WALKING",
    "WALKING_UPSTAIRS",
    "WALKING_DOWNSTAIRS",
    "SITTING",
    "STANDING",
    "LAYING",
    "STAND_TO_SIT",
    "SIT_TO_STAND",
    "SIT_TO_LIE",
    "LIE_TO_SIT",
    "STAND_TO_LIE",
    "LIE_TO_STAND",
)
MAX_LABELS_BYTES = 1024 * 1024
_COLUMNS = Columns(("x", "y", "z"))


def declared_of(options: Options) -> dict[Sensor, Declared]:
    """Return what the phone's sensors send, here and in UCI HAR, its older sister."""
    clock: Literal["epoch", "relative"] = "epoch" if options.start else "relative"
    declared: dict[Sensor, Declared] = {
        "accel": Declared("g", clock=clock, rate_hz=50.0),
        "gyro": Declared("rad/s", clock=clock, rate_hz=50.0),
    }
    return declared


def open_hapt(path: Path, options: Options) -> Recording:
    """Return what HAPT recorded: one experiment's file, or all in a folder or zip.

    Of several each is a stream of its own, one after another.
    """
    declared = declared_of(options)
    files = _Files(path, options.stream_for(path), options.stream, declared, options.start_ns)
    with files.opened() as found:
        lacking = [name for accel, name in found if not _twin(accel, name).is_file()]
        if not found or lacking:
            needs = f"gyro_{lacking[0]}.txt" if lacking else "acc_expNN_userMM.txt"
            raise UnusableInput(f"{path}: HAPT needs {needs} in the same folder; unpack it too")
        stream = files.stream_of(found[0][1], len(found))
        labelled = any((folder_of(accel) / "labels.txt").is_file() for accel, _ in found)
    info = RecordingInfo(
        format="hapt",
        reason=f"HAPT by name ({len(found)} of its experiments): 50 Hz, in g, Android sign"
        + (", with labels.txt" if labelled else ""),
        declared=declared,
    )
    return Recording(path, stream, info, files.messages, options.start_ns)


def _twin(accel: Folder, name: str) -> Folder:
    return folder_of(accel) / f"gyro_{name}.txt"


@dataclass(frozen=True, slots=True)
class _Files:
    path: Path
    stem: str
    stream: str | None
    declared: Mapping[Sensor, Declared]
    start_ns: int

    @contextmanager
    def opened(self) -> Iterator[list[tuple[Folder, str]]]:
        """Give the accelerometer's files with their experiments' names."""
        with matching(self.path, ACC_NAME) as found:
            yield [(file, match[1]) for file, match in found]

    def stream_of(self, name: str, n: int) -> str:
        """Return the stream of one experiment of `n`."""
        if n == 1:
            return self.stream or name
        return f"{self.stream[: 63 - len(name)]}-{name}" if self.stream else name

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield all experiments, one after another."""
        with self.opened() as found:
            for accel, name in found:
                yield from self._experiment(accel, name, self.stream_of(name, len(found)), skip)

    def _experiment(self, accel: Folder, name: str, stream: str, skip: Skip) -> Iterator[Message]:
        intervals = _labels(folder_of(accel) / "labels.txt", name, self.start_ns, skip)
        with opened(accel) as accel_file, opened(_twin(accel, name)) as gyro_file:
            lanes = [
                Lane(sensor, self._rows(file, f"{kind}_{name}.txt", skip))
                for sensor, kind, file in (
                    ("accel", "acc", accel_file),
                    ("gyro", "gyro", gyro_file),
                )
            ]
            messages = (self._message(stream, dict(parts)) for parts in merged(lanes, ["accel"]))
            yield from annotated(messages, intervals, stream)

    def _rows(self, file: IO[bytes], name: str, skip: Skip) -> Iterator[Rows]:
        table = CsvFile(Rewritten(file, b" ", b",", b"x,y,z\n"), f"{self.path}: {name}")
        for rows in table.rows(_COLUMNS, skip):
            yield replace(rows, t=self.start_ns + rows.row * PERIOD_NS)

    def _message(self, stream: str, parts: Mapping[str, Rows]) -> Message:
        return [
            SampleBatch(stream, sensor, rows.t, rows.values.astype(np.float32), declared)
            for sensor, declared in self.declared.items()
            if (rows := parts.get(sensor)) is not None
        ]


def _labels(member: Folder, name: str, start_ns: int, skip: Skip) -> list[Interval]:
    """Return one experiment's labels, none without `labels.txt`; a bad line is skipped."""
    match = ACC_NAME.fullmatch(f"acc_{name}.txt")
    assert match is not None
    experiment, user = int(match[2]), int(match[3])
    if not member.is_file():
        return []
    with opened(member) as file, guarded(str(member)):
        lines = file.read(MAX_LABELS_BYTES).decode(errors="replace").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            of_experiment, of_user, code, first, last = map(int, line.split())
            label = dict(enumerate(LABELS, 1))[code]
        except (ValueError, KeyError):
            if line.strip():
                skip("bad_label", f"{member}: line {number} is not five numbers of HAPT")
            continue
        if (of_experiment, of_user) == (experiment, user) and 1 <= first <= last < 2**31:
            start, end = ((at * PERIOD_NS) + start_ns for at in (first - 1, last))
            found.append(Interval(start, end, label))
    return sorted(found)
